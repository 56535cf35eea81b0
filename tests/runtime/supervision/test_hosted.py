"""A body in the watchdog's process is driven like any other, and its failures come across."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from faulty_bodies import gadget

from palmar.data.reader import Dataset
from palmar.errors import BadValue, RobotFault
from palmar.runtime.clock import SimClock
from palmar.runtime.loop import rollout
from palmar.runtime.mock import MockBody
from palmar.runtime.supervision.estop import Latch
from palmar.runtime.supervision.hosted import HostedBody, check_period
from palmar.runtime.supervision.link import Kind, receive, send
from palmar.runtime.supervision.watchdog import Host
from palmar.types import ActionChunk

ROBOT = gadget()


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("PALMAR_TEST_LOG", str(tmp_path / "log.jsonl"))


class Waves:
    interface = ROBOT.interface(8)

    def act(self, obs, prefix=None):
        t = obs.time + 0.1 * np.arange(1, 9)
        actions = np.stack([0.5 * np.sin(t), 0.5 + 0 * t, 100 + 0 * t, 0.3 + 0 * t], axis=1)
        return ActionChunk(actions.astype(np.float32), 0.1, obs.time)

    def reset(self):
        pass


def test_it_is_the_same_body():
    here, there = MockBody(ROBOT, noise=True), HostedBody("mock:", ROBOT, 5.0)
    for body in (here, there):
        rollout(body, Waves(), body.reset(3), clock=SimClock(), timeout=1.0)
    a, b = here.observe(), there.observe()
    assert a.state.tobytes() == b.state.tobytes() and a.time == b.time
    np.testing.assert_array_equal(a.images["top"], b.images["top"])
    there.apply(b.state[:4] * 0)
    there.close()
    there.close()
    assert there.process.returncode == 0


def test_it_may_know_its_own_robot():
    with HostedBody("faulty_bodies:Alone", period=5.0) as body:
        assert body.embodiment.channel_names == ROBOT.channel_names and body.embodiment.channels == ROBOT.channels


@pytest.mark.parametrize(
    ("where", "robot", "error", "said"),
    [
        ("no_such_thing:Arm", ROBOT, BadValue, "there is no module 'no_such_thing'"),
        ("faulty_bodies:CannotConnect", ROBOT, RobotFault, "no robot at 192.168.0.7"),
        ("faulty_bodies:NoApply", ROBOT, BadValue, "it has no apply"),
        ("mock:", None, BadValue, "is of no robot"),
        ("faulty_bodies:OtherNames", ROBOT, BadValue, "channels hip, elbow"),
    ],
)
def test_what_cannot_be_connected_is_told_as_it_is_without_a_watchdog(where, robot, error, said):
    with pytest.raises(error, match=said):
        HostedBody(where, robot)


def test_what_the_body_raises_comes_with_the_next_answer():
    with HostedBody("faulty_bodies:Raises", ROBOT, 5.0) as body:
        body.reset()
        for _ in range(41):
            body.apply(ROBOT.home)
        with pytest.raises(RobotFault, match="raised in apply: OSError: the bus does not answer"):
            body.observe()
        body.observe()
        body.apply(np.array([np.nan, 0, 0, 0]))
        with pytest.raises(RobotFault, match="expected 4 finite numbers"):
            body.observe()


def test_every_answer_is_to_what_was_asked_after_many_faults():
    with HostedBody("mock:", ROBOT, 5.0) as body:
        body.reset()
        for _ in range(5):
            body.apply(np.array([np.nan, 0, 0, 0]))
        with pytest.raises(RobotFault, match="expected 4 finite numbers"):
            body.observe()
        for i in range(3):
            body.apply(ROBOT.home)
            assert body.observe().time == pytest.approx((i + 1) / ROBOT.control_rate)


def test_a_fault_of_the_body_is_not_the_word_of_a_watchdog_that_brakes():
    """It raises once; then its process dies while the robot moves."""
    body = HostedBody("logged_bodies:Dies", ROBOT, 5.0)
    body.reset()
    for i in range(3):
        body.apply(ROBOT.home + [0.001 * i, 0, 0, 0])
    body.process.wait()
    with pytest.raises(RobotFault, match="the robot is braked from the loop's process"):
        body.apply(ROBOT.home)
    assert body._own is not None
    body.close()


@pytest.mark.parametrize("period", [0.0, 0.05, 6.0, float("nan")])
def test_a_period_that_cannot_be_kept_is_refused(period):
    with pytest.raises(BadValue, match=r"expected 0\.06 … 5 s. Next: --watchdog 0\.2"):
        check_period(period, ROBOT)
    with pytest.raises(BadValue, match="expected"):
        HostedBody("mock:", ROBOT, period)


def test_a_watchdog_that_ends_while_the_robot_rests_latches_nothing():
    body = HostedBody("logged_bodies:Logged", ROBOT, 5.0)
    body.reset()
    body.apply(ROBOT.home)
    os.kill(body.process.pid, signal.SIGKILL)
    with pytest.raises(RobotFault, match="has ended"):
        body.observe()
    body.apply(ROBOT.home)
    body.close()
    assert not Latch("gadget").latched


def test_a_jump_of_the_wall_clock_is_nothing(monkeypatch):
    """Neither the loop's side, the watchdog nor the guards look at it: any look raises."""

    def jumped(*_):
        raise AssertionError("the wall clock was asked")

    ours, theirs = socket.socketpair()
    body = MockBody(ROBOT)
    host = Host(body, theirs, period=5.0)
    monkeypatch.setattr(time, "time", jumped)
    monkeypatch.setattr(time, "time_ns", jumped)
    watch, serve = threading.Thread(target=host.watch, daemon=True), threading.Thread(target=host.serve, daemon=True)
    watch.start()
    serve.start()
    for i in range(50):
        command = ROBOT.home + [0.001 * i, 0, 0, 0]
        send(ours, Kind.APPLY, command.tobytes())
        send(ours, Kind.OBSERVE, b"\1")
        assert receive(ours)[0] is Kind.SEEN
    ours.close()
    serve.join(60.0)
    watch.join(60.0)
    assert host.stopped.startswith("the control loop's process ended") and len(body.commands) >= 50
    rollout(MockBody(ROBOT), Waves(), MockBody(ROBOT).reset(), clock=SimClock(), timeout=2.0)


SCRIPT = """
import resource, sys
import numpy as np
from faulty_bodies import gadget
from palmar.data.recorder import EpisodeRecorder
from palmar.data.writer import DatasetWriter
from palmar.errors import BadFile
from palmar.runtime.deploy import deploy
from palmar.runtime.supervision.hosted import HostedBody
from test_hosted import Waves

robot = gadget()
class Full(EpisodeRecorder):
    "Adds an episode to the set in the middle of the next one, on a disk that has no room."
    def on_frame(self, obs, action):
        super().on_frame(obs, action)
        if limit and len(self.steps) == 12:
            sys.dont_write_bytecode = True  # it would be cut off at the limit, and stay
            resource.setrlimit(resource.RLIMIT_FSIZE, (2000, resource.RLIM_INFINITY))
            writer.add(self.episode("wave", 1, "policy"))
recorder, limit = Full(), False
writer = DatasetWriter("set", robot, 10)
with HostedBody("logged_bodies:Logged", robot, 5.0) as body:
    deploy(body, Waves(), "wave", body.reset(), timeout=1.5, subscribers=(recorder,))
    writer.add(recorder.episode("wave", 0, "policy"))
    limit = True
    try:
        deploy(body, Waves(), "wave", body.reset(), timeout=20.0, subscribers=(recorder,))
    except (OSError, BadFile) as error:
        print(type(error).__name__, error, recorder.reason)
"""


def test_a_full_disk_while_recording_brakes_the_robot_and_keeps_what_was_recorded(tmp_path):
    paths = [str(Path(__file__).parent.parent), *(p for p in sys.path if p)]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=tmp_path, capture_output=True, text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.rstrip().endswith("fault"), done.stdout + done.stderr
    calls = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    commands = np.array([c[3:] for c in calls if c[2] == "apply"])
    assert len(commands) > 120 and commands[-1, 3] == 0.0  # it was driven twice, and rests
    assert np.abs(commands[-1] - commands[-2])[:3].max() < 1e-3
    found = Dataset(tmp_path / "set", cache=False)
    assert len(found.episodes) == 1 and found.episodes[0].length >= 14
    assert found.batch(np.arange(3), 1)["images"]["top"].shape[0] == 3
