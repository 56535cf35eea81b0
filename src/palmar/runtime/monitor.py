"""What watches a rollout: whether it is finished, how smooth it was, and what the guards changed."""

from __future__ import annotations

from collections import Counter

import numpy as np

from palmar.runtime.loop import Body, Subscriber, Tick
from palmar.types import ActionChunk, Array, Observation

SURE = 0.6  # probability from which a policy that says "done" is believed


class Finished:
    """Completion detection, asked at every policy step: the policy has said "done" in `times` chunks running, of those that say
    anything of it."""

    def __init__(self, threshold: float = SURE, times: int = 2) -> None:
        self.threshold, self.times, self.count = threshold, times, 0
        self._last: float | None = None

    def __call__(self, obs: Observation, chunk: ActionChunk | None) -> bool:
        if chunk is not None and chunk.t0 != self._last and chunk.done is not None:
            self._last = chunk.t0
            self.count = self.count + 1 if chunk.done > self.threshold else 0
        return self.count >= self.times


class Smoothness(Subscriber):
    """How smoothly the robot was commanded to move."""

    def on_start(self, obs: Observation, body: Body) -> None:
        self._robot = body.embodiment
        self._joints: list[Array] = []
        self._seams: list[float] = []

    def on_tick(self, tick: Tick) -> None:
        self._joints.append(tick.verdict.command)
        if tick.new_chunk:
            self._seams.append(tick.seam)

    def report(self) -> dict[str, float]:
        """jerk_rms, jerk_max: third difference of the commanded position of the first frame [m/s³], or of all joint channels
        where the robot has no frame [unit/s³]. seam_mean, seam_max: jump of the action where chunks meet, in action units;
        the first chunk has no seam. All 0 for a rollout too short to tell.
        """
        commands = np.array(self._joints) if len(self._joints) > 3 else np.zeros((4, len(self._robot.channels)))
        if self._robot.frames and len(self._joints) > 3:
            path = self._robot.pose(self._robot.frame(), commands)[0]
        else:
            path = commands[:, self._robot.moves_joint]
        jerk = np.linalg.norm(np.diff(path, n=3, axis=0), axis=1) * self._robot.control_rate**3
        seams = np.array(self._seams[1:] or [0.0])
        return {
            "jerk_rms": float(np.sqrt(np.mean(jerk**2))),
            "jerk_max": float(jerk.max()),
            "seam_mean": float(seams.mean()),
            "seam_max": float(seams.max()),
        }


class SafetyCounts(Subscriber):
    """counts: {guard: commands it changed} in this rollout. changed: commands changed by any. checked: all commands."""

    def on_start(self, obs: Observation, body: Body) -> None:
        self.counts: Counter[str] = Counter()
        self.checked = self.changed = 0

    def on_tick(self, tick: Tick) -> None:
        self.checked += 1
        if tick.verdict.reasons:
            self.changed += 1
            self.counts.update(reason.guard for reason in tick.verdict.reasons)
