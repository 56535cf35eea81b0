"""What needs no learning: opening and closing the gripper, and the way back to where the arm starts."""

from __future__ import annotations

import numpy as np

from palmar.embodiments import DELTA, Embodiment
from palmar.errors import BadValue
from palmar.kinematics import matrix_to_rotvec
from palmar.robot_parts import Channel
from palmar.runtime.control.actions import holding, shorten
from palmar.runtime.loop import resting_command
from palmar.types import ActionChunk, Array, Observation, Prefix

OPEN, CLOSED = 0.8, 0.05  # share of its range from which a gripper counts as open, and below which as closed
STEP, TURN = 0.03, 0.15  # of the way home in 0.1 s [m, rad]
JOINT = 0.08  # the same where channels are commanded, as a share of each channel's range


NEAR, TURNED = 0.03, 0.1  # of home, where it counts as there [m, or share of a range; rad]
STILL = 5  # looks at which an opening does not change, and has then closed as far as it can
DELTA_OPEN = 0.01  # share of the range that counts as no change
UNMEASURED = 2.0  # how long a gripper that is not measured is given to open or close [s]


def is_open(share: float) -> bool:
    """Whether a gripper at this share of its opening counts as open."""
    return share > OPEN


class GripperPolicy:
    """Stays where it is and moves every gripper to a share of its opening, 0 closed … 1 open.

    said: which grippers are not measured, "" for none: they count as opened or closed after `UNMEASURED` seconds. Raises
    `BadValue` for a robot without a channel that opens."""

    def __init__(self, robot: Embodiment, opening: float) -> None:
        self.robot, self.interface = robot, robot.interface(1)
        self._at = {robot.action_names.index(c.name): c.lower + opening * (c.upper - c.lower) for c in _openings(robot)}
        if not self._at:
            raise BadValue(f"{robot.name} has no channel that opens. Next: a plan without its gripper")
        self._goal = opening
        positions = {m.of for m in robot.state if m.quantity == "position"}
        self._measured = np.array([c.name in positions for c in _openings(robot)])
        unmeasured = [c.name for c in _openings(robot) if c.name not in positions]
        self.said = f"{', '.join(unmeasured)} not measured" if unmeasured else ""
        self.reset()

    def reset(self) -> None:
        self._start: Array | None = None
        self._seen: list[Array] = []
        self._began = float("nan")

    def reached(self, obs: Observation) -> bool:
        """Every gripper is open; or has closed from where it was at the first look, or was closed then, and has stopped."""
        now = _opened(self.robot, obs)[self._measured]
        self._began = obs.time if not self._seen else self._began
        self._seen.append(now)
        if not self._measured.all() and obs.time - self._began < UNMEASURED - 1e-9:
            return False
        if is_open(self._goal):  # with room for a sensor's noise: what is open stays so for `HomePolicy`
            return all(is_open(share - DELTA_OPEN) for share in now)
        if len(self._seen) <= STILL:
            return False
        still = np.abs(now - self._seen[-STILL]) < DELTA_OPEN
        closed = (self._seen[0] - now > DELTA_OPEN) | (now < CLOSED)
        return bool((still & closed).all())

    def act(self, obs: Observation, prefix: Prefix | None = None) -> ActionChunk:
        if self._start is None:  # where it stands now: what is measured later would be followed, noise and all
            self._start = holding(self.robot, resting_command(self.robot, obs))
        action = self._start.copy()
        for i, value in self._at.items():
            action[i] = value
        return ActionChunk(action[None].astype(np.float32), self.interface.dt, obs.time)


class HomePolicy:
    """Straight back to the pose in which the robot starts. A gripper that is open at first stays as open, any other is
    closed, so that what it holds is not let go."""

    said = ""

    def __init__(self, robot: Embodiment) -> None:
        self.robot, self.interface = robot, robot.interface(1)
        self.reset()

    def reset(self) -> None:
        self._grippers: dict[str, float] | None = None

    def act(self, obs: Observation, prefix: Prefix | None = None) -> ActionChunk:
        robot = self.robot
        now = resting_command(robot, obs)
        names = list(robot.action_names)
        action = holding(robot, now).astype(float)
        if robot.action_space == "channels":
            most = JOINT * robot.widths
            action = now + np.clip(robot.difference(robot.home, now), -most, most)
        else:
            tenths = 10.0 / robot.policy_rate
            for frame in robot.frames:
                many = f"{frame.name}." if len(robot.frames) > 1 else ""
                (at, turned), (goal, upright) = robot.pose(frame, now), robot.pose(frame, robot.home)
                for d, value in zip(DELTA[:3], shorten(0.5 * (goal - at), STEP * tenths), strict=True):
                    action[names.index(many + d)] = value
                if frame.rotates:
                    turn = matrix_to_rotvec(upright @ turned.T)
                    for d, value in zip(DELTA[3:], shorten(0.5 * turn, TURN * tenths), strict=True):
                        action[names.index(many + d)] = value
        if self._grippers is None:
            self._grippers = {c.name: _kept(c, now[robot.index(c.name)]) for c in _openings(robot)}
        for name, value in self._grippers.items():
            action[names.index(name)] = value
        return ActionChunk(action[None].astype(np.float32), self.interface.dt, obs.time)

    def reached(self, obs: Observation) -> bool:
        return self.away(obs) < 1.0

    def away(self, obs: Observation) -> float:
        """How far the robot is from home, 1 at the edge of what counts as there: the largest distance of a frame's position in
        `NEAR` metres and of its orientation in `TURNED` radians, as far as `act` moves them. Where channels are commanded
        also of each channel in `NEAR` of its range, grippers left out: they stay as they are."""
        robot, now = self.robot, resting_command(self.robot, obs)
        found = [0.0 if np.isfinite(now).all() else np.inf]
        for frame in robot.frames:
            (at, turned), (goal, upright) = robot.pose(frame, now), robot.pose(frame, robot.home)
            found.append(float(np.linalg.norm(goal - at)) / NEAR)
            if frame.rotates or robot.action_space == "channels":
                found.append(float(np.linalg.norm(matrix_to_rotvec(upright @ turned.T))) / TURNED)
        if robot.action_space == "channels":
            share = np.abs(robot.difference(robot.home, now)) / np.where(robot.widths > 0, robot.widths, 1.0)
            found += [float(x) / NEAR for x, c in zip(share, robot.channels, strict=True) if c.kind != "opening"]
        return max(found)


def _openings(robot: Embodiment) -> list[Channel]:
    return [c for c in robot.channels if c.kind == "opening" and c.name in robot.action_names]


def _kept(channel: Channel, value: float) -> float:
    """What a gripper at this value is commanded on the way home."""
    share = (value - channel.lower) / (channel.upper - channel.lower)
    return float(value) if is_open(share) else channel.lower


def _opened(robot: Embodiment, obs: Observation) -> Array:
    """Measured openings, 0 … 1 of their range, NaN for those that are not measured."""
    now = robot.measured(obs.state)
    return np.array([(now[robot.index(c.name)] - c.lower) / (c.upper - c.lower) for c in _openings(robot)])
