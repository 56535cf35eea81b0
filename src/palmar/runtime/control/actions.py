"""From a policy's action to a command: one class an action space, each with the same verb.

A body always takes absolute commands of its channels; the action space is a matter of the policy.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from palmar.embodiments import Embodiment
from palmar.kinematics import matrix_to_rotvec, rotvec_to_matrix
from palmar.robot_parts import Frame
from palmar.runtime.chunks import Coming
from palmar.runtime.control.cubic import end_slopes, hermite, shaped
from palmar.types import Array


class ActionSpace(Protocol):
    """paced: bool[N], the channels that follow the chunk in its own time. The others, such as openings, are only told where to
    go, and go there as fast as they may. corners: the rates that `target` asks for change only where one action follows
    another."""

    paced: Array
    corners: bool

    def reset(self, command: Array) -> None:
        """Start from the command [N] the robot now holds."""
        ...

    def target(self, action: Array, share: float, phase: float, command: Array) -> Array:
        """The command [N] asked for at one control tick.

        action: float32[A] the current action. share: part of it this tick carries out (tick length / dt).
        phase: part of it that is done when this tick ends, 0 … 1. command: what was last sent [N].
        """
        ...

    def along(self, coming: Coming, share: float, speed: float, command: Array) -> Array:
        """As `target`, for a tick that follows the chunk at `speed` 0 … 1 of its own, over the ends of actions. Whatever the
        speeds, the path is the same; commanded speeds are scaled."""
        ...

    def ahead(self, coming: Coming, share: float, command: Array, count: int, spacing: int, smooth: bool) -> Array:
        """The commands float64[k, N], k ≤ count, every `spacing` ticks from now on at full speed, as far as the chunk goes; what
        is not paced stays. smooth: those that `along` leads through instead of those of `target`."""
        ...

    def deflected(self, rate: Array | None) -> None:
        """The guards led elsewhere: the robot moves at this rate [N], per action's time; None: it rests."""
        ...

    def copy(self) -> ActionSpace:
        """Another that goes on from here by itself."""
        ...


def resting(robot: Embodiment, command: Array) -> Array:
    """float64[N]: the command that keeps a robot where it was commanded to be: joints and openings hold, speeds are 0."""
    return np.where(robot.speeds, 0.0, command)


def holding(robot: Embodiment, command: Array) -> Array:
    """float32[A]: the action that does as `resting`: steps of 0, and the commands themselves."""
    still = resting(robot, command)
    if robot.action_space == "channels":
        return still.astype(np.float32)
    free = still[list(robot.free)]
    return np.concatenate([np.zeros(len(robot.action_names) - len(free)), free]).astype(np.float32)


class EndEffectorDelta:
    """Of every frame [dx, dy, dz] [m] and [drx, dry, drz] rotation vector [rad], both in the base frame, then the absolute
    commands of the channels on no frame's path.

    Each frame's reference pose integrates the deltas and is kept within `leash` metres and `twist` radians of where it was
    last commanded to be, so it cannot wind up while the arm is held back. Its velocity follows the action's through a first-
    order filter (`ease` of the difference a tick): the sum of the deltas is kept, the acceleration at the seams is not left
    to the limits.
    """

    def __init__(self, robot: Embodiment, leash: float = 0.03, ease: float = 0.2, twist: float = 0.2) -> None:
        self.robot = robot
        self._arms = [_Arm(robot, frame, leash, ease, twist) for frame in robot.frames]
        self._free = np.array(robot.free, np.int64)
        self.paced = robot.moves_joint.copy()
        self.paced[self._free] = False
        self.corners = False
        self.reset(robot.home)

    def reset(self, command: Array) -> None:
        for arm in self._arms:
            arm.reset(command)

    def target(self, action: Array, share: float, phase: float, command: Array) -> Array:
        # fmin / fmax would hide a NaN: it must reach the safety layer, so only finite actions are clipped.
        action = np.asarray(action)
        if not np.all(np.isfinite(action)):
            return np.full(len(command), np.nan)
        out, at = np.array(command, float), 0
        for arm in self._arms:
            out[arm.path] = arm.target(action[at : at + arm.width], share, command)
            at += arm.width
        out[self._free] = _towards(self.robot, self._free, action[at:], command)
        return out

    def along(self, coming: Coming, share: float, speed: float, command: Array) -> Array:
        """The way of a whole tick, shortened to `speed` of it: also what the inverse kinematics leave over then shrinks with the
        speed, so that there is always a speed slow enough."""
        out = np.array(command, float)
        whole = self._arms if speed >= 1.0 else [copy(arm) for arm in self._arms]
        wanted = self._advance(whole, coming, share, share, command)
        if wanted is None:
            return np.full(len(command), np.nan)
        for arm in whole:
            out[arm.path] += min(speed, 1.0) * (arm.towards_reference(command) - out[arm.path])
        if whole is not self._arms:
            self._advance(self._arms, coming, share, share * speed, command)
        out[self._free] = _towards(self.robot, self._free, _slowed(self.robot, self._free, wanted, speed), command)
        return out

    @staticmethod
    def _advance(arms: list[_Arm], coming: Coming, share: float, amount: float, command: Array) -> Array | None:
        """Move the references by an amount of action time. What is wanted of the other channels meanwhile; None for an action
        that is not finite."""
        for index, part, _ in pieces(coming, amount):
            action, at = np.asarray(coming.actions[index]), 0
            if not np.all(np.isfinite(action)):
                return None
            for arm in arms:
                arm.advance(action[at : at + arm.width], share, part / share, command)
                at += arm.width
            wanted = action[at:]
        return wanted

    def ahead(self, coming: Coming, share: float, command: Array, count: int, spacing: int, smooth: bool) -> Array:
        left = (len(coming.actions) - coming.index - coming.phase) / share
        count = min(count, int((left + 1e-6) / spacing))
        out = np.repeat(np.asarray(command, float)[None], count, axis=0)
        if not count:
            return out
        parts, at = Parts.of(coming, count, spacing * share), 0
        for arm in self._arms:
            out[:, arm.path] = arm.ahead(coming.actions[:, at : at + arm.width], parts, share, command)
            at += arm.width
        return out

    def deflected(self, rate: Array | None) -> None:
        """The reference stays near where the robot is by itself (`leash`)."""

    def copy(self) -> EndEffectorDelta:
        other = copy(self)
        other._arms = [copy(arm) for arm in self._arms]  # their state is replaced, never changed
        return other


class _Arm:
    """One frame's reference pose."""

    def __init__(self, robot: Embodiment, frame: Frame, leash: float, ease: float, twist: float) -> None:
        self.robot, self.frame, self.leash, self.ease, self.twist = robot, frame, leash, ease, twist
        self.path = robot.path(frame)
        self.width = 6 if frame.rotates else 3
        self._home = robot.positions(frame, robot.home)

    def reset(self, command: Array) -> None:
        self._position, self._rotation = self.robot.pose(self.frame, command)
        self._move = np.zeros(3)

    def target(self, action: Array, share: float, command: Array) -> Array:
        move = shorten(action[:3], self.frame.max_step[0]) * share
        self._move = self._move + self.ease * (move - self._move)
        self._lead(self._move, action, share, command)
        return self.towards_reference(command)

    def advance(self, action: Array, share: float, part: float, command: Array) -> None:
        """Move the reference by `part` 0 … 1 of a tick of the action: parts that make up a tick do what a tick does."""
        move = shorten(action[:3], self.frame.max_step[0]) * share
        shift, self._move = self._eased(move, part, self._move)
        self._lead(shift, action, share * part, command)

    def _lead(self, shift: Array, action: Array, amount: float, command: Array) -> None:
        """Move the reference by `shift` [m] and turn it by `amount` of the action's rotation, on its leash."""
        here, turned = self.robot.pose(self.frame, command)
        self._position = here + shorten(self._position + shift - here, self.leash)
        if self.frame.workspace is not None:
            self._position = np.clip(self._position, *self.frame.workspace)
        if not self.frame.rotates:
            return
        rotate = shorten(action[3:6], self.frame.max_step[1]) * amount
        if np.any(rotate):
            self._rotation = rotvec_to_matrix(rotate) @ self._rotation
            ahead = matrix_to_rotvec(self._rotation @ turned.T)
            if np.linalg.norm(ahead) > self.twist:
                self._rotation = rotvec_to_matrix(shorten(ahead, self.twist)) @ turned

    def _eased(self, move: Array, part: float | Array, before: Array) -> tuple[Array, Array]:
        """The way of `part` of a tick and the move a tick after it, filtered towards `move`: the sum over parts does not depend
        on how a tick is divided, and a whole one is a step of the filter in `target`."""
        kept = (1.0 - self.ease) ** part
        lag = (1.0 - self.ease) * (1.0 - kept) / self.ease
        return move * part - lag * (move - before), move + kept * (before - move)

    def towards_reference(self, command: Array) -> Array:
        q = self.robot.positions(self.frame, command)
        rotation = self._rotation if self.frame.rotates else None
        return self.robot.commands(
            self.frame, self.frame.chain.step_towards(q, self._position, rotation, self._home)
        )  # fmt: skip

    def ahead(self, actions: Array, parts: Parts, share: float, command: Array) -> Array:
        """Commands [k, n] of the frame's path at the ends of k steps: inverse kinematics with the Jacobian of here and one
        correction, near enough to plan by."""
        step, turn = self.frame.max_step
        ticks = (parts.length / share)[:, None]
        moves = (shortened(actions[:, :3], step) * share)[parts.index]
        kept = (1.0 - self.ease) ** ticks
        after = recursion(kept, (1.0 - kept) * moves, self._move)
        before = np.concatenate([self._move[None], after[:-1]])
        places = self._inside(self._eased(moves, ticks, before)[0])[parts.last]
        q = self.robot.positions(self.frame, command)
        p, R, J = self.frame.chain.jacobian(q)
        error = places - p
        if self.frame.rotates:
            twists = shortened(actions[:, 3:6], turn)[parts.index] * parts.length[:, None]
            turns = np.cumsum(twists, axis=0)[parts.last]
            error = np.concatenate([error, turns + matrix_to_rotvec(self._rotation @ R.T)], axis=1)
        else:
            J = J[:3]
        inverse = J.T @ np.linalg.inv(J @ J.T + 0.02**2 * np.eye(len(J)))
        near = q + error @ inverse.T
        near = near + (places - self.frame.chain.forward(near)[0]) @ inverse[:, :3].T
        return self.robot.commands(self.frame, near)

    def _inside(self, shifts: Array) -> Array:
        """Where the reference is after each of shifts [P, 3] [m], kept in the workspace at each of them."""
        places = self._position + np.cumsum(shifts, axis=0)
        if self.frame.workspace is None:
            return places
        low, high = self.frame.workspace
        if ((places < low) | (places > high)).any():
            here = self._position
            for k, shift in enumerate(shifts):
                here = places[k] = np.minimum(np.maximum(here + shift, low), high)
        return places


class Absolute:
    """Absolute commands of all channels. Joints are reached in equal steps by the end of the action's time; openings and
    speeds as fast as their limits allow.

    Each tick takes its share of the way that is left from where the robot was last commanded to be: an action that comes in
    the middle of its time is reached by the end of it, without a jump.

    `along` leads through the same actions at the same times by a curve without corners: a cubic for each action, whose rates fit
    where two meet and which passes none of the actions (Fritsch and Carlson 1980).
    """

    def __init__(self, robot: Embodiment) -> None:
        self.robot = robot
        self.paced, self.corners = robot.moves_joint, True
        self._free = np.flatnonzero(~robot.moves_joint)
        self.reset(robot.home)

    def reset(self, command: Array) -> None:
        """The robot rests: a curve may begin in any direction."""
        self._slope: Array | None = None
        self._end = np.zeros(len(command))
        self._action: Array | None = None

    def target(self, action: Array, share: float, phase: float, command: Array) -> Array:
        action = np.asarray(action, float)
        left = max(1.0 - phase + share, share)  # part of the action's time when this tick begins
        blended = command + (action - command) * (share / left)
        self._slope, self._action = (blended - command) / share, None
        blended[self._free] = _towards(self.robot, self._free, action[self._free], command)
        return blended

    def along(self, coming: Coming, share: float, speed: float, command: Array) -> Array:
        out = np.array(command, float)
        for index, part, phase in pieces(coming, share * speed):
            action, left = np.asarray(coming.actions[index], float), max(1.0 - phase, part)
            first = self._begin(coming.actions, index, out, left)
            out, slope = hermite(out, action, first * left, self._end * left, part / left)
            self._slope = slope / left
        out[self._free] = _towards(
            self.robot, self._free, _slowed(self.robot, self._free, action[self._free], speed), command
        )
        return out

    def _begin(self, actions: Array, index: int, start: Array, left: float) -> Array:
        """The rate the curve begins with; at another action it is shaped from `start` to it, for `left` of its time."""
        action = np.asarray(actions[index], float)
        known = self._action is not None and np.array_equal(action, self._action, equal_nan=True)
        if known and self._slope is not None:
            return self._slope
        first = (action - start) / left if self._slope is None else self._slope
        first, self._end = shaped(start, action, first, end_slopes(actions, index), left)
        self._slope, self._action = first, action
        return first

    def ahead(self, coming: Coming, share: float, command: Array, count: int, spacing: int, smooth: bool) -> Array:
        actions, index, phase = np.asarray(coming.actions, float), coming.index, coming.phase
        ends = np.arange(1.0, len(actions) - index + 1.0) - phase  # when each action is over, in actions from now
        times = np.arange(1, count + 1) * (spacing * share)
        times = times[times <= ends[-1] + 1e-6]
        which = np.minimum(np.searchsorted(ends, times - 1e-9), len(ends) - 1)
        knots = np.concatenate([np.asarray(command, float)[None], actions[index:]])
        starts = np.concatenate([[0.0], ends])
        span = np.maximum(starts[which + 1] - starts[which], 1e-9)
        part = ((times - starts[which]) / span)[:, None]
        a, b = knots[which], knots[which + 1]
        if smooth:
            begin, end = self._slope, end_slopes(actions, slice(index, None))
            if begin is None or self._action is None or not np.array_equal(actions[index], self._action):
                begin = (knots[1] - knots[0]) / max(ends[0], 1e-9) if begin is None else begin
                begin, first = shaped(knots[0], knots[1], begin, end[0], max(ends[0], 1e-9))
            else:
                first = self._end
            slopes = np.concatenate([[begin, first], end[1:]])
            wide = span[:, None]
            out = hermite(a, b, slopes[which] * wide, slopes[which + 1] * wide, part)[0]
        else:
            out = a + (b - a) * part
        out[:, self._free] = knots[0, self._free]
        return out

    def deflected(self, rate: Array | None) -> None:
        """A curve begins anew, with this rate."""
        self._slope, self._action = rate, None

    def copy(self) -> Absolute:
        return copy(self)  # its state is replaced, never changed


def action_space(robot: Embodiment) -> ActionSpace:
    """The action space of a robot's policies."""
    return EndEffectorDelta(robot) if robot.action_space == "ee_delta" else Absolute(robot)


def pieces(coming: Coming, amount: float) -> Iterator[tuple[int, float, float]]:
    """`amount` of action time from where the chunk is: (index of the action, part of it, its phase when the part begins); at
    the end of the chunk the last action goes on."""
    index, phase = coming.index, coming.phase
    while True:
        last = index >= len(coming.actions) - 1
        part = amount if last else min(amount, max(1.0 - phase, 0.0))
        if part > 1e-9 or amount <= 1e-9:
            yield index, part, phase
        amount -= part
        if amount <= 1e-9:
            return
        index, phase = index + 1, 0.0


@dataclass(frozen=True, slots=True)
class Parts:
    """The time of equal steps from where a chunk is, cut where an action ends too: the action of each part int[P], its length in
    the action's time float64[P], and the last part of each step int[k]."""

    index: Array
    length: Array
    last: Array

    @classmethod
    def of(cls, coming: Coming, count: int, step: float) -> Parts:
        """`count` ≥ 1 steps of action time; the last action goes on."""
        steps = np.arange(1, count + 1) * step
        ends = np.arange(1.0, len(coming.actions) - coming.index) - coming.phase
        cuts = np.sort(np.concatenate([steps, ends[(ends > 0.0) & (ends < steps[-1])]]))
        begins = np.concatenate([[0.0], cuts[:-1]])
        index = coming.index + np.searchsorted(ends, begins + 1e-9, side="right")
        return cls(index, cuts - begins, np.searchsorted(cuts, steps, side="right") - 1)


def _slowed(robot: Embodiment, which: Array, wanted: Array, speed: float) -> Array:
    """What is wanted of some channels, speeds scaled."""
    return np.where(robot.speeds[which], np.asarray(wanted) * speed, wanted)


def _towards(robot: Embodiment, which: Array, wanted: Array, command: Array) -> Array:
    """The commands of some channels a tick nearer to what is wanted, within their range and rate."""
    reach = robot.rates[which] / robot.control_rate
    inside = np.clip(wanted, robot.lower[which], robot.upper[which])
    return command[which] + np.clip(inside - command[which], -reach, reach)


def shorten(v: Array, length: float) -> Array:
    """v, or v scaled down to the given length."""
    n = float(np.linalg.norm(v))
    return np.asarray(v, float) * (length / n) if n > length else np.asarray(v, float)


def shortened(v: Array, length: float) -> Array:
    """`shorten` of every row of v [n, 3]."""
    v = np.asarray(v, float)
    n = np.sqrt((v * v).sum(axis=1, keepdims=True))
    return v * (length / np.maximum(n, length))


def recursion(kept: Array, gained: Array, start: Array) -> Array:
    """x[k] = kept[k]·x[k-1] + gained[k] with x[-1] = start [n], for all k at once: kept [K, 1], gained [K, n]. In ⌈log₂ K⌉ rounds,
    each of which lets a step reach back twice as far (Hillis and Steele 1986)."""
    kept, out = kept.copy(), gained.copy()
    out[0] += kept[0] * start
    back = 1
    while back < len(out):
        out[back:] += kept[back:] * out[:-back]
        kept[back:] *= kept[:-back]
        back *= 2
    return out
