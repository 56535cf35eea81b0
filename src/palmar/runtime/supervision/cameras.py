"""Cameras that no longer show what is there: none, a black picture, or one that stays the same while the robot moves."""

from __future__ import annotations

import numpy as np

from palmar.runtime.loop import Body, Subscriber, Tick
from palmar.runtime.supervision.controller import Controller
from palmar.types import Array, Observation

EVERY = 4
"""Pixels are compared on a grid of this spacing."""
MOVED = 0.02
"""A robot has moved when a channel's measured value has changed by this share of its range."""
BLACK = 2
"""A picture with no value above this is black."""


class CameraWatch(Subscriber):
    """Holds the robot when a camera's picture stays bit for bit the same for `frozen` seconds in which the robot moved, or is
    black or missing for as long. A real picture never is the same twice: its noise differs.

    A camera that has been black or the same from the start is told as well.
    """

    def __init__(self, controller: Controller, frozen: float = 1.0) -> None:
        self.controller, self.frozen = controller, frozen

    def on_start(self, obs: Observation, body: Body) -> None:
        self._robot = body.embodiment
        self._widths = MOVED * self._robot.widths
        self._same: dict[str, tuple[Array, float, Array]] = {}  # picture, since when, where the robot was then
        self._black: dict[str, float] = {}
        self._missing: dict[str, float] = {}
        self._look(obs, obs.time)

    def on_tick(self, tick: Tick) -> None:
        if tick.looked:
            self._look(tick.observation, tick.time)

    def _look(self, obs: Observation, now: float) -> None:
        measured = self._robot.measured(obs.state)
        for camera in self._robot.cameras:
            if camera.name in obs.images:
                self._missing.pop(camera.name, None)
            elif now - self._missing.setdefault(camera.name, now) > self.frozen:
                self.controller.hold(f"camera {camera.name} no picture for more than {self.frozen:g} s", "camera")
        for name, image in obs.images.items():
            seen = image[::EVERY, ::EVERY]
            if not seen.size or seen.max() > BLACK:
                self._black.pop(name, None)
            elif now - self._black.setdefault(name, now) > self.frozen:
                self.controller.hold(f"camera {name} black for more than {self.frozen:g} s", "camera")
            before = self._same.get(name)
            if before is None or before[0].shape != seen.shape or not np.array_equal(before[0], seen):
                self._same[name] = seen.copy(), now, measured
            elif now - before[1] > self.frozen and bool((np.abs(measured - before[2]) > self._widths).any()):
                self.controller.hold(
                    f"camera {name} frozen: the same picture for {now - before[1]:.1f} > {self.frozen:g} s while the robot moved",
                    "camera",
                )
