"""How bad may an episode look before an alarm: a functional split conformal threshold.

Successes that took no part in the fit say it. Each one's worst residual over its whole length is kept; an episode raises an
alarm when its residual is larger than all but a chosen share of them. Of new successes from the same distribution that share, at
most, ever raises an alarm (Vovk et al. 2005; as a band over time Diquigiovanni et al. 2022). The residual is the k-th largest
of the last n, so k-of-n is inside the guarantee and costs nothing of it.

The band is wide at first and narrows as 1/step up to the usual length of a success: a score early in an episode is made of few
chunks and says little. It does not narrow further, so that lateness alone never raises an alarm.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from palmar.errors import BadValue
from palmar.runtime.confidence.evidence import Usual
from palmar.types import Array

WARMUP = 5
"""Chunks before which there is no alarm: nothing can be compared yet."""


@dataclass(frozen=True)
class Band:
    """centre: float64[T], mean score of successes at each step. width: float64[T] > 0. Steps after T are compared with the
    last. worst: float64[C], sorted, each calibration success's largest residual. k, n: the residual of a step is the k-th
    largest of the last n."""

    centre: Array
    width: Array
    worst: Array
    k: int = 3
    n: int = 5

    def __post_init__(self) -> None:
        if not 1 <= self.k <= self.n:
            raise BadValue(f"k = {self.k} of n = {self.n}; expected 1 ≤ k ≤ n. Next: leave them at 3 of 5")

    @classmethod
    def fit(
        cls, shape: Array, shape_lengths: Array, calibration: Array, lengths: Array, k: int = 3, n: int = 5
    ) -> Band:
        """shape: float[F, T] scores of successes that give centre and width; calibration: float[C, T] scores of other
        successes, which give the threshold. lengths: int[F], int[C]. Raises `BadValue` when there is none of either."""
        if not len(shape) or not len(calibration):
            raise BadValue(
                f"{len(shape)} successes for the band and {len(calibration)} for its threshold; expected both. "
                "Next: keep some successes out of the fit"
            )
        usual = Usual.fit(shape[..., None], shape_lengths)
        centre, steps = usual.mean[:, 0], np.arange(1, len(usual.mean) + 1)
        width = float(np.median(usual.std)) * len(steps) / steps
        band = cls(centre, width, np.zeros(0), k, n)
        inside = np.arange(calibration.shape[1]) < lengths[:, None]
        worst = np.where(inside, band.residuals(calibration), -np.inf).max(1)
        return cls(centre, width, np.sort(worst), k, n)

    def raw(self, score: Array, step: int) -> Array:
        """float64[...]: how far a score is above the centre, in widths; -inf before `WARMUP`."""
        t = min(step, len(self.centre) - 1)
        z = (np.asarray(score, np.float64) - self.centre[t]) / self.width[t]
        return z if step >= WARMUP else np.full_like(z, -np.inf)

    def residuals(self, scores: Array) -> Array:
        """float64[N, T] of scores float[N, T]: at each step the k-th largest of the last n residuals."""
        z = np.stack([self.raw(scores[:, t], t) for t in range(scores.shape[1])], axis=1)
        padded = np.concatenate([np.full((len(z), self.n - 1), -np.inf), z], axis=1)
        last = np.lib.stride_tricks.sliding_window_view(padded, self.n, axis=1)
        return np.sort(last, axis=-1)[..., -self.k]

    def threshold(self, alpha: float) -> float:
        """The residual above which an episode raises an alarm, for a rate of false alarms `alpha` in 0 … 1 on new successes;
        inf when there are too few calibration successes to promise as little."""
        if not 0 < alpha < 1:
            raise BadValue(f"alpha is {alpha}; expected a rate of false alarms in (0, 1). Next: 0.1")
        rank = int(np.ceil((len(self.worst) + 1) * (1 - alpha)))
        return float(self.worst[rank - 1]) if rank <= len(self.worst) else float("inf")

    def confidence(self, residual: float) -> float:
        """0 … 1: the conformal p-value of a residual, the share of calibration successes that ever looked as bad (one added).
        It is ≤ alpha just when the residual is above `threshold(alpha)`."""
        worse = len(self.worst) - int(np.searchsorted(self.worst, residual, side="left"))
        return (1 + worse) / (1 + len(self.worst))


def alarm_steps(residuals: Array, lengths: Array, threshold: float) -> Array:
    """int[N]: the first step at which each episode raises an alarm; its length when it never does."""
    above = (residuals > threshold) & (np.arange(residuals.shape[1]) < lengths[:, None])
    return np.where(above.any(1), above.argmax(1), lengths)
