"""Intervals against published values, and properties that no number of trials may break."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palmar.errors import BadValue
from palmar.eval.stats import Rate, exact_upper, paired, trials_needed


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),  # Newcombe 1998, table I, method 3
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_agrees_with_newcombe(successes, n, low, high):
    assert Rate(successes, n).interval == pytest.approx((low, high), abs=6e-5)


@given(st.integers(0, 3000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_holds_the_rate_and_stays_within_bounds(case):
    successes, n = case
    low, high = Rate(successes, n).interval
    assert 0.0 <= low <= high <= 1.0
    if n:
        assert low <= Rate(successes, n).value <= high
        mirrored = Rate(n - successes, n).interval
        assert mirrored == pytest.approx((1 - high, 1 - low), abs=1e-9)
        twice = Rate(2 * successes, 2 * n).interval
        assert twice[1] - twice[0] < high - low


def test_a_rate_of_nothing_knows_nothing():
    assert Rate(0, 0).interval == (0.0, 1.0)
    assert str(Rate(0, 0)) == "–" and Rate(0, 0).to_dict()["rate"] is None  # JSON has no NaN
    with pytest.raises(BadValue, match="3 successes of 2 trials"):
        Rate(3, 2)


def test_paired_counts_only_where_they_differ():
    a = [True] * 10 + [False] * 10
    assert paired(a, a).p == 1.0
    assert paired(a, a).difference == 0.0
    assert paired(a, a).verdict == "cannot tell"
    b = [True] * 20
    better = paired(a, b)
    assert (better.only_a, better.only_b, better.difference) == (0, 10, 0.5)
    assert better.p == pytest.approx(2 / 2**10)  # exact McNemar with 0 of 10
    assert better.verdict == "b is better"
    assert 0 < better.low < 0.5 < better.high + 0.05
    assert paired(b, a).verdict == "a is better"
    with pytest.raises(BadValue, match="same seeds"):
        paired(a, b[:3])


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=200))
def test_paired_is_antisymmetric(pairs):
    a, b = [x for x, _ in pairs], [y for _, y in pairs]
    there, back = paired(a, b), paired(b, a)
    assert there.difference == pytest.approx(-back.difference)
    assert (there.low, there.high) == pytest.approx((-back.high, -back.low))
    assert there.p == back.p
    assert 0 <= there.p <= 1
    assert -1 <= there.low <= there.high <= 1


def test_trials_needed_agrees_with_the_textbook():
    assert trials_needed(0.5, 0.7) in (93, 94)  # Fleiss, Levin, Paik 2003, without continuity correction
    assert trials_needed(0.7, 0.5) == trials_needed(0.5, 0.7)
    assert trials_needed(0.90, 0.95) > trials_needed(0.5, 0.9)
    assert trials_needed(0.5, 0.7, power=0.95) > trials_needed(0.5, 0.7)
    with pytest.raises(BadValue, match="two different numbers"):
        trials_needed(0.5, 0.5)


@pytest.mark.parametrize("n", [1, 10, 200, 1100, 100_000])
@pytest.mark.parametrize("alpha", [0.01, 0.025, 0.5])
def test_the_exact_bound_is_that_of_the_beta_distribution(n: int, alpha: float) -> None:
    from scipy.stats import beta

    for found in {0, n // 50, n // 2, n - 1}:
        assert exact_upper(found, n, alpha) == pytest.approx(beta.ppf(1 - alpha, found + 1, n - found), abs=1e-9)
    assert exact_upper(n, n, alpha) == 1.0


def test_counts_that_cannot_be_have_no_bound() -> None:
    for wrong in ((11, 10, 0.05), (-1, 10, 0.05), (1, 10, 0.0)):
        with pytest.raises(BadValue, match="Next: counts of the same trials"):
            exact_upper(*wrong)
