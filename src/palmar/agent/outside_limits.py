"""How many commands were outside a robot's limits of position or speed, counted while it is driven."""

from __future__ import annotations

import numpy as np

from palmar.embodiments import Embodiment
from palmar.runtime.loop import Body, Subscriber, Tick
from palmar.types import Array, Observation


class OutsideLimits(Subscriber):
    """commands: that were sent. count: of those outside the limits of position or speed of a channel; 0 unless the guards fail."""

    def __init__(self, robot: Embodiment) -> None:
        self.count = self.commands = 0
        self._low = np.array([c.lower for c in robot.channels])
        self._high = np.array([c.upper for c in robot.channels])
        self._most = np.array([c.velocity for c in robot.channels]) / robot.control_rate
        self._last: Array | None = None

    def on_start(self, obs: Observation, body: Body) -> None:
        self._last = None

    def on_tick(self, tick: Tick) -> None:
        command = tick.verdict.command
        inside = (
            np.isfinite(command).all() and (command >= self._low - 1e-9).all() and (command <= self._high + 1e-9).all()
        )
        steady = self._last is None or bool((np.abs(command - self._last) <= 1.01 * self._most + 1e-9).all())
        self.commands, self.count, self._last = self.commands + 1, self.count + (not (inside and steady)), command
