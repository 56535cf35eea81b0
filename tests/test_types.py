from dataclasses import replace

import numpy as np
import pytest

from palmar import ActionChunk, Observation
from palmar.errors import BadValue, MissingPackage, PalmarError, RobotFault, UnknownName, UserError, need
from palmar.robot_parts import Channel, Floor
from palmar.robots.arm7 import arm7
from palmar.shapes import Collision
from palmar.types import Reason


def test_an_observation_is_checked_where_it_is_made():
    state = np.zeros(22, np.float32)
    Observation({"front": np.zeros((4, 6, 3), np.uint8)}, state)
    with pytest.raises(BadValue, match=r"image 'front' is float64\[4, 6, 3\]; expected uint8\[H, W, 3\] RGB"):
        Observation({"front": np.zeros((4, 6, 3))}, state)
    with pytest.raises(BadValue, match=r"image 'w' is uint8\[3, 4, 6\]"):
        Observation({"w": np.zeros((3, 4, 6), np.uint8)}, state)
    with pytest.raises(BadValue, match=r"state has shape \[1, 22\]"):
        Observation({}, state[None])


def test_a_chunk_is_checked_where_it_is_made():
    assert ActionChunk(np.zeros((2, 7)), 0.1, 0.0).confidence is None
    for actions in (np.zeros(7), np.zeros((0, 7))):
        with pytest.raises(BadValue, match="expected \\[T, A\\]"):
            ActionChunk(actions, 0.1, 0.0)
    for dt in (0.0, -0.1, float("nan")):
        with pytest.raises(BadValue, match="dt is"):
            ActionChunk(np.zeros((1, 7)), dt, 0.0)


def test_errors_say_the_next_step():
    error = UnknownName("preset", "palmr-tiny", ["palmar-tiny", "octo"])
    assert str(error) == "unknown preset 'palmr-tiny'. Did you mean 'palmar-tiny'? Known: palmar-tiny, octo."
    assert isinstance(error, UserError) and isinstance(error, LookupError)
    assert issubclass(BadValue, ValueError) and issubclass(RobotFault, PalmarError)
    assert (UserError.exit_code, RobotFault.exit_code) == (2, 3)
    with pytest.raises(MissingPackage, match=r"pip install 'palmar\[learn\]'"):
        need("no_such_package_at_all", "learn")
    need("numpy", "learn")


def test_the_robot_describes_itself():
    robot = arm7()
    assert robot.channel_names == (*(f"joint{i}" for i in range(1, 8)), "gripper")
    assert len(robot.state_names) == 2 * 7 + 8
    assert len(robot.action_names) == len(robot.action_units) == 7
    assert robot.with_action_space("channels").action_names == robot.channel_names
    for what in ("velocity", "acceleration", "jerk"):
        assert robot.array(what).shape == (8,) and np.all(robot.array(what) > 0)
    assert np.all((robot.lower <= robot.home) & (robot.home <= robot.upper))
    assert (robot.control_rate / robot.policy_rate).is_integer()
    assert robot.guesses() == []
    assert robot.measured(robot.state_from(robot.home, np.zeros(8))) == pytest.approx(robot.home)


JOINT = Channel("elbow", "revolute", "rad", -1.0, 1.0, 2.0, 10.0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"velocity": 0.0}, "channel 'elbow': velocity is 0; expected > 0"),
        ({"velocity": float("inf")}, "channel 'elbow': velocity is inf; expected a finite limit"),
        ({"velocity": True}, "channel 'elbow': velocity is True; expected a number"),
        ({"home": float("nan")}, "channel 'elbow': home is not a number"),
        ({"home": 3.0}, "channel 'elbow': home is 3; expected -1 … 1"),
        ({"lower": 4.0}, "channel 'elbow': position is 4 … 1; expected lower < upper"),
        ({"upper": float("inf")}, "expected finite limits .only a continuous joint has none.*lowest and highest value"),
        ({"unit": "furlong"}, "unknown unit of channel 'elbow' 'furlong'"),
        ({"unit": "m"}, "channel 'elbow' is revolute in 'm'; expected one of rad, deg"),
        ({"kind": "wobbly"}, "unknown kind of channel 'elbow' 'wobbly'"),
        ({"span": (1.0, 1.0)}, "span is .1.0, 1.0.; expected two different joint positions"),
        ({"sources": {"position": "hearsay"}}, "unknown source of the position limit of channel 'elbow' 'hearsay'"),
    ],
)
def test_a_channel_is_checked_where_it_is_made(changes, message):
    with pytest.raises((BadValue, UnknownName), match=message):
        replace(JOINT, **changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"channels": ()}, "arm7 has no channels"),
        ({"channels": arm7().channels[:1] * 2, "frames": (), "state": ()}, "two channels are called 'joint1'"),
        (
            {"frames": (replace(arm7().frame(), joints=tuple("abcdefg"), zones=()),)},
            "unknown joint channel of frame 'tcp' 'a'",
        ),
        ({"action_space": "sideways"}, "unknown action space 'sideways'"),
        ({"frames": (), "state": (), "collision": Collision()}, "arm7 has no frames, so no 'ee_delta' actions"),
        ({"control_rate": 0.0}, "arm7: control_rate is 0.0 Hz; expected 0.001"),
        ({"policy_rate": float("inf")}, "arm7: policy_rate is inf Hz; expected 0.001"),
        ({"policy_rate": 15.0}, "arm7: control_rate 50.0 Hz is 3.333 × policy_rate 15.0 Hz; expected a whole number"),
        ({"policy_rate": 100.0}, "arm7: control_rate 50.0 Hz is 0.5 × policy_rate 100.0 Hz"),
    ],
)
def test_a_robot_is_checked_where_it_is_made(changes, message):
    with pytest.raises((BadValue, UnknownName), match=message):
        replace(arm7(), **changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"joints": ("a", "b")}, "frame 'tcp' has 2 joints but its chain has 7"),
        ({"workspace": np.zeros((2, 3))}, "workspace is .*; expected float.2, 3., lower < upper"),
        ({"workspace": np.zeros(6)}, "workspace is .*; expected float.2, 3."),
        ({"max_step": (0.0, 1.0)}, "max_step is .0.0, 1.0.; expected two numbers > 0"),
        ({"zones": (Floor(0.1, ("knee",)),)}, "unknown point of a zone of frame 'tcp' 'knee'"),
    ],
)
def test_a_frame_is_checked_where_it_is_made(changes, message):
    with pytest.raises((BadValue, UnknownName), match=message):
        replace(arm7().frame(), **changes)


def test_a_reason_shows_as_many_digits_as_tell_its_numbers_apart():
    assert str(Reason("velocity", "joint3", 2.41, 2.17, "rad/s")) == "velocity joint3 2.41 > 2.17 rad/s"
    assert str(Reason("velocity", "joint3", 2.170004, 2.17, "rad/s")) == "velocity joint3 2.170004 > 2.17 rad/s"
    assert str(Reason("workspace", "z", 0.1, 0.1, "m", over=False)) == "workspace z 0.1 < 0.1 m"
