"""Does simulation order policies as reality does? Correlations of their success rates, and the cost of wrong orders.

    r        Pearson's correlation of the success rates
    ρ        Spearman's: of their ranks, equal rates sharing the mean rank
    MMRV     1/N Σ_i max_j |real_i − real_j| · [(sim_i < sim_j) ≠ (real_i < real_j)]

MMRV, the mean maximum rank violation, is in success rates: what the worst wrong order costs, averaged over policies; 0 is best.
Source: Li et al. 2024 (SIMPLER), arXiv 2405.05941.

Intervals are percentiles of 2 000 resamplings of the policies, and of the trials of each. They are of the figures *as measured
with that many trials*: noise of few trials pulls r and ρ towards 0 and MMRV up, whatever the simulator is worth. What the noise
alone would leave of a simulator in which every policy has the very success rate that it has in reality is therefore reported
beside them (`perfect`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from palmar.errors import BadValue
from palmar.eval.bootstrap import RESAMPLES, Estimate
from palmar.eval.stats import Rate
from palmar.types import Array

LEAST = 3
"""Policies from which there is a correlation to speak of."""


@dataclass(frozen=True)
class Scored:
    """One policy: successes in simulation and in reality."""

    name: str
    sim: Rate
    real: Rate


@dataclass(frozen=True)
class Ranking:
    """pearson, spearman: −1 … 1, None where all rates are equal. mmrv: 0 … 1. Each with a 95 % interval. perfect: {figure: what a
    perfect simulator would show at these counts of trials, mean and 95 % range}."""

    policies: tuple[Scored, ...]
    pearson: Estimate
    spearman: Estimate
    mmrv: Estimate
    perfect: Mapping[str, Estimate]

    def to_dict(self) -> dict[str, Any]:
        rows = [{"policy": p.name, "sim": p.sim.to_dict(), "real": p.real.to_dict()} for p in self.policies]
        found = {n: asdict(getattr(self, n)) for n in FIGURES}
        return found | {"perfect": {n: asdict(e) for n, e in self.perfect.items()}, "policies": rows}


def pearson(x: Array, y: Array) -> Array:
    """Correlation along the last axis of float[..., N]; NaN where either does not vary."""
    a, b = x - x.mean(-1, keepdims=True), y - y.mean(-1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        r = (a * b).sum(-1) / np.sqrt((a * a).sum(-1) * (b * b).sum(-1))
    flat = (np.ptp(x, axis=-1) < 1e-12) | (np.ptp(y, axis=-1) < 1e-12)
    return np.where(flat, np.nan, np.clip(r, -1.0, 1.0))


def ranks(x: Array) -> Array:
    """Of float[..., N], from 1; equal values share the mean of theirs."""
    below = (x[..., None, :] < x[..., :, None]).sum(-1)
    equal = (x[..., None, :] == x[..., :, None]).sum(-1)
    return below + (equal + 1) / 2


def spearman(x: Array, y: Array) -> Array:
    """Rank correlation along the last axis of float[..., N]; NaN where either does not vary."""
    return pearson(ranks(x), ranks(y))


def mmrv(sim: Array, real: Array) -> Array:
    """Mean maximum rank violation along the last axis of success rates float[..., N]."""
    wrong = (sim[..., :, None] < sim[..., None, :]) != (real[..., :, None] < real[..., None, :])
    cost = np.abs(real[..., :, None] - real[..., None, :]) * wrong
    return np.asarray(cost.max(-1).mean(-1))


def ranking(policies: Sequence[Scored], seed: int = 0) -> Ranking:
    """All three, with intervals over policies and trials.

    Raises `BadValue` for fewer than 3 policies, one that has no trial in either world, and two of one name.
    """
    if len(policies) < LEAST:
        raise BadValue(
            f"{len(policies)} policies; expected {LEAST} or more for a rank correlation, and 8 for one that says much. "
            "Next: name more policies, also bad ones"
        )
    for p in policies:
        for where, rate in (("simulation", p.sim), ("reality", p.real)):
            if not rate.n:
                raise BadValue(
                    f"'{p.name}' has no trial in {where}; expected at least one. Next: run some, or leave it out"
                )
    if len({p.name for p in policies}) < len(policies):
        raise BadValue("a policy is named twice; expected each once, for it would count twice. Next: leave one out")
    sim, real = ([getattr(p, w) for p in policies] for w in ("sim", "real"))
    rng = np.random.default_rng([61, seed])
    N = len(policies)
    measured = [np.array([r.value for r in rates]) for rates in (sim, real)]
    who = rng.integers(0, N, (RESAMPLES, N))
    again = [_redrawn(rates, [r.value for r in rates], who, rng) for rates in (sim, real)]
    pooled = [(a.successes + b.successes + 0.5) / (a.n + b.n + 1) for a, b in zip(sim, real, strict=True)]
    everyone = np.broadcast_to(np.arange(N), (RESAMPLES, N))
    noise = [_redrawn(rates, pooled, everyone, rng) for rates in (sim, real)]
    found = {name: _estimate(float(of(*measured)), of(*again), N) for name, of in FIGURES.items()}
    perfect = {
        name: _estimate(float(np.nanmean(v)), v, N)
        for name, of in FIGURES.items()
        if np.isfinite(v := of(*noise)).any()
    }
    return Ranking(tuple(policies), found["pearson"], found["spearman"], found["mmrv"], perfect)


FIGURES: Mapping[str, Callable[[Array, Array], Array]] = {"pearson": pearson, "spearman": spearman, "mmrv": mmrv}


def _redrawn(rates: Sequence[Rate], truth: Sequence[float], who: Array, rng: np.random.Generator) -> Array:
    """Measured rates float[R, N] of policies int[R, N], each with its own count of trials, where `truth` is true."""
    n, p = np.array([r.n for r in rates]), np.array(truth)
    return np.asarray(rng.binomial(n[who], p[who]) / n[who])


def _estimate(value: float, drawn: Array, n: int) -> Estimate:
    """The value with the percentiles of the draws; none where nothing varies."""
    if not np.isfinite(value):
        return Estimate(None, None, None, n)
    low, high = np.quantile(drawn[np.isfinite(drawn)], [0.025, 0.975])
    return Estimate(value, min(float(low), value), max(float(high), value), n)
