"""A/B: assignment from the seed, and a test that keeps its error although somebody looks after every episode."""

import numpy as np
import pytest

from palmar.errors import BadValue
from palmar.robots.arm7 import arm7
from palmar.robots.so101 import so101
from palmar.runtime.adaptation.ab import AB, GRID, ABConfig, Episodes, assigned, log_capital, narrowed, rates
from palmar.types import ActionChunk, Reason

ALPHA, ROBOT = 0.05, arm7()


def counted(rng: np.random.Generator, a: float, b: float, sims: int, pairs: int) -> list[np.ndarray]:
    """wins, ties and losses int[sims, pairs] so far, of rates a and b."""
    d = (rng.random((sims, pairs)) < b).astype(int) - (rng.random((sims, pairs)) < a)
    return [np.cumsum(d == v, 1) for v in (1, 0, -1)]


@pytest.mark.parametrize(("a", "b"), [(0.5, 0.5), (0.9, 0.9), (0.1, 0.1), (0.6, 0.9), (0.95, 0.5)])
def test_the_truth_is_excluded_in_at_most_alpha_of_runs_looked_at_after_every_pair(a: float, b: float) -> None:
    wins, ties, losses = counted(np.random.default_rng(1), a, b, 1000, 120)
    ever = (log_capital(np.full(wins.shape, b - a), wins, ties, losses) >= np.log(1 / ALPHA)).any(1)
    assert ever.mean() <= ALPHA


def test_its_mean_is_one_where_the_difference_is_true() -> None:
    rng, d = np.random.default_rng(2), 0.2
    wins, ties, losses = counted(rng, 0.5, 0.7, 5_000, 8)
    capital = np.exp(log_capital(np.full(5_000, d), wins[:, -1], ties[:, -1], losses[:, -1]))
    assert capital.mean() == pytest.approx(1.0, abs=4 * capital.std() / np.sqrt(len(capital)))


def decided(seed: int, a: float, b: float, **config: float) -> Episodes:
    rng = np.random.default_rng([5, seed])
    episodes = Episodes(ABConfig(seed=seed, **config))
    while episodes.decision.what == "go on":
        episodes = episodes.add(rng.random() < (b if episodes.next == "b" else a))
    return episodes


def test_equal_policies_are_hardly_ever_told_apart() -> None:
    found = [decided(i, 0.7, 0.7, most=80).decision.what for i in range(40)]
    assert found.count("keep") >= 36


def test_a_large_difference_ends_it_early_with_the_reason() -> None:
    better = [decided(i, 0.3, 0.9, most=200) for i in range(8)]
    assert all(e.decision.what == "promote" for e in better)
    assert np.median([len(e.successes) for e in better]) < 60
    assert "B − A" in str(better[0].decision.reason)
    worse = decided(1, 0.9, 0.2, most=200).decision
    assert worse.what == "roll back" and worse.interval.high < 0


def test_what_is_not_worth_having_is_given_up() -> None:
    found = decided(3, 0.9, 0.9, most=800, worth=0.3).decision
    assert found.what == "keep" and found.interval.high < 0.3 and 2 * found.n < 400


def test_each_pair_holds_one_of_each_in_an_order_of_the_seed() -> None:
    arms = [assigned(4, i) for i in range(400)]
    assert all({arms[i], arms[i + 1]} == {"a", "b"} for i in range(0, 400, 2))
    assert arms == [assigned(4, i) for i in range(400)] != [assigned(5, i) for i in range(400)]
    assert 60 < sum(arm == "a" for arm in arms[::2]) < 140
    assert rates([True] * 4, 4) == {"a": (2, 2), "b": (2, 2)}


def test_intervals_only_narrow_and_hold_the_estimate() -> None:
    low, high, wins = -1.0, 1.0, 0
    for n in range(1, 60):
        wins += n % 3 == 0
        new = narrowed(low, high, wins, n - wins, 0, ALPHA)
        assert low <= new[0] <= wins / n + 0.01 and wins / n - 0.01 <= new[1] <= high
        low, high = new
    assert high - low < 0.6 and len(GRID) == 401


class Named:
    def __init__(self, name: str, robot=ROBOT) -> None:
        self.name, self.interface = name, robot.interface(4)

    def reset(self) -> None:
        """Nothing to forget."""

    def act(self, obs, prefix=None) -> ActionChunk:
        return ActionChunk(np.zeros((4, 7), np.float32), 0.1, 0.0)


def test_the_policy_of_an_episode_is_the_one_that_is_drawn() -> None:
    ab = AB(Named("a"), Named("b"), Episodes(ABConfig(seed=2)))
    driven = []
    for _ in range(6):
        ab.reset()
        driven.append(ab.inner.name)
        ab.ended(True)
    assert driven == [assigned(2, i) for i in range(6)]


def test_the_winner_drives_and_a_fault_of_b_ends_it() -> None:
    ab = AB(Named("a"), Named("b"), decided(0, 0.3, 0.9))
    ab.reset()
    assert ab.decision.what == "promote" and ab.inner.name == "b"
    assert ab.ended(False).what == "promote"
    assert ab.fault(Reason("tracking", "joint4", 0.3, 0.1, "rad")).what == "roll back"
    ab.reset()
    assert ab.inner.name == "a"
    assert ab.fault(Reason("tracking")).reason == Reason("tracking", "joint4", 0.3, 0.1, "rad")


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(BadValue, match="alpha"):
        ABConfig(alpha=0.0)
    with pytest.raises(BadValue, match="policy B"):
        AB(Named("a"), Named("b", so101()))
