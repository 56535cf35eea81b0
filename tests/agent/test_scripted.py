"""The scripted skills: when a gripper has opened or closed, and when a robot is back home."""

from __future__ import annotations

from dataclasses import replace

import faulty_bodies as bodies
import numpy as np
import pytest

from palmar.agent.on_body import SaidCheck, ToldScene, by_policy, performer
from palmar.agent.scripted import DELTA_OPEN, OPEN, UNMEASURED, GripperPolicy, HomePolicy, is_open
from palmar.agent.skills import Skill
from palmar.embodiments import Embodiment
from palmar.robots import robot as robot_named
from palmar.robots.arm7 import arm7
from palmar.runtime.clock import SimClock
from palmar.runtime.mock import MockBody
from palmar.runtime.worker import Inline
from palmar.types import Observation

GADGET = bodies.gadget()
GRIPPER = Skill("close_gripper")


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """A clock that does not wait, and a policy that computes on the loop's thread."""
    monkeypatch.setattr("palmar.runtime.deploy.WallClock", SimClock)
    monkeypatch.setattr("palmar.runtime.deploy.Threaded", Inline)


def seen(robot: Embodiment, command, time: float = 0.0) -> Observation:
    return Observation({}, robot.state_from(np.asarray(command, float), np.zeros(len(robot.channels))), time=time)


def at_opening(robot: Embodiment, share: float, time: float = 0.0) -> Observation:
    """Home, with every gripper at a share of its range."""
    command = robot.home.copy()
    for i, c in enumerate(robot.channels):
        if c.kind == "opening":
            command[i] = c.lower + share * (c.upper - c.lower)
    return seen(robot, command, time)


def looks(policy: GripperPolicy, robot: Embodiment, *shares: float) -> list[bool]:
    return [policy.reached(at_opening(robot, s, 0.1 * i)) for i, s in enumerate(shares)]


class Stuck(MockBody):
    """Its jaw is measured where it was at first, whatever is commanded."""

    at = 100.0

    def observe(self, images=True):
        obs = super().observe(images)
        i = next(i for i, m in enumerate(self.embodiment.state) if m.of == "jaw" and m.quantity == "position")
        state = obs.state.copy()
        state[i] = self.at
        return replace(obs, state=state)


def carried_out(body, *skills):
    made = performer(body, {}, ToldScene(("red cube",)), SaidCheck(by_policy))
    return [made.perform(s) for s in skills]


def test_a_gripper_that_does_not_move_has_not_closed():
    (result,) = carried_out(Stuck(GADGET), GRIPPER)
    assert result.status == "stalled"
    assert not any(looks(GripperPolicy(GADGET, 0.0), GADGET, *[1.0] * 20))
    (result,) = carried_out(MockBody(GADGET), GRIPPER)
    assert result.status == "done" and result.said == ""


def test_a_gripper_has_closed_on_a_thing_or_was_closed_before():
    on_a_thing = [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.8, 0.6, *[0.4] * 6]
    assert looks(GripperPolicy(GADGET, 0.0), GADGET, *on_a_thing) == [False] * 13 + [True] * 2
    assert looks(GripperPolicy(GADGET, 0.0), GADGET, *[0.01] * 7)[-1]
    assert not looks(GripperPolicy(GADGET, 0.0), GADGET, *[0.4] * 7)[-1]


def test_of_two_grippers_both_must_have_closed():
    robot = robot_named("bimanual14")
    policy, first = GripperPolicy(robot, 0.0), next(c.name for c in robot.channels if c.kind == "opening")
    command = robot.home.copy()
    for i, c in enumerate(robot.channels):
        if c.kind == "opening":
            command[i] = c.upper
    assert not policy.reached(seen(robot, command))
    command[robot.index(first)] = robot.channels[robot.index(first)].lower
    assert not any(policy.reached(seen(robot, command)) for _ in range(20))


@pytest.mark.parametrize("name", ["open_gripper", "close_gripper"])
def test_a_gripper_that_is_not_measured_gets_a_fixed_time_and_it_is_told(name):
    blind = replace(GADGET, state=tuple(m for m in GADGET.state if m.of != "jaw"))
    (result,) = carried_out(MockBody(blind), Skill(name))
    assert result.status == "done" and result.seconds == pytest.approx(UNMEASURED, abs=0.11)
    assert "jaw not measured" in str(result)


def test_a_sensor_that_answers_no_number_is_neither_open_nor_closed():
    for opening in (0.0, 1.0):
        assert not any(looks(GripperPolicy(GADGET, opening), GADGET, *[np.nan] * 60))


@pytest.mark.parametrize("robot", [arm7(), GADGET], ids=["arm7", "gadget"])
def test_what_open_gripper_opened_stays_open_on_the_way_home(robot):
    i = next(robot.action_names.index(c.name) for c in robot.channels if c.kind == "opening")
    channel = next(c for c in robot.channels if c.kind == "opening")
    opened = 0
    for share in np.linspace(0.5, 1.0, 201):
        if looks(GripperPolicy(robot, 1.0), robot, share) != [True]:
            continue
        opened += 1
        home = HomePolicy(robot)
        kept = [home.act(at_opening(robot, s)).actions[0, i] for s in (share - 0.9 * DELTA_OPEN, share - 0.2)]
        assert is_open((kept[0] - channel.lower) / (channel.upper - channel.lower)) and kept[1] == kept[0]
    assert opened and not is_open(OPEN)
    home = HomePolicy(robot)
    assert home.act(at_opening(robot, 0.5)).actions[0, i] == pytest.approx(channel.lower)


def test_a_robot_with_two_arms_is_home_when_both_are():
    robot = robot_named("bimanual14")
    for joint in robot.frames[1].joints[:2]:
        command = robot.home.copy()
        command[robot.index(joint)] += 0.6
        assert not HomePolicy(robot).reached(seen(robot, command))
    assert HomePolicy(robot).reached(seen(robot, robot.home))


def test_a_turned_hand_is_not_home():
    robot = arm7()
    command = robot.home.copy()
    command[robot.index("joint7")] += 0.5
    at, home = (robot.pose(robot.frames[0], c)[0] for c in (command, robot.home))
    assert np.linalg.norm(at - home) < 0.03
    assert not HomePolicy(robot).reached(seen(robot, command))


@pytest.mark.parametrize("name", ["arm7", "bimanual14", "so101"])
def test_from_where_it_is_it_comes_home(name):
    robot = robot_named(name)
    body, rng = MockBody(robot), np.random.default_rng(0)
    body.reset()
    away = robot.home + rng.uniform(-0.1, 0.1, len(robot.channels)) * robot.widths * robot.moves_joint
    start = np.clip(away, robot.lower, robot.upper)
    for share in np.linspace(0, 1, 200):
        body.apply(robot.home + share * (start - robot.home))
    assert not HomePolicy(robot).reached(body.observe())
    made = performer(body, {}, ToldScene(("red cube",)), SaidCheck(by_policy))
    assert made.perform(Skill("home")).status == "done"
    assert HomePolicy(robot).reached(body.observe())


def test_an_endless_joint_goes_home_the_short_way_round():
    shoulder = replace(GADGET.channels[0], kind="continuous", lower=-np.inf, upper=np.inf, home=3.0)
    robot = replace(GADGET, channels=(shoulder, *GADGET.channels[1:]))
    command = robot.home.copy()
    command[0] = -3.0  # 0.28 rad from home, over the half turn
    policy = HomePolicy(robot)
    step = policy.act(seen(robot, command)).actions[0, 0] - command[0]
    assert -0.51 < step < 0
    command[0] = 3.0 - 2 * np.pi
    assert policy.reached(seen(robot, command))
    command[0] = 0.0
    assert not policy.reached(seen(robot, command))
    assert 0 < policy.act(seen(robot, command)).actions[0, 0] < 0.6  # no whole way at once


def test_a_joint_that_is_not_measured_is_not_home():
    robot = arm7("channels")
    there = seen(robot, robot.home)
    assert HomePolicy(robot).reached(there)
    there.state[robot.state_names.index("joint2.pos")] = np.nan
    assert not HomePolicy(robot).reached(there)
