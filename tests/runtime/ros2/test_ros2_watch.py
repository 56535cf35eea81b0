"""What the safety monitor finds, without ROS and without a clock."""

import json
from types import SimpleNamespace as Message

import numpy as np
import pytest

from palmar.embodiments import Embodiment
from palmar.robot_parts import Channel
from palmar.runtime.ros2.topics import Topics, topics_of
from palmar.runtime.ros2.watch import Watch

ROBOT = Embodiment(
    "two",
    (Channel("a", "revolute", "rad", -1.0, 1.0, 1.0), Channel("b", "revolute", "deg", -90.0, 90.0, 60.0)),
)


def command(a, b=0.0, names=("a", "b")):
    return Message(name=list(names), position=[a, np.deg2rad(b)], velocity=[])


def joints(a, stamp, b=0.0):
    stamp = Message(sec=int(stamp), nanosec=round(stamp % 1 * 1e9))
    return Message(name=["a", "b"], position=[a, np.deg2rad(b)], velocity=[], effort=[], header=Message(stamp=stamp))


def watched(
    until=2.0, command_at=lambda t: command(0.5 * np.sin(t)), state_at=lambda t: joints(0.0, 7 + t), running=True
):
    """A robot that is driven at 10 Hz, with joint states at 50 Hz, and a policy node that says so."""
    watch = Watch(ROBOT)
    for k in range(round(until * 50) + 1):
        t = k / 50
        watch.joints(state_at(t), t)
        if k % 5 == 0:
            watch.command(command_at(t), t)
            watch.status(json.dumps({"state": "running" if running else "idle"}), t)
        assert not watch.judge(t).stop or t > 0.5
    return watch, until


def test_a_robot_that_is_driven_well_is_let_be():
    watch, now = watched()
    found = watch.judge(now)
    assert found.stop == "" and found.said["joint_states"] == "fresh" and found.said["policy"] == "running"
    assert 9 <= float(found.said["commands"].removesuffix(" Hz")) <= 11


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (command(1.2), "monitor command position a 1.2 > 1 rad"),
        (command(0.0, -95), "monitor command position b -95 < -90 deg"),
        (command(np.nan), "command a is nan"),
        (command(0.0, names=("b", "a")), "commands name b, a; two has a, b"),
        (command(-0.9), "monitor command step a"),
    ],
)
def test_a_bad_command_stops_it_until_a_person_has_looked(bad, said):
    watch, now = watched(command_at=lambda t: command(0.5))
    watch.command(bad, now + 0.02)
    assert said in watch.judge(now + 0.02).stop
    watch.command(command(0.5), now + 0.12)
    assert said in watch.judge(now + 0.12).stop
    watch.forget()
    assert watch.judge(now + 0.13).stop == ""


def test_commands_that_were_held_up_and_arrive_together_are_no_fault():
    watch, now = watched(command_at=lambda t: command(min(0.9 * t, 0.9) - 0.5), until=0.6)
    watch.joints(joints(0.0, 8.0), now + 0.4)
    for k in range(4):  # 0.3 s late, all at once, each 0.1 s further
        watch.command(command(0.04 + 0.09 * (k + 1)), now + 0.4 + 0.001 * k)
    assert watch.judge(now + 0.41).stop == ""


@pytest.mark.parametrize("how", ["silent", "the same stamp"])
def test_stale_joint_states_stop_a_robot_that_is_driven(how):
    watch, now = watched()
    for k in range(1, 26):
        t = now + k / 50
        if how != "silent":
            watch.joints(joints(0.0, 7 + now), t)
        if k % 5 == 0:
            watch.command(command(0.5 * np.sin(t)), t)
        stale = "stale joint states" in watch.judge(t).stop
        assert stale == (k / 50 > 0.3 + 1e-6)


def test_a_robot_at_rest_may_be_silent():
    watch, now = watched()
    watch.status('{"state": "idle"}', now + 0.05)
    found = watch.judge(now + 0.7)
    assert found.stop == "" and found.said["joint_states"].startswith("stale") and found.said["commands"] == "none"


def test_a_joint_far_outside_its_limits_stops_it():
    watch, now = watched()
    watch.joints(joints(1.1, 9.5), now)
    assert watch.judge(now).stop == ""
    watch.joints(joints(1.3, 9.6), now)
    assert "measured position a 1.3 > 1 rad" in watch.judge(now).stop


def test_a_policy_node_that_dies_while_it_drives_stops_the_robot_and_is_told():
    watch, now = watched()
    found = watch.judge(now + 0.9)
    assert "silent" not in found.stop
    for k in range(1, 60):
        watch.joints(joints(0.0, 9 + k / 50), now + k / 50)
    found = watch.judge(now + 1.1)
    assert "policy node is silent for 1.1 > 1 s" in found.stop and "has ended or hangs" in found.said["policy"]
    idle, now = watched(running=False)
    found = idle.judge(now + 5)
    assert found.stop == "" and "silent for 5.0 s" in found.said["policy"]


def test_a_node_that_says_it_drives_and_sends_nothing_is_stopped():
    watch, now = watched()
    for k in range(1, 80):
        watch.joints(joints(0.0, 9 + k / 50), now + k / 50)
        watch.status('{"state": "running"}', now + k / 50)
    assert "drives and sends no commands" in watch.judge(now + 79 / 50).stop


def test_a_status_that_is_none_stops_it():
    watch, now = watched()
    watch.status("hello", now)
    assert "no JSON object" in watch.judge(now).stop


@pytest.mark.parametrize(
    ("node", "monitor", "said"),
    [
        ("ros2:joint_commands=/arm/go", Topics(), "has joint_commands on /arm/go, the monitor watches /joint_commands"),
        (
            "ros2:",
            Topics(joint_states="/arm/states"),
            "has joint_states on /joint_states, the monitor watches /arm/states",
        ),
        ("ros2:joint_states=arm/states", Topics(joint_states="/arm/states"), ""),
        ("ros2:stopped=/halt,rate=10", Topics(), ""),
    ],
)
def test_a_policy_node_on_topics_that_are_not_watched_is_stopped_until_they_are(node, monitor, said):
    watch = Watch(ROBOT, topics=monitor)
    text = json.dumps({"state": "idle", "topics": topics_of(node).watched})
    for now in (1.0, 2.0):  # again after a person has looked
        watch.status(text, now)
        stop = watch.judge(now).stop
        assert (said in stop and "Next: palmar ros2-monitor --joint-" in stop) if said else stop == ""
        watch.forget()


@pytest.mark.parametrize("topics", [None, [], {"joint_states": None}, "/joint_states"])
def test_topics_that_cannot_be_read_end_no_monitor(topics):
    watch = Watch(ROBOT)
    watch.status(json.dumps({"state": "idle", "topics": topics}), 1.0)
    assert isinstance(watch.judge(1.0).stop, str) and watch.judge(1.0).said["policy"] == "idle"
