from dataclasses import replace

import numpy as np
import pytest

from palmar import ActionChunk, Observation
from palmar.errors import BadValue, MissingPackage, PalmarError, RobotFault, UnknownName, UserError, need
from palmar.robots.arm7 import arm7


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
    J = len(robot.joints)
    assert robot.command_width == J + 1
    assert len(robot.state_names) == 2 * J + 8
    assert len(robot.action_names) == 7
    assert robot.with_action_space("channels").action_names == (*robot.joints, "gripper")
    for limit in (robot.velocity, robot.acceleration, robot.jerk, robot.torque):
        assert limit.shape == (J,) and np.all(limit > 0)
    assert np.all((robot.position_lower < robot.home) & (robot.home < robot.position_upper))
    assert (robot.control_rate / robot.policy_rate).is_integer()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"velocity": np.ones(6)}, r"arm7: velocity has shape \[6\]; expected \[7\]"),
        ({"joints": ("a", "b")}, "arm7 has 2 joints but its chain has 7"),
        ({"home": np.full(7, np.nan)}, "arm7: home is .*nan.*; expected finite"),
        ({"torque": np.zeros(7)}, r"arm7: torque is \[0.0.*; expected > 0"),
        ({"position_lower": np.full(7, 4.0)}, r"arm7: position is \[4.0.*; expected lower < upper"),
        ({"workspace": np.zeros((2, 3))}, "arm7: workspace is .*; expected lower < upper"),
        ({"workspace": np.zeros(6)}, r"arm7: workspace has shape \[6\]; expected \[2, 3\]"),
        ({"control_rate": 0.0}, "arm7: control_rate is 0.0; expected > 0"),
        ({"policy_rate": float("inf")}, "arm7: policy_rate is inf; expected > 0"),
        ({"policy_rate": 15.0}, "arm7: control_rate 50.0 Hz is 3.333 × policy_rate 15.0 Hz; expected a whole number"),
        ({"policy_rate": 100.0}, "arm7: control_rate 50.0 Hz is 0.5 × policy_rate 100.0 Hz"),
    ],
)
def test_a_robot_is_checked_where_it_is_made(changes, message):
    with pytest.raises(BadValue, match=message):
        replace(arm7(), **changes)
