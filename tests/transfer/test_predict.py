"""The predicted real rate: its interval holds the truth of synthetic policies, and its worlds are the same for every policy."""

import numpy as np
import pytest

from palmar.errors import BadValue
from palmar.eval.stats import Rate
from palmar.lab.suite import EvalConfig, run
from palmar.lab.worlds import Loaded
from palmar.sim.params import Randomization
from palmar.transfer.predict import PredictConfig, Predicted, jobs, predicted


@pytest.mark.parametrize("worlds", [6, 12])
@pytest.mark.parametrize("spread", [0.0, 0.5, 1.5])
def test_the_interval_holds_the_truth_of_synthetic_policies(worlds, spread):
    """A policy's success is a logistic function of four parameters of the world; they are identified with an error of half
    their spread. 100 policies, 8 trials in each world, 30 in reality: at least 90 % of rates and of observations are held."""
    rng = np.random.default_rng([11, worlds])
    held = observed = 0
    for k in range(100):
        base, slope = rng.normal(1.0, 1.5), rng.normal(0, spread, 4)
        truth = rng.normal(0, 1, 4)
        estimate = truth + rng.normal(0, 0.5, 4)
        drawn = estimate + rng.normal(0, 0.5, (worlds, 4))
        rate, real = 1 / (1 + np.exp(-base - drawn @ slope)), 1 / (1 + np.exp(-base - truth @ slope))
        found = Predicted(tuple((int(rng.binomial(8, p)), 8) for p in rate), k)
        held += found.interval[0] <= real <= found.interval[1]
        observed += found.holds(Rate(int(rng.binomial(30, real)), 30))
    assert held >= 90 and observed >= 90


def test_worlds_that_differ_widen_the_interval():
    alike, apart = predicted([[True, False] * 10] * 6), predicted([[True] * 20] * 3 + [[False] * 20] * 3)
    assert alike.simulated == apart.simulated
    width = [b - a for a, b in (alike.interval, apart.interval)]
    assert width[1] > 1.5 * width[0]
    assert alike.value == pytest.approx(0.5, abs=0.03)


def test_more_real_trials_narrow_what_may_be_observed():
    found = predicted([[True] * 9 + [False]] * 10)
    few, many = found.observed(5), found.observed(500)
    assert many[1] - many[0] < few[1] - few[0]
    assert found.holds(Rate(9, 10)) and not found.holds(Rate(10, 100))
    assert str(found).endswith("(10 worlds, 100 trials)") and found.to_dict()["worlds"][0] == [9, 10]


def test_every_policy_meets_the_same_worlds_and_no_table_is_in_two():
    one, two = (
        jobs(EvalConfig(p, tasks=("reach", "push"), timeout=3.0), Randomization(1.0), PredictConfig(3, 2, 600_000))
        for p in ("expert", "shipped")
    )
    assert [[j[0].randomization for j in w] for w in one] == [[j[0].randomization for j in w] for w in two]
    tables = [{j[3] for j in w} for w in one]
    assert [len(t) for t in tables] == [2, 2, 2] and len(set.union(*tables)) == 6
    assert len({str(w[0][0].randomization) for w in one}) == 3


def test_an_expert_is_predicted_to_reach():
    loaded = Loaded()
    plan = jobs(EvalConfig("expert", tasks=("reach",), timeout=4.0), Randomization(0.3), PredictConfig(3, 1))
    found = predicted([[run(loaded, job).success for job in world] for world in plan])
    assert found.simulated == Rate(3, 3) and found.value > 0.6


@pytest.mark.parametrize("outcomes", [[], [[True]] * 2, [[True], [False], []]])
def test_too_few_worlds_are_refused(outcomes):
    with pytest.raises(BadValue, match=r"expected 3 or more, each with trials.* Next: more worlds"):
        predicted(outcomes)
    with pytest.raises(BadValue, match=r"worlds is 2; expected 3 or more.* Next: 10"):
        PredictConfig(2)
