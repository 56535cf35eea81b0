"""Third-order limits in discrete time: what is computed in closed form is what braking tick by tick does."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from palmar.embodiments import Embodiment
from palmar.robot_parts import Channel
from palmar.robots.arm7 import arm7
from palmar.runtime.safety.filter import Safety
from palmar.runtime.safety.limits import Limits, _reach, _reach_of, _sum
from palmar.runtime.supervision.watchdog import braking
from palmar.types import Observation

RATES = st.sampled_from([20.0, 50.0, 200.0, 1000.0])
SHARES = st.lists(st.floats(-1, 1), min_size=8, max_size=8).map(np.array)


def limits(rate: float) -> Limits:
    return Limits.of(replace(arm7(), control_rate=rate, policy_rate=rate))


def tick_by_tick(lim: Limits, v: np.ndarray, a: np.ndarray) -> np.ndarray:
    """Travel [n, N] of braking fully, each tick by `braked` alone."""
    way, path = np.zeros_like(v), []
    for _ in range(5000):
        before, v = v, lim.braked(v, a)
        a = (v - before) / lim.dt
        way = way + v * lim.dt
        path.append(way)
        if np.abs(v).max() < 1e-9 and np.abs(a).max() < 1e-6:
            return np.array(path)
    raise AssertionError("braking does not end")


@given(RATES, SHARES, SHARES)
def test_the_closed_path_is_the_one_that_is_driven(rate, v, a):
    lim = limits(rate)
    v, a = v * lim.velocity, a * lim.acceleration
    closed, driven = lim.travel(v, a), tick_by_tick(lim, v, a)
    longest = max(len(closed), len(driven))
    closed = np.pad(closed, ((0, longest - len(closed)), (0, 0)), mode="edge")
    driven = np.pad(driven, ((0, longest - len(driven)), (0, 0)), mode="edge")
    assert np.abs(closed - driven).max() < 1e-9


@given(RATES, SHARES, SHARES)
def test_braking_keeps_acceleration_and_jerk_and_comes_to_rest(rate, v, a):
    lim = limits(rate)
    v, a = v * lim.velocity, a * lim.acceleration
    path = np.vstack([np.zeros((1, 8)), lim.travel(v, a)])
    speed = np.vstack([v, np.diff(path, axis=0) / lim.dt])
    change = np.vstack([a, np.diff(speed, axis=0) / lim.dt])
    assert np.all(np.abs(change) <= lim.acceleration * (1 + 1e-6) + 1e-6)
    assert np.all(np.abs(np.diff(change, axis=0) / lim.dt) <= lim.jerk * (1 + 1e-6) + 1e-3)
    assert np.abs(speed[-1]).max() < 1e-6


@given(RATES, SHARES, SHARES, st.floats(0, 1), st.floats(0, 1))
def test_a_faster_state_ends_further(rate, v, a, more, push):
    """Why an interval has one upper end: of two states the higher one never ends lower."""
    lim = limits(rate)
    v, a = v * lim.velocity, a * lim.acceleration
    faster = np.minimum(a + push * lim.jerk * lim.dt, lim.acceleration)
    low, high = lim.travel(v, a), lim.travel(v + more * lim.velocity + (faster - a) * lim.dt, faster)
    longest = max(len(low), len(high))
    low = np.pad(low, ((0, longest - len(low)), (0, 0)), mode="edge")
    high = np.pad(high, ((0, longest - len(high)), (0, 0)), mode="edge")
    assert (low - high).max() < 1e-9


@given(RATES, SHARES, st.lists(st.floats(0, 1), min_size=8, max_size=8).map(np.array), st.integers(0, 2**32 - 1))
def test_every_rate_of_the_interval_leaves_room_to_brake(rate, v, room, seed):
    lim, rng = limits(rate), np.random.default_rng(seed)
    v = 0.9 * v * lim.velocity
    reach = lim.travel(v, np.zeros(8))
    q = np.where(v > 0, lim.upper - reach.max(axis=0), lim.lower - reach.min(axis=0)) - np.sign(v) * room * 0.05
    assume(np.all(q + reach.max(axis=0) <= lim.upper + 1e-12) and np.all(q + reach.min(axis=0) >= lim.lower - 1e-12))
    low, high = lim.interval(q, v, np.zeros(8))
    assert np.all(low <= high)
    for part in (0.0, 1.0, *rng.uniform(size=3)):
        step = low + part * (high - low)
        change = (step - v) / lim.dt
        path = q + step * lim.dt + np.vstack([np.zeros(8), lim.travel(step, change)])
        assert np.all(path <= lim.upper + 1e-9) and np.all(path >= lim.lower - 1e-9)
        assert np.all(np.abs(step) <= lim.velocity + 1e-9)
        assert np.all(np.abs(change) <= lim.acceleration * (1 + 1e-6) + 1e-6)
        assert np.all(np.abs(change) <= lim.jerk * lim.dt * (1 + 1e-6) + 1e-6)


@pytest.mark.parametrize("rate", [200.0, 1000.0])
def test_a_bound_of_the_way_is_above_it(rate):
    lim, rng = limits(rate), np.random.default_rng(0)
    for _ in range(200):
        v, a = rng.uniform(-1, 1, 8) * lim.velocity, rng.uniform(-1, 1, 8) * lim.acceleration
        assert np.all(np.abs(lim.travel(v, a)).max(axis=0) <= lim.farthest(v, a) + 1e-12)


def test_a_high_control_rate_gives_up_no_acceleration():
    """At 1 kHz full acceleration is reached in the ticks that the jerk asks for, and kept."""
    lim = limits(1000.0)
    q, v, a, fastest = np.zeros(8) + 0.5 * (lim.lower + lim.upper), np.zeros(8), np.zeros(8), np.zeros(8)
    for _ in range(60):
        before = v
        v = lim.interval(q, v, a)[1]
        a = (v - before) / lim.dt
        q = q + v * lim.dt
        fastest = np.maximum(fastest, a)
    assert np.allclose(fastest[:7], lim.acceleration[:7], rtol=1e-6)


@pytest.mark.parametrize(("lower", "upper"), [(0.0, 0.5), (-0.4, 0.0)])
def test_a_speed_whose_range_ends_at_0_is_brought_to_0(lower, upper):
    robot = Embodiment("belt", (Channel("belt", "velocity", "m/s", lower, upper, 0.5, 1.0),))
    safety, seen = Safety(robot), Observation({}, np.zeros(1, np.float32))
    for target in (0.6 * (lower + upper), 0.0):
        for _ in range(60):
            safety.check(np.array([target]), seen, 0.0)
        assert safety.command == pytest.approx(target) and safety.moving == (target != 0.0)
    path = braking(safety.limits, np.array([0.6 * (lower + upper)]), np.zeros(1), np.zeros(1))
    assert len(path) * safety.limits.dt < 2.0 and path[-1] == 0.0


@pytest.mark.parametrize("rate", [50.0, 200.0, 1000.0])
@pytest.mark.parametrize("away", [0.3, 1e-2, 1e-4])
def test_a_limit_is_reached_and_not_only_nearly(rate, away):
    """Also where the jerk binds, and from near: a channel must not rest short of its limit."""
    lim = limits(rate)
    lim = replace(lim, jerk=np.minimum(lim.jerk, 1.5 * lim.acceleration / lim.dt))
    assert not lim.simple.any()
    q, v, a = lim.upper - away, np.zeros(8), np.zeros(8)
    for _ in range(int(2.5 * rate)):
        before = v
        v = lim.interval(q, v, a)[1]
        a = (v - before) / lim.dt
        q = q + v * lim.dt
        assert np.all(q <= lim.upper + 1e-9)
    assert np.all(lim.upper - q < 1e-6)


@given(st.floats(0, 1e6))
def test_the_largest_first_term_of_a_sum_is_its_inverse(x):
    r = _reach_of(x)
    assert r == pytest.approx(float(_reach(np.array([x]))[0]), rel=1e-12)
    assert float(_sum(np.array([r]))[0]) == pytest.approx(x, rel=1e-9, abs=1e-12)
    assert _reach_of(np.inf) == np.inf and _reach_of(-1.0) == 0.0


@given(SHARES, SHARES, SHARES)
def test_where_no_jerk_binds_the_interval_is_that_of_the_acceleration_and_the_room(q, v, a):
    lim = limits(50.0)
    assert lim.simple.all()
    q, v = 0.5 * (lim.lower + lim.upper + q * (lim.upper - lim.lower)), v * lim.velocity
    low, high = lim.interval(q, v, a * lim.acceleration)
    brake = lim.braked(v, a)
    fast = np.minimum(np.minimum(v + lim.gain, lim.velocity), lim.reachable(lim.upper - q))
    slow = np.maximum(np.maximum(v - lim.gain, -lim.velocity), -lim.reachable(q - lim.lower))
    assert high == pytest.approx(np.maximum(fast, brake), abs=1e-12)
    assert low == pytest.approx(np.minimum(slow, brake), abs=1e-12)


def test_a_channel_narrower_than_rounding_keeps_its_range():
    narrow = Channel("a", "revolute", "rad", lower=0.3, upper=0.3 + 1e-7, velocity=1.0, acceleration=5.0, home=0.3)
    lim = Limits.of(Embodiment("narrow", (narrow,), control_rate=50.0, policy_rate=10.0))
    assert 0.3 <= lim.lower[0] < lim.upper[0] <= 0.3 + 1e-7


@pytest.mark.parametrize("unit", [1e-3, 1.0, 60.0, 1e5])
@pytest.mark.parametrize("rate", [30.0, 200.0])
def test_braking_ends_at_rest_in_any_unit(rate, unit):
    """Exactly: who brakes until nothing moves must come to an end. In large units a rest of rounding once stayed for ever."""
    channels = tuple(
        replace(
            c, unit="", lower=c.lower * unit, upper=c.upper * unit, home=c.home * unit, velocity=c.velocity * unit,
            acceleration=c.acceleration * unit, jerk=15.0 * c.acceleration * unit * rate / 30.0, tolerance=None,
        )
        for c in arm7("channels").channels
    )  # fmt: skip
    lim, rng = Limits.of(Embodiment("arm", channels, control_rate=rate, policy_rate=rate)), np.random.default_rng(0)
    assert not lim.simple.all()
    for _ in range(100):
        v, a = rng.uniform(-1, 1, 8) * lim.velocity, rng.uniform(-1, 1, 8) * lim.acceleration
        for _ in range(2000):
            before, v = v, lim.braked(v, a)
            a = (v - before) / lim.dt
            if not v.any():
                break
        assert not v.any()
