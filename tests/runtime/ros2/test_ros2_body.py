"""The body of ROS 2 without ROS: what it keeps of messages."""

import gc
import weakref

import pytest
from ros2_processes import robot
from ros2_stand_in import Message, without_ros

from palmar.runtime.ros2 import body as module
from palmar.runtime.ros2.body import Ros2Body
from palmar.runtime.ros2.messages import JointReader


class Name(str):
    """One that tells when it is let go."""


def alive(read, joint):
    """How many are kept of 500 lists of joint names, all different, that hold this joint."""
    kept = weakref.WeakSet()
    for i in range(500):
        kept.add(name := Name(f"other{i}"))
        stamp = Message(stamp=Message(sec=1 + i, nanosec=0))
        read(Message(name=[joint, name], position=[0.5, 0.0], velocity=[], effort=[], header=stamp))
    del name
    gc.collect()
    return len(kept)


@pytest.fixture
def body(monkeypatch):
    without_ros(monkeypatch, module)
    made = Ros2Body("ros2:", robot())
    yield made
    made.close()


def test_lists_of_names_that_change_with_each_message_fill_no_memory(body):
    assert alive(JointReader(robot()).read, "shoulder") < 100
    assert alive(body._ros.heard["/joint_states"], "shoulder") < 100


def test_names_of_no_joint_of_the_robot_fill_no_memory_and_some_are_told(body):
    assert alive(body._ros.heard["/joint_states"], "base") < 100
    (late, *_) = body._late(0.0)
    assert "no joint states of shoulder, elbow, jaw, wheel on /joint_states; it names base, other0, other1" in late
