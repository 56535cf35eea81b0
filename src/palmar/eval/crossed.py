"""A mean over several trainings and several tables, with an interval that covers chance of both.

Every training is tried on every table: trials of one training share its luck, and trials on one table share how hard it is. The
model is x[t, u] = mean + training[t] + table[u] + rest[t, u], each with a spread of its own. The variance of the mean comes from
the mean squares of a two-way layout without replication, its degrees of freedom from Satterthwaite (1946, Biometrics Bulletin 2),
and the interval from Student's t. With three trainings it is wide where trainings differ: three say little of a fourth.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt

import numpy as np

from palmar.errors import BadValue
from palmar.eval.stats import Z95
from palmar.types import Array


@dataclass(frozen=True)
class Crossed:
    """A mean with its 95 % interval: a success rate (0 … 1), or a difference of two (-1 … 1). n: how many trials."""

    value: float
    low: float
    high: float
    trainings: int
    tables: int

    @property
    def difference(self) -> float:
        """The mean, where it is one of differences."""
        return self.value

    @property
    def interval(self) -> tuple[float, float]:
        return self.low, self.high

    @property
    def n(self) -> int:
        return self.trainings * self.tables

    def __str__(self) -> str:
        """ "50.0 % [40.1, 59.9] (3 × 100)" """
        share = f"{100 * self.value:.1f} % [{100 * self.low:.1f}, {100 * self.high:.1f}]"
        return f"{share} ({self.trainings} × {self.tables})"


def crossed(values: Array, least: float = -1.0) -> Crossed:
    """The mean of float[T, U], one row a training and one column a table, T and U ≥ 2. least: lower end of what a mean can be; the
    upper is 1.

    The interval is never narrower than one over the tables alone, nor than that of trials without a difference (Bonett and Price
    2012). Raises `BadValue` for fewer than two rows or columns, and for values that are not finite.
    """
    x = np.asarray(values, np.float64)
    if x.ndim != 2 or min(x.shape) < 2 or not np.isfinite(x).all():
        raise BadValue(
            f"values of shape {x.shape}; expected finite numbers of two or more trainings on two or more tables. "
            "Next: train with another seed"
        )
    t, u = x.shape
    mean, by_training, by_table = float(x.mean()), x.mean(1), x.mean(0)
    rest = x - by_training[:, None] - by_table + mean
    free = np.array([t - 1, u - 1, (t - 1) * (u - 1)], float)
    squares = np.array([u * ((by_training - mean) ** 2).sum(), t * ((by_table - mean) ** 2).sum(), (rest**2).sum()])
    trainings, tables, neither = squares / free
    spread = max(trainings + tables - neither, tables)
    degrees = spread**2 / float((np.array([trainings, tables, neither]) ** 2 / free).sum() or 1.0)
    half = student(float(np.clip(degrees, 1.0, free[2]))) * sqrt(spread / (t * u))
    half = max(half, Z95 * sqrt(2) / (u + 2))
    return Crossed(mean, max(least, mean - half), min(1.0, mean + half), t, u)


def rate(found: Mapping[str, bool]) -> Crossed:
    """Success. found: {TRAINING/TABLE: success}, every training on every table. Raises what `crossed` and `grid` do."""
    return crossed(grid(found), 0.0)


def gained(a: Mapping[str, bool], b: Mapping[str, bool]) -> Crossed:
    """Success of b less that of a on the same trainings and tables, as `rate`. Raises `BadValue` where they are not the same."""
    if a.keys() != b.keys():
        raise BadValue(
            f"{len(a)} and {len(b)} trials, {len(a.keys() & b.keys())} of them shared; expected the same trainings and tables. "
            "Next: try both on the same"
        )
    return crossed(grid(b) - grid(a))


def grid(found: Mapping[str, bool]) -> Array:
    """float64[T, U] of {TRAINING/TABLE: success}; the table's name may hold more "/". Raises `BadValue` where one is missing."""
    pairs = [key.partition("/")[::2] for key in found]
    rows, columns = (list(dict.fromkeys(names)) for names in zip(*pairs, strict=True)) if pairs else ([], [])
    missing = [f"{row}/{column}" for row in rows for column in columns if f"{row}/{column}" not in found]
    if missing:
        raise BadValue(
            f"no trial '{missing[0]}' ({len(missing)} of {len(rows) * len(columns)} missing); expected every training on every "
            "table. Next: try it"
        )
    return np.array([[found[f"{row}/{column}"] for column in columns] for row in rows], np.float64).reshape(
        len(rows), len(columns)
    )


def student(degrees: float, p: float = 0.975) -> float:
    """Quantile of Student's t, degrees of freedom ≥ 1, p in 0.5 … 1: t = √degrees · tan θ has density ∝ cos(θ)^(degrees - 1)."""
    angle = np.linspace(0.0, np.pi / 2, 8001)
    density = np.cos(angle) ** (degrees - 1)
    total = np.concatenate([[0.0], np.cumsum(density[1:] + density[:-1])])
    return float(np.sqrt(degrees) * np.tan(np.interp(2 * p - 1, total / total[-1], angle)))
