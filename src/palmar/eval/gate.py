"""May a new version of a policy replace the one before? Paired trials on held-out tables, and a rule with intervals.

    old tables: one-sided lower bound of the change ≥ −margin    (non-inferiority)
    new tables: one-sided lower bound of the change > 0          (superiority)

Both must hold. Without held-out trials of either kind the answer is no: nothing is known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, log, log1p, sqrt
from typing import Any

from palmar.errors import BadValue
from palmar.eval.stats import exact_upper, paired, quantile
from palmar.types import Reason


@dataclass(frozen=True)
class GateConfig:
    """What a version has to show. margin: largest loss of success on old tables, 0 … 1. level: of each one-sided bound.
    least: fewest paired trials of each kind."""

    margin: float = 0.02
    level: float = 0.95
    least: int = 20

    def __post_init__(self) -> None:
        if not 0 <= self.margin < 1 or not 0.5 < self.level < 1 or self.least < 1:
            raise BadValue(
                f"{self}; expected margin 0 … below 1, level above 0.5 and below 1, least ≥ 1. Next: 0.02, 0.95 and 20"
            )


@dataclass(frozen=True)
class Change:
    """Before against after on the same tables. lost, gained: tables that only one succeeds on. low: one-sided lower bound of
    `difference`, the success rate after minus before."""

    n: int
    before: int
    after: int
    lost: int
    gained: int
    difference: float
    low: float

    def __str__(self) -> str:
        """ "36.0 % → 81.0 % (+45.0 points, at least +35.8; n=100)" """
        if not self.n:
            return "no trials"
        a, b = 100 * self.before / self.n, 100 * self.after / self.n
        return (
            f"{a:.1f} % → {b:.1f} % ({100 * self.difference:+.1f} points, at least {100 * self.low:+.1f}; n={self.n})"
        )


@dataclass(frozen=True)
class GateVerdict:
    """passed: the version may be swapped in. reasons: why not, empty when it may."""

    passed: bool
    old: Change
    new: Change
    reasons: tuple[Reason, ...] = ()

    def __str__(self) -> str:
        why = "; ".join(map(str, self.reasons))
        return f"old tables {self.old}; new tables {self.new}: " + ("passed" if self.passed else f"refused, {why}")

    def to_dict(self) -> dict[str, Any]:
        """For a manifest."""
        return {
            "passed": self.passed,
            "reasons": [str(r) for r in self.reasons],
            "old": vars(self.old).copy(),
            "new": vars(self.new).copy(),
        }


def change(before: Sequence[bool], after: Sequence[bool], level: float = 0.95) -> Change:
    """Successes on the same tables. The bound is the lower end of Bonett and Price's interval of a paired difference (2012,
    adjusted Wald), one-sided. Where nothing is gained that one is too narrow (a version that loses 2 points would pass a margin of
    2 points in up to 10 % of cases instead of 5), and the exact bound of what is lost counts as well (Clopper and Pearson 1934).
    By enumeration at most 6.6 % pass then. Of no tables: a change of 0, at least −1."""
    if len(before) != len(after):
        raise BadValue(
            f"{len(before)} and {len(after)} trials; expected the same tables. Next: run both on the same seeds"
        )
    if not before:
        return Change(0, 0, 0, 0, 0, 0.0, -1.0)
    p = paired(before, after)
    lost, gained = (p.only_a + 1) / (p.n + 2), (p.only_b + 1) / (p.n + 2)
    half = quantile(level) * sqrt((lost + gained - (gained - lost) ** 2) / (p.n + 2))
    low = gained - lost - half if p.only_b else min(gained - lost - half, -exact_upper(p.only_a, p.n, 1 - level))
    return Change(p.n, sum(before), sum(after), p.only_a, p.only_b, p.difference, max(-1.0, low))


def gate(old: Change, new: Change, config: GateConfig | None = None) -> GateVerdict:
    """The verdict on two changes, made at `config.level`."""
    c = config or GateConfig()
    reasons = []
    for what, found in (("old tables", old), ("new tables", new)):
        if found.n < c.least:
            reasons.append(Reason("gate", f"held-out {what}", found.n, c.least, "trials", over=False))
    if not reasons:
        if old.low < -c.margin:
            reasons.append(Reason("gate", "change on old tables", 100 * old.low, -100 * c.margin, "points", over=False))
        if not new.low > 0:
            reasons.append(Reason("gate", "change on new tables", 100 * new.low, 0.0, "points", over=False))
    return GateVerdict(not reasons, old, new, tuple(reasons))


def trials_for(margin: float, changed: float = 0.0, level: float = 0.95) -> int:
    """Old tables from which a policy that loses as many as it gains can pass. changed: share of tables whose outcome differs."""
    if not margin > 0:
        raise BadValue(f"margin is {margin}; expected above 0: no number of trials shows a loss of 0. Next: 0.02")
    if not changed:
        return max(ceil(log(1 - level) / log1p(-margin)), 1)
    n = 1
    while quantile(level) * sqrt((changed * n + 2) / (n + 2) / (n + 2)) > margin:
        n = n + max(1, n // 50)
    return n
