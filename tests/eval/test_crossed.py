"""The interval over trainings and tables: it covers, it is wider where trainings differ, and incomplete trials are refused."""

import numpy as np
import pytest

from palmar.errors import BadValue
from palmar.eval.crossed import crossed, gained, grid, rate, student


def tried(values):
    return {f"{t}/reach/layout/{u}": bool(x) for t, row in enumerate(values) for u, x in enumerate(row)}


@pytest.mark.parametrize(("degrees", "known"), [(1, 12.706), (2, 4.3027), (2.5, 3.57465), (5, 2.5706), (198, 1.972)])
def test_quantiles_of_student(degrees, known):  # a table; 2.5 from scipy.stats.t.ppf
    assert student(degrees) == pytest.approx(known, rel=1e-3)


@pytest.mark.parametrize("spread", [0.0, 0.5, 1.0], ids=["alike", "unlike", "very unlike"])
@pytest.mark.parametrize("trainings", [3, 5])
def test_it_covers_the_difference_of_two_ways_of_training(trainings, spread):
    rng = np.random.default_rng([5, trainings, int(10 * spread)])

    def drawn(count, tables):
        """Success of two ways of training on tables of unlike difficulty; each training has its own luck."""
        table, luck = 1.5 * rng.normal(size=tables), spread * rng.normal(size=(2, count, 1))
        chance = 1 / (1 + np.exp(-(table + luck + np.array([0.0, 1.0])[:, None, None])))
        return np.diff((rng.random(chance.shape) < chance).astype(float), axis=0)[0]

    truth = np.mean([drawn(60, 400).mean() for _ in range(80)])
    studies = [drawn(trainings, 60) for _ in range(400)]
    assert np.mean([c.low <= truth <= c.high for c in map(crossed, studies)]) >= 0.93
    halves = [1.96 * x.mean(0).std(ddof=1) / np.sqrt(60) for x in studies]
    alone = np.mean([abs(x.mean() - truth) <= half for x, half in zip(studies, halves, strict=True)])
    assert alone < 0.8 or spread == 0  # an interval over tables alone


def test_trainings_that_differ_make_it_wider():
    table = np.arange(100) % 2.0
    alike, unlike = np.stack([table] * 3), np.stack([table, np.zeros(100), np.ones(100)])
    a, b = crossed(alike, 0.0), crossed(unlike, 0.0)
    assert a.value == b.value == 0.5
    assert 0.15 < a.high - a.low < 0.25 and (b.low, b.high) == (0.0, 1.0)
    assert str(a) == f"50.0 % [{100 * a.low:.1f}, {100 * a.high:.1f}] (3 × 100)" and a.n == 300


def test_no_difference_is_not_known_for_certain():
    same = tried(np.ones((3, 48)))
    none = gained(same, same)
    assert none.value == 0 and none.high == -none.low == pytest.approx(0.0554, abs=1e-4)
    assert rate(same).low == pytest.approx(0.9446, abs=1e-4) and rate(same).high == 1


def test_a_difference_is_paired():
    rng = np.random.default_rng(3)
    a = rng.random((3, 80)) < 0.5
    b = a | (rng.random((3, 80)) < 0.2)
    paired, apart = gained(tried(a), tried(b)), (rate(tried(a)), rate(tried(b)))
    assert paired.value == pytest.approx(apart[1].value - apart[0].value) and paired.low > 0
    assert grid(tried(a)).tolist() == a.astype(float).tolist()


def test_what_is_not_whole_is_refused():
    whole = tried(np.ones((2, 3)))
    part = {k: v for k, v in whole.items() if k != "1/reach/layout/2"}
    with pytest.raises(BadValue, match=r"no trial '1/reach/layout/2' \(1 of 6 missing\).*Next: try it"):
        rate(part)
    with pytest.raises(BadValue, match=r"6 and 5 trials, 5 of them shared.*Next: try both"):
        gained(whole, part)
    for values in (np.ones((1, 9)), np.ones((3, 1)), np.full((2, 2), np.nan), np.ones(4)):
        with pytest.raises(BadValue, match=r"expected finite numbers of two or more trainings.*Next: train"):
            crossed(values)
    with pytest.raises(BadValue, match="two or more"):
        rate({})
