"""The shift of actions: a level that holds for all channels and blocks together, and what it finds."""

from itertools import combinations

import numpy as np
import pytest

from palmar.errors import BadValue
from palmar.eval.drop import started
from palmar.eval.shift import least, shifts, summaries

NAMES = ("x", "y", "z")


def runs(rng: np.random.Generator, n: int, moved: float = 0.0) -> np.ndarray:
    """Summaries of n runs whose channels depend on each other and have heavy tails; the last column moved."""
    common = rng.standard_t(3, (n, 1))
    values = common + rng.standard_t(3, (n, 6)) * np.array([1, 10, 0.1, 1, 1, 5])
    values[:, 2] = np.round(values[:, 2], 1)  # with ties
    values[:, 3] += moved
    return values


def test_false_alarms_of_all_blocks_are_rarer_than_alpha() -> None:
    rng = np.random.default_rng(0)
    alarms = sum(any(s.alarm for s in shifts(runs(rng, 90), NAMES, 0.1, 30, 15)) for _ in range(300))
    assert alarms / 300 <= 0.1 and alarms > 0


def test_a_channel_that_moved_is_found_and_named() -> None:
    rng = np.random.default_rng(1)
    found = 0
    for _ in range(20):
        later = shifts(np.concatenate([runs(rng, 50), runs(rng, 20, 4.0)]), NAMES, 0.05)
        assert [s.block for s in later] == [1]
        found += later[0].alarm and (later[0].moved[0].channel, later[0].moved[0].what) == ("x", "spread")
        assert later[0].first == 50 and later[0].last == 69 and later[0].level == 0.025
    assert found >= 18


def test_it_says_the_same_each_time_and_needs_whole_blocks() -> None:
    rng = np.random.default_rng(2)
    values = runs(rng, 69)
    assert shifts(values, NAMES, 0.05) == shifts(values, NAMES, 0.05) == []
    values = runs(rng, 75)
    first = shifts(values, NAMES, 0.05)
    assert first == shifts(values, NAMES, 0.05) and len(first) == 1
    assert shifts(values[:20], NAMES, 0.05) == []


def test_episodes_of_training_are_a_reference_too() -> None:
    rng = np.random.default_rng(3)
    training = runs(rng, 100)
    assert [s.alarm for s in shifts(runs(rng, 40), NAMES, 0.05, training)] == [False, False]
    assert [s.alarm for s in shifts(runs(rng, 40, 6.0), NAMES, 0.05, training)] == [True, True]
    with pytest.raises(BadValue, match="expected 6, two of each channel"):
        shifts(runs(rng, 40), NAMES, 0.05, training[:, :4])


def test_channels_that_never_move_say_nothing() -> None:
    values = np.zeros((80, 6))
    (one,) = shifts(values, NAMES, 0.05)
    assert one.p == 1.0 and not one.alarm
    np.testing.assert_array_equal(summaries([np.zeros(3)] * 2, [np.ones(3)] * 2), [[0, 0, 0, 1, 1, 1]] * 2)


def test_no_p_is_below_the_least() -> None:
    """Runs that are as far away as can be, at a level that only the first block can reach."""
    rng = np.random.default_rng(4)
    alpha = 1e-5
    found = shifts(np.concatenate([runs(rng, 30), 1000 + runs(rng, 30)]), NAMES, alpha, 30, 15)
    assert [s.p for s in found] == [least(30, 15)] * 2 and [s.alarm for s in found] == [True, False]
    assert alpha * started(2) < least(30, 15) < alpha * started(1)
    sums = [abs(sum(chosen)) for chosen in combinations((-2, -1, 0, 1, 2), 2)]  # ranks of 3 and 2 runs, less their mean
    assert least(3, 2) == pytest.approx(np.mean([s == max(sums) for s in sums])) == pytest.approx(0.2)
    assert least(10**8, 10**8) == least(50, 20)
