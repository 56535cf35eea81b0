"""Worlds drawn from an identification: what is known from its joint posterior, what is not from its range."""

from dataclasses import asdict, replace

import numpy as np
import pytest

from palmar.errors import BadFile, BadValue, UnknownName
from palmar.eval.stats import Z95
from palmar.lab.collect import CollectConfig
from palmar.lab.suite import EvalConfig, as_json
from palmar.sim.choosing import check_spans, chosen
from palmar.sim.draws import Worlds
from palmar.sim.params import SPACE, Randomization
from palmar.transfer.identification import Estimate, Identification
from palmar.transfer.posterior import Posterior, posterior
from palmar.transfer.search import unknown

FOUND = Identification(
    "arm7",
    {
        "gain": Estimate(1.1, 1.0, 1.2, "×", True),
        "damping": Estimate(1.0, 0.9, 1.1, "×", True),
        "action_delay": Estimate(0.02, 0.0, 0.3, "ticks", True),
        "mass": unknown("mass", "no motion shows it"),
        "friction": replace(unknown("friction", "at the bound"), found=2.5, bound=2.5),
    },
    1.0, 0.5, correlation={"gain": {"gain": 1.0, "damping": 0.9}, "damping": {"gain": 0.9, "damping": 1.0}},
)  # fmt: skip


def drawn(worlds: Worlds, names: tuple[str, ...], n: int = 1000) -> np.ndarray:
    rng = np.random.default_rng(3)
    return np.array([[w[name] for name in names] for w in (worlds.sample(rng) for _ in range(n))])


def test_identified_parameters_have_the_means_spreads_and_correlation_of_the_estimates():
    x = drawn(posterior(FOUND), ("gain", "damping"))
    assert x.mean(0) == pytest.approx([1.1, 1.0], abs=0.005)
    assert x.std(0) == pytest.approx([0.1 / Z95, 0.1 / Z95], rel=0.08)
    assert np.corrcoef(x.T)[0, 1] == pytest.approx(0.9, abs=0.02)


def test_nothing_leaves_the_physical_bounds():
    x = drawn(posterior(FOUND), ("action_delay",))
    assert x.min() >= 0.0 and 0.01 < x.mean() < 0.15
    wide = Posterior(("damping",), (0.01,), (5.0,), (5.0,), ((1.0,),))
    assert drawn(wide, ("damping",), 300).min() >= SPACE["damping"].least


def test_what_is_not_identified_keeps_its_range_or_widens_by_the_factor():
    assert np.ptp(drawn(posterior(FOUND), ("mass",))) == pytest.approx(0.4, abs=0.02)
    x = drawn(posterior(FOUND, widen=2.0), ("mass",))
    assert (x.min(), x.max()) == (pytest.approx(0.6, abs=0.02), pytest.approx(1.4, abs=0.02))


def test_a_fit_at_its_bound_stretches_the_range_to_it():
    x = drawn(posterior(FOUND), ("friction",))
    assert (x.min(), x.max()) == (pytest.approx(0.5, abs=0.02), pytest.approx(2.5, abs=0.02))


def test_at_strength_0_nothing_but_the_identified_moves():
    names = tuple(n for n in SPACE if n not in ("gain", "damping", "action_delay"))
    x = drawn(posterior(FOUND, 0.0), names, 20)
    assert np.ptp(x, axis=0).max() == 0.0
    assert x[0].tolist() == [SPACE[n].nominal for n in names]


def test_the_rest_is_the_world_that_would_be_without_an_identification():
    names = tuple(n for n in SPACE if n not in FOUND.estimates and n != "servo_lag")
    one, two = (w.sample(np.random.default_rng(8)) for w in (posterior(FOUND), Randomization(1.0)))
    assert [one[n] for n in names] == [two[n] for n in names]


def test_a_delay_that_is_identified_has_the_lag_of_the_servos_in_it():
    assert np.ptp(drawn(posterior(FOUND), ("servo_lag",), 50)) == 0.0
    assert drawn(posterior(FOUND), ("servo_lag",), 1)[0, 0] == SPACE["servo_lag"].nominal
    undelayed = replace(FOUND, estimates={n: e for n, e in FOUND.estimates.items() if n != "action_delay"})
    assert np.ptp(drawn(posterior(undelayed), ("servo_lag",), 50)) > 0.01


def test_it_stands_where_a_randomization_does():
    """In the configurations of collecting and evaluating, in a file and compared."""
    worlds = posterior(FOUND)
    assert isinstance(worlds, Worlds) and isinstance(Randomization(), Worlds)
    assert CollectConfig(1, randomization=worlds) == CollectConfig(1, randomization=posterior(FOUND))
    kept = as_json(EvalConfig("expert", randomization=worlds))["randomization"]
    assert kept["names"] == ["gain", "damping", "action_delay"] and kept["rest"]["strength"] == 1.0
    assert as_json(EvalConfig("expert", randomization=posterior(FOUND)))["randomization"] == kept


def test_nothing_identified_is_the_randomization_alone():
    none = posterior(Identification("arm7", {}, 1.0, 1.0))
    assert none.sample(np.random.default_rng(1)) == Randomization().sample(np.random.default_rng(1))
    assert none.ranges() == {} and set(posterior(FOUND).ranges()) == {"gain", "damping", "action_delay"}


def test_a_correlation_that_is_none_is_refused():
    good = asdict(posterior(FOUND)) | {"rest": Randomization()}
    for rho in (
        ((1, 2, 0), (2, 1, 0), (0, 0, 1)),
        ((1, 0.5, 0), (0.4, 1, 0), (0, 0, 1)),
        ((2, 0, 0), (0, 1, 0), (0, 0, 1)),
    ):
        with pytest.raises(BadValue, match=r"correlation of the estimates is none.* Next: palmar sysid"):
            Posterior(**good | {"correlation": rho})
    with pytest.raises(BadValue, match=r"3 names, 3 values, correlation of 2 rows"):
        Posterior(**good | {"correlation": ((1, 0), (0, 1))})
    torn = {"gain": {"gain": 1.0}, "damping": {"gain": 0.9, "damping": 1.0}}
    with pytest.raises(BadFile, match=r"lacks 'damping'.* Next: palmar sysid"):
        posterior(replace(FOUND, correlation=torn))


def test_other_mistakes_are_told():
    with pytest.raises(BadValue, match=r"widen is 0.5; expected 1 … 10"):
        posterior(FOUND, widen=0.5)
    outside = replace(FOUND, estimates={"gain": Estimate(1.5, 1.0, 1.2, "×", True)})
    with pytest.raises(BadValue, match=r"gain is 1.5, outside its interval 1 … 1.2"):
        posterior(outside)
    for spans, message in (
        ({"mass": (1.2, 0.8)}, r"range of mass is 1.2 … 0.8, inside out; .* Next: 0.8 … 1.2"),
        ({"mass": (-1.0, 0.8)}, r"expected within 0.001 … 1000"),
        ({"mass": (float("nan"), 0.8)}, r"expected finite numbers"),
    ):
        with pytest.raises(BadValue, match=message):
            check_spans(spans)
    with pytest.raises(UnknownName, match="massive"):
        check_spans({"massive": (0, 1)})


def test_a_subset_is_named_by_groups_and_names():
    assert chosen(("sensor", "mass")) == ("mass", *(n for n, p in SPACE.items() if p.group == "sensor"))
    assert chosen(("all",)) == tuple(SPACE)
    with pytest.raises(BadValue, match=r"no parameter is named; .* Next: dynamics"):
        chosen(())
    with pytest.raises(UnknownName, match="Did you mean 'dynamics'"):
        chosen(("dynamic",))
