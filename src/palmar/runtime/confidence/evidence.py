"""What a detector looks at: signals over time, in forms that compare across tasks.

    signal → logarithm → mean since the start · recent mean · change since the start → less the mean of successes at that step

Everything is causal and incremental, and works on one episode [K] as on many at once [N, K]: the numbers on a robot are
those of the fit. The change since the start takes a task's own level away; the last step takes away that every
episode begins and ends alike, so that a score says more than how late it is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from palmar.errors import BadValue
from palmar.types import Array

FORMS = ("mean", "recent", "change")
MEMORY = 0.15  # weight of the newest value in the recent mean: about the last seven chunks
SETTLED = 8  # chunks whose mean is an episode's own level
CLIP = 4.0  # no single value may be worth more than this many standard deviations
FEW = 20  # successes still running that a mean needs; later steps are compared with the last that had as many


class Running:
    """Signals as they come → their forms. floor: float64[K] ≥ 0, added before the logarithm, in each signal's own unit."""

    def __init__(self, floor: Array) -> None:
        self.floor = floor
        self.reset()

    def reset(self) -> None:
        self._n = 0

    def add(self, values: Array) -> Array:
        """values: float[..., K], NaN where unknown (the last known value stays). Returns float64[..., len(FORMS)·K], form by
        form; NaN until a signal is first known."""
        if values.shape[-1] != len(self.floor):
            raise BadValue(
                f"{values.shape[-1]} signals; expected {len(self.floor)}. Next: those of the fit, in its order"
            )
        x = np.log(np.maximum(values, 0) + self.floor)
        if self._n == 0:
            self._last, self._recent = x, x
            self._sum, self._known, self._start, self._begun = (np.zeros_like(x) for _ in range(4))
        x = np.where(np.isfinite(x), x, self._last)
        known = np.isfinite(x)
        self._last, self._n = x, self._n + 1
        self._sum = self._sum + np.where(known, x, 0.0)
        self._known = self._known + known
        self._recent = np.where(np.isfinite(self._recent), self._recent + MEMORY * (x - self._recent), x)
        if self._n <= SETTLED:
            self._start, self._begun = self._sum, self._known
        with np.errstate(invalid="ignore", divide="ignore"):
            mean, start = self._sum / self._known, self._start / self._begun
        change = (self._recent - start) * min(1.0, self._n / SETTLED)
        return np.concatenate([mean, self._recent, change], axis=-1)


def forms(values: Array, floor: Array) -> Array:
    """values: float[N, T, K], NaN after an episode's end → float64[N, T, len(FORMS)·K], with what stands after an end
    meaningless."""
    running = Running(floor)
    return np.stack([running.add(values[:, t]) for t in range(values.shape[1])], axis=1)


@dataclass(frozen=True)
class Usual:
    """What successes look like at each step. mean, std: float64[T, M]; steps after T are compared with the last."""

    mean: Array
    std: Array

    @classmethod
    def fit(cls, values: Array, lengths: Array, reach: int = 4) -> Usual:
        """values: float[N, T, M] of successes. lengths: int[N]. reach: steps before and after that count with each step."""
        total, episodes = values.shape[1], len(values)
        running = (np.arange(total) < lengths[:, None]).sum(0)
        last = int(np.flatnonzero(running >= min(FEW, episodes))[-1]) + 1
        inside = (np.arange(total) < lengths[:, None])[..., None] & np.isfinite(values)
        x = np.where(inside, values, 0.0)
        n, s, q = (_window(part.sum(0), reach)[:last] for part in (inside.astype(float), x, x * x))
        n = np.maximum(n, 1.0)
        mean = s / n
        return cls(mean, np.sqrt(np.maximum(q / n - mean**2, 1e-8)))

    def normal(self, values: Array, step: int) -> Array:
        """values: float[..., M] at one step, in standard deviations of successes, clipped to ±`CLIP`; 0 where unknown."""
        t = min(step, len(self.mean) - 1)
        return np.clip(np.nan_to_num((values - self.mean[t]) / self.std[t], nan=0.0), -CLIP, CLIP)

    def normal_all(self, values: Array) -> Array:
        """values: float[N, T, M], all steps at once."""
        t = np.minimum(np.arange(values.shape[1]), len(self.mean) - 1)
        return np.clip(np.nan_to_num((values - self.mean[t]) / self.std[t], nan=0.0), -CLIP, CLIP)


def _window(x: Array, reach: int) -> Array:
    """Sums over up to `reach` rows before and after each row."""
    total = np.concatenate([np.zeros((1, *x.shape[1:])), np.cumsum(x, 0)])
    t = np.arange(len(x))
    return total[np.minimum(t + reach + 1, len(x))] - total[np.maximum(t - reach, 0)]
