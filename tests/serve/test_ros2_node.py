"""The policy node without ROS: in which order it tells, asks and drives, and that it hears every instruction."""

import json
import sys
import threading

import pytest
from ros2_processes import Sweep, robot
from ros2_stand_in import Message, without_ros

from palmar.runtime.mock import MockBody
from palmar.runtime.ros2.topics import INSTRUCTION, STATUS, STOPPED
from palmar.runtime.supervision.estop import Latch
from palmar.serve import ros2_monitor, ros2_node
from palmar.serve.ros2_monitor import SafetyMonitor
from palmar.serve.ros2_node import NodeConfig, PolicyNode


@pytest.fixture
def node(monkeypatch, tmp_path):
    """On a body that nothing moves but its commands, without watchdog and monitor."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    without_ros(monkeypatch, ros2_node)
    monkeypatch.setattr(ros2_node, "require_checked", lambda *_: None)
    made = PolicyNode(robot(), Sweep(), NodeConfig(watchdog=None, monitor=False, timeout=1.0))
    yield made
    made.close()


def test_it_says_that_it_drives_when_nothing_but_commands_is_left_to_do(node, monkeypatch):
    events = []

    class Logged(MockBody):
        def reset(self, seed=None):
            events.append("reset")
            return super().reset(seed)

        def apply(self, command):
            events.append("command")
            super().apply(command)

    monkeypatch.setattr(node, "_connected", lambda: Logged(robot()))
    monkeypatch.setattr(node.policy, "reset", lambda: events.append("policy reset"))
    tell = node._tell

    def told():
        events.append(node._state["state"])
        tell()

    monkeypatch.setattr(node, "_tell", told)
    node._drive("sweep")
    assert events.index("running") > max(events.index("reset"), events.index("policy reset"))
    assert events[events.index("running") + 1] == "command" and events[-1] == "idle"
    said = [json.loads(message.data) for topic, message in node._ros.sent if topic == STATUS]
    assert [(s["state"], s["instruction"]) for s in said] == [("running", "sweep"), ("idle", "sweep")]


def test_an_instruction_that_comes_while_another_is_taken_is_not_lost(node):
    """It comes between any two steps of `_taken`, one after the other, until there is none left."""
    hear, moment, came = node._ros.heard[INSTRUCTION], 0, True
    while came:
        came, steps = False, 0

        def step(frame, event, _, at=moment):
            nonlocal came, steps
            frame.f_trace_opcodes = True
            if event == "opcode":
                if steps == at:
                    came = True
                    hear(Message(data="second"))
                steps += 1
            return step

        hear(Message(data="first"))
        before = sys.gettrace()
        sys.settrace(lambda frame, event, arg, step=step: step if frame.f_code is PolicyNode._taken.__code__ else None)
        try:
            taken = [node._taken()]
        finally:
            sys.settrace(before)
        taken.append(node._taken())
        assert taken in (["first", None], ["second", None], ["first", "second"])
        assert not came or "second" in taken, f"lost at step {moment}"
        moment += 1
    assert moment > 5


def test_of_several_instructions_the_newest_counts(node):
    for text in ("first", "second", ""):
        node._ros.heard[INSTRUCTION](Message(data=text))
    assert (node._taken(), node._taken()) == ("", None)


def test_a_monitor_that_watches_other_topics_than_the_node_has_stops_the_robot(node, monkeypatch, tmp_path):
    without_ros(monkeypatch, ros2_monitor)
    node._tell()
    told = next(message for topic, message in reversed(node._ros.sent) if topic == STATUS)
    found = {}
    for commands in ("/joint_commands", "/arm/joint_commands"):
        monitor = SafetyMonitor(robot(), joint_commands=commands, latch=Latch("rosarm", tmp_path))
        monitor._ros.heard[STATUS](told)
        monitor._look()
        found[commands] = monitor.stopped, monitor.reason
        monitor.close()
    assert found["/joint_commands"] == (False, "")
    stopped, reason = found["/arm/joint_commands"]
    assert stopped and "the policy node has joint_commands on /joint_commands" in reason


@pytest.fixture
def monitor(monkeypatch, tmp_path):
    without_ros(monkeypatch, ros2_monitor)
    made = SafetyMonitor(robot(), latch=Latch("rosarm", tmp_path))
    yield made
    made.close()


def called(monitor, service):
    """The answer of one of its services."""
    return monitor._ros.services[f"/safety_monitor/{service}"](None, Message())


def told(monitor):
    """What `~/stopped` said, in order, without what was said again."""
    said = [message.data for topic, message in monitor._ros.sent if topic == STOPPED]
    return [s for s, before in zip(said, [None, *said], strict=False) if s is not before]


def test_the_stop_service_tells_before_it_waits_for_the_disk(monitor, monkeypatch):
    pressed = threading.Event()
    press = monitor.latch.press
    monkeypatch.setattr(monitor.latch, "press", lambda *a, **k: pressed.wait(60) and press(*a, **k))
    assert called(monitor, "stop").success and told(monitor) == [True]
    monitor._look()  # nothing is latched yet, and it is no release
    assert monitor.stopped
    pressed.set()
    monitor._press.join()
    monitor._look()
    assert monitor.stopped and monitor.latch.read().reason == "~/stop was called"
    assert called(monitor, "release").success and told(monitor) == [True, False] and not monitor.latch.latched


def test_a_stop_while_it_is_released_stays(monitor, monkeypatch):
    assert called(monitor, "stop").success
    release = monitor.latch.release
    monkeypatch.setattr(monitor.latch, "release", lambda: (release(), called(monitor, "stop"))[0])
    answer = called(monitor, "release")
    assert not answer.success and "stopped again while it was released" in answer.message
    monitor._press.join()
    assert monitor.stopped and told(monitor) == [True] and monitor.latch.latched
    monkeypatch.setattr(monitor.latch, "release", release)
    assert called(monitor, "release").success and not monitor.stopped


def test_a_release_while_a_stop_begins_its_thread_waits_for_it(monitor, monkeypatch):
    begun, goes_on, Own = threading.Event(), threading.Event(), threading.Thread

    class Slow(Own):
        def start(self):
            begun.set()
            goes_on.wait(60)
            super().start()

    monkeypatch.setattr(threading, "Thread", Slow)
    answers = []
    stops = Own(target=called, args=(monitor, "stop"), daemon=True)
    releases = Own(target=lambda: answers.append(called(monitor, "release")), daemon=True)
    stops.start()
    assert begun.wait(60)
    releases.start()
    releases.join(0.2)
    goes_on.set()
    stops.join()
    releases.join()
    assert answers and answers[0].success and not monitor.stopped


def test_a_stop_after_a_release_from_the_terminal_that_it_has_not_seen_yet_stays(monitor):
    assert called(monitor, "stop").success
    monitor._press.join()
    monitor.latch.release()
    assert called(monitor, "stop").success
    monitor._press.join()
    monitor._look()
    assert monitor.stopped and told(monitor) == [True] and monitor.latch.latched


def test_a_stop_while_it_looks_at_the_disk_stays(monitor, monkeypatch):
    """It had found nothing latched."""
    monkeypatch.setattr(monitor.latch, "press", lambda *_, **__: None)
    monkeypatch.setattr(monitor.latch, "read", lambda: called(monitor, "stop") and None)
    monitor._look()
    assert monitor.stopped and told(monitor) == [True]


def test_a_signal_may_come_while_its_own_thread_holds_the_lock_of_an_event(node):
    with node._due._cond:
        handler = threading.Thread(target=node.end, daemon=True)
        handler.start()
        handler.join(5.0)
        assert not handler.is_alive()


def test_told_to_end_it_waits_for_no_monitor(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    without_ros(monkeypatch, ros2_node)
    monkeypatch.setattr(ros2_node, "require_checked", lambda *_: None)
    made = PolicyNode(robot(), Sweep(), NodeConfig(watchdog=None))
    made.end()
    assert made._refused() == "the node was asked to end"
    made.close()
