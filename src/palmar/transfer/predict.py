"""What success rate a policy will have in reality, from simulated trials in worlds that reality may be.

Reality is one world of those that are still plausible: a draw of the posterior (`transfer.posterior`), or of the ranges where
nothing was identified. The policy is run in M such worlds, some trials in each. Its rate differs from world to world; the model
is

    trials in world m succeed with p_m;   p_m ~ Beta(μ κ, (1 − μ) κ),   1 / (1 + κ) = ρ = s²
    μ uniform in (0, 1);   s half normal with scale 0.4, below 0.8:  the spread between worlds as a share of its largest

and the real rate is one more p_m, its interval that of its predictive distribution: chance of the trials, few worlds and what
the identification left open are all in it. What the simulator has no parameter for is not. (Beta-binomial model: Gelman et al.
2013, "Bayesian Data Analysis", ch. 5.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from palmar.choices import Split
from palmar.errors import BadValue
from palmar.eval.stats import Rate
from palmar.lab.suite import EvalConfig
from palmar.ranges import Count, Seed, check_ranges
from palmar.sim.draws import Worlds
from palmar.sim.params import Randomization
from palmar.types import Array

DRAWS = 4000
MU, SPREAD = (np.arange(120) + 0.5) / 120, (np.arange(60) + 0.5) / 60 * 0.8
SCALE = 0.4  # of s: a smaller one is narrower, and held the truth in only 84 % of cases where success hangs on the world alone
LEAST_WORLDS = 3


@dataclass(frozen=True)
class PredictConfig:
    """worlds: how many are drawn. tables: of each task in each of them; no table is in two worlds. seed: of the first table, and of
    the draws."""

    worlds: Count = 10
    tables: Count = 2
    seed: Seed = 600_000

    def __post_init__(self) -> None:
        check_ranges(self)
        if self.worlds < LEAST_WORLDS:
            raise BadValue(
                f"worlds is {self.worlds}; expected {LEAST_WORLDS} or more: how much success differs from one to another "
                "is part of the interval. Next: 10"
            )


@dataclass(frozen=True)
class Predicted:
    """worlds: (successes, trials) of each. rates: float64[4000] draws of the real success rate."""

    worlds: tuple[tuple[int, int], ...]
    seed: int = 0

    @cached_property
    def rates(self) -> Array:
        return drawn(self.worlds, self.seed)

    @property
    def simulated(self) -> Rate:
        """All simulated trials together."""
        return Rate(sum(k for k, _ in self.worlds), sum(n for _, n in self.worlds))

    @property
    def value(self) -> float:
        """Mean of the real success rate."""
        return float(self.rates.mean())

    @property
    def interval(self) -> tuple[float, float]:
        """95 % of the real success rate."""
        low, high = np.quantile(self.rates, [0.025, 0.975])
        return float(low), float(high)

    def observed(self, trials: int) -> tuple[float, float]:
        """95 % of the share that succeeds in so many real trials: their own chance is in it too."""
        seen = np.random.default_rng([79, self.seed, trials]).binomial(trials, self.rates) / max(trials, 1)
        low, high = np.quantile(seen, [0.025, 0.975], method="inverted_cdf")
        return float(low), float(high)

    def holds(self, real: Rate) -> bool:
        """Whether what was observed lies in the interval for as many trials."""
        low, high = self.observed(real.n)
        return low - 1e-12 <= real.value <= high + 1e-12

    def __str__(self) -> str:
        """ "91 % [78, 98] (10 worlds, 80 trials)" """
        low, high = self.interval
        of = f"({len(self.worlds)} worlds, {self.simulated.n} trials)"
        return f"{100 * self.value:.0f} % [{100 * low:.0f}, {100 * high:.0f}] {of}"

    def to_dict(self) -> dict[str, Any]:
        low, high = self.interval
        return {"rate": self.value, "low": low, "high": high, "worlds": [list(w) for w in self.worlds]}


def predicted(outcomes: Sequence[Sequence[bool]], seed: int = 0) -> Predicted:
    """From the successes in each world. Raises `BadValue` for fewer than 3 worlds, or one without trials."""
    if len(outcomes) < LEAST_WORLDS or not all(outcomes):
        empty = sum(not o for o in outcomes)
        raise BadValue(
            f"{len(outcomes)} worlds, {empty} of them without a trial; expected {LEAST_WORLDS} or more, each with trials: how much "
            "success differs from one to another is part of the interval. Next: more worlds"
        )
    return Predicted(tuple((sum(map(bool, o)), len(o)) for o in outcomes), seed)


def drawn(worlds: Sequence[tuple[int, int]], seed: int = 0) -> Array:
    """float64[4000] draws of one more world's success rate, from (successes, trials) of each."""
    mu, s = (g.ravel() for g in np.meshgrid(MU, SPREAD, indexing="ij"))
    kappa = 1 / s**2 - 1
    a, b = mu * kappa, (1 - mu) * kappa
    log = -0.5 * (s / SCALE) ** 2
    for (k, n), count in _counted(worlds).items():  # equal outcomes are computed once
        log += count * (_log_rising(a, k) + _log_rising(b, n - k) - _log_rising(a + b, n))
    weight = np.exp(log - log.max())
    rng = np.random.default_rng([73, seed])
    chosen = rng.choice(len(mu), DRAWS, p=weight / weight.sum())
    # the grid's cells are not points: places between its nodes are as likely
    m = np.clip(mu[chosen] + rng.uniform(-0.5, 0.5, DRAWS) / len(MU), 1e-4, 1 - 1e-4)
    return np.asarray(rng.beta(m * kappa[chosen], (1 - m) * kappa[chosen]))


def _counted(worlds: Sequence[tuple[int, int]]) -> dict[tuple[int, int], int]:
    out: dict[tuple[int, int], int] = {}
    for w in worlds:
        out[w] = out.get(w, 0) + 1
    return out


def _log_rising(x: Array, n: int) -> Array:
    """log of x (x + 1) … (x + n − 1)."""
    return np.log(x[:, None] + np.arange(n)).sum(1) if n else np.zeros(len(x))


def jobs(policy: EvalConfig, worlds: Worlds, config: PredictConfig) -> list[list[tuple[EvalConfig, str, Split, int]]]:
    """The trials of `lab.suite.run` in each world, for a policy with the settings of `policy`.

    Equal worlds, tables and seeds for every policy, so that their predictions are comparable.
    """
    out = []
    for m in range(config.worlds):
        world = worlds.sample(np.random.default_rng([37, config.seed, m]))
        setting = replace(policy, world="sim", randomization=Randomization(0.0, centre=world), seed=config.seed)
        first = config.seed + m * config.tables
        out.append(
            [(setting, t, s, first + i) for s in policy.splits for i in range(config.tables) for t in policy.tasks]
        )
    return out
