"""Correlations and rank violations by hand, and intervals that hold what they should."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from palmar.errors import BadValue
from palmar.eval.ranking import Scored, mmrv, pearson, ranking, ranks, spearman
from palmar.eval.stats import Rate


def scored(*pairs: tuple[int, int], n: int = 50) -> list[Scored]:
    return [Scored(f"p{i}", Rate(a, n), Rate(b, n)) for i, (a, b) in enumerate(pairs)]


def test_mmrv_by_hand():
    """b and c are in the wrong order and 0.2 apart: the worst of each, a third of 0.2 + 0.2."""
    sim, real = np.array([0.9, 0.5, 0.4]), np.array([0.8, 0.3, 0.5])
    assert mmrv(sim, real) == pytest.approx((0.2 + 0.2) / 3)
    assert mmrv(real, real) == 0.0
    assert mmrv(-real, real) == pytest.approx((0.5 + 0.5 + 0.3) / 3), "the whole order reversed"


def test_a_tie_in_simulation_costs_the_policy_that_reality_puts_below():
    assert mmrv(np.array([0.5, 0.5]), np.array([0.9, 0.4])) == pytest.approx(0.5 / 2)


@given(st.lists(st.integers(0, 20), min_size=3, max_size=6), st.randoms())
def test_mmrv_is_zero_for_one_order_and_never_more_than_the_spread(values, random):
    real = np.array(values, float) / 20
    sim = real.copy()
    random.shuffle(values)
    other = np.array(values, float)
    assert mmrv(sim**3, real) == 0.0
    assert 0.0 <= mmrv(other, real) <= np.ptp(real) + 1e-12


def test_correlations_are_those_of_numpy():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 5, 9))
    for i in range(5):
        assert pearson(x, y)[i] == pytest.approx(np.corrcoef(x[i], y[i])[0, 1])
    assert np.array_equal(ranks(np.array([3.0, 1.0, 3.0])), [2.5, 1.0, 2.5])
    assert {float(spearman(np.arange(3.0), np.array(p, float))) for p in permutations(range(3))} == {
        1.0,
        0.5,
        -0.5,
        -1.0,
    }
    assert np.isnan(pearson(np.ones(4), np.arange(4.0)))


def test_the_same_order_gives_one_with_an_interval_below_it():
    found = ranking(scored((5, 4), (15, 16), (25, 25), (35, 33), (45, 46), (49, 50)))
    assert found.pearson.value > 0.99 and found.spearman.value == 1.0 and found.mmrv.value == 0.0
    assert found.pearson.low < found.pearson.value <= found.pearson.high
    assert found.perfect["pearson"].low < found.perfect["pearson"].value < 1.0
    assert 0 < found.perfect["mmrv"].value < 0.05
    assert ranking(found.policies) == found, "the same policies, the same intervals"


def test_intervals_hold_the_figures_of_such_measurements():
    """Of 100 measurements of 8 policies, 30 trials each: the figure that such measurements have on average is in at least 90."""
    rng = np.random.default_rng(1)

    def measured() -> tuple[np.ndarray, np.ndarray]:
        z = rng.normal(0, 1.6, 8)
        rates = [1 / (1 + np.exp(-x)) for x in (z + rng.normal(0, 0.5, 8), z + 0.3)]
        return rng.binomial(30, rates[0]), rng.binomial(30, rates[1])

    many = [measured() for _ in range(1000)]
    usual = {
        "pearson": np.mean([pearson(a / 30, b / 30) for a, b in many]),
        "mmrv": np.mean([mmrv(a, b) for a, b in many]) / 30,
    }
    held = {name: 0 for name in usual}
    for a, b in many[:100]:
        found = ranking(scored(*zip(a.tolist(), b.tolist(), strict=True), n=30))
        for name, value in usual.items():
            held[name] += getattr(found, name).low <= value <= getattr(found, name).high
    assert min(held.values()) >= 90, held


def test_equal_rates_have_no_correlation():
    found = ranking(scored((50, 10), (50, 20), (50, 30)))
    assert found.pearson.value is None and found.mmrv.value > 0
    assert found.to_dict()["pearson"]["value"] is None


@pytest.mark.parametrize(
    ("policies", "message"),
    [
        (scored((1, 2), (3, 4)), r"2 policies; expected 3 or more for a rank correlation.* Next: name more"),
        (
            [*scored((1, 2), (3, 4)), Scored("none", Rate(1, 2), Rate(0, 0))],
            r"'none' has no trial in reality; .* Next: ",
        ),
        ([*scored((1, 2), (3, 4)), Scored("p0", Rate(1, 2), Rate(1, 2))], r"named twice; .* Next: "),
    ],
)
def test_what_has_no_order_is_refused(policies, message):
    with pytest.raises(BadValue, match=message):
        ranking(policies)
