"""An estimate at a bound of its search is not claimed: a fit inside bounds answers with the bound when the truth lies beyond."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from palmar.errors import BadValue, UnknownName
from palmar.sim.params import SPACE, WorldParams
from palmar.transfer.diagnose import Recordings, diagnose, table
from palmar.transfer.identification import Identification
from palmar.transfer.search import NEAR, SEARCHED, bounds_of, judge, scaled, touched, unknown, unscaled

pytest.importorskip("scipy")


def recorded(seconds: float = 4.0, **hidden: float) -> Recordings:
    """The diagnostic motions on a simulated arm with `hidden` parameters and 2 mrad of sensor noise."""
    from palmar.sim.world import World

    world = World(images=False)
    world.load(table(), WorldParams({"damping": 1.06, "proprio_noise": 0.002} | hidden))
    return diagnose(world, seconds=seconds, held_out=2.0, slides=0)


def identified(recordings: Recordings, **options: object) -> Identification:
    from palmar.transfer.sysid import identify

    return identify(recordings, parameters=("gain", "damping", "action_delay"), progress=False, **options)  # type: ignore[arg-type]


NARROW = {"gain": (0.6, 1.4)}


@pytest.fixture(scope="module")
def strong() -> Recordings:
    """Servos twice as stiff as the model's."""
    return recorded(3.0, gain=2.0, action_delay=2.0)


@pytest.fixture(scope="module")
def narrow(strong) -> Identification:
    """A search that ends before the truth."""
    return identified(strong, bounds=NARROW)


def test_a_gain_beyond_the_search_is_reported_at_the_bound(narrow):
    e = narrow.estimates["gain"]
    assert not e.identified
    assert e.bound == pytest.approx(1.4) and e.found == pytest.approx(1.4, abs=0.02)
    assert "at the bound: the truth may lie beyond" in e.note and "its search at 1.4" in e.note
    assert "Next: " in e.note and "bounds={'gain': (0.6, 2.8)}" in e.note
    assert (e.value, e.low, e.high) == (SPACE["gain"].nominal, SPACE["gain"].low, SPACE["gain"].high)
    assert any("gain ended at 1.4" in n for n in narrow.notes)


def test_what_was_fitted_beside_it_is_not_claimed_either(narrow):
    for name in ("damping", "action_delay"):
        e = narrow.estimates[name]
        assert not e.identified and "together with gain, which ended at the bound" in e.note, e
    assert narrow.randomization(1.0).ranges == {} and narrow.params().values == {}
    assert Identification.from_json(narrow.to_json()) == narrow


def test_the_ordinary_search_finds_it(strong):
    found = identified(strong)
    e = found.estimates["gain"]
    assert e.identified and e.bound is None, e.note
    assert abs(e.value - 2.0) < 0.1
    assert set(found.randomization(1.0).ranges) >= {"gain"}


# Servos of four times the gain saturate and shake: how much they do tells the gain, and that takes longer than 4 s.
@pytest.mark.parametrize(("gain", "delay", "noise", "seconds"), [(0.25, 5.0, 0.0, 4.0), (4.0, 1.0, 0.002, 14.0)])
def test_a_quarter_and_four_times_the_gain_are_found(gain, delay, noise, seconds):
    found = identified(recorded(seconds, gain=gain, action_delay=delay, action_noise=noise))
    e = found.estimates["gain"]
    assert e.identified and e.low <= gain <= e.high, found.rows()
    assert e.value == pytest.approx(gain, rel=0.05)
    assert found.estimates["action_delay"].value == pytest.approx(delay, abs=0.2)


def test_a_short_motion_of_shaking_servos_is_not_taken_for_more_than_it_tells():
    found = identified(recorded(gain=4.0, action_delay=1.0))
    e = found.estimates["gain"]
    assert not e.identified or e.low <= 4.0 <= e.high, found.rows()
    assert found.estimates["damping"].value == pytest.approx(1.06, rel=0.02)
    assert found.estimates["action_delay"].value == pytest.approx(1.0, abs=0.1)


@pytest.fixture(scope="module")
def inside() -> Identification:
    """A gain in the middle of its search, and no delay."""
    return identified(recorded(3.0, gain=1.1, action_delay=0.0))


def test_a_gain_well_inside_is_claimed(inside):
    e = inside.estimates["gain"]
    assert e.identified and e.bound is None and abs(e.value - 1.1) < 0.03, e
    assert inside.randomization(1.0).ranges["gain"] == (e.low, e.high)


def test_a_delay_of_zero_is_a_physical_minimum_and_no_bound(inside):
    assert inside.estimates["action_delay"].bound is None
    assert inside.estimates["action_delay"].identified and inside.estimates["action_delay"].value < 0.1


@given(
    st.sampled_from(SEARCHED), st.floats(0, 1), st.floats(1e-6, 0.2), st.floats(1e-6, 0.2)
)  # shares of the search's width, on its own scale
def test_nothing_claimed_reaches_its_bound(name, at, below, above):
    bounds = bounds_of()[name]
    least, most = (scaled(name, b) for b in bounds)
    width = most - least
    low, value, high = (unscaled(name, least + s * width) for s in (at - below, at, at + above))
    e = judge(name, value, low, high, bounds=bounds)
    if e.identified:
        assert e.high < bounds[1] and scaled(name, e.value) < most - NEAR * width
        assert bounds[0] == 0.0 or (e.low > bounds[0] and scaled(name, e.value) > least + NEAR * width)
    else:
        assert (e.value, e.low, e.high) == (SPACE[name].nominal, SPACE[name].low, SPACE[name].high)
        assert e.note


def test_a_factor_may_be_as_unsure_as_it_is_large():
    assert judge("gain", 4.0, 3.7, 4.3, bounds=(0.05, 20.0)).identified
    assert not judge("gain", 0.4, 0.34, 0.46, bounds=(0.05, 20.0)).identified


@given(st.sampled_from(SEARCHED), st.floats(1e-3, 10))
def test_the_scale_of_the_search_goes_back(name, value):
    assert unscaled(name, scaled(name, value)) == pytest.approx(value)


def test_touched_tells_which_bound():
    assert touched(0.9, 1.0, 1.1, (0.6, 1.4), "gain") is None
    assert touched(1.32, 1.4, 1.48, (0.6, 1.4), "gain") == 1.4
    assert touched(1.30, 1.35, 1.41, (0.6, 1.4), "gain") == 1.4, "the interval reaches it"
    assert touched(1.38, 1.39, 1.395, (0.6, 1.4), "gain") == 1.4, "closer than the share"
    assert touched(0.55, 0.65, 0.75, (0.6, 1.4), "gain") == 0.6
    assert touched(-0.1, 0.0, 0.1, (0.0, 6.0), "action_delay") is None


def test_a_slide_faster_than_the_search_is_left_out():
    """A cube that starts at the bound of the speed would give its speed to the friction."""
    from palmar.transfer.replay import simulate_slide
    from palmar.transfer.slides import SPEEDS, _fit_slides
    from palmar.transfer.solver import load_sysid

    speeds = np.array([0.8, 0.9, SPEEDS[1] + 0.6])
    ways = list(simulate_slide(np.full(3, 0.8), speeds, 16, 0.02))
    value, _, _, rms = _fit_slides(load_sysid(), ways, 5e-4, 0.02, bounds_of()["friction"])
    assert np.isfinite(rms).tolist() == [True, True, False], (value, rms)


@pytest.mark.parametrize(
    ("bounds", "message"),
    [
        ({"gain": (1.0, 1.0)}, r"bounds of gain are 1.0 … 1.0; expected finite numbers"),
        ({"gain": (-1.0, 2.0)}, r"0.05 ≤ low < high"),
        ({"damping": (0.5, float("nan"))}, r"bounds of damping"),
        ({"action_delay": (-1.0, 2.0)}, r"0 ≤ low < high. Next: "),
    ],
)
def test_bad_bounds_are_refused(bounds, message):
    with pytest.raises(BadValue, match=message):
        bounds_of(bounds)


def test_an_unknown_search_is_refused():
    with pytest.raises(UnknownName, match="parameter with a search"):
        bounds_of({"mass": (0.5, 2.0)})
    assert not unknown("mass", "no motion shows it").identified
