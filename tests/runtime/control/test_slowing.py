"""Slowing along the path: the pure functions, and the loop with limits and zones that would otherwise clip."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from palmar.robots import robot
from palmar.runtime.chunks import ChunkBuffer, Coming
from palmar.runtime.control.actions import Absolute, EndEffectorDelta
from palmar.runtime.control.cubic import end_slopes, hermite, shaped
from palmar.runtime.control.path import Control
from palmar.runtime.control.slowing import CHANGE, Bounds, caps, profile, within
from palmar.runtime.loop import Subscriber, Tick, rollout
from palmar.runtime.mock import MockBody
from palmar.runtime.safety.filter import Safety
from palmar.runtime.safety.zones import keep_out, zones_of
from palmar.shapes import Collision
from palmar.types import ActionChunk, Array, Observation, Prefix

ARM = robot("arm7", "channels")
BOUNDS = Bounds(np.full(3, 2.0), np.full(3, 10.0), np.full(3, np.inf), 0.02)
BARE = replace(ARM, collision=Collision(), frames=(), state=tuple(m for m in ARM.state if m.quantity != "pose"))


class Fixed:
    """Answers one chunk."""

    def __init__(self, actions: Array) -> None:
        self.actions, self.interface = np.asarray(actions, np.float32), ARM.interface(len(actions))

    def reset(self) -> None:
        """Nothing to forget."""

    def act(self, obs: Observation, prefix: Prefix | None = None) -> ActionChunk:
        return ActionChunk(self.actions, 0.1, obs.time)


class Seen(Subscriber):
    def on_start(self, obs, body) -> None:
        self.ticks: list[Tick] = []

    def on_tick(self, tick: Tick) -> None:
        self.ticks.append(tick)

    @property
    def speeds(self) -> Array:
        return np.array([t.speed for t in self.ticks if t.acting])

    @property
    def clipped(self) -> int:
        return sum(bool(t.verdict.reasons) for t in self.ticks if t.acting)


def drive(body_robot, actions, slowing: bool, timeout: float = 20.0, safety: Safety | None = None):
    """Commands [n, N] while the chunk lasted, and what was seen."""
    body, seen = MockBody(body_robot), Seen()
    control = Control(body_robot, safety, slowing=slowing)
    rollout(
        body, Fixed(actions), body.reset(), control=control, chunks=ChunkBuffer(10_000), subscribers=(seen,),
        timeout=timeout, stop=lambda: bool(seen.ticks) and not seen.ticks[-1].acting,
    ).check()  # fmt: skip
    return np.array([t.verdict.command for t in seen.ticks if t.acting]), seen


def wave(steps: int, size: float, period: float, seed: int = 0) -> Array:
    """Actions [steps, 8] that begin and end at rest at home."""
    rng, t = np.random.default_rng(seed), np.arange(1, steps + 1)[:, None] * 0.1
    part = np.minimum(np.minimum(t, t[-1] - t) / 0.8, 1.0)
    gate = part * part * (3 - 2 * part)
    out = np.repeat(ARM.home[None], steps, axis=0)
    out[:, :7] += gate * size * rng.uniform(0.3, 1.0, 7) * np.sin(2 * np.pi * t / period + rng.uniform(0, 6, 7))
    return out


def nominal(actions: Array, parts: int = 400) -> Array:
    """The path of `Absolute.along` through the actions, densely."""
    space, out = Absolute(BARE), [BARE.home.copy()]
    for i in range(len(actions)):
        for k in range(parts):
            out.append(space.along(Coming(actions, i, k / parts), 1.0 / parts, 1.0, out[-1]))
    return np.array(out)


def away(points: Array, path: Array) -> float:
    """Largest distance [rad] of the points from the polyline `path`."""
    worst = 0.0
    a, d = path[:-1], np.diff(path, axis=0)
    length = np.maximum((d * d).sum(1), 1e-18)
    for p in points:
        t = np.clip(((p - a) * d).sum(1) / length, 0.0, 1.0)
        worst = max(worst, float(np.sqrt(((a + t[:, None] * d - p) ** 2).sum(1).min())))
    return worst


# ------------------------------------------------------------------------------------------------- pure functions


@given(st.integers(0, 10_000), st.floats(0.01, 1.5))
@settings(max_examples=60, deadline=None)
def test_the_caps_are_one_exactly_where_full_speed_breaks_no_limit(seed, size):
    rng = np.random.default_rng(seed)
    path = np.cumsum(np.cumsum(rng.normal(0, size * 2e-3, (33, 3)), axis=0), axis=0)
    rates = np.diff(path, axis=0) / BOUNDS.dt
    bends = np.abs(np.diff(rates, axis=0, prepend=rates[:1])) / BOUNDS.dt
    high = caps(path, rates[0], BOUNDS)
    assert ((high > 0) & (high <= 1)).all()
    if (np.abs(rates) <= BOUNDS.velocity).all() and (bends <= 0.5 * BOUNDS.acceleration).all():
        assert (high == 1.0).all()
    assert (np.abs(rates) * high[:, None] <= BOUNDS.velocity * (1 + 1e-6)).all()


@given(st.integers(0, 10_000), st.integers(2, 31))
@settings(max_examples=60, deadline=None)
def test_a_profile_brakes_within_the_acceleration_and_stops_before_what_is_blocked(seed, blocked):
    rng = np.random.default_rng(seed)
    path = np.cumsum(rng.uniform(0, 0.03, (33, 3)), axis=0)
    speeds = profile(path, rng.uniform(0.2, 1.0, 32), BOUNDS, blocked=blocked, start=1.0)
    assert (speeds[max(blocked - 2, 0) :] == 0).all()
    rates = np.abs(np.diff(path, axis=0)) / BOUNDS.dt
    slower = np.maximum(speeds[:-1] ** 2 - speeds[1:] ** 2, 0.0) / 2 / BOUNDS.dt  # ds/dt, as s² falls over an interval
    assert ((rates[:-1] * slower[:, None]) <= CHANGE * BOUNDS.acceleration * (1 + 1e-6)).all()


@given(st.integers(0, 10_000), st.floats(0, 1))
@settings(max_examples=60, deadline=None)
def test_within_finds_a_speed_where_there_is_one(seed, asked):
    rng = np.random.default_rng(seed)
    rate, there = rng.normal(0, 1, 5), rng.uniform(0.05, 0.95)
    low, high = there * rate - 0.05, there * rate + 0.05
    found = within(asked, rate, rate, low, high)
    assert ((found * rate >= low - 1e-9) & (found * rate <= high + 1e-9)).all()


@given(st.integers(0, 10_000))
@settings(max_examples=60, deadline=None)
def test_the_curve_goes_through_the_actions_and_passes_none_of_them(seed):
    rng = np.random.default_rng(seed)
    actions = np.repeat(BARE.home[None], 12, axis=0)
    actions[:, :7] += np.cumsum(rng.normal(0, 0.05, (12, 7)), axis=0)
    path = nominal(actions, parts=20)
    assert np.allclose(path[20::20, :7], actions[:, :7], atol=1e-9)
    for i in range(12):
        part, ends = path[20 * i : 20 * i + 21, :7], np.stack([path[20 * i, :7], actions[i, :7]])
        assert (part >= ends.min(0) - 1e-9).all() and (part <= ends.max(0) + 1e-9).all()


def test_slopes_are_zero_where_the_way_turns_round_and_those_of_a_line_on_a_line():
    actions = np.array([[0.0, 0.0], [1.0, 1.0], [2.0, 0.0], [3.0, 1.0]])
    slopes = end_slopes(actions, slice(None))
    assert np.allclose(slopes[:, 0], 1.0) and np.allclose(slopes[1:3, 1], 0.0)
    assert np.allclose(end_slopes(actions, 2), slopes[2])
    first, last = shaped(np.zeros(2), np.ones(2), np.array([9.0, -1.0]), np.zeros(2), 1.0)
    assert np.allclose(first, [3.0, 0.0]) and np.allclose(last, 0.0)
    assert np.allclose(hermite(np.zeros(2), np.ones(2), np.ones(2), np.ones(2), 0.25)[0], 0.25)


@given(st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_whatever_the_speeds_absolute_actions_lead_along_the_same_path(seed):
    rng = np.random.default_rng(seed)
    actions = np.repeat(BARE.home[None], 6, axis=0)
    actions[:, :7] += np.cumsum(rng.normal(0, 0.05, (6, 7)), axis=0)
    space, command, at, points = Absolute(BARE), BARE.home.copy(), 0.0, []
    while at < 5.99:
        speed = float(rng.uniform(0.05, 1.0))
        index = min(int(at + 1e-9), 5)
        command = space.along(Coming(actions, index, max(at - index, 0.0)), 0.2, speed, command)
        at = min(at + 0.2 * speed, 6.0)
        points.append(command)
    assert away(np.array(points)[:, :7], nominal(actions)[:, :7]) < 1e-6


def test_the_reference_of_displacements_goes_the_same_way_at_every_speed():
    ends = []
    for parts in (1, 3, 10):
        body = robot("arm7", "ee_delta")
        space = EndEffectorDelta(body)
        space.reset(body.home)
        for k in range(5 * parts):
            action = np.array([0.01, 0.004, -0.006, 0.0, 0.0, 0.02, 1.0], np.float32)
            space.along(Coming(action[None], 0, (k % (5 * parts)) / (5 * parts)), 0.2, 1.0 / parts, body.home)
        ends.append(np.concatenate([space._arms[0]._position, space._arms[0]._move]))
    assert np.allclose(ends[0], ends[1], atol=1e-9) and np.allclose(ends[0], ends[2], atol=1e-9)


def test_a_look_ahead_changes_nothing_and_is_what_follows():
    for name, space_of in (("ee_delta", EndEffectorDelta), ("channels", Absolute)):
        body = robot("arm7", name)
        space = space_of(body)
        space.reset(body.home)
        actions = wave(12, 0.1, 1.5) if name == "channels" else np.tile([0.008, 0.004, -0.004, 0, 0, 0, 1.0], (12, 1))
        command = body.home.copy()
        seen = space.ahead(Coming(actions, 0, 0.0), 0.2, command, 20, 1, False)
        for k in range(20):
            command = space.target(actions[k // 5], 0.2, (k % 5 + 1) / 5, command)
            assert np.abs(command - seen[k])[:7].max() < (1e-9 if name == "channels" else 0.02)


# ------------------------------------------------------------------------------------------------------------ loop


def test_where_nothing_would_be_clipped_commands_are_the_same_to_the_bit():
    actions = wave(40, 0.05, 4.0)
    plain, seen = drive(ARM, actions, slowing=False)
    assert seen.clipped == 0  # otherwise this shows nothing
    slowed, seen = drive(ARM, actions, slowing=True)
    assert np.array_equal(plain, slowed) and (seen.speeds == 1.0).all()


@pytest.mark.parametrize("rate", [50.0, 200.0])
@pytest.mark.parametrize("seed", range(3))
def test_under_tight_limits_the_path_stays_and_the_guards_have_next_to_nothing_to_clip(rate, seed):
    body, actions = replace(BARE, control_rate=rate), wave(30, 0.3, 1.1, seed)
    _, plain = drive(body, actions, slowing=False)
    commands, seen = drive(body, actions, slowing=True)
    assert plain.clipped > 0.3 * len(plain.ticks)
    assert seen.clipped < 0.1 * plain.clipped
    assert seen.speeds.min() < 1.0
    path = nominal(actions.astype(np.float32))[:, :7]
    assert away(commands[:, :7], path) < 0.5 * away(np.array([t.verdict.command for t in plain.ticks])[:, :7], path)


def across(steps: int = 20) -> tuple[Array, Array]:
    """Actions that lead the tool 0.2 m to the left, and where it ends."""
    frame = ARM.frame()
    q = ARM.positions(frame, ARM.home)
    start, rotation = frame.chain.forward(q)
    out = np.repeat(ARM.home[None], steps, axis=0)
    for i in range(steps):
        s = (i + 1) / steps
        q = frame.chain.solve(q, start + [0.0, 0.2 * s**3 * (10 - 15 * s + 6 * s * s), 0.0], rotation, q)
        out[i, ARM.path(frame)] = ARM.commands(frame, q)
    return out, start


def obstacle(start: Array, gone: float, clock: list[float], moves: bool = True):
    """Zones with a box in the tool's way until `gone` [s]."""
    here = np.stack([start + [-0.05, 0.1, -0.1], start + [0.05, 0.14, 0.1]])

    def box() -> Array:
        return here if clock[0] < gone else here + 5.0

    return lambda body, frame: [*zones_of(body, frame), keep_out(frame, box, moves=moves)]


class Clocked(Seen):
    def __init__(self, clock: list[float]) -> None:
        self.clock = clock

    def on_tick(self, tick: Tick) -> None:
        super().on_tick(tick)
        self.clock[0] = tick.time


def through(gone: float, slowing: bool, moves: bool = True, timeout: float = 8.0):
    actions, start = across()
    clock = [0.0]
    body, seen = MockBody(ARM), Clocked(clock)
    control = Control(ARM, Safety(ARM, zones=obstacle(start, gone, clock, moves)), slowing=slowing)
    rollout(
        body, Fixed(actions), body.reset(), control=control, chunks=ChunkBuffer(10_000), subscribers=(seen,),
        timeout=timeout, stop=lambda: bool(seen.ticks) and not seen.ticks[-1].acting,
    ).check()  # fmt: skip
    tools = ARM.pose(ARM.frame(), np.array([t.verdict.command for t in seen.ticks]))[0]
    return seen, tools - start, actions


def test_the_robot_waits_on_its_path_until_a_moving_box_has_gone_and_then_arrives():
    seen, tools, _ = through(gone=3.0, slowing=True)
    before = tools[: round(3.0 * ARM.control_rate)]
    assert before[:, 1].max() < 0.1 and np.abs(tools[:, [0, 2]]).max() < 2e-3  # in front of it, and on the line
    assert seen.speeds.min() == 0.0 and seen.clipped == 0
    assert abs(tools[-1, 1] - 0.2) < 5e-3
    clipped, slid, _ = through(gone=3.0, slowing=False)
    assert clipped.clipped > 0 and np.abs(slid[:, [0, 2]]).max() > 2e-3  # without slowing it slides off the line


def test_before_a_zone_that_stands_still_the_guards_take_over_after_a_stated_time():
    seen, tools, _ = through(gone=99.0, slowing=True, moves=False)
    still = np.flatnonzero(np.array([t.speed for t in seen.ticks]) == 0.0)
    wait = next((k for k in range(1, len(still)) if still[k] != still[k - 1] + 1), len(still))
    assert 0 < wait <= round(0.5 * ARM.control_rate) + 1
    assert seen.clipped > 0
    inside = (np.abs(tools[:, 1] - 0.12) < 0.02 - 1e-6) & (np.abs(tools[:, [0, 2]]) < [0.05 - 1e-6, 0.1]).all(1)
    assert not inside.any()


class BackAfter:
    """Displacements one way for 3 s, and then back."""

    def __init__(self, body, step: Array) -> None:
        self.interface, self.rate, self.step = body.interface(8), body.policy_rate, step

    def reset(self) -> None:
        """Nothing to forget."""

    def act(self, obs: Observation, prefix: Prefix | None = None) -> ActionChunk:
        action = np.concatenate([self.step if obs.time < 3.0 else -self.step, [0.0, 0.0, 0.0, 1.0]])
        return ActionChunk(np.tile(action, (8, 1)).astype(np.float32), 1.0 / self.rate, obs.time)


@pytest.mark.parametrize(("rate", "way"), [(50.0, 3), (100.0, 1), (200.0, 2)])
def test_a_robot_that_was_pushed_to_the_end_of_its_reach_comes_back(rate, way):
    """There a small displacement is a long way of the joints, which no speed makes short: it must not rest there for ever."""
    rng = np.random.default_rng(way)
    step = rng.normal(size=3)
    step *= rng.uniform(0.01, 0.03) / np.linalg.norm(step)
    arm = replace(robot("arm7", "ee_delta"), control_rate=rate)
    body, seen = MockBody(arm), Seen()
    rollout(
        body, BackAfter(arm, step), body.reset(), control=Control(arm), chunks=ChunkBuffer(4), subscribers=(seen,), timeout=5.0
    ).check()  # fmt: skip
    commands, start = np.array([t.verdict.command for t in seen.ticks]), seen.ticks[0].time
    turned = next(i for i, t in enumerate(seen.ticks) if t.time - start > 3.1)
    tool = arm.pose(arm.frame(), commands[[turned, -1]])[0]
    assert (tool[0] - tool[1]) @ step / np.linalg.norm(step) > 0.05
    rest = np.diff(np.flatnonzero(np.concatenate([[1.0], seen.speeds, [1.0]]) >= 0.05)).max() - 1
    assert rest <= round(0.5 * rate) + 2


def test_a_chunk_counts_from_where_the_robot_was_when_it_was_asked_for():
    buffer, dt = ChunkBuffer(4), 0.1
    first = ActionChunk(np.arange(8, dtype=np.float32)[:, None], dt, 0.0)
    buffer.asked(0.0)
    buffer.push(first, 0.0)
    assert buffer.sample(0.4)[0] == 4
    buffer.slip(0.2)
    assert buffer.sample(0.4)[0] == 2 and not buffer.coming(0.4).aligned
    buffer.asked(0.4)
    buffer.slip(0.1)  # while the policy computes
    buffer.push(ActionChunk(10 + np.arange(8, dtype=np.float32)[:, None], dt, 0.4), 0.6)
    assert buffer.sample(0.6)[0] == 11  # two steps of time, one of them followed
    buffer.reset()
    assert buffer.slipped == 0.0
