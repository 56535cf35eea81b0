"""A person at a teleoperator of the `lerobot` package as a policy: what the leader's joints measure is what the robot is to do."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

import numpy as np

from palmar.embodiments import Embodiment
from palmar.errors import BadValue, RobotFault
from palmar.runtime.bodies.lerobot_device import answered, asked, connect, make, said
from palmar.runtime.bodies.lerobot_numbers import joined, numbers
from palmar.types import ActionChunk, Array, Observation, Prefix

APPROACH = 2.0
"""Time in which the robot comes from where it is to where the leader is, when a person begins [s]."""
HELD = 0.5
"""How long the newest position is held where the next does not come [s]: the length of a chunk, whose actions are all alike."""


class Leader:
    """The teleoperator that `where` names, connected and calibrated, for a robot in the action space of its channels.

    Its numbers are joined to the channels by name, or as `names` {leader's: robot's} says, converted to their units, and clipped to
    their range. In the first seconds of an episode (`APPROACH`) the robot is led from where it stands to where the leader is.

    lost: why it cannot be read any more, None while it can; `act` then raises that. Raises `BadValue` where names or units do not
    fit, or where it is not calibrated, `RobotFault` where it cannot be connected.
    """

    def __init__(self, where: str, robot: Embodiment, names: Mapping[str, str] | None = None) -> None:
        wanted = asked(where)
        self.where, self.robot = wanted.name, robot.with_action_space("channels")
        self.interface = self.robot.interface(max(round(HELD * robot.policy_rate), 2))
        self.lost: RobotFault | None = None
        self._start: tuple[float, Array] | None = None
        self.device = make(wanted, "teleoperators")
        units = numbers(self.device, self.device.action_features, wanted)
        if not units:
            raise BadValue(
                f"'{self.where}' gives {', '.join(self.device.action_features) or 'nothing'}; expected one number for each "
                f"channel of {robot.name}. Next: a leader arm, or --teleop keys"
            )
        self._joined = joined(self.where, units, robot, names)
        connect(self.device, wanted, self.where, "teleop", self.close)

    def reset(self) -> None:
        self._start = None

    def act(self, obs: Observation, prefix: Prefix | None = None) -> ActionChunk:
        try:
            read = answered(self.device, self.device.get_action)
        except Exception as error:
            self.lost = RobotFault(
                f"'{self.where}' does not answer: {said(error)}. Next: its cable and power, then start again"
            )
            raise self.lost from error
        try:
            led = np.clip(self._joined.values(read, f"'{self.where}'"), self.robot.lower, self.robot.upper)
        except RobotFault as fault:
            self.lost = fault
            raise
        if self._start is None:
            measured = self.robot.measured(obs.state)
            self._start = obs.time, np.where(np.isfinite(measured), measured, led)
        began, place = self._start
        share = min((obs.time - began) / APPROACH, 1.0)
        action = place + share * share * (3 - 2 * share) * self.robot.difference(led, place)
        return ActionChunk(
            np.tile(action, (self.interface.horizon, 1)).astype(np.float32),
            1.0 / self.robot.policy_rate,
            obs.time,
            execute=1,
        )

    def close(self) -> None:
        """Let go of it; what lerobot raises then changes nothing."""
        with suppress(Exception):
            self.device.disconnect()
            return
        with suppress(Exception):
            self.device.bus.disconnect()
