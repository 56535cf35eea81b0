"""From a policy's action to a command: one class an action space, each with the same verb.

A body always takes absolute commands of its channels; the action space is a matter of the policy.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from palmar.embodiments import Embodiment, Frame
from palmar.kinematics import matrix_to_rotvec, rotvec_to_matrix
from palmar.types import Array


class ActionSpace(Protocol):
    def reset(self, command: Array) -> None:
        """Start from the command [N] the robot now holds."""
        ...

    def target(self, action: Array, share: float, phase: float, command: Array) -> Array:
        """The command [N] asked for at one control tick.

        action: float32[A] the current action. share: part of it this tick carries out (tick length / dt).
        phase: part of it that is done when this tick ends, 0 … 1. command: what was last sent [N].
        """
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
        step, turn = self.frame.max_step
        chain = self.frame.chain
        q = self.robot.positions(self.frame, command)
        move = shorten(action[:3], step) * share
        self._move = self._move + self.ease * (move - self._move)
        here, turned = chain.forward(q)
        self._position = here + shorten(self._position + self._move - here, self.leash)
        if self.frame.workspace is not None:
            self._position = np.clip(self._position, *self.frame.workspace)
        if not self.frame.rotates:
            return self.robot.commands(self.frame, chain.step_towards(q, self._position, None, self._home))
        rotate = shorten(action[3:6], turn) * share
        if np.any(rotate):
            self._rotation = rotvec_to_matrix(rotate) @ self._rotation
            ahead = matrix_to_rotvec(self._rotation @ turned.T)
            if np.linalg.norm(ahead) > self.twist:
                self._rotation = rotvec_to_matrix(shorten(ahead, self.twist)) @ turned
        return self.robot.commands(self.frame, chain.step_towards(q, self._position, self._rotation, self._home))


class Absolute:
    """Absolute commands of all channels. Joints are reached in equal steps by the end of the action's time; openings and
    speeds as fast as their limits allow.

    Each tick takes its share of the way that is left from where the robot was last commanded to be: an action that comes in
    the middle of its time is reached by the end of it, without a jump.
    """

    def __init__(self, robot: Embodiment) -> None:
        self.robot = robot
        self._free = np.flatnonzero(~robot.moves_joint)

    def reset(self, command: Array) -> None:
        """Nothing to remember: the command says where the robot is."""

    def target(self, action: Array, share: float, phase: float, command: Array) -> Array:
        action = np.asarray(action, float)
        left = max(1.0 - phase + share, share)  # part of the action's time when this tick begins
        blended = command + (action - command) * (share / left)
        blended[self._free] = _towards(self.robot, self._free, action[self._free], command)
        return blended


def action_space(robot: Embodiment) -> ActionSpace:
    """The action space of a robot's policies."""
    return EndEffectorDelta(robot) if robot.action_space == "ee_delta" else Absolute(robot)


def _towards(robot: Embodiment, which: Array, wanted: Array, command: Array) -> Array:
    """The commands of some channels a tick nearer to what is wanted, within their range and rate."""
    reach = robot.rates[which] / robot.control_rate
    inside = np.clip(wanted, robot.lower[which], robot.upper[which])
    return command[which] + np.clip(inside - command[which], -reach, reach)


def shorten(v: Array, length: float) -> Array:
    """v, or v scaled down to the given length."""
    n = float(np.linalg.norm(v))
    return np.asarray(v, float) * (length / n) if n > length else np.asarray(v, float)
