"""Whatever is asked for, the command is within the limits; and each limit is shown to bind."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from palmar.certify.hostile import attacker, excess
from palmar.errors import BadValue
from palmar.robots.arm7 import arm7
from palmar.runtime.control.path import Control
from palmar.runtime.safety.filter import Safety
from palmar.runtime.safety.guards import GUARDS
from palmar.runtime.safety.limits import Limits
from palmar.runtime.safety.zones import Skeleton
from palmar.shapes import Collision
from palmar.types import Observation, Reason

ROBOT = arm7()
CHAIN, HOME = ROBOT.frame().chain, ROBOT.home
ARM = HOME[:7]
DOWN = np.diag([1.0, -1.0, -1.0])
START = np.append(CHAIN.solve(ARM, np.array([0.45, 0.0, 0.15]), DOWN, ARM), 1.0)
ACCELERATION = ROBOT.array("acceleration")[:7]


def nowhere(*_):
    """No zones."""
    return ()


def with_frame(**changes):
    return replace(ROBOT, frames=(replace(ROBOT.frame(), **changes),))


def seen(command, time=0.0):
    """A perfect observation of an arm that is where it was sent."""
    state = ROBOT.state_from(np.asarray(command), np.zeros(8))
    return Observation({}, state.astype(np.float32), time=time)


def drive(safety, target_of, ticks, start=HOME):
    """Commands [ticks, J+1] and verdicts when `target_of(command, tick)` is asked for at each tick."""
    safety.reset(start)
    command, verdicts = start, []
    for k in range(ticks):
        verdicts.append(safety.check(target_of(command, k), seen(command, k * 0.02), k * 0.02))
        command = verdicts[-1].command
    return np.array([v.command for v in verdicts]), verdicts


def reach(position):
    return np.append(CHAIN.solve(START[:-1], np.array(position), DOWN, ARM), 1.0)


@pytest.mark.parametrize(("seed", "zones"), [(0, None), (2, nowhere)])
def test_no_attack_gets_a_command_past_a_limit(seed, zones):
    safety, attack = Safety(ROBOT, zones=zones), attacker(ROBOT, np.random.default_rng(seed))
    commands, _ = drive(safety, lambda c, _: attack(c), 2500)
    over = excess(ROBOT, HOME, commands)
    if zones is nowhere:  # then joints get to their own limits
        assert over.pop("workspace") > 0
        assert over["braking"] > -1e-4
        assert safety.counts["braking"] > 0
    assert max(over.values()) <= 0, over
    assert safety.checked == 2500
    assert safety.counts["velocity"] > 100


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.lists(st.floats(width=64), min_size=8, max_size=8), st.integers(1, 12)), max_size=6),
    st.booleans(),
)
def test_any_floats_leave_within_limits_and_room_to_brake(holds, zones):
    safety = Safety(ROBOT, zones=None if zones else nowhere)
    targets = [np.array(t) for t, n in holds for _ in range(n)] or [HOME]
    commands, _ = drive(safety, lambda _, k: targets[k], len(targets))
    over = excess(ROBOT, HOME, commands)
    if not zones:
        over.pop("workspace")
    assert max(over.values()) <= 0, over


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.lists(st.floats(-3.2, 3.8), min_size=7, max_size=7), min_size=1, max_size=4),
    st.sampled_from([7, 50, 200, 1000]),
)
def test_every_control_rate_keeps_the_limits(goals, rate):
    robot = replace(ROBOT, control_rate=float(rate), policy_rate=1.0)
    safety = Safety(robot)
    commands, _ = drive(safety, lambda _, k: np.append(goals[k // 40], 0.0), 40 * len(goals))
    assert max(excess(robot, HOME, commands).values()) <= 0


def test_jerk_binds_only_at_high_rates():
    assert Limits.of(ROBOT).simple.all()
    fast = Limits.of(replace(ROBOT, control_rate=1000.0))
    assert not fast.simple[:7].any()
    assert np.allclose(fast.acceleration[:7], ACCELERATION, rtol=1e-5)
    assert np.allclose(fast.jerk[:7], ROBOT.array("jerk")[:7], rtol=1e-5)


@given(st.floats(0, 1), st.integers(0, 7))
def test_reachable_speed_uses_exactly_the_room(room, joint):
    limits = Limits.of(ROBOT)
    v, unit = limits.reachable(np.full(8, room))[joint], limits.acceleration[joint] * limits.dt
    way = sum(max(v - i * unit, 0.0) for i in range(200)) * limits.dt
    assert way == pytest.approx(room, abs=1e-9)


def bound_by(target, reason, start=START, ticks=1, **options):
    """The first reason of that guard within some ticks of asking for `target`, and its count."""
    safety = Safety(ROBOT, **options)
    commands, verdicts = drive(safety, lambda *_: target, ticks, start)
    assert max(excess(ROBOT, start, commands).values()) <= 0
    assert safety.counts[reason] > 0
    changed = next(v for v in verdicts if any(r.guard == reason for r in v.reasons))
    assert not np.allclose(changed.command, target, equal_nan=True)
    return str(next(r for r in changed.reasons if r.guard == reason))


def moved(joint, by):
    target = START.copy()
    target[joint] += by
    return target


def test_each_limit_binds_and_says_so():
    assert bound_by(moved(3, 0.062), "velocity") == "velocity joint4 3.1 > 2.175 rad/s"
    assert bound_by(moved(1, 0.004), "acceleration") == "acceleration joint2 10 > 7.5 rad/s²"
    assert bound_by(moved(0, 4.0), "position") == f"position joint1 {START[0] + 4.0:.4g} > 2.897 rad"
    assert bound_by(moved(3, -4.0), "position") == f"position joint4 {START[3] - 4.0:.4g} < -3.072 rad"
    assert bound_by(reach([0.45, 0.0, -0.05]), "workspace", ticks=60).endswith("< 0.012 m")
    assert bound_by(reach([0.45, 0.5, 0.2]), "workspace", ticks=90).startswith("workspace tcp.y 0.4")
    assert bound_by(moved(7, 1.0), "position") == "position gripper 2 > 1 opening"
    assert bound_by(moved(7, -1.0), "velocity") == "velocity gripper 50 > 2.5 opening/s"


def test_zones_beyond_the_tcp_bind():
    # Folding forward lowers the wrist onto the table long before a box without a floor would notice.
    free = with_frame(workspace=np.array([[-9.0, -9.0, -9.0], [9.0, 9.0, 9.0]]))
    low = np.append([0.0, 1.7, 0.0, -1.2, 0.0, 3.6, 0.785], 1.0)
    safety = Safety(free)
    commands, verdicts = drive(safety, lambda *_: low, 150)
    points = Skeleton(CHAIN).points(commands[:, :7])
    assert safety.counts["floor"] > 0
    assert points[:, 2:7, 2].min() >= 0.06
    assert any(str(r).startswith("floor joint") for v in verdicts for r in v.reasons)
    back = np.append([0.0, -1.2, 0.0, -3.0, 0.0, 0.5, 0.785], 1.0)
    safety = Safety(replace(free, collision=Collision()))  # the hand would meet the base before
    commands, verdicts = drive(safety, lambda *_: back, 150)
    wrist = Skeleton(CHAIN).points(commands[:, :7])[:, 5:7]
    assert safety.counts["column"] > 0
    assert np.all((np.hypot(wrist[..., 0], wrist[..., 1]) >= 0.17) | (wrist[..., 2] >= 0.5))


def test_a_broken_target_brakes_to_rest():
    safety = Safety(ROBOT)
    broken = np.where(np.arange(8) == 2, np.nan, HOME)
    commands, verdicts = drive(safety, lambda _, k: HOME + 0.3 if k < 10 else broken, 40)
    assert [str(r) for r in verdicts[12].reasons] == ["nan joint3 target is nan"]
    assert not safety.moving
    assert np.array_equal(commands[-1], commands[-2])
    assert max(excess(ROBOT, HOME, commands).values()) <= 0


def test_an_old_observation_brakes_and_asks_to_stop():
    safety = Safety(ROBOT)
    assert not safety.check(HOME, seen(HOME, 1.0), 1.3).stop
    verdict = safety.check(HOME + 0.1, seen(HOME, 1.0), 1.45)
    assert verdict.stop
    assert [str(r) for r in verdict.reasons] == ["stale observation 0.45 > 0.3 s"]
    assert np.array_equal(verdict.command, HOME)
    assert safety.check(HOME, seen(HOME, np.nan), 1.0).stop


@pytest.mark.parametrize("error", [0.5, np.nan])
def test_an_arm_that_is_elsewhere_brakes_and_asks_to_stop(error):
    safety = Safety(ROBOT)
    elsewhere = HOME + np.where(np.arange(8) == 4, error, 0.0)
    verdict = safety.check(HOME + 0.1, seen(elsewhere), 0.0)
    assert verdict.stop
    assert [str(r) for r in verdict.reasons] == [f"tracking joint5 {error:.4g} > 0.35 rad"]
    moved = verdict.command - HOME  # towards where it is seen, and never after a NaN
    assert 0 < moved[4] < 0.01 if error == 0.5 else moved[4] == 0
    assert np.count_nonzero(moved) == (error == 0.5)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.36, 1.0), st.integers(1, 60))
def test_a_jammed_arm_is_gone_back_to_within_the_limits(seed, error, ticks):
    rng = np.random.default_rng(seed)
    safety = Safety(ROBOT)
    way = rng.uniform(-0.3, 0.3, 8)
    commands, _ = drive(safety, lambda _, k: START + way * min(k / 20, 1.0), ticks, START)
    measured = commands[-1] + np.where(np.arange(8) < 7, np.sign(rng.normal(size=8)) * error, 0.0)
    for k in range(150):
        verdict = safety.check(START, seen(measured, k * 0.02), k * 0.02)
        if not verdict.stop:  # near enough for the guard; the controller goes on from here
            break
        commands = np.vstack([commands, verdict.command])
    assert max(excess(ROBOT, START, commands).values()) <= 0


def test_a_wrong_shape_is_refused():
    with pytest.raises(BadValue, match=r"target has shape \[7\]; expected \[8\]: joint1"):
        Safety(ROBOT).check(ARM, seen(HOME), 0.0)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (np.full(8, np.nan), "command of 'joint1' is nan; expected a finite number"),
        (np.array([99.0, *HOME[1:]]), "would start with 'joint1' at 99 rad; its limits are -2.8973 … 2.8973"),
        (np.array([*HOME[:7], -3.0]), "would start with 'gripper' at -3 opening; its limits are 0 … 1"),
        ([True, *HOME[1:]], "expected 8 numbers: joint1"),
        (np.ones(8, bool), "expected 8 numbers: joint1"),
        (np.array(["a"] * 8), "expected 8 numbers: joint1"),
        (HOME[:5], "expected 8 numbers: joint1"),
    ],
)
def test_no_arm_starts_at_what_cannot_be_measured(command, message):
    with pytest.raises(BadValue, match=message):
        Safety(ROBOT).reset(command)


def test_smooth_motion_passes_untouched():
    """A minimum-jerk swing of 0.3 rad in 2 s."""
    safety = Safety(ROBOT)
    s = np.clip(np.arange(120) / 100, 0, 1)[:, None]
    targets = HOME + 0.3 * (10 * s**3 - 15 * s**4 + 6 * s**5) * np.array([1, 0.6, 1, 1, 1, 1, 1, 0])
    commands, _ = drive(safety, lambda _, k: targets[k], 120)
    assert np.abs(commands - targets).max() < 1e-5
    assert sum(safety.counts.values()) == 0


def test_fast_smooth_motion_is_only_trimmed_at_its_start():
    """1.2 rad/s of sway, three times what a single tick can brake: the target's own speed is allowed for."""
    safety, way = Safety(ROBOT), np.array([0.2, 0.12, 0.2, 0.15, 0.2, 0.2, 0.2, 0])
    targets = [HOME + way * np.sin(6 * 0.02 * k) for k in range(150)]
    commands, verdicts = drive(safety, lambda _, k: targets[k], 150)
    assert sum(bool(v.reasons) for v in verdicts) < 30
    assert np.abs(commands[30:] - targets[30:]).max() < 1e-5


@pytest.mark.parametrize("speed", [0.2, 0.6, 1.2, 2.5, 6.0])
def test_a_target_that_stops_dead_is_reached_without_ringing(speed):
    way = np.array([0.4, 0.25, 0, -0.3, 0, 0.2, 0, 0])
    end = HOME + way
    commands, _ = drive(Safety(ROBOT), lambda _, k: HOME + way * min(k * 0.02 * speed / 0.4, 1.0), 160)
    past = (commands - end)[:, :7] * np.sign(way[:7])
    fastest = np.abs(np.diff(commands[:, :7], axis=0)).max(axis=0) / 0.02
    inevitable = fastest**2 / (2 * ACCELERATION) + ACCELERATION * 0.02**2  # braking, and one tick
    assert np.all(past.max(axis=0) <= inevitable)
    assert np.abs(commands[-1] - end).max() < 1e-9
    turns = np.sum(np.abs(np.diff(np.sign(np.round(np.diff(commands[:, :7], axis=0), 9)), axis=0)) == 2, axis=0)
    assert turns.max() <= 2
    for joint in np.flatnonzero(way[:7]):  # having come back it stays within what one tick makes good
        after = past[past[:, joint].argmax() :, joint]
        assert after.min() >= -ACCELERATION[joint] * 0.02**2


def test_an_arm_pressed_on_the_table_still_slides_along_it():
    goal_y = 0.2

    def press(command, _):
        here = CHAIN.forward(command[:-1])[0]
        point = np.array([0.45, min(here[1] + 0.003, goal_y), -0.01])
        return np.append(CHAIN.step_towards(command[:-1], point, DOWN, ARM), 1.0)

    safety = Safety(ROBOT)
    commands, _ = drive(safety, press, 200, START)
    end = CHAIN.forward(commands[-1, :7])[0]
    assert end[1] == pytest.approx(goal_y, abs=0.01)
    assert 0.012 <= end[2] < 0.014
    assert safety.counts["workspace"] > 0


def test_an_arm_that_starts_outside_may_only_come_in():
    start = reach([0.45, 0.0, -0.03])
    commands, _ = drive(Safety(ROBOT), lambda *_: reach([0.45, 0.0, -0.1]), 50, start)
    assert CHAIN.forward(commands[:, :7])[0][:, 2].min() >= -0.03 - 1e-4
    commands, _ = drive(Safety(ROBOT), lambda *_: START, 150, start)
    assert np.abs(commands[-1] - START).max() < 1e-6
    over = START.copy()
    over[0] = ROBOT.upper[0] + 0.1
    commands, _ = drive(Safety(ROBOT, zones=nowhere), lambda *_: START, 150, over)
    assert commands[:, 0].max() <= over[0]
    assert np.abs(commands[-1] - START).max() < 1e-6


def test_a_guard_is_one_function_and_cannot_break_the_limits():
    def reckless(move):
        move.velocity = np.full(8, 1e9)
        return Reason("reckless", note="asks for the moon", over=None)

    safety = Safety(ROBOT, guards=(*GUARDS, reckless))
    commands, verdicts = drive(safety, lambda *_: HOME, 300)
    assert safety.counts["reckless"] == 300
    assert "reckless asks for the moon" in [str(r) for r in verdicts[0].reasons]
    assert max(excess(ROBOT, HOME, commands).values()) <= 0


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_the_skeleton_is_the_chain_and_its_reach_bounds_travel(seed):
    rng = np.random.default_rng(seed)
    q = rng.uniform(ROBOT.lower[:7], ROBOT.upper[:7], (2, 7))
    skeleton = Skeleton(CHAIN)
    points = skeleton.points(q)
    assert np.abs(points[:, -1] - CHAIN.forward(q)[0]).max() < 1e-12
    travel = np.linalg.norm(points[0] - points[1], axis=1)
    assert np.all(travel <= skeleton.reach @ np.abs(q[0] - q[1]) + 1e-12)


@pytest.mark.parametrize(
    "direction", [*np.eye(3), *-np.eye(3), (0.77, 0.08, -0.63), (0.97, -0.05, -0.25), (-0.32, 0.09, -0.94)]
)
def test_an_arm_pushed_against_a_face_leaves_it_again_when_asked(direction):
    """Steps of an end-effector policy outwards for 4 s, then back: within half a second the arm moves, within 2.4 s it is 5 cm
    inside (fully stretched it first bends aside)."""
    control, way = Control(ROBOT), 0.04 * np.array(direction) / np.linalg.norm(direction)
    control.reset(HOME)
    path = []
    for k in range(320):
        action = np.array([*(way if k < 200 else -way), 0, 0, 0, 1], np.float32)
        _, verdict = control.step((action, 0.0), 0.2, seen(control.command, k * 0.02), k * 0.02)
        path.append(CHAIN.forward(verdict.command[:7])[0])
    assert np.linalg.norm(path[224] - path[200]) > 0.004
    assert (path[319] - path[200]) @ -way / 0.04 > 0.05
