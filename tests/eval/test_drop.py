"""The drop alarm: its rate of false alarms by simulation and by arithmetic, and how long a drop takes to be told."""

from fractions import Fraction
from itertools import product

import numpy as np
import pytest

from palmar.errors import BadValue
from palmar.eval.drop import RATES, DropAlarm, drop_of, started
from palmar.types import Array


def alarms(baseline: float, alpha: float, successes: Array) -> Array:
    """int[S]: the run of the alarm of each of S lives bool[S, N], 0 for none: `DropAlarm` for many lives at once."""
    q = baseline * RATES
    capital, unspent = np.zeros((len(successes), len(q))), 1.0
    at = np.zeros(len(successes), int)
    for i in range(successes.shape[1]):
        unspent -= started(i + 1)
        odds = np.where(successes[:, i : i + 1], q / baseline, (1 - q) / (1 - baseline))
        capital = (capital + started(i + 1)) * odds
        hit = (capital.mean(1) + unspent >= 1 / alpha) & (at == 0)
        at[hit] = i + 1
    return at


def test_many_lives_at_once_are_those_of_the_alarm() -> None:
    lives = np.random.default_rng(1).random((20, 150)) < 0.8
    expected = []
    for life in lives:
        alarm = DropAlarm(0.9, 0.05)
        for success in life:
            alarm.add(bool(success))
        expected.append(alarm.at or 0)
    assert expected == alarms(0.9, 0.05, lives).tolist() and sum(x > 0 for x in expected) > 0


@pytest.mark.parametrize("alpha", [0.05, 0.2])
@pytest.mark.parametrize("baseline", [0.95, 0.6])
def test_false_alarms_of_a_whole_life_are_rarer_than_alpha(baseline: float, alpha: float) -> None:
    """2000 lives of 1000 runs at exactly the baseline, looked at after every run."""
    at = alarms(baseline, alpha, np.random.default_rng(0).random((2000, 1000)) < baseline)
    rate = (at > 0).mean()
    assert rate <= alpha  # the bound is on the true rate; the estimate is well below it
    assert rate > alpha / 20  # and it is not because nothing ever alarms


def test_the_capital_is_a_fair_game_exactly() -> None:
    """Over all 2^10 outcomes, weighted by their probability at the baseline, the mean of the capital is 1, in fractions."""
    p, n = Fraction(9, 10), 10
    total = Fraction(0)
    rates = [p * k / 12 for k in range(12)]
    weights = [
        Fraction(1) / ((s.bit_length()) * (s.bit_length() + 1) * 2 ** (s.bit_length() - 1)) for s in range(1, n + 1)
    ]
    for outcome in product((True, False), repeat=n):
        chance, capital, unspent = Fraction(1), [Fraction(0)] * 12, Fraction(1)
        for x, w in zip(outcome, weights, strict=True):
            chance *= p if x else 1 - p
            unspent -= w
            capital = [(c + w) * (q / p if x else (1 - q) / (1 - p)) for c, q in zip(capital, rates, strict=True)]
        alarm = DropAlarm(float(p), 1e-12)  # never alarms: its capital goes on
        for x in outcome:
            alarm.add(x)
        exact = sum(capital) / 12 + unspent
        assert alarm.capital == pytest.approx(float(exact), rel=1e-9)
        total += chance * exact
    assert total == 1


def test_weights_of_the_start_sum_to_one() -> None:
    assert sum(started(s) for s in range(1, 2**14)) == pytest.approx(1 - 1 / 15)
    assert all(started(s) >= started(s + 1) > 0 for s in range(1, 300))


@pytest.mark.parametrize(("good", "most"), [(0, 30), (50, 45), (200, 60)])
def test_a_drop_from_95_to_75_percent_is_told_within_so_many_runs(good: int, most: int) -> None:
    rng = np.random.default_rng(2)
    lives = np.concatenate([rng.random((500, good)) < 0.95, rng.random((500, 400)) < 0.75], axis=1)
    at = alarms(0.95, 0.05, lives)
    after = at[at > good] - good
    assert len(after) > 450 and np.median(after) <= most
    assert (at == 0).mean() < 0.01


def test_a_baseline_from_runs_keeps_the_bound() -> None:
    """The bound of the baseline errs with alpha / 2, the alarm with alpha / 2."""
    rng = np.random.default_rng(3)
    false = 0
    for _ in range(200):
        found = drop_of((rng.random(350) < 0.9).tolist(), 0.1, None, 50)
        assert found is not None and found.baseline < 0.99
        false += found.at is not None
    assert false / 200 <= 0.1
    dropped = drop_of([True] * 50 + [False] * 20, 0.05, None, 50)
    assert dropped is not None and dropped.at is not None and dropped.at < 8 and dropped.evidence == 1.0
    assert drop_of([True] * 49, 0.05, None, 50) is None
    assert drop_of([False] * 60, 0.05, None, 50) is None
    assert drop_of([], 0.05, 0.9) is not None


def test_a_baseline_of_many_runs() -> None:
    """Of as many as their binomial coefficients are beyond what a float holds."""
    from scipy.stats import beta

    found = drop_of([*[True] * 600, *[False] * 500], 0.05, None, 1100)
    assert found is not None and found.baseline == pytest.approx(beta.ppf(0.025, 600, 501), abs=1e-9)


@pytest.mark.parametrize(
    ("baseline", "alpha"), [(0.0, 0.05), (1.0, 0.05), (0.9, 0.0), (0.9, 1.0), (float("nan"), 0.05)]
)
def test_rates_that_are_none(baseline: float, alpha: float) -> None:
    with pytest.raises(BadValue, match="expected both between 0 and 1"):
        DropAlarm(baseline, alpha)
