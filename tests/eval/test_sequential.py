"""Go and no-go keep their risk however often one looks, and say how many trials are missing."""

from itertools import product
from math import exp

import numpy as np
import pytest

from palmar.errors import BadValue
from palmar.eval.sequential import GoConfig, bounds, go_test, log_capital, outlook

C = GoConfig(0.8, 0.95, 0.05)


def test_capital_is_a_martingale_where_what_is_bet_against_is_just_true():
    """Added over all outcomes of eight trials, weighed by their probability: exactly 1."""
    for p, other in ((0.8, 0.95), (0.95, 0.8)):
        total = 0.0
        for outcome in product((0, 1), repeat=8):
            s = sum(outcome)
            total += p**s * (1 - p) ** (8 - s) * exp(log_capital(p, other, np.array(s), np.array(8 - s)))
        assert total == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize(("rate", "wrong"), [(0.8, "go"), (0.7, "go"), (0.95, "no-go"), (0.99, "no-go")])
def test_the_risk_is_kept_over_400_looks(rate, wrong):
    """1000 policies at or beyond the bound: at most 5 % get the wrong verdict at any time, within what chance allows."""
    tried = np.random.default_rng(5).uniform(size=(1000, 400)) < rate
    s, f = np.cumsum(tried, 1), np.cumsum(~tried, 1)
    p, other = (C.need, C.want) if wrong == "go" else (C.want, C.need)
    ever = (log_capital(p, other, s, f) >= np.log(1 / C.risk)).any(1).mean()
    assert ever <= C.risk + 3 * np.sqrt(C.risk * (1 - C.risk) / 1000)


def test_good_policies_go_and_bad_ones_do_not():
    good, bad = go_test([True] * 19), go_test([False] * 4)
    assert (good.verdict, good.at) == ("go", 19) and good.outlook is None
    assert bad.verdict == "no-go" and bad.at <= 3
    assert str(good).startswith("go after 19: 19 of 19 real trials succeeded") and "80 % or less is excluded" in str(
        good
    )
    assert good.low > 0.8 and bad.high < 0.95


def test_the_first_verdict_stands():
    found = go_test([True] * 19 + [False] * 50)
    assert found.verdict == "go" and found.at == 19 and found.trials.n == 69
    assert found.high < 0.8, "the interval is of all trials, and tells that something changed"


def test_too_few_trials_are_not_yet_and_say_how_many_more():
    none, few = go_test([]), go_test([True] * 10)
    assert (none.verdict, few.verdict) == ("not yet", "not yet") and str(few).startswith("not yet: 10 of 10")
    assert none.outlook.least == 19 and few.outlook.least == 9
    assert go_test([True] * (10 + few.outlook.least)).verdict == "go"
    assert go_test([True] * (9 + few.outlook.least)).verdict == "not yet"
    assert few.outlook.go + few.outlook.no_go == pytest.approx(1.0, abs=0.02)
    assert few.outlook.least <= few.outlook.median <= few.outlook.most


def test_the_outlook_knows_what_simulation_predicts():
    sure, bad = outlook(0, 0, C, np.array([0.99])), outlook(0, 0, C, np.array([0.5]))
    assert sure.go > 0.95 and bad.no_go > 0.99
    assert bad.median < sure.median < 40
    never = outlook(0, 0, GoConfig(0.8, 0.801, 1e-6), np.array([0.8005]))
    assert never.median is None and never.go + never.no_go < 0.5


def test_each_end_of_the_interval_holds_at_every_look():
    rng, missed = np.random.default_rng(2), [0, 0]
    for _ in range(40):
        s = np.cumsum(rng.uniform(size=40) < 0.85)
        ends = [bounds(int(k), n + 1 - int(k), C) for n, k in enumerate(s)]
        missed = [missed[0] + any(low > 0.85 for low, _ in ends), missed[1] + any(high < 0.85 for _, high in ends)]
    assert max(missed) <= 5
    assert bounds(0, 0, C) == (0.0, 1.0)


def test_the_interval_and_the_verdict_agree():
    for s, f in product(range(0, 40, 5), range(0, 12, 2)):
        low, high = bounds(s, f, C)
        assert (low >= C.need) == (log_capital(C.need, C.want, np.array(s), np.array(f)) >= np.log(20))
        assert (high <= C.want) == (log_capital(C.want, C.need, np.array(s), np.array(f)) >= np.log(20))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"need": 0.95, "want": 0.8}, r"need is 0.95 and want 0.8; expected need below want.* Next: "),
        ({"need": 0.0}, r"need is 0.0; expected above 0 and below 1\. Next: "),
        ({"risk": 0.5}, r"risk is 0.5; expected above 0 and below 0.5"),
        ({"want": float("nan")}, r"want is nan"),
    ],
)
def test_bounds_that_cannot_be_are_refused(values, message):
    with pytest.raises(BadValue, match=message):
        GoConfig(**values)
