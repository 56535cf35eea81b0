"""The body of ROS 2 without ROS: what it keeps of messages."""

import gc
import weakref

import numpy as np
import pytest
from ros2_processes import robot
from ros2_stand_in import Message, without_ros

from palmar.errors import RobotFault
from palmar.runtime.ros2 import body as module
from palmar.runtime.ros2.body import Ros2Body
from palmar.runtime.ros2.messages import JointReader, seconds
from palmar.runtime.ros2.topics import BY_MONITOR, STOPPED


class Clock:
    """In place of `time`: it goes on only while somebody sleeps [s]."""

    def __init__(self):
        self.now = 1000.0

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr(module, "time", made)
    return made


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


def joints(stamp, position=0.5):
    """Joint states of the whole robot, stamped then [s]."""
    names = ["shoulder", "elbow", "jaw", "wheel"]
    sec, rest = divmod(stamp, 1.0)
    header = Message(stamp=Message(sec=int(sec), nanosec=round(1e9 * rest)))
    return Message(name=names, position=[position, 0.5, 0.0, 0.0], velocity=[], effort=[], header=header)


def heard(body, period, count=8):
    """A driver has sent joint states each `period` seconds until now; the last stamp [s]."""
    for _ in range(count):
        module.time.sleep(period)
        body._ros.heard["/joint_states"](joints(module.time.monotonic()))
    return module.time.monotonic()


@pytest.mark.parametrize(("rate", "waited"), [(190.0, True), (130.0, True), (60.0, False), (20.0, False)])
def test_joint_states_that_are_due_are_waited_for(body, monkeypatch, clock, rate, waited):
    last = heard(body, 1 / rate)

    def arrives(done, longest):
        assert not done() and 1 / rate < longest <= 0.5 / robot().control_rate
        clock.sleep(1 / rate)
        body._ros.heard["/joint_states"](joints(last + 1 / rate, 0.75))
        assert done()

    monkeypatch.setattr(body._came, "wait_for", arrives)
    assert body.observe(images=False).state[0] == (0.75 if waited else 0.5)


def test_joint_states_that_have_stopped_are_not_waited_for(body, monkeypatch, clock):
    heard(body, 1 / 190)
    clock.sleep(0.03)
    monkeypatch.setattr(body._came, "wait_for", lambda *_: pytest.fail("waits for what does not come"))
    assert body.observe(images=False).state[0] == 0.5


def test_the_stamp_of_a_command_is_of_the_joint_states_that_it_answers(body, monkeypatch):
    last = heard(body, 1 / 60)
    body.observe(images=False)
    module.time.sleep(0.001)
    body._ros.heard["/joint_states"](joints(last + 0.001, 0.75))
    monkeypatch.setattr(body, "_message", lambda: Message(header=Message()))
    body.apply(np.zeros(4))
    ((topic, sent),) = body._ros.sent
    assert topic == "/joint_commands" and seconds(sent.header.stamp) == pytest.approx(last, abs=1e-6)


def test_a_stop_of_the_monitor_is_told_at_once_and_each_time(body):
    said = []
    body.when_stopped(said.append)
    for stopped in (False, True, True, False, True):
        body._ros.heard[STOPPED](Message(data=stopped))
    assert said == [BY_MONITOR, "", BY_MONITOR]
    late = []
    body.when_stopped(late.append)
    assert late == [BY_MONITOR]


def test_while_it_is_stopped_every_command_is_sent_and_none_waits_for_joint_states(monkeypatch):
    without_ros(monkeypatch, module)
    body = Ros2Body("ros2:rate=10", robot())
    monkeypatch.setattr(body, "_message", lambda: Message(header=Message()))
    monkeypatch.setattr(body, "_late", lambda _: [])
    for i in range(3):
        body.apply(np.full(4, 0.01 * i))
    assert len(body._ros.sent) == 1  # of five commands one
    body._ros.heard[STOPPED](Message(data=True))
    assert [sent.position[0] for _, sent in body._ros.sent] == [0.0, 0.02]  # a loop may have heard of it before
    heard(body, 1 / 190)
    monkeypatch.setattr(body._came, "wait_for", lambda *_: pytest.fail("waits for joint states"))
    body.observe(images=False)
    body.apply(np.full(4, 0.03))
    body.apply(np.full(4, 0.04))
    assert len(body._ros.sent) == 4
    body.close()


def test_who_waits_for_joint_states_goes_on_when_it_is_stopped(body, monkeypatch):
    heard(body, 1 / 190)
    waited = []

    def stopped(done, longest):
        assert not done()
        body._ros.heard[STOPPED](Message(data=True))
        waited.append(done())

    monkeypatch.setattr(body._came, "wait_for", stopped)
    body.observe(images=False)
    assert waited == [True]


def test_nothing_begins_while_the_monitor_says_stopped(body):
    body._ros.heard[STOPPED](Message(data=True))
    with pytest.raises(RobotFault, match=r"/safety_monitor/stopped says stopped\. Next: look at the robot, then call"):
        body.reset()


def test_nothing_begins_before_a_monitor_that_has_to_be_there_is_heard(monkeypatch):
    without_ros(monkeypatch, module)
    monkeypatch.setattr(module, "FIRST", 0.05)
    body = Ros2Body("ros2:silence=1", robot())
    monkeypatch.setattr(body, "_late", lambda _: [])
    monkeypatch.setattr(body, "_commanded", lambda: "")
    monkeypatch.setattr(body, "observe", lambda: "seen")
    with pytest.raises(
        RobotFault, match=r"the safety monitor is not heard on /safety_monitor/stopped\. Next: palmar ros2-m"
    ):
        body.reset()
    body._ros.heard[STOPPED](Message(data=False))
    assert body.reset() == "seen"
    monkeypatch.setattr(body, "_heard", body._heard - 1.1)
    with pytest.raises(RobotFault, match="not heard"):
        body.reset()
    body.close()


def test_a_monitor_that_has_to_be_there_and_falls_silent_makes_the_observation_old(monkeypatch, clock):
    without_ros(monkeypatch, module)
    for where, age in (("ros2:silence=1", 3.0), ("ros2:silence=5", 0.0), ("ros2:", 0.0)):
        body = Ros2Body(where, robot())
        body._ros.heard[STOPPED](Message(data=False))
        clock.sleep(3.0)
        body._joints.captured[:] = clock.monotonic()
        assert clock.monotonic() - body._began - body.observe(images=False).time == pytest.approx(age, abs=1e-3)
        body.close()
