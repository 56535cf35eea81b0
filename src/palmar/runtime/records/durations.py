"""How often each duration came, in a few numbers: shares and percentiles of any number of runs together."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping

from palmar.errors import BadValue

LEAST = 1e-6
WIDTH = math.log(1.05)


class Durations:
    """Counts in buckets that are 5 % wide from 1 µs on: a percentile is within 2.5 % of the exact one."""

    def __init__(self, counts: Mapping[int, int] | None = None) -> None:
        self.counts: Counter[int] = Counter(counts or {})

    def add(self, seconds: float) -> None:
        self.counts[0 if seconds <= LEAST else int(math.log(seconds / LEAST) / WIDTH)] += 1

    @classmethod
    def together(cls, parts: Iterable[Durations]) -> Durations:
        made = cls()
        for part in parts:
            made.counts.update(part.counts)
        return made

    @property
    def n(self) -> int:
        return sum(self.counts.values())

    def over(self, bound: float) -> int:
        """How many were longer than `bound` [s], by the middle of their bucket."""
        return sum(n for i, n in self.counts.items() if _middle(i) > bound)

    def percentile(self, p: float) -> float:
        """In seconds, p in 0 … 100; NaN of none."""
        n, seen = self.n, 0
        for i in sorted(self.counts):
            seen += self.counts[i]
            if seen >= p / 100 * n:
                return _middle(i)
        return math.nan

    def values(self) -> list[tuple[float, int]]:
        """(middle of the bucket [s], how many), shortest first."""
        return [(_middle(i), self.counts[i]) for i in sorted(self.counts)]

    def to_dict(self) -> dict[str, int]:
        return {str(i): n for i, n in sorted(self.counts.items())}

    @classmethod
    def from_dict(cls, raw: Mapping[str, int]) -> Durations:
        """Raises `BadValue` for what `to_dict` does not make."""
        try:
            counts = {int(i): n for i, n in raw.items()}
        except (ValueError, AttributeError) as error:
            raise BadValue(f"{raw!r:.80} holds no counts of durations. Next: what to_dict makes") from error
        if any(not isinstance(n, int) or n < 0 or not 0 <= i < 1000 for i, n in counts.items()):
            raise BadValue(f"{raw!r:.80} holds no counts of durations. Next: what to_dict makes")
        return cls(counts)


def _middle(i: int) -> float:
    return LEAST * math.exp((i + 0.5) * WIDTH)
