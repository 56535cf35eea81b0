"""A recorded episode through the control path: what is changed is counted, and nothing leaves the limits."""

import faulty_bodies as bodies
import numpy as np
import pytest

from palmar.embodiments import Embodiment
from palmar.errors import BadValue
from palmar.robot_parts import Channel, state_of
from palmar.robots.arm7 import arm7
from palmar.runtime.bodies.outside import outside
from palmar.runtime.records.replay import replay, summary

ROBOT = bodies.gadget()
DT = 0.1


def smooth(steps=60):
    """Actions [T, 4] well within the limits, and the states of a robot that follows them."""
    t = np.arange(steps) * DT
    actions = np.stack([0.3 * (1 - np.cos(t)), 0.5 + 0.2 * (1 - np.cos(t)), np.full(steps, 100.0), np.zeros(steps)], 1)
    before = np.vstack([actions[:1], actions[:-1]])
    states = np.array([ROBOT.state_from(b, np.zeros(4)) for b in before])
    return actions, states


def test_a_good_recording_passes_untouched():
    actions, states = smooth()
    found = replay(ROBOT, actions, states, DT)
    assert len(found.time) == 300 and not found.changed.any() and found.stopped is None
    assert sum(found.outside.values()) == 0
    figures = summary(ROBOT, {4: found})
    assert figures["commands"] == 300 and figures["changed"] == 0 and figures["outside"] == 0
    assert all(
        row["largest"] < 1e-2 * (c.upper - c.lower)
        for c, row in zip(ROBOT.channels, figures["channels"].values(), strict=True)
    )


def test_a_target_beyond_a_limit_is_counted_where_it_is():
    actions, _ = smooth()
    actions[30:33, 0] = 2.5  # the limit is 1.5
    found = replay(ROBOT, actions, None, DT)
    assert found.reasons["position"]["shoulder"] >= 3
    assert set(found.reasons["position"]) == {"shoulder"}
    assert found.changed[:, 0].any() and not found.changed[:, 1:].any()
    first = found.time[found.changed[:, 0]][0]
    assert 2.9 <= first <= 3.1
    assert found.largest[0] > 0.9 and (found.sent <= ROBOT.upper).all()
    assert sum(found.outside.values()) == 0


def test_a_robot_that_was_not_where_it_was_told_to_be_would_be_stopped():
    actions, states = smooth()
    at = ROBOT.state_names.index("elbow.pos")
    states[25:, at] += 0.9
    found = replay(ROBOT, actions, states, DT)
    assert found.stopped is not None
    when, why = found.stopped
    assert 2.4 <= when <= 2.6 and why.startswith("tracking elbow")
    assert summary(ROBOT, {0: found})["stopped"] == {"0": [when, why]}
    assert replay(ROBOT, actions, None, DT).stopped is None


def test_numbers_that_are_none_brake_and_are_counted():
    actions, states = smooth()
    actions[20] = np.nan
    found = replay(ROBOT, actions, states, DT)
    assert found.reasons["nan"] == {"shoulder": 5}
    assert np.isfinite(found.sent).all() and np.isfinite(found.asked).all()


def test_a_change_of_an_endless_joint_counts_alike_in_degrees_and_radians():
    found = {}
    for unit, turn in (("rad", 2 * np.pi), ("deg", 360.0)):
        table = Channel("turn", "continuous", unit, -np.inf, np.inf, turn / 10, turn)
        robot = Embodiment("table", (table,), control_rate=50.0, policy_rate=10.0)
        assert robot.widths == pytest.approx([turn]) and robot.endless.all()
        actions = 0.02 * (1 - np.cos(np.arange(31) / 10))[:, None] * turn
        assert not replay(robot, actions, None, DT).changed.any()
        actions[15:] += 0.02 * turn  # twice as fast as the limit
        found[unit] = replay(robot, actions, None, DT).changed[:, 0].tolist()
    assert found["rad"] == found["deg"] and 0 < sum(found["rad"]) < 75


def test_the_width_of_a_channel_whose_unit_nobody_stated_is_finite():
    loose = Channel("turn", "continuous", "", -np.inf, np.inf, 1.0, 5.0)
    assert Embodiment("table", (loose,)).widths == pytest.approx([2 * np.pi])


def test_steps_of_an_end_effector_are_replayed_too():
    robot = arm7()
    actions = np.zeros((20, 7), np.float32)
    actions[:, 0], actions[:, 6] = 0.01, 1.0
    found = replay(robot, actions, None, DT)
    moved = robot.pose(robot.frame(), found.sent[-1])[0] - robot.pose(robot.frame(), found.start)[0]
    assert moved[0] == pytest.approx(0.2, abs=0.02) and sum(found.outside.values()) == 0
    down = actions.copy()
    down[:, 0], down[:, 2] = 0.0, -0.04
    found = replay(robot, down, None, DT)
    assert "tcp.z" in found.reasons["workspace"] and sum(found.outside.values()) == 0


def test_a_rate_that_is_no_divisor_of_the_control_rate_works():
    actions, _ = smooth(90)
    found = replay(ROBOT, np.repeat(actions, 3, 0)[:90], None, 1 / 30)
    assert len(found.time) == 150 and sum(found.outside.values()) == 0


@pytest.mark.parametrize(
    ("actions", "states", "dt", "said"),
    [
        (np.zeros((5, 3)), None, DT, r"actions are \[5, 3\]; expected \[T, 4\]"),
        (np.zeros((0, 4)), None, DT, r"actions are \[0, 4\]"),
        (np.zeros((5, 4)), np.zeros((5, 2)), DT, r"states are \[5, 2\]; expected \[5, 6\]"),
        (np.zeros((5, 4)), None, 0.0, "dt is 0"),
        (np.zeros((5, 4)), np.full((5, 6), 50.0), DT, "would start with 'shoulder' at 50"),
        (np.zeros((5, 4)), np.full((5, 6), np.nan), DT, "expected a finite number"),
    ],
)
def test_arrays_that_do_not_fit_are_told(actions, states, dt, said):
    with pytest.raises(BadValue, match=said):
        replay(ROBOT, actions, states, dt)


def test_outside_counts_what_breaks_a_limit():
    start = ROBOT.home
    still = np.tile(start, (10, 1))
    assert set(outside(ROBOT, start, still).values()) == {0}
    jump = still.copy()
    jump[5:, 0] = 1.7
    found = outside(ROBOT, start, jump)
    assert found["position"] == 5 and found["velocity"] == 1 and found["acceleration"] == 2 and found["jerk"] == 3
    wheel = still.copy()
    wheel[5:, 3] = 0.4
    assert outside(ROBOT, start, wheel)["acceleration"] == 1 and outside(ROBOT, start, wheel)["velocity"] == 0


def test_the_gadget_measures_what_these_tests_think():
    assert ROBOT.state == state_of(ROBOT.channels)
