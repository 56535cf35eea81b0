"""Does the policy act otherwise than it used to? A test of whole runs, since the steps of one run depend on each other.

A run is summarised by the mean and the standard deviation of each channel of its actions. Blocks of later runs are compared with a
reference, one after the other, by a permutation test: if all runs are alike, every assignment of the same runs to reference and
block is equally likely. Its statistic is the largest over channels and summaries of the standardised rank sum (Wilcoxon 1945), so
that one test looks at all of them and its level holds for all together, whatever their dependence (Westfall and Young 1993).
Block j has the part w(j) of alpha, w(j) as in `drop.started`, so that the chance of any false alarm of all blocks is at most alpha.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, lgamma

import numpy as np

from palmar.errors import BadValue
from palmar.eval.drop import started
from palmar.types import Array

ENOUGH, MOST, AT_ONCE = 20, 200_000, 500
"""Permutations are drawn until so many are as extreme as what is observed (Besag and Clifford 1991), or so many were drawn."""


@dataclass(frozen=True)
class Moved:
    """A channel's summary ("mean" or "spread") in a block. before, after: medians over runs. scale: standard deviation over the
    runs of the reference. p: adjusted for all channels and summaries."""

    channel: str
    what: str
    before: float
    after: float
    scale: float
    p: float


@dataclass(frozen=True)
class Shift:
    """A block of runs beside the reference. block: from 1 on. first, last: its runs, from 0 on. level: of this block. p: of all
    channels together. moved: every channel and summary, the most extreme first."""

    block: int
    first: int
    last: int
    level: float
    p: float
    moved: tuple[Moved, ...]

    @property
    def alarm(self) -> bool:
        return self.p <= self.level


def summaries(mean: Sequence[Array], std: Sequence[Array]) -> Array:
    """float64[R, 2A] of R runs: means, then standard deviations of their actions."""
    return np.concatenate([np.array(mean, float), np.array(std, float)], axis=1)


def shifts(
    runs: Array, names: Sequence[str], alpha: float, reference: int | Array = 50, block: int = 20
) -> list[Shift]:
    """Every whole block of runs float64[R, 2A] (`summaries`) beside the first `reference` runs, or beside those given as an array
    of the same width, such as of the episodes of training. Raises `BadValue` for another width."""
    if isinstance(reference, int):
        base, later, offset = runs[:reference], runs[reference:], reference
        if len(base) < reference:
            return []
    else:
        base, later, offset = reference, runs, 0
    if base.shape[1] != runs.shape[1] or runs.shape[1] != 2 * len(names):
        raise BadValue(
            f"runs are summarised by {runs.shape[1]} numbers, the reference by {base.shape[1]}; expected {2 * len(names)}, "
            "two of each channel. Next: a reference of the same robot and action space"
        )
    return [
        _compared(base, later[j * block : (j + 1) * block], names, j + 1, offset + j * block, alpha)
        for j in range(len(later) // block)
    ]


def least(reference: int, block: int) -> float:
    """The smallest p that the test gives of so many runs: of the (reference + block choose block) assignments two are the most
    extreme, one to each side, and at most `MOST` are drawn."""
    ways = lgamma(reference + block + 1) - lgamma(reference + 1) - lgamma(block + 1)
    return max(1 / (MOST + 1), min(2 * exp(-ways), 1.0))


def _compared(base: Array, later: Array, names: Sequence[str], block: int, first: int, alpha: float) -> Shift:
    level = alpha * started(block)
    ranks, n = _ranks(np.concatenate([base, later])), len(later)
    observed = np.abs(ranks[len(base) :].sum(axis=0))
    rng = np.random.default_rng([97, block])
    as_extreme, drawn = np.zeros(len(observed)), 0
    most = observed.max()
    while drawn < min(MOST, 4 / level) and (1 + (as_extreme.min() if drawn else 0)) <= ENOUGH:
        order = rng.random((AT_ONCE, len(ranks))).argpartition(n, axis=1)[:, :n]
        largest = np.abs(ranks[order].sum(axis=1)).max(axis=1)
        as_extreme += (largest[:, None] >= observed - 1e-9).sum(axis=0)
        drawn += AT_ONCE
    p = (1 + as_extreme) / (1 + drawn)
    whats = [(c, w) for w in ("mean", "spread") for c in names]
    moved = [
        Moved(c, w, float(np.median(base[:, i])), float(np.median(later[:, i])), float(base[:, i].std()), float(p[i]))
        for i, (c, w) in enumerate(whats)
    ]
    order_ = np.argsort(-observed, kind="stable")
    best = float(p[int(observed.argmax())]) if most > 0 else 1.0
    return Shift(block, first, first + n - 1, level, best, tuple(moved[i] for i in order_))


def _ranks(values: Array) -> Array:
    """float64[R, C]: midranks of each column, less their mean, over their standard deviation; 0 for a column without any."""
    less = (values[:, None] > values[None]).sum(axis=1)
    same = (values[:, None] == values[None]).sum(axis=1)
    ranks = less + (same - 1) / 2
    ranks = ranks - ranks.mean(axis=0)
    spread = ranks.std(axis=0)
    return np.where(spread > 0, ranks / np.where(spread > 0, spread, 1.0), 0.0)
