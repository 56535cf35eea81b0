"""From a policy's action to joint targets: one class an action space, both with the same verb.

A body always takes joint positions and a gripper opening; the action space is a matter of the policy.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from palmar.embodiments import Embodiment
from palmar.kinematics import matrix_to_rotvec, rotvec_to_matrix
from palmar.types import Array


class ActionSpace(Protocol):
    def reset(self, command: Array) -> None:
        """Start from the command [J+1] the robot now holds."""
        ...

    def target(self, action: Array, share: float, phase: float, command: Array) -> Array:
        """Joint targets and gripper opening [J+1] for one control tick.

        action: float32[A] the current action. share: part of it this tick carries out (tick length / dt).
        phase: part of it that is done when this tick ends, 0 … 1. command: what was last sent [J+1].
        """
        ...


class EndEffectorDelta:
    """[dx, dy, dz] [m], [drx, dry, drz] rotation vector [rad], both in the base frame, and the gripper opening 0 … 1.

    The reference pose integrates the deltas and is kept within `leash` metres and `twist` radians of where the arm was last
    commanded to be, so it cannot wind up while the arm is held back. Its velocity follows the action's through a first-
    order filter (`ease` of the difference a tick): the sum of the deltas is kept, the acceleration at the seams is not left
    to the limits.
    """

    def __init__(self, robot: Embodiment, leash: float = 0.03, ease: float = 0.2, twist: float = 0.2) -> None:
        self.robot, self.leash, self.ease, self.twist = robot, leash, ease, twist
        self.reset(np.append(robot.home, 1.0))

    def reset(self, command: Array) -> None:
        self._position, self._rotation = self.robot.chain.forward(command[:-1])
        self._move = np.zeros(3)

    def target(self, action: Array, share: float, phase: float, command: Array) -> Array:
        step, turn = self.robot.max_step
        # fmin / fmax would hide a NaN: it must reach the safety layer, so only finite actions are clipped.
        move, rotate = shorten(action[:3], step) * share, shorten(action[3:6], turn) * share
        if not np.all(np.isfinite(action)):
            return np.full(self.robot.command_width, np.nan)
        self._move = self._move + self.ease * (move - self._move)
        here, turned = self.robot.chain.forward(command[:-1])
        goal = here + shorten(self._position + self._move - here, self.leash)
        self._position = np.clip(goal, *self.robot.workspace)
        if np.any(rotate):
            self._rotation = rotvec_to_matrix(rotate) @ self._rotation
            ahead = matrix_to_rotvec(self._rotation @ turned.T)
            if np.linalg.norm(ahead) > self.twist:
                self._rotation = rotvec_to_matrix(shorten(ahead, self.twist)) @ turned
        q = self.robot.chain.step_towards(command[:-1], self._position, self._rotation, self.robot.home)
        reach = self.robot.gripper_velocity / self.robot.control_rate
        return np.append(q, command[-1] + np.clip(np.clip(action[6], 0.0, 1.0) - command[-1], -reach, reach))


class JointPosition:
    """Absolute joint angles [rad] and the gripper opening 0 … 1, reached in equal steps by the end of the action's time.

    Each tick takes its share of the way that is left from where the arm was last commanded to be: an action that comes in
    the middle of its time is reached by the end of it, without a jump.
    """

    def __init__(self, robot: Embodiment) -> None:
        self.robot = robot

    def reset(self, command: Array) -> None:
        """Nothing to remember: the command says where the arm is."""

    def target(self, action: Array, share: float, phase: float, command: Array) -> Array:
        action = np.asarray(action, float)
        left = max(1.0 - phase + share, share)  # part of the action's time when this tick begins
        blended = command + (action - command) * (share / left)
        reach = self.robot.gripper_velocity / self.robot.control_rate
        blended[-1] = command[-1] + np.clip(np.clip(action[-1], 0.0, 1.0) - command[-1], -reach, reach)
        return blended


def action_space(robot: Embodiment) -> ActionSpace:
    """The action space a robot's policies speak."""
    return EndEffectorDelta(robot) if robot.action_space == "ee_delta" else JointPosition(robot)


def shorten(v: Array, length: float) -> Array:
    """v, or v scaled down to the given length."""
    n = float(np.linalg.norm(v))
    return np.asarray(v, float) * (length / n) if n > length else np.asarray(v, float)
