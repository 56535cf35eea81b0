"""From commands of channels to a model's controls, and from its joints back to what the channels measure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from palmar.embodiments import Embodiment
from palmar.errors import BadValue
from palmar.links import Mechanics, Servo
from palmar.types import Array

STRIBECK = 0.05  # speed at which most of the friction of rest is gone [rad/s]


class Actuators:
    """The channels of a robot in a compiled model.

    moving: int64[M] channels that move joints. scale: float64[N], joint position [rad], [m] (or speed) a unit of the channel.
    zeros: float64[M'] what the encoders of the channels that turn joints read too much, in their order [rad]; 0 for the rest.
    """

    def __init__(self, robot: Embodiment, mechanics: Mechanics, model: Any, zeros: Sequence[float] = ()) -> None:
        self.robot = robot
        self.servos: dict[str, Servo] = {s.channel: s for s in mechanics.servos}
        self._sliding = {j.name for link in mechanics.links for j in link.joints if j.slides}
        driven = {d.channel for d in mechanics.drives}
        if lost := [c.name for c in robot.channels if c.name not in self.servos and c.name not in driven]:
            raise BadValue(
                f"nothing drives channel '{lost[0]}' of {robot.name}; expected a servo or a drive of its name. "
                "Next: add one to the scene"
            )
        self.moving = np.flatnonzero(robot.moves_joint)
        pairs = [self._conversion(i) for i in range(len(robot.channels))]
        self.scale, self.offset = np.array([p[0] for p in pairs]), np.array([p[1] for p in pairs])
        turning = [i for i in self.moving if robot.channels[i].kind != "prismatic"]
        for i, zero in zip(turning, zeros, strict=False):
            self.offset[i] -= zero  # who reads too much stops short
        moving = [self.servos[c.name] for c in robot.channels if c.moves_joint and c.name in self.servos]
        self._dry = np.array([int(model.joint(j).dofadr[0]) for s in moving for j in s.joints], int)
        self._force = np.array([s.force for s in moving for _ in s.joints])
        self._friction = model.dof_frictionloss[self._dry].copy()
        self._ctrl = np.array([model.actuator(c.name).id for c in robot.channels])
        self._joints = [
            [(int(model.joint(j).qposadr[0]), int(model.joint(j).dofadr[0])) for j in self.servos[c.name].joints]
            if c.name in self.servos
            else []
            for c in robot.channels
        ]

    def _conversion(self, i: int) -> tuple[float, float]:
        """(scale, offset): joint position or speed = scale · command + offset."""
        channel = self.robot.channels[i]
        servo = self.servos.get(channel.name)
        if servo is None or servo.travel is None:
            return channel.to_si
        scale = (servo.travel[1] - servo.travel[0]) / (channel.upper - channel.lower)
        return scale, servo.travel[0] - scale * channel.lower

    def send(self, data: Any, command: Array) -> None:
        """Set the controls to a command float64[N]."""
        data.ctrl[self._ctrl] = command * self.scale + self.offset

    def stick(self, model: Any, data: Any, share: float) -> None:
        """Set the dry friction of the joints at their present speed v: beside Coulomb's, share · force · exp(-(v / 0.05)²) as
        of a joint that is about to rest (Stribeck; Armstrong-Hélouvry et al. 1994)."""
        if share:
            speed = data.qvel[self._dry] / STRIBECK
            model.dof_frictionloss[self._dry] = self._friction + share * self._force * np.exp(-speed * speed)

    def put(self, data: Any, command: Array) -> None:
        """Put the joints where a command float64[N] would have them."""
        positions = command * self.scale + self.offset
        for joints, position in zip(self._joints, positions, strict=True):
            for at, _ in joints:
                data.qpos[at] = position

    def measured(self, data: Any) -> tuple[Array, Array, Array]:
        """Position, change a second, and force [N·m] or [N] of every channel, float64[N] each, in its unit; of a channel that
        takes speeds the position is its speed."""
        position, velocity = np.zeros(len(self._joints)), np.zeros(len(self._joints))
        for i, joints in enumerate(self._joints):
            if joints:
                position[i] = np.mean([data.qpos[at] for at, _ in joints])
                velocity[i] = np.mean([data.qvel[at] for _, at in joints]) / self.scale[i]
            else:
                position[i] = data.actuator_velocity[self._ctrl[i]]
        return (position - self.offset) / self.scale, velocity, data.actuator_force[self._ctrl].copy()

    def opening(self, data: Any, channel: str) -> float:
        """Of a gripper, 0 closed … 1 open."""
        i = self.robot.index(channel)
        c = self.robot.channels[i]
        return float((self.measured(data)[0][i] - c.lower) / (c.upper - c.lower))

    def width(self, channel: str) -> float:
        """Between the pads of an open gripper [m]: as its servo says, or of fingers that slide, the sum of their ways.

        Raises `BadValue` for jaws that turn where the robot's mechanics do not say it, and for a channel without a servo.
        """
        servo = self.servos.get(channel)
        if servo is not None and servo.width is not None:
            return servo.width
        if servo is None or not all(j in self._sliding for j in servo.joints):
            raise BadValue(
                f"how wide gripper '{channel}' of {self.robot.name} opens is not known; expected joints that slide, or "
                "a width. Next: Servo(…, width=METRES) in its mechanics"
            )
        i = self.robot.index(channel)
        channel_width = self.robot.channels[i].upper - self.robot.channels[i].lower
        return len(servo.joints) * abs(float(self.scale[i])) * channel_width
