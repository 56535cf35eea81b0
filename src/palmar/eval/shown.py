"""Has a policy shown a success rate? A test that is looked at after every batch of trials, with both errors bounded.

After each of K planned looks the exact bounds of Clopper and Pearson (1934) are taken at alpha / K each, one-sided. A policy whose
true rate is below `least` passes at any of the looks with probability at most alpha (Bonferroni), and one above fails so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, log

from palmar.errors import BadValue
from palmar.eval.stats import exact_upper


@dataclass(frozen=True)
class Shown:
    """passed: True the bound is shown, False it is shown to be missed, None the trials do not tell. low, high: one-sided bounds of
    the success rate, each at alpha / looks."""

    least: float
    successes: int
    n: int
    low: float
    high: float
    passed: bool | None

    def __str__(self) -> str:
        """ "19 of 20, at least 75.1 %: passed (70.0 % asked)" """
        word = {True: "passed", False: "missed", None: "cannot be told"}[self.passed]
        bound = f"at most {100 * self.high:.1f} %" if self.passed is False else f"at least {100 * self.low:.1f} %"
        return f"{self.successes} of {self.n}, {bound}: {word} ({100 * self.least:.1f} % asked)"


def shown(outcomes: Sequence[bool], least: float, looks: int, alpha: float = 0.05) -> Shown:
    """The verdict on the trials so far, at one of `looks` planned looks. Raises `BadValue` for a rate or level outside 0 … 1."""
    if not (0 < least < 1 and 0 < alpha < 1) or looks < 1:
        raise BadValue(
            f"least {least:g}, alpha {alpha:g}, {looks} looks; expected rates between 0 and 1, and a look or more. "
            "Next: 0.8 and 0.05"
        )
    n, good = len(outcomes), sum(map(bool, outcomes))
    if not n:
        return Shown(least, 0, 0, 0.0, 1.0, None)
    low, high = 1 - exact_upper(n - good, n, alpha / looks), exact_upper(good, n, alpha / looks)
    return Shown(least, good, n, low, high, True if low >= least else False if high < least else None)


def fewest(least: float, looks: int, alpha: float = 0.05) -> int:
    """Trials without a failure that show a rate at a look: least^n ≤ alpha / looks."""
    return ceil(log(alpha / looks) / log(least))
