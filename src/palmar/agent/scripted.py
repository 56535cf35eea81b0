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

OPEN = 0.85  # share of its range from which a gripper counts as open
STEP, TURN = 0.03, 0.15  # of the way home in 0.1 s [m, rad]
JOINT = 0.08  # the same where channels are commanded, as a share of each channel's range


NEAR = 0.03  # of home, where it counts as there [m, or share of a range]
STILL = 5  # looks at which an opening does not change, and has then closed as far as it can
DELTA_OPEN = 0.01  # share of the range that counts as no change


class GripperPolicy:
    """Stays where it is and moves every gripper to a share of its opening, 0 closed … 1 open.

    Raises `BadValue` for a robot without a channel that opens."""

    def __init__(self, robot: Embodiment, opening: float) -> None:
        self.robot, self.interface = robot, robot.interface(1)
        self._at = {robot.action_names.index(c.name): c.lower + opening * (c.upper - c.lower) for c in _openings(robot)}
        if not self._at:
            raise BadValue(f"{robot.name} has no channel that opens. Next: a plan without its gripper")
        self._start: Array | None = None
        self._seen: list[Array] = []
        self._goal = opening

    def reset(self) -> None:
        self._start, self._seen = None, []

    def reached(self, obs: Observation) -> bool:
        """The grippers are open, or have stopped to close."""
        now = _opened(self.robot, obs)
        self._seen.append(now)
        if self._goal > OPEN:
            return bool((now > 0.95 * OPEN).all())
        return len(self._seen) > STILL and bool((np.abs(now - self._seen[-STILL]) < DELTA_OPEN).all())

    def act(self, obs: Observation, prefix: Prefix | None = None) -> ActionChunk:
        if self._start is None:  # where it stands now: what is measured later would be followed, noise and all
            self._start = holding(self.robot, resting_command(self.robot, obs))
        action = self._start.copy()
        for i, value in self._at.items():
            action[i] = value
        return ActionChunk(action[None].astype(np.float32), self.interface.dt, obs.time)


class HomePolicy:
    """Up and back to the pose in which the robot starts. A gripper that is open stays open, any other stays closed, so that
    what it holds is not let go."""

    def __init__(self, robot: Embodiment) -> None:
        self.robot, self.interface = robot, robot.interface(1)

    def reset(self) -> None:
        """Nothing to forget."""

    def act(self, obs: Observation, prefix: Prefix | None = None) -> ActionChunk:
        robot = self.robot
        now = resting_command(robot, obs)
        names = list(robot.action_names)
        action = holding(robot, now).astype(float)
        if robot.action_space == "channels":
            most = JOINT * np.array([c.upper - c.lower for c in robot.channels])
            action = now + np.clip(robot.home - now, -most, most)
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
        for c in _openings(robot):
            span, value = c.upper - c.lower, now[robot.channel_names.index(c.name)]
            action[names.index(c.name)] = value if value > c.lower + OPEN * span else c.lower
        return ActionChunk(action[None].astype(np.float32), self.interface.dt, obs.time)

    def reached(self, obs: Observation) -> bool:
        return self.away(obs) < NEAR

    def away(self, obs: Observation) -> float:
        """How far the first frame is from home [m]; of a robot without frames the largest share of a channel's range,
        grippers left out: they stay as they are."""
        now = resting_command(self.robot, obs)
        if not self.robot.frames:
            span = np.array([c.upper - c.lower for c in self.robot.channels])
            share = np.abs(now - self.robot.home) / np.where(np.isfinite(span) & (span > 0), span, 1.0)
            return max(
                (float(x) for x, c in zip(share, self.robot.channels, strict=True) if c.kind != "opening"), default=0.0
            )
        frame = self.robot.frames[0]
        return float(np.linalg.norm(self.robot.pose(frame, now)[0] - self.robot.pose(frame, self.robot.home)[0]))


def _openings(robot: Embodiment) -> list[Channel]:
    return [c for c in robot.channels if c.kind == "opening" and c.name in robot.action_names]


def _opened(robot: Embodiment, obs: Observation) -> Array:
    """Measured openings, 0 … 1 of their range."""
    now = resting_command(robot, obs)
    return np.array([(now[robot.index(c.name)] - c.lower) / (c.upper - c.lower) for c in _openings(robot)])
