"""A robot's numbers in a recording: found by name, converted by unit, or refused by name."""

from dataclasses import replace

import faulty_bodies as bodies
import numpy as np
import pytest

from palmar.embodiments import Embodiment
from palmar.errors import BadValue, UnknownName
from palmar.mapping import Interface
from palmar.robot_parts import Channel
from palmar.robots.arm7 import arm7
from palmar.runtime.records.recording import check_units, columns_of, with_stated_units

ROBOT = bodies.gadget()
NAMES = tuple(ROBOT.action_names)


def recording(actions=NAMES, states=(), **units):
    return Interface({}, tuple(states), tuple(actions), **units)


def test_columns_are_found_by_name_joint_and_mapping():
    found = columns_of(ROBOT, recording(NAMES[::-1], ["wheel.vel", "shoulder.pos"]))
    assert found.actions(np.arange(4.0)).tolist() == [3, 2, 1, 0]
    assert [m.name for m in found.robot.state] == ["shoulder.pos", "wheel.vel"]
    assert found.states(np.arange(2.0)).tolist() == [1, 0]
    recorded = ("a", "elbow", "jaw", "wheel")
    found = columns_of(ROBOT, recording(recorded, recorded), {"shoulder": "a"})
    assert found.actions(np.arange(4.0)).tolist() == [0, 1, 2, 3]
    assert [m.name for m in found.robot.state] == ["shoulder.pos", "elbow.pos", "jaw.pos", "wheel.vel"]
    assert found.states(np.arange(4.0)).tolist() == [0, 1, 2, 3]
    assert columns_of(ROBOT, recording()).states(np.zeros((3, 0))) is None


def test_actions_that_the_robot_lacks_are_not_used():
    found = columns_of(ROBOT, recording(("extra", *NAMES)))
    assert found.actions(np.arange(5.0)).tolist() == [1, 2, 3, 4]


def test_a_recording_in_degrees_is_converted_for_a_robot_in_radians():
    units = ("deg", "deg", "range_0_100", "m/s")
    states = ("shoulder.pos", "shoulder.vel", "jaw.pos")
    told = recording(states=states, action_units=units, state_units=("deg", "deg/s", "%"))
    found = columns_of(ROBOT, told)
    assert found.actions(np.array([90.0, 45.0, 30.0, 0.2])) == pytest.approx([np.pi / 2, np.pi / 4, 30.0, 0.2])
    assert [m.name for m in found.robot.state] == list(states)
    assert found.states(np.array([180.0, 90.0, 30.0])) == pytest.approx([np.pi, np.pi / 2, 30.0])
    assert found.unchecked == ()


def test_shares_of_a_range_are_converted_where_the_robot_knows_its_ends():
    told = recording(("a",), ("a.pos",), action_units=("range_m100_100",), state_units=("range_m100_100",))
    turn = Channel("a", "revolute", "rad", -1.0, 2.0, 1.0, span=(-1.0, 2.0))
    found = columns_of(Embodiment("one", (turn,)), told)
    assert found.actions(np.array([[-100.0], [0.0], [100.0]])).ravel() == pytest.approx([-1.0, 0.5, 2.0])
    assert found.states(np.array([[50.0]])).ravel() == pytest.approx([1.25])
    with pytest.raises(BadValue, match="action channel 'a': unit 'range_m100_100' converts to 'rad' only where"):
        columns_of(Embodiment("one", (replace(turn, span=None),)), told)


def test_units_that_do_not_convert_are_refused_by_name():
    with pytest.raises(BadValue, match=r"action channel 'shoulder': unit 'm' .length. does not convert to 'rad'"):
        columns_of(ROBOT, recording(action_units=("m", "rad", "range_0_100", "m/s")))
    with pytest.raises(BadValue, match=r"state channel 'elbow.pos': unit 'm/s' .* does not convert to 'rad'"):
        columns_of(ROBOT, recording(states=("elbow.pos",), state_units=("m/s",)))


def test_units_that_nobody_stated_are_told_and_refused_where_the_values_say_otherwise():
    found = columns_of(ROBOT, recording(states=("elbow.pos",)))
    assert found.unchecked == (*NAMES, "elbow.pos")
    degrees = np.array([[-40.0, 10.0, 100.0, 0.0], [60.0, 80.0, 0.0, 0.2]])
    with pytest.raises(
        BadValue, match=r"look like 'deg' \('shoulder' from -40 to 60\), and gadget takes 'shoulder' in 'rad'.*--unit"
    ):
        check_units(found, degrees)
    check_units(found, degrees * [0.01, 0.01, 1, 1])
    stated = columns_of(ROBOT, with_stated_units(recording(), {"shoulder": "deg", "elbow": "deg"}))
    check_units(stated, degrees)
    assert stated.actions(degrees)[1, :2] == pytest.approx(np.deg2rad([60.0, 80.0]))
    turned = replace(ROBOT, state=(), channels=(Channel("shoulder", "revolute", "deg", -90.0, 90.0, 100.0),))
    with pytest.raises(BadValue, match=r"look like 'rad'.*in 'deg'"):
        check_units(columns_of(turned, recording(("shoulder",))), np.array([[-0.7], [1.0]]))


def test_units_of_all_channels_are_stated_at_once():
    told = with_stated_units(recording(("a", "b"), ("a.pos", "a.vel", "b.vel")), {"*": "deg", "b": "m", "b.vel": "m/s"})
    assert told.action_units == ("deg", "m") and told.state_units == ("deg", "deg/s", "m/s")
    kept = with_stated_units(recording(("a", "b"), action_units=("rad", "m")), {"a": "deg"})
    assert kept.action_units == ("deg", "m")
    with pytest.raises(UnknownName, match="channel of the recording 'c'"):
        with_stated_units(recording(("a",)), {"c": "deg"})
    with pytest.raises(UnknownName, match="unit of 'a' 'degrees'"):
        with_stated_units(recording(("a",)), {"a": "degrees"})


def test_columns_take_the_action_space_of_the_recording():
    assert columns_of(arm7(), arm7("channels").interface()).robot.action_space == "channels"
    assert columns_of(arm7("channels"), arm7().interface()).robot.action_space == "ee_delta"
    check_units(columns_of(arm7(), arm7().interface()), np.full((2, 7), 50.0))  # steps of an end effector


def test_columns_that_are_missing_are_named():
    with pytest.raises(BadValue, match=r"no shoulder: its actions are a, elbow, jaw, wheel.*--names shoulder="):
        columns_of(ROBOT, recording(("a", "elbow", "jaw", "wheel")))
    with pytest.raises(UnknownName, match="unknown channel of gadget 'hip'"):
        columns_of(ROBOT, recording(), {"hip": "shoulder"})
    with pytest.raises(BadValue, match="names has 'b' for 'shoulder'"):
        columns_of(ROBOT, recording(), {"shoulder": "b"})
