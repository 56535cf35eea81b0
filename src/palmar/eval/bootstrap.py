"""Means over episodes with 95 % intervals from resampled episodes: frames of one episode are no independent samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from palmar.types import Array

RESAMPLES = 2000


@dataclass(frozen=True)
class Estimate:
    """A mean over n episodes with its 95 % percentile bootstrap interval. value, low, high: None where there is nothing to
    measure; low and high also with one episode, which says nothing about others."""

    value: float | None
    low: float | None
    high: float | None
    n: int

    @property
    def known(self) -> bool:
        return self.value is not None

    def scaled(self, factor: float) -> Estimate:
        """In another unit. factor: above 0."""
        value, low, high = (None if x is None else x * factor for x in (self.value, self.low, self.high))
        return Estimate(value, low, high, self.n)

    def __str__(self) -> str:
        if self.value is None:
            return "–"
        return f"{self.value:.3g}" + ("" if self.low is None else f" [{self.low:.3g}, {self.high:.3g}]")

    @classmethod
    def from_dict(cls, d: dict[str, Any]) -> Estimate:
        return cls(d["value"], d["low"], d["high"], d["n"])


def resampled(episodes: int, seed: int = 0) -> Array:
    """float64[2000, E]: how often each of E episodes is drawn, rows summing to E. The same for the same E and seed, so that
    differences are paired."""
    rng = np.random.default_rng([seed, episodes])
    return rng.multinomial(episodes, np.full(episodes, 1 / episodes), RESAMPLES).astype(np.float64)


def means(values: Array, over: Array | None = None, seed: int = 0) -> list[Estimate]:
    """values: float64[E, K], one row an episode, NaN where an episode has none. over: float64[E]; then the mean of the values
    is divided by the mean of `over` (a change relative to what it changes). One estimate for each of K."""
    values = np.asarray(values, np.float64).reshape(len(values), -1)
    have = np.isfinite(values)
    bottom = have * (1.0 if over is None else np.asarray(over, np.float64)[:, None])
    top = np.where(have, values, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        centre = top.sum(0) / bottom.sum(0)
        drawn = resampled(len(values), seed) if len(values) else np.zeros((1, 0))
        spread = (drawn @ top) / (drawn @ bottom)
    out = []
    for k, value in enumerate(centre):
        n, column = int(have[:, k].sum()), spread[:, k][np.isfinite(spread[:, k])]
        if not np.isfinite(value):
            out.append(Estimate(None, None, None, n))
        elif n < 2:
            out.append(Estimate(float(value), None, None, n))
        else:
            low, high = np.quantile(column, [0.025, 0.975])
            out.append(Estimate(float(value), float(low), float(high), n))
    return out
