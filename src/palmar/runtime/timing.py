"""How well the loop keeps time."""

from __future__ import annotations

import time

import numpy as np

from palmar.runtime.loop import Body, Subscriber, Tick
from palmar.types import Array, Observation

SLACK = 0.002
"""A tick that begins later than this counts as late [s]."""


class Timing(Subscriber):
    """How well the loop kept time. slack: as `SLACK`."""

    def __init__(self, slack: float = SLACK) -> None:
        self.slack = slack

    def on_start(self, obs: Observation, body: Body) -> None:
        self._tick_time = 1.0 / body.embodiment.control_rate
        self._began: list[float] = []
        self._late: list[float] = []
        self._took: list[float] = []
        self._latency: list[float] = []
        self._speeds: list[float] = []
        self._dropped = 0

    def on_tick(self, tick: Tick) -> None:
        self._began.append(time.perf_counter() - tick.took)
        self._late.append(tick.late)
        self._took.append(tick.took)
        if tick.acting:
            self._speeds.append(tick.speed)
        if tick.new_chunk and tick.chunk is not None:
            self._latency.append(tick.latency)
            self._dropped += max(int((tick.time - tick.chunk.t0) / tick.chunk.dt + 1e-6), 0)

    def report(self) -> dict[str, float]:
        """Milliseconds, and counts: ticks, late_ticks, chunks, late_steps (over before they came, so dropped).

        slowed: share of ticks, 0 … 1, in which a chunk was followed below its own speed; speed: its mean, 0 … 1.
        period: between beginnings of ticks. jitter: how far it is from 1 / control rate. took: work of a tick.
        """
        period = np.diff(self._began) if len(self._began) > 1 else np.array([self._tick_time])
        return {
            **_summary("period", period),
            **_summary("jitter", np.abs(period - self._tick_time)),
            **_summary("took", np.array(self._took or [0.0])),
            **_summary("latency", np.array(self._latency or [0.0])),
            "ticks": len(self._late),
            "late_ticks": int(np.sum(np.array(self._late) > self.slack)),
            "chunks": len(self._latency),
            "late_steps": self._dropped,
            "slowed": float(np.mean(np.array(self._speeds or [1.0]) < 1.0)),
            "speed": float(np.mean(self._speeds or [1.0])),
        }


def _summary(name: str, seconds: Array) -> dict[str, float]:
    p50, p99, worst = np.percentile(seconds, [50, 99, 100]) * 1e3
    return {f"{name}_p50": float(p50), f"{name}_p99": float(p99), f"{name}_max": float(worst)}
