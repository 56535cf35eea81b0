"""Statistics for success rates: intervals, paired comparison, and how many trials a question needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb, erf, lgamma, log, log1p, sqrt

import numpy as np

from palmar.errors import BadValue

Z95 = 1.959963984540054
TOLD = 0.05
"""Below this p a difference is told."""


@dataclass(frozen=True)
class Rate:
    """successes of n trials with the 95 % Wilson score interval (Wilson 1927; Brown, Cai, DasGupta 2001)."""

    successes: int
    n: int

    def __post_init__(self) -> None:
        if not 0 <= self.successes <= self.n:
            raise BadValue(f"{self.successes} successes of {self.n} trials; expected 0 ≤ successes ≤ trials")

    @property
    def value(self) -> float:
        return self.successes / self.n if self.n else float("nan")

    @property
    def interval(self) -> tuple[float, float]:
        if self.n == 0:
            return 0.0, 1.0
        p, n, z = self.value, self.n, Z95
        centre, half = p + z * z / (2 * n), z * sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        scale = 1 + z * z / n
        low = 0.0 if self.successes == 0 else max(0.0, (centre - half) / scale)
        high = 1.0 if self.successes == n else min(1.0, (centre + half) / scale)
        return low, high

    def __str__(self) -> str:
        """ "95.5 % [91.7, 97.6] (n=200)"; "–" of no trial."""
        if not self.n:
            return "–"
        low, high = self.interval
        return f"{100 * self.value:.1f} % [{100 * low:.1f}, {100 * high:.1f}] (n={self.n})"

    def to_dict(self) -> dict[str, float | None]:
        """For JSON, which has no NaN: the rate of no trial is None."""
        low, high = self.interval
        rate = self.value if self.n else None
        return {"successes": self.successes, "n": self.n, "rate": rate, "low": low, "high": high}


@dataclass(frozen=True)
class Paired:
    """Two policies on the same seeds. difference: rate of b minus rate of a, with a 95 % interval; p: exact McNemar."""

    n: int
    only_a: int
    only_b: int
    difference: float
    low: float
    high: float
    p: float

    @property
    def told(self) -> bool:
        """Whether so many trials tell the two apart."""
        return self.p < TOLD

    @property
    def verdict(self) -> str:
        if self.told:
            return "b is better" if self.difference > 0 else "a is better"
        return "cannot tell"


def points(x: float) -> str:
    """A difference of rates in percentage points."""
    return f"{100 * x:+.0f}".replace("-", "−")


def paired(a: Sequence[bool], b: Sequence[bool]) -> Paired:
    """Compare successes on the same seeds.

    Interval of the difference: Bonett and Price 2012 (adjusted Wald); p: exact two-sided McNemar test on discordant pairs.
    Raises `BadValue` when the lengths differ or there is nothing to compare.
    """
    if len(a) != len(b) or not a:
        raise BadValue(f"{len(a)} and {len(b)} trials; expected the same seeds, at least one")
    n = len(a)
    only_a = sum(x and not y for x, y in zip(a, b, strict=True))
    only_b = sum(y and not x for x, y in zip(a, b, strict=True))
    pa, pb = (only_a + 1) / (n + 2), (only_b + 1) / (n + 2)
    half = Z95 * sqrt((pa + pb - (pb - pa) ** 2) / (n + 2))
    m = only_a + only_b
    tail = sum(comb(m, k) for k in range(min(only_a, only_b) + 1)) / 2**m if m else 1.0
    low, high = max(-1.0, pb - pa - half), min(1.0, pb - pa + half)
    return Paired(n, only_a, only_b, (only_b - only_a) / n, low, high, min(1.0, 2 * tail))


def trials_needed(p_a: float, p_b: float, power: float = 0.8) -> int:
    """Trials of each policy to see the difference of two rates at the 5 % level (two-sided, unpaired, normal approximation)."""
    if not (0 <= p_a <= 1 and 0 <= p_b <= 1) or p_a == p_b:
        raise BadValue(f"rates {p_a} and {p_b}; expected two different numbers in 0 … 1")
    zb = quantile(power)
    mean = (p_a + p_b) / 2
    spread = Z95 * sqrt(2 * mean * (1 - mean)) + zb * sqrt(p_a * (1 - p_a) + p_b * (1 - p_b))
    return int(-(-(spread**2) // (p_a - p_b) ** 2))


def trials_to_tell(found: Paired, p_a: float, p_b: float) -> int | None:
    """`trials_needed` for two rates that `found` does not tell apart; None where it does, or where they are equal."""
    return None if found.told or p_a == p_b else trials_needed(p_a, p_b)


def exact_upper(found: int, n: int, alpha: float = 0.05) -> float:
    """Upper bound of a rate of which `found` of n were seen, wrong with probability at most alpha (Clopper and Pearson 1934); 1
    where all were. 1 less that of the failures is the lower bound of a success rate."""
    if not 0 <= found <= n or not 0 < alpha < 1:
        raise BadValue(
            f"{found} of {n}, alpha {alpha:g}; expected a count from 0 to all of them and alpha between 0 and 1. "
            "Next: counts of the same trials, and alpha 0.05"
        )
    if found == n:
        return 1.0
    ways = np.array([lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1) for k in range(found + 1)])
    k = np.arange(found + 1)
    low, high = found / n, 1.0
    for _ in range(60):
        q = (low + high) / 2
        below = np.exp(ways + k * log(q) + (n - k) * log1p(-q)).sum()
        low, high = (q, high) if below > alpha else (low, q)
    return high


def quantile(p: float) -> float:
    """Of the standard normal distribution, p in 0 … 1."""
    low, high = -8.0, 8.0
    for _ in range(80):
        mid = (low + high) / 2
        low, high = (mid, high) if 0.5 * (1 + erf(mid / sqrt(2))) < p else (low, mid)
    return (low + high) / 2
