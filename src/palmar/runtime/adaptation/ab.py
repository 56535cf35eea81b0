"""A/B on a robot: which of two policies drives an episode is drawn; a test that may be looked at after every one says when to stop.

Episodes come in blocks of two, one of each policy, in an order drawn from the seed (permuted blocks). Each block says B − A in
{−1, 0, +1}, whose mean is the difference of the two success rates, whatever drifts from block to block. For a difference d the
capital of a bettor against it,

    K(d) = mean over bets λ of (1 + λ (1 − d))^wins · (1 − λ d)^ties · (1 − λ (1 + d))^losses,   wins: B alone succeeded

is a non-negative martingale of mean 1 where d is true, so that P(K(d) ever reaches 1 / α) ≤ α (Ville 1939). The differences whose
capital has never reached it are a confidence sequence: valid at all times together, however often one looks. Betting:
Waudby-Smith and Ramdas 2024 (JRSS-B 86, arXiv 2010.09686); a mixture of bets: Orabona and Jun 2024 (arXiv 2110.14099).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from palmar.errors import BadValue
from palmar.ranges import Count, Range, Seed, check_ranges
from palmar.types import ActionChunk, Array, Observation, Policy, Prefix, Reason

Arm = Literal["a", "b"]
What = Literal["go on", "promote", "keep", "roll back"]
BETS = np.concatenate([-np.geomspace(0.98, 0.02, 14), np.geomspace(0.02, 0.98, 14)])
"""Shares of the largest possible bet on either side."""
GRID = np.linspace(-1.0, 1.0, 401)
"""Differences that are tried for the confidence sequence: every half point."""


@dataclass(frozen=True)
class ABConfig:
    """alpha: chance of ever promoting a B that is not better, or rolling back one that is not worse. most: episodes after which A
    is kept. worth: smallest gain of success, 0 … 1, for which B is worth having: A is kept as soon as it is excluded."""

    seed: Seed = 0
    alpha: float = 0.05
    most: Count = 400
    worth: float = 0.0

    def __post_init__(self) -> None:
        check_ranges(self)
        if not 0 < self.alpha < 1 or self.worth not in Range(0, 1):
            raise BadValue(
                f"alpha is {self.alpha}, worth {self.worth}; expected alpha in (0, 1) and worth 0 … 1. Next: 0.05 and 0"
            )


def assigned(seed: int, episode: int) -> Arm:
    """Which policy drives an episode, from 0 on."""
    first = np.random.default_rng([71, seed, episode // 2]).random() < 0.5
    return "b" if first == (episode % 2 == 0) else "a"


def log_capital(differences: Array, wins: Array, ties: Array, losses: Array) -> Array:
    """log K: float64[...] of true differences in −1 … 1 and counts of blocks, broadcast together. 0 before the first block."""
    d, w, t, x = (np.asarray(v, float)[..., None] for v in (differences, wins, ties, losses))
    # of the outcomes 1 − d, −d, −1 − d the largest bet for B loses all at −1 − d, the largest against it at 1 − d
    most = np.where(BETS > 0, 1.0 / (1.0 + d).clip(1e-12), 1.0 / (1.0 - d).clip(1e-12))
    bet = BETS * np.minimum(most, 1e6)
    with np.errstate(divide="ignore", invalid="ignore"):
        parts = [np.where(n > 0, n * np.log1p(bet * (o - d)), 0.0) for n, o in ((w, 1.0), (t, 0.0), (x, -1.0))]
    grown = np.sum(parts, axis=0)
    top = grown.max(-1, keepdims=True)
    return (top + np.log(np.mean(np.exp(grown - top), -1, keepdims=True)))[..., 0]


@dataclass(frozen=True)
class Interval:
    """Of the difference, B's success rate minus A's, at all times together."""

    low: float
    high: float

    def __str__(self) -> str:
        return f"[{100 * self.low:+.1f}, {100 * self.high:+.1f}] points"


@dataclass(frozen=True)
class Decision:
    """what: to do. reason: None while it goes on. n: blocks of two. a, b: successes."""

    what: What
    interval: Interval
    n: int
    a: int
    b: int
    reason: Reason | None = None

    def __str__(self) -> str:
        said = f"{self.what}: B − A {self.interval} after {self.n} pairs (A {self.a}, B {self.b})"
        return said + ("" if self.reason is None else f": {self.reason}")


@dataclass(frozen=True)
class Episodes:
    """Outcomes in the order of the episodes, True for a success, and what they led to. A value: `add` makes another, in a time
    that does not grow. counts: pairs that B alone, neither or both, and A alone succeeded in."""

    config: ABConfig = field(default_factory=ABConfig)
    successes: tuple[bool, ...] = ()
    counts: tuple[int, int, int] = (0, 0, 0)
    decision: Decision = Decision("go on", Interval(-1.0, 1.0), 0, 0, 0)

    @classmethod
    def of(cls, config: ABConfig, successes: Sequence[bool]) -> Episodes:
        """From outcomes, such as those of a file."""
        found = cls(config)
        for success in successes:
            found = found.add(success)
        return found

    @property
    def next(self) -> Arm:
        """Who drives the next episode."""
        return assigned(self.config.seed, len(self.successes))

    def add(self, success: bool) -> Episodes:
        """An episode that was broken off counts as one that did not succeed: leaving it out would favour who breaks off. After a
        decision, which is the first that the episodes led to, nothing changes any more."""
        if self.decision.what != "go on":
            return self
        arm, successes = self.next, (*self.successes, bool(success))
        if len(successes) % 2:
            return replace(self, successes=successes)
        first, second = int(successes[-2]), int(successes[-1])
        good = {"a": first, "b": second} if arm == "b" else {"a": second, "b": first}
        w, t, x = self.counts
        counts = w + (good["b"] > good["a"]), t + (good["b"] == good["a"]), x + (good["b"] < good["a"])
        before = self.decision
        low, high = narrowed(before.interval.low, before.interval.high, *counts, self.config.alpha)
        decision = Decision("go on", Interval(low, high), before.n + 1, before.a + good["a"], before.b + good["b"])
        if (found := self._reason(low, high, decision.n)) is not None:
            decision = replace(decision, what=found[0], reason=found[1])
        return replace(self, successes=successes, counts=counts, decision=decision)

    def _reason(self, low: float, high: float, n: int) -> tuple[What, Reason] | None:
        c = self.config
        if low > 0:
            return "promote", Reason("a/b", "B − A", 100 * low, 0.0, "points at least")
        if high < 0:
            return "roll back", Reason("a/b", "B − A", 100 * high, 0.0, "points at most", over=False)
        if c.worth and high < c.worth:
            return "keep", Reason("a/b", "B − A", 100 * high, 100 * c.worth, "points at most", over=False)
        if 2 * n >= c.most:
            return "keep", Reason("a/b", over=None, note=f"no difference shown in {2 * n} episodes")
        return None


def narrowed(low: float, high: float, wins: int, ties: int, losses: int, alpha: float) -> tuple[float, float]:
    """The confidence sequence low … high after one more look: what it was, less the differences that are excluded now."""
    inside = log_capital(GRID, np.array(wins), np.array(ties), np.array(losses)) < np.log(1 / alpha)
    kept = np.flatnonzero(inside & (low - 1e-9 <= GRID) & (high + 1e-9 >= GRID))
    if not len(kept):  # chance of at most alpha: the truth was excluded, or it changes
        return low, high
    step = GRID[1] - GRID[0]  # what lies between two tried differences is not excluded by one of them
    first, last = GRID[kept[0]], GRID[kept[-1]]
    return max(low, first - step if first > low + 1e-9 else low), min(high, last + step if last < high - 1e-9 else high)


class AB:
    """Two policies as one: `reset` begins an episode of the one that is drawn, `ended` says how it went.

    episodes: those so far, such as of an earlier day. After a decision the winner drives: B when promoted, else A.
    Raises `BadValue` when the two policies are not of the same interface.
    """

    def __init__(self, a: Policy, b: Policy, episodes: Episodes | None = None) -> None:
        from palmar.runtime.adaptation.swapping import check_same

        check_same(a.interface, b, "policy B")
        self.policies: dict[Arm, Policy] = {"a": a, "b": b}
        self.interface, self.episodes = a.interface, episodes or Episodes()
        self.decision = self.episodes.decision
        self.arm: Arm = self.driver()

    def driver(self) -> Arm:
        """Who drives the next episode."""
        if self.decision.what == "go on":
            return self.episodes.next
        return "b" if self.decision.what == "promote" else "a"

    def reset(self) -> None:
        self.arm = self.driver()
        self.policies[self.arm].reset()

    def act(self, obs: Observation, prefix: Prefix | None = None) -> ActionChunk:
        return self.policies[self.arm].act(obs, prefix)

    @property
    def inner(self) -> Policy:
        return self.policies[self.arm]

    def ended(self, success: bool) -> Decision:
        """The episode is over; what to do now. After a decision episodes are not counted."""
        if self.decision.what == "go on":
            self.episodes = self.episodes.add(success)
            self.decision = self.episodes.decision
        return self.decision

    def fault(self, reason: Reason) -> Decision:
        """B did what must not happen, such as an E-STOP: it is rolled back at once, without a test; of A it changes nothing."""
        if self.arm == "b" and self.decision.what in ("go on", "promote"):
            self.decision = replace(self.decision, what="roll back", reason=reason)
        return self.decision


def rates(successes: Sequence[bool], seed: int) -> dict[Arm, tuple[int, int]]:
    """{policy: (successes, episodes)}."""
    out: dict[Arm, tuple[int, int]] = {"a": (0, 0), "b": (0, 0)}
    for i, s in enumerate(successes):
        k, n = out[arm := assigned(seed, i)]
        out[arm] = k + bool(s), n + 1
    return out
