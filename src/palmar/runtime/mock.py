"""A body without physics: every command is reached at once. For tests, and for timing the loop alone."""

from __future__ import annotations

import numpy as np

from palmar.embodiments import Embodiment
from palmar.types import Array, Observation


class MockBody:
    """Tracks commands perfectly; its time is the number of commands over the control rate.

    noise: pictures of seeded noise instead of black ones. commands: every float64[N] applied since the reset.
    """

    def __init__(self, robot: Embodiment, instruction: str = "", noise: bool = False) -> None:
        self.embodiment, self.instruction, self.noise = robot, instruction, noise
        self.reset()

    def reset(self, seed: int | None = None) -> Observation:
        self._rng = np.random.default_rng(seed)
        self._now = self.embodiment.home.copy()
        self._velocity = np.zeros(len(self._now))
        self.commands: list[Array] = []
        return self.observe()

    def observe(self, images: bool = True) -> Observation:
        robot = self.embodiment
        state = robot.state_from(self._now, self._velocity).astype(np.float32)
        pictures = {c.name: self._picture(c.height, c.width) for c in robot.cameras} if images else {}
        return Observation(pictures, state, self.instruction, len(self.commands) / robot.control_rate)

    def _picture(self, height: int, width: int) -> Array:
        if self.noise:
            return self._rng.integers(0, 256, (height, width, 3), np.uint8)
        return np.zeros((height, width, 3), np.uint8)

    def apply(self, command: Array) -> None:
        command = np.array(command, float)
        self._velocity = (command - self._now) * self.embodiment.control_rate
        self._now = command
        self.commands.append(command)

    def close(self) -> None:
        """Nothing to give back."""
