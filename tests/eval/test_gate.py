"""The gate: nothing without held-out trials, old tables not worse, new tables better, each by a bound."""

from math import comb

import numpy as np
import pytest

from palmar.errors import BadValue
from palmar.eval.gate import GateConfig, change, gate, trials_for


def outcomes(good: int, n: int) -> list[bool]:
    return [i < good for i in range(n)]


def test_better_on_new_and_as_good_on_old_passes() -> None:
    verdict = gate(change(outcomes(190, 200), outcomes(190, 200)), change(outcomes(40, 100), outcomes(80, 100)))
    assert verdict.passed and not verdict.reasons
    assert verdict.new.gained == 40 and verdict.new.lost == 0 and verdict.new.low > 0.3
    assert "passed" in str(verdict) and verdict.to_dict()["passed"]


@pytest.mark.parametrize(("old", "new"), [((0, 0), (40, 80)), ((100, 100), (0, 0)), ((0, 0), (0, 0))])
def test_without_held_out_trials_nothing_is_swapped(old: tuple[int, int], new: tuple[int, int]) -> None:
    def made(pair: tuple[int, int]):
        return change(outcomes(pair[0], 100 * any(pair)), outcomes(pair[1], 100 * any(pair)))

    verdict = gate(made(old), made(new))
    assert not verdict.passed
    assert any("held-out" in str(r) and "0 < 20" in str(r) for r in verdict.reasons)


def test_a_loss_on_old_tables_refuses() -> None:
    verdict = gate(change(outcomes(190, 200), outcomes(180, 200)), change(outcomes(40, 100), outcomes(80, 100)))
    assert not verdict.passed and "old tables" in str(verdict)


def test_no_loss_in_too_few_trials_shows_nothing() -> None:
    """100 tables without a difference leave a loss of 3 points possible."""
    assert not gate(change(outcomes(100, 100), outcomes(100, 100)), change(outcomes(4, 100), outcomes(80, 100))).passed
    n = trials_for(0.02)
    assert n == 149  # a version that loses 2 points loses none of them in 0.98^149 < 5 % of cases
    assert change(outcomes(n, n), outcomes(n, n)).low >= -0.02 > change(outcomes(n, n), outcomes(n - 1, n)).low
    assert change(outcomes(n - 1, n - 1), outcomes(n - 1, n - 1)).low < -0.02


def test_a_gain_that_may_be_chance_refuses() -> None:
    verdict = gate(change(outcomes(200, 200), outcomes(200, 200)), change(outcomes(40, 100), outcomes(42, 100)))
    assert not verdict.passed and "new tables" in str(verdict)


def test_the_bound_holds_in_nineteen_of_twenty() -> None:
    """Policies with a true loss of 2 points pass the old-table rule at most about once in twenty."""
    rng = np.random.default_rng(0)
    passed = 0
    for _ in range(400):
        u = rng.random(300)
        lost, gained = u < 0.04, u > 0.98
        before, after = ~gained, ~lost
        passed += change(before.tolist(), after.tolist()).low >= -0.02
    assert passed / 400 <= 0.07


@pytest.mark.parametrize("n", [115, 120, 150, 200, 400])
def test_a_version_that_only_loses_passes_no_more_often_than_it_says(n: int) -> None:
    """Exactly: of a version that loses 2 points and gains nothing, by how many of n tables it loses."""
    passing = [k for k in range(15) if change(outcomes(n, n), outcomes(n - k, n)).low >= -0.02]
    assert sum(comb(n, k) * 0.02**k * 0.98 ** (n - k) for k in passing) <= 0.05


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(BadValue, match="same tables"):
        change([True], [True, False])
    with pytest.raises(BadValue, match="margin"):
        GateConfig(margin=-0.1)
    with pytest.raises(BadValue, match="above 0"):
        trials_for(0.0)
