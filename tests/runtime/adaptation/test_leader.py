"""A leader arm of lerobot as a policy: its numbers by name and unit, the way to it, and its end."""

from dataclasses import replace

import numpy as np
import pytest
from lerobot_stand_in import LEADER, ROBOT, standing_in

from palmar.errors import BadValue, RobotFault, UnknownName
from palmar.robots.arm7 import arm7
from palmar.runtime.adaptation.leader import APPROACH, Leader
from palmar.runtime.fitting import check_fits
from palmar.types import Observation


@pytest.fixture(autouse=True)
def lerobot(monkeypatch):
    with standing_in(monkeypatch) as simulated:
        yield simulated


def seen(time: float, at: float = 0.0) -> Observation:
    return Observation({}, np.full(6, at, np.float32), time=time)


def test_the_robot_is_led_to_where_the_leader_is_and_then_follows_it(lerobot) -> None:
    leader = Leader(LEADER, ROBOT)
    check_fits(leader.interface, leader.robot)
    port = lerobot.PORTS["leader"]
    port.at = dict.fromkeys(lerobot.JOINTS, 40.0)
    leader.reset()
    path = [leader.act(seen(5.0 + t)).actions[0, 0] for t in np.linspace(0, APPROACH, 61)]
    assert path[0] == 0 and path[-1] == 40 and (np.diff(path) >= 0).all() and np.diff(path).max() < 1.01
    port.at |= {"shoulder_pan": -30.0, "gripper": 0.0}
    chunk = leader.act(seen(8.0))
    assert chunk.actions[0].tolist() == [-30, 40, 40, 40, 40, 0] and (chunk.actions == chunk.actions[0]).all()
    assert len(chunk.actions) * chunk.dt == pytest.approx(0.5)
    leader.reset()
    assert leader.act(seen(9.0, at=3.0)).actions[0].tolist() == [3.0] * 6  # another episode begins where the robot is
    leader.close()
    assert not port.connected


def test_what_is_beyond_the_range_is_asked_for_at_its_end(lerobot) -> None:
    leader = Leader(LEADER, ROBOT)
    lerobot.PORTS["leader"].at = dict.fromkeys(lerobot.JOINTS, 130.0)
    leader.act(seen(0.0))
    assert leader.act(seen(APPROACH)).actions[0].tolist() == [100.0] * 6


def test_names_of_another_leader_are_joined_by_a_person(lerobot) -> None:
    channels = tuple(replace(c, name=c.name.replace("wrist_roll", "turn"), joint="") for c in ROBOT.channels)
    robot = replace(arm7("channels"), channels=channels, frames=(), collision=type(ROBOT.collision)(), state=())
    with pytest.raises(BadValue, match=r"Not in both: wrist_roll.pos, turn.pos"):
        Leader(LEADER, robot)
    leader = Leader(LEADER, robot, {"wrist_roll.pos": "turn.pos"})
    lerobot.PORTS["leader"].at["wrist_roll"] = 55.0
    assert leader._joined.names[4] == "wrist_roll.pos"
    with pytest.raises(UnknownName, match=r"unknown number of 'lerobot:so101_leader at leader' 'rist.pos'"):
        Leader(LEADER, robot, {"rist.pos": "turn.pos"})
    with pytest.raises(UnknownName, match="unknown channel"):
        Leader(LEADER, robot, {"wrist_roll.pos": "tur.pos"})


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("lerobot:so101_leader?port=leader", r"gives 'shoulder_pan.pos' in deg; .*use_degrees=false"),
        ("lerobot:so101_leader", "lacks port"),
        ("lerobot:gamepad", r"gives dtype, shape, names; expected one number for each channel of so101.*--teleop keys"),
    ],
)
def test_a_leader_that_does_not_fit_is_refused(where: str, said: str) -> None:
    with pytest.raises(BadValue, match=said):
        Leader(where, ROBOT)


def test_a_leader_that_is_not_calibrated_is_refused_and_one_that_is_not_there_a_fault(lerobot) -> None:
    lerobot.port("leader").calibrated = False
    with pytest.raises(
        BadValue, match=r"is not calibrated.*lerobot-calibrate --teleop.type=so101_leader --teleop.port=leader"
    ):
        Leader(LEADER, ROBOT)
    assert not lerobot.PORTS["leader"].connected
    lerobot.PORTS["leader"].fault = ConnectionError("Could not connect on port 'leader'.")
    with pytest.raises(RobotFault, match="'lerobot:so101_leader at leader' cannot be connected: ConnectionError"):
        Leader(LEADER, ROBOT)


@pytest.mark.parametrize("fault", [ConnectionError("no packet"), OSError(5, "Input/output error"), None])
def test_a_leader_that_is_lost_says_so(lerobot, fault) -> None:
    leader = Leader(LEADER, ROBOT)
    assert leader.lost is None
    lerobot.PORTS["leader"].fault = fault
    if fault is None:
        lerobot.PORTS["leader"].at["gripper"] = float("nan")
    with pytest.raises(RobotFault, match=r"'lerobot:so101_leader at leader' (does not answer|gives nan)"):
        leader.act(seen(0.0))
    assert isinstance(leader.lost, RobotFault)
    leader.close()
