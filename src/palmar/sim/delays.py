"""Commands on their way to the joints, and pictures on their way to the program: late, uneven, lost, blunted."""

from __future__ import annotations

import math
from collections import deque

import numpy as np

from palmar.embodiments import Embodiment
from palmar.sim.params import WorldParams
from palmar.types import Array

BANDS = 2
"""Stripes of a picture that a rolling shutter takes one after another."""


class Commands:
    """What becomes of commands float64[N] before the servos get them.

    Each arrives `action_delay` ticks later, and up to `action_jitter` more, drawn anew for each; one that a later one
    overtakes is lost. The channels that move joints then follow no faster than `rate_limit` of their speed, with the time
    constant `servo_lag`; joints that turn follow through the play `backlash`: they stay until it is used up.
    scale: joint position a unit of each channel, float64[N].
    """

    def __init__(
        self, robot: Embodiment, params: WorldParams, scale: Array, start: Array, rng: np.random.Generator
    ) -> None:
        self._rng, self._tick = rng, 0
        self._delay, self._jitter = round(params["action_delay"]), params["action_jitter"]
        self._waiting: deque[tuple[int, Array]] = deque()
        self._arrived = start.copy()  # what the servos are asked for
        self._reached, self._out = start.copy(), start.copy()  # after rate and lag; after the play
        moving = robot.moves_joint
        rate = params["rate_limit"]
        speed = np.array([c.velocity for c in robot.channels]) / robot.control_rate
        self._step = np.where(moving, speed * rate, np.inf) if rate < 1.0 else None
        lag = params["servo_lag"]
        self._share = np.where(moving, 1.0 - math.exp(-1.0 / (robot.control_rate * lag)), 1.0) if lag else None
        turning = moving & np.array([c.kind != "prismatic" for c in robot.channels])
        play = np.deg2rad(params["backlash"]) / np.maximum(np.abs(scale), 1e-12) / 2
        self._play = np.where(turning, play, 0.0) if params["backlash"] else None

    def __call__(self, command: Array) -> Array:
        """The command that acts during this tick, after one more was sent."""
        extra = round(self._rng.uniform(0, self._jitter)) if self._jitter else 0
        self._waiting.append((self._tick + self._delay + extra, command))
        arrived = [k for k, (due, _) in enumerate(self._waiting) if due <= self._tick]
        if arrived:  # the newest that is there; those sent before it come too late
            self._arrived = self._waiting[arrived[-1]][1]
            for _ in range(arrived[-1] + 1):
                self._waiting.popleft()
        self._tick += 1
        wanted = self._arrived
        if self._step is not None:
            wanted = np.clip(wanted, self._reached - self._step, self._reached + self._step)
        if self._share is not None:
            wanted = self._reached + self._share * (wanted - self._reached)
        self._reached = wanted
        if self._play is not None:
            wanted = np.clip(self._out, wanted - self._play, wanted + self._play)
        self._out = wanted
        return wanted


class Frames:
    """Which moment the cameras show: `image_latency` ticks ago, up to `image_jitter` more, drawn at each tick; a tick whose
    picture is lost (`frame_drop`) shows the one before. A rolling shutter takes the rows of a picture one after another.

    Keeps joint positions float64[nq], newest last.
    """

    def __init__(self, params: WorldParams, control_rate: float, start: Array, rng: np.random.Generator) -> None:
        self._rng, self._drop = rng, params["frame_drop"]
        self._latency, self._jitter = round(params["image_latency"]), params["image_jitter"]
        self._roll = params["rolling_shutter"] * control_rate  # [ticks]
        length = self._latency + math.ceil(self._jitter) + math.ceil(self._roll) + 2
        self._kept: deque[Array] = deque([start], maxlen=length)
        self._late, self.live = self._latency, True

    def push(self, positions: Array) -> None:
        """A tick went by."""
        lost = bool(self._drop) and self._rng.uniform() < self._drop
        self._kept.append(self._kept[-1] if lost else positions)
        if self._jitter:
            self._late = self._latency + round(self._rng.uniform(0, self._jitter))
        self.live = not (self._late or lost or self._roll)
        """Whether the picture shows the present moment alone."""

    def shown(self) -> list[Array]:
        """Joint positions of the stripes of a picture from top to bottom: one without a rolling shutter, or when all was still."""
        if not self._roll:
            return [self._before(self._late)]
        ends = self._before(self._late + self._roll), self._before(self._late)
        if np.abs(ends[1] - ends[0]).max() < 1e-4:
            return [ends[1]]
        return [self._before(self._late + self._roll * (1 - (k + 0.5) / BANDS)) for k in range(BANDS)]

    def _before(self, ticks: float) -> Array:
        """Positions so many ticks ago, the oldest kept at most; between two ticks a blend."""
        ticks = min(ticks, len(self._kept) - 1)
        whole = int(ticks)
        newer = self._kept[-1 - whole]
        part = ticks - whole
        return newer if not part else (1 - part) * newer + part * self._kept[-2 - whole]
