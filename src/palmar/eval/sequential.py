"""May this policy go to work? A test of few real trials that may be looked at after every one, with a stated risk of a wrong
answer.

Two bettors watch the trials. One bets against "each succeeds with at most `need`, whatever came before", the other against
"with at least `want`". For a rate q above `need` (below `want`) a bettor's capital is the likelihood ratio

    product of  q / p  for a success,  (1 − q) / (1 − p)  for a failure,      p = need (want)

a non-negative supermartingale under what is bet against; so is its mean over q. By Ville's inequality (1939) it ever
reaches 1 / risk with a probability of at most `risk`. The first that does gives the verdict:

    go      a policy with a success rate of at most `need` ever gets it with a probability of at most `risk`
    no-go   a policy with a success rate of at least `want` ever gets it with a probability of at most `risk`

Half of each bettor's money is on the other's rate, which makes it Wald's sequential probability ratio test (1945) there, and
half is spread over ten others. Between `need` and `want` either verdict is right. No number of trials is fixed beforehand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import inf
from typing import Annotated, Any, Literal

import numpy as np

from palmar.errors import BadValue
from palmar.eval.stats import Rate
from palmar.ranges import Range, check_ranges
from palmar.types import Array

Answer = Literal["go", "no-go", "not yet"]
INSIDE = Range(0, 1, above=True, below=True)
FUTURES, HORIZON = 1000, 2000
"""Futures that are drawn to say how many more trials there will be, and trials of each."""


@dataclass(frozen=True)
class GoConfig:
    """need: success rate at or below which the policy must not go. want: rate at or above which it must not be refused.
    risk: chance of either mistake, over all looks together."""

    need: Annotated[float, INSIDE] = 0.8
    want: Annotated[float, INSIDE] = 0.95
    risk: Annotated[float, Range(0, 0.5, above=True, below=True)] = 0.05

    def __post_init__(self) -> None:
        check_ranges(self, hint="need 0.8, want 0.95 and risk 0.05 are usual")
        if not self.need < self.want:
            raise BadValue(
                f"need is {self.need:g} and want {self.want:g}; expected need below want: between them either verdict is right. "
                f"Next: need {min(self.need, self.want) * 0.9:.2g}"
            )


@dataclass(frozen=True)
class Outlook:
    """Of trials yet to come, at success rates that are plausible. go, no_go: chances of the verdicts within 2 000 more. median,
    most: how many more until one (half, and nine of ten, of the futures have it by then), None: more than 2 000. least: how
    many more if every one succeeds."""

    go: float
    no_go: float
    median: int | None
    most: int | None
    least: int


@dataclass(frozen=True)
class GoVerdict:
    """verdict: the first that was reached. at: after which trial, None: not yet. trials: all that are there, also later ones.

    for_go, for_no_go: the largest capital of each bettor; the verdict comes at 1 / risk. low, high: rates below and above are
    excluded by all trials, each at the risk (`bounds`).
    """

    verdict: Answer
    at: int | None
    trials: Rate
    for_go: float
    for_no_go: float
    low: float
    high: float
    config: GoConfig
    outlook: Outlook | None = None

    def __str__(self) -> str:
        """Verdict and evidence in a sentence."""
        c, t = self.config, self.trials
        said = f"{t.successes} of {t.n} real trials succeeded"
        left = f"a rate in {100 * self.low:.0f} … {100 * self.high:.0f} % is left"
        if self.verdict == "go":
            return f"go after {self.at}: {said}; {100 * c.need:g} % or less is excluded at a risk of {100 * c.risk:g} %, {left}"
        if self.verdict == "no-go":
            return f"no-go after {self.at}: {said}; {100 * c.want:g} % or more is excluded at a risk of {100 * c.risk:g} %, {left}"
        said += f", {left}"
        return (
            f"not yet: {said}; evidence for go {self.for_go:.3g} and for no-go {self.for_no_go:.3g} of {1 / c.risk:g}"
        )

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"trials": self.trials.to_dict()}


def log_capital(p: float, other: float, successes: Array, failures: Array) -> Array:
    """log of a bettor's capital against p after counts int[...]. other: the rate that half of the money is on; whether it is above
    or below p is the side that is bet on."""
    share = (np.arange(10) + 0.5) / 10
    spread = p + (1 - p) * share if other > p else p * share
    q = np.concatenate([[other], spread])
    weight = np.concatenate([[0.5], np.full(10, 0.05)])
    s, f = (np.asarray(v, float)[..., None] for v in (successes, failures))
    grown = s * np.log(q / p) + f * np.log((1 - q) / (1 - p))
    top = grown.max(-1, keepdims=True)
    return np.asarray((top + np.log((weight * np.exp(grown - top)).sum(-1, keepdims=True)))[..., 0])


def go_test(
    successes: Sequence[bool], config: GoConfig | None = None, rates: Array | None = None, look: bool = True
) -> GoVerdict:
    """The verdict on real trials, in the order in which they were made; of none it is "not yet".

    rates: float[K] plausible success rates for the outlook, such as those that simulation predicts; what the trials alone leave
    open when not given. look: whether to say how many more there will be, which takes 0.1 s.
    """
    c = config or GoConfig()
    outcome = np.array([bool(s) for s in successes], bool)
    s, f = np.cumsum(outcome), np.cumsum(~outcome)
    yes, no = log_capital(c.need, c.want, s, f), log_capital(c.want, c.need, s, f)
    limit = np.log(1 / c.risk)
    first = {
        name: int(np.argmax(v >= limit)) if (v >= limit).any() else None for name, v in (("go", yes), ("no-go", no))
    }
    reached = sorted((i, name) for name, i in first.items() if i is not None)
    verdict: Answer = reached[0][1] if reached else "not yet"  # type: ignore[assignment]
    k, n = int(outcome.sum()), len(outcome)
    low, high = bounds(k, n - k, c)
    ahead = outlook(k, n - k, c, rates) if look and not reached else None
    largest = [float(np.exp(min(v.max(initial=0.0), 700.0))) for v in (yes, no)]
    return GoVerdict(
        verdict, reached[0][0] + 1 if reached else None, Rate(k, n), largest[0], largest[1], low, high, c, ahead
    )


def outlook(successes: int, failures: int, config: GoConfig, rates: Array | None = None, seed: int = 0) -> Outlook:
    """How trials may go on, from 1 000 futures at `rates`, or at rates drawn from Jeffreys' posterior of what is known."""
    rng = np.random.default_rng([67, seed])
    if rates is None:
        p = rng.beta(successes + 0.5, failures + 0.5, FUTURES)
    else:
        p = rng.choice(np.asarray(rates, float), FUTURES)
    steps = rng.random((FUTURES, HORIZON), dtype=np.float32) < p[:, None]
    s, f = successes + np.cumsum(steps, 1), failures + np.cumsum(~steps, 1)
    go, no = (_when(a >= enough[b]) for a, b, enough in (
        (s, f, _enough(config.need, config.want, config.risk, failures + HORIZON)),
        (f, s, _enough(1 - config.want, 1 - config.need, config.risk, successes + HORIZON)),
    ))  # fmt: skip
    end = np.minimum(go, no)
    quantiles = [float(np.quantile(end, q, method="inverted_cdf")) for q in (0.5, 0.9)]
    median, most = (None if x == inf else int(x) for x in quantiles)
    least = int(_enough(config.need, config.want, config.risk, failures)[failures]) - successes
    return Outlook(float(np.mean(go < no)), float(np.mean(no < go)), median, most, max(least, 0))


def _when(hit: Array) -> Array:
    """float[K]: the first true of each row, from 1 on; infinity where there is none."""
    return np.where(hit.any(1), hit.argmax(1) + 1.0, inf)


def _enough(p: float, other: float, risk: float, most: int) -> Array:
    """int[most + 1]: how many successes bring a bettor against p, who bets on the higher rate `other`, to 1 / risk with 0, 1 …
    failures. Failures are successes of the opposite question, with 1 − p and 1 − other."""
    f = np.arange(most + 1)
    low, high = np.zeros(most + 1, np.int64), np.full(most + 1, 1 << 40)
    for _ in range(41):  # the capital grows with every success
        mid = (low + high) // 2
        there = log_capital(p, other, mid, f) >= np.log(1 / risk)
        low, high = np.where(there, low, mid + 1), np.where(there, mid, high)
    return high


def bounds(successes: int, failures: int, config: GoConfig) -> tuple[float, float]:
    """(low, high): rates below low, and above high, are excluded by the bettors who bet against them. Each end is wrong at any
    look with a probability of at most `risk`, and `need` is below low where the verdict is go on these trials."""
    low = _below(successes, failures, config.want, config.risk)
    return low, 1 - _below(failures, successes, 1 - config.need, config.risk)


def _below(successes: int, failures: int, other: float, risk: float) -> float:
    """The highest rate, below the share of successes, whose bettor has 1 / risk; 0 where there is none. Half of the money is on
    `other`; against a rate that is higher, on the middle between it and 1."""
    s, f = np.array(successes), np.array(failures)
    low, high = 0.0, successes / max(successes + failures, 1)
    for _ in range(30):  # there the capital falls as the rate rises
        mid = (low + high) / 2
        there = mid > 0 and log_capital(mid, other if mid < other else (1 + mid) / 2, s, f) >= np.log(1 / risk)
        low, high = (mid, high) if there else (low, mid)
    return low
