"""Fitting a detector: which signals, with which sign and weight, tell a failure from a success at equal time.

A failed episode usually lasts until the time is up. A detector that is fitted step by step learns that late means failed,
and is worth nothing. Here a failure is only ever compared with a success at the same step of both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from palmar.errors import BadValue, check_names
from palmar.types import Array

SHARES = (0.5, 0.75, 1.0)  # of the shorter episode of a pair, at which the two are compared
PAIRS = 6000  # drawn for a fit
RIDGE = 3.0  # pull of the weights towards their prior
START = 0.1  # prior weight of the form that ranks best alone [1/standard deviation]


@dataclass(frozen=True)
class Rollouts:
    """Episodes with known ends. values: float[N, T, K], the signals at each chunk, NaN after an episode's end and where
    unknown. lengths: int[N], chunks of each. failed: bool[N]. tasks: int[N], which task each is of."""

    names: tuple[str, ...]
    values: Array
    lengths: Array
    failed: Array
    tasks: Array

    def __post_init__(self) -> None:
        n = len(self.lengths)
        if self.values.ndim != 3 or self.values.shape[2] != len(self.names) or len(self.values) != n:
            raise BadValue(
                f"values {list(self.values.shape)}; expected [{n}, T, {len(self.names)}]. Next: one row an episode"
            )
        if self.failed.shape != (n,) or self.tasks.shape != (n,):
            raise BadValue(
                f"failed {list(self.failed.shape)}, tasks {list(self.tasks.shape)}; expected [{n}] each. Next: one an episode"
            )
        if n and not (self.lengths.min() >= 1 and self.lengths.max() <= self.values.shape[1]):
            raise BadValue(
                f"lengths {self.lengths.min()} … {self.lengths.max()}; expected 1 … {self.values.shape[1]}. Next: fewer steps"
            )

    def __len__(self) -> int:
        return len(self.lengths)

    def take(self, which: Array) -> Rollouts:
        """which: indices or bool[N]."""
        return Rollouts(self.names, self.values[which], self.lengths[which], self.failed[which], self.tasks[which])

    def only(self, names: Sequence[str]) -> Rollouts:
        """With these signals alone, in this order. Raises `UnknownName`."""
        check_names("signal", names, self.names)
        values = self.values[:, :, [self.names.index(n) for n in names]]
        return Rollouts(tuple(names), values, self.lengths, self.failed, self.tasks)

    def successes(self) -> Rollouts:
        return self.take(~self.failed)


def equal_time_pairs(rollouts: Rollouts, seed: int = 0, pairs: int = PAIRS) -> tuple[Array, Array]:
    """int[P] each: failures and successes to compare. Half of the weight is on pairs of one task, so that what tells easy
    tasks from hard ones is not taken for what tells failure. Raises `BadValue` without a failure or a success."""
    failures, successes = np.flatnonzero(rollouts.failed), np.flatnonzero(~rollouts.failed)
    if not len(failures) or not len(successes):
        raise BadValue(
            f"{len(failures)} failures and {len(successes)} successes; expected one of each at least. "
            "Next: collect both, or use a threshold on a single signal"
        )
    same = rollouts.tasks[failures][:, None] == rollouts.tasks[successes][None]
    weight = np.full(same.shape, 1.0 / same.size)
    if same.any():
        within = np.zeros(same.shape)
        for task in np.unique(rollouts.tasks[failures]):
            f, s = rollouts.tasks[failures] == task, rollouts.tasks[successes] == task
            if f.any() and s.any():
                within[np.ix_(f, s)] = 1.0 / (f.sum() + s.sum())  # a task with more of both says more
        weight = 0.5 * weight + 0.5 * within / within.sum()
    picked = np.random.default_rng(seed).choice(weight.size, size=pairs, p=weight.ravel())
    return failures[picked // len(successes)], successes[picked % len(successes)]


def differences(evidence: Array, lengths: Array, failures: Array, successes: Array) -> Array:
    """float64[P·len(SHARES), M]: evidence of the failure less that of the success, at the same step of both."""
    shorter = np.minimum(lengths[failures], lengths[successes])
    steps = [np.maximum((shorter * share).astype(int) - 1, 0) for share in SHARES]
    return np.concatenate([evidence[failures, t] - evidence[successes, t] for t in steps])


def weights(evidence: Array, rollouts: Rollouts, seed: int = 0) -> Array:
    """float64[M], in units of a logit per standard deviation. evidence: float64[N, T, M], normalised.

    Pairwise logistic regression with a ridge towards a vote: every form counts by how well it ranks alone, with the sign that it
    has over all pairs *and* within tasks, and not at all where these two differ. No weight may turn against its sign.
    """
    rng = (seed, seed + 1)
    f, s = equal_time_pairs(rollouts, rng[0])
    d = differences(evidence, rollouts.lengths, f, s)
    margin = consistent_margins(d, np.tile(rollouts.tasks[f] == rollouts.tasks[s], len(SHARES)))
    kept, signs = np.flatnonzero(margin), np.sign(margin)
    out = np.zeros(d.shape[1])
    if len(kept):
        prior = START * np.abs(margin[kept]) / np.abs(margin).max()
        out[kept] = signs[kept] * _ridge(d[:, kept] * signs[kept], prior)
    return out


def consistent_margins(difference: Array, same_task: Array) -> Array:
    """float64[M], −1 … 1: share of pairs in which the failure has more, less that in which it has less: the smaller of that in
    pairs of one task and of two, 0 where these have two signs."""
    part = [(difference[m] > 0).mean(0) - (difference[m] < 0).mean(0) for m in (same_task, ~same_task) if m.any()]
    least = np.minimum(np.abs(part[0]), np.abs(part[-1]))
    return np.where(np.sign(part[0]) == np.sign(part[-1]), np.sign(part[0]) * least, 0.0)


def _ridge(x: Array, prior: Array) -> Array:
    """Weights ≥ 0 that minimise mean log(1 + exp(−x·w)) + RIDGE/2 · ‖w − prior‖²: Newton steps, each by coordinates."""
    w = prior.copy()
    for _ in range(6):
        p = 1 / (1 + np.exp(np.clip(x @ w, -30, 30)))
        h = (x * (p * (1 - p) / len(x))[:, None]).T @ x + RIDGE * np.eye(len(w))
        b = h @ w + (x * p[:, None]).mean(0) - RIDGE * (w - prior)
        for _ in range(30):
            for j in range(len(w)):
                w[j] = max(0.0, w[j] + (b[j] - h[j] @ w) / h[j, j])
    return w
