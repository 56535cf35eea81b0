"""Has the success rate dropped? An alarm that may be looked at after every run, with a bound on ever being false.

A bettor bets against "each run succeeds with at least the baseline p, whatever came before". From run s on, for a rate q < p, their
capital is the likelihood ratio

    L(s, q) = product over runs i ≥ s of  q / p  for a success,  (1 − q) / (1 − p)  for a failure

which is a non-negative supermartingale under that hypothesis. So is its mean over q and over the run s at which the rate may have
dropped, with weights w(s) that sum to 1, and by Ville's inequality (1939)

    P(the mean ever reaches 1 / alpha) ≤ alpha

over the whole life of a version, however often one looks. For each q one number is kept: R ← (R + w(s)) · L. A mixture over
starting times: Shin, Ramdas and Rinaldo 2023 (arXiv 2203.03532), here with weights that sum to 1, so that it is the probability of
any false alarm that is bounded and not only their rate.

Where the baseline is not given but estimated from n runs of which k succeeded, p is its exact lower bound at alpha / 2 (Clopper and
Pearson 1934), and the bettor has alpha / 2: both errors together are at most alpha.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from palmar.errors import BadValue
from palmar.eval.stats import exact_upper

RATES = np.arange(12) / 12
"""Rates q that are bet on, as shares of the baseline."""


@dataclass(frozen=True)
class Drop:
    """baseline: rate below which a drop is bet on. alpha: chance of ever a false alarm. at: runs after the reference until the
    alarm, None: no alarm. capital: the largest so far; the alarm is at 1 / alpha. reference: runs that the baseline is from."""

    baseline: float
    alpha: float
    at: int | None
    capital: float
    n: int
    reference: int = 0

    @property
    def evidence(self) -> float:
        """0 … 1: how far the capital has come on the way to the alarm, on a logarithmic scale."""
        return float(np.clip(np.log(max(self.capital, 1.0)) / np.log(1 / self.alpha), 0, 1))


def started(s: int) -> float:
    """w(s): weight of a drop that begins with run s, from 1 on. Runs 2^k … 2^(k+1) − 1 share 1 / ((k + 1)(k + 2)); all sum to 1."""
    k = s.bit_length() - 1
    return 1.0 / ((k + 1) * (k + 2) * 2**k)


class DropAlarm:
    """One version of a policy. Runs are added in their order. Raises `BadValue` for a rate or level outside (0, 1)."""

    def __init__(self, baseline: float, alpha: float = 0.05) -> None:
        if not (0 < baseline < 1 and 0 < alpha < 1):
            raise BadValue(
                f"baseline is {baseline:g}, alpha {alpha:g}; expected both between 0 and 1. Next: 0.95 and 0.05"
            )
        self.baseline, self.alpha = baseline, alpha
        rates = baseline * RATES
        self._success, self._failure = rates / baseline, (1 - rates) / (1 - baseline)
        self._capital = np.zeros(len(rates))
        self._unspent = 1.0
        self.n, self.capital, self.largest = 0, 1.0, 1.0
        self.at: int | None = None

    def add(self, success: bool) -> bool:
        """Whether there is an alarm, now or since an earlier run."""
        self.n += 1
        if self.at is None:
            weight = started(self.n)
            self._unspent -= weight
            self._capital = (self._capital + weight) * (self._success if success else self._failure)
            self.capital = float(self._capital.mean()) + max(self._unspent, 0.0)
            self.largest = max(self.largest, self.capital)
            if self.capital >= 1 / self.alpha:
                self.at = self.n
        return self.at is not None


def drop_of(successes: Sequence[bool], alpha: float, baseline: float | None = None, reference: int = 50) -> Drop | None:
    """The alarm over the runs of a version. baseline: the rate that was promised; None: the first `reference` runs say it. None
    while these are too few, or too few of them succeed for any drop to be told."""
    if baseline is not None:
        return _over(successes, baseline, alpha, alpha, 0)
    if len(successes) < reference:
        return None
    low = 1 - exact_upper(reference - sum(successes[:reference]), reference, alpha / 2)
    return None if low <= 0 else _over(successes[reference:], low, alpha / 2, alpha, reference)


def _over(successes: Sequence[bool], baseline: float, level: float, alpha: float, reference: int) -> Drop:
    alarm = DropAlarm(baseline, level)
    for success in successes:
        alarm.add(success)
    capital = alarm.largest * level / alpha  # so that the alarm is at 1 / alpha for either kind of baseline
    return Drop(baseline, alpha, alarm.at, capital, alarm.n, reference)
