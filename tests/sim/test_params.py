"""The parameter space: what is drawn lies in its range, and one seed means one world."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from palmar.errors import BadValue, UnknownName
from palmar.sim import params
from palmar.sim.params import (
    GROUPS,
    NO_RANDOMIZATION,
    NOMINAL,
    SPACE,
    Randomization,
    WorldParams,
    randomized,
    subset,
    uniform,
)
from palmar.sim.space import table

seeds = st.integers(0, 2**32 - 1)


def draw(seed, **options):
    return Randomization(**options).sample(np.random.default_rng(seed))


def test_nominal_lies_in_every_range():
    for p in SPACE.values():
        assert p.low <= p.nominal <= p.high, p
        assert p.low < p.high, p
        assert p.group in GROUPS, p
        assert len(p.source) > 10 and len(p.meaning) > 5, p
        assert NOMINAL[p.name] == p.nominal


@settings(max_examples=50)
@given(seeds, st.floats(0, 1))
def test_what_is_drawn_lies_within_its_share_of_the_range(seed, strength):
    world = draw(seed, strength=strength)
    for p in SPACE.values():
        low, high = (p.nominal + strength * (end - p.nominal) for end in (p.low, p.high))
        assert low - 1e-9 <= world[p.name] <= high + 1e-9, p.name


@settings(max_examples=50)
@given(seeds)
def test_twice_the_range_keeps_signs_and_minima(seed):
    world = draw(seed, strength=2.0)
    for p in SPACE.values():
        assert p.nominal + 2 * (p.low - p.nominal) <= world[p.name] <= p.nominal + 2 * (p.high - p.nominal), p.name
        if p.low >= 0:
            assert world[p.name] >= 0.1 * p.low, p.name


def test_strength_two_leaves_the_range_and_strength_zero_leaves_nothing_to_chance():
    drawn = [draw(s, strength=2.0) for s in range(30)]
    wide = [n for n, p in SPACE.items() if any(not p.low <= w[n] <= p.high for w in drawn)]
    assert set(wide) == set(SPACE)
    assert NO_RANDOMIZATION.sample(np.random.default_rng(0)) == NOMINAL


@settings(max_examples=30)
@given(seeds, st.sets(st.sampled_from(GROUPS), min_size=1))
def test_groups_move_alone_and_a_seed_is_one_world_whatever_moves(seed, groups):
    everything, some = draw(seed), draw(seed, groups=tuple(groups))
    for p in SPACE.values():
        assert some[p.name] == (everything[p.name] if p.group in groups else p.nominal)
    ranged = draw(seed, ranges={"friction": (0.7, 0.71)})
    assert 0.7 <= ranged["friction"] <= 0.71
    assert all(ranged[n] == everything[n] for n in SPACE if n != "friction")


def test_a_new_row_changes_no_other(monkeypatch):
    """Drawn by name, not by order."""
    before = draw(3)
    new = params.Param("wind", "dynamics", 0.0, 0.0, 1.0, "m/s", "of the room", 0, 10, "a test of palmar")
    monkeypatch.setattr(params, "SPACE", {"wind": new, **dict(reversed(SPACE.items()))})
    after = draw(3)
    assert 0 < after["wind"] < 1
    assert {n: after[n] for n in SPACE} == {n: before[n] for n in SPACE}


def test_draws_are_uniform_and_each_parameter_has_its_own():
    u = np.array([[uniform(seed, name) for name in ("friction", "mass", "light")] for seed in range(2000)])
    assert np.abs(np.sort(u, axis=0) - np.linspace(0, 1, 2000)[:, None]).max() < 0.04  # Kolmogorov-Smirnov, p = 0.003
    assert np.abs(np.corrcoef(u.T) - np.eye(3)).max() < 0.08
    assert (uniform(7, "mass"), uniform(7, "mass")) == (0.5976940289590816, 0.5976940289590816)  # for good


def test_a_subset_is_of_groups_and_of_names():
    some = subset(["sensor", "friction"]).drawn(5)
    everything = Randomization().drawn(5)
    for p in SPACE.values():
        moves = p.group == "sensor" or p.name == "friction"
        assert some[p.name] == (everything[p.name] if moves else p.nominal), p.name
    assert randomized(0.5, ["mass"]) == Randomization(0.5, names=("mass",))
    assert randomized(0.5) == Randomization(0.5)


def test_ranges_hold_at_any_strength_and_the_centre_moves_the_rest():
    centre = WorldParams({"damping": 1.05})
    world = draw(0, strength=0.0, ranges={"mass": (1.1, 1.1)}, centre=centre)
    assert (world["mass"], world["damping"], world["friction"]) == (1.1, 1.05, 1.0)
    many = [draw(s, strength=0.1, centre=centre)["damping"] for s in range(200)]
    assert 1.04 <= min(many) < 1.042
    assert 1.058 < max(many) <= 1.06


def test_a_world_is_a_value():
    world = NOMINAL.replace(friction=0.5)
    assert (world["friction"], NOMINAL["friction"]) == (0.5, 1.0)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: WorldParams({"frictoin": 1.0}), "unknown world parameter 'frictoin'. Did you mean 'friction'? Known: friction, "),
        (lambda: NOMINAL["masss"], "unknown world parameter 'masss'. Did you mean 'mass'?"),
        (lambda: Randomization(ranges={"fiction": (0, 1)}), "Did you mean 'friction'?"),
        (lambda: Randomization(groups=("visuals",)), "unknown parameter group 'visuals'. Did you mean 'visual'? Known: "),
        (lambda: WorldParams({"mass": float("nan")}), "world parameter mass is nan; expected a finite number"),
        (lambda: Randomization(groups=()), "groups of the parameters that move are empty; expected at least one. Next: visual"),
        (lambda: Randomization(names=()), "no parameter is named; expected all, one of the groups visual"),
        (lambda: subset([]), "no parameter is named; expected all, one of the groups visual"),
        (lambda: subset(["visual", "mas"]), "unknown world parameter or group 'mas'. Did you mean 'mass'?"),
        (lambda: Randomization(names=("masss",)), "unknown world parameter or group 'masss'"),
        (lambda: Randomization(ranges={"mass": (1.2, 0.8)}), "range of mass is 1.2 … 0.8, inside out; expected low ≤ high"),
        (lambda: Randomization(ranges={"mass": (-1, 0.8)}), "range of mass is -1 … 0.8; expected within 0.001 …"),
        (lambda: Randomization(ranges={"mass": (0, float("inf"))}), "range of mass is 0 … inf"),
        (lambda: randomized(0.0, ["mass"]), "strength is 0, and mass should vary; expected more than 0"),
        (lambda: Randomization(strength=2.5), "strength is 2.5; expected 0 … 2"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(make, said):
    with pytest.raises((UnknownName, BadValue)) as error:
        make()
    assert said in str(error.value)


def test_a_value_that_means_nothing_is_refused_with_its_bounds():
    with pytest.raises(BadValue) as error:
        WorldParams({"damping": -5.0})
    assert str(error.value) == (
        "world parameter damping is -5; expected 0 … 100 × (joint damping). Next: a value near 1, which is plain simulation"
    )


@pytest.mark.parametrize("name", SPACE)
def test_bounds_hold_twice_the_range_and_no_more(name):
    p = SPACE[name]
    assert p.least < p.most
    for end in (p.low, p.high):
        twice = p.nominal + 2 * (end - p.nominal)
        WorldParams({name: max(twice, 0.1 * p.low) if p.low >= 0 else twice})
    for wrong in (p.least - 1e-3, p.most + 1e-3, np.nan, np.inf, True):
        with pytest.raises(BadValue, match=f"world parameter {name} is "):
            WorldParams({name: wrong})


def test_the_page_holds_the_table_of_the_space():
    """Made anew by: python -c "from palmar.sim.space import table; print(table())" """
    page = (Path(__file__).parents[2] / "docs" / "realities.md").read_text()
    assert page.partition("<!-- space -->\n")[2].partition("\n<!-- end space -->")[0] == table()
    assert f"one vector of {len(SPACE)} named" in page
