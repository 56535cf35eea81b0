"""A body on another computer: driven like one here, and braked there whatever becomes of the loop and of the network."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from faulty_bodies import gadget

from palmar.certify.hostile import excess
from palmar.errors import BadValue, RobotFault
from palmar.runtime.bodies import approval
from palmar.runtime.bodies.find import find_body
from palmar.runtime.bodies.remote import RemoteBody, address
from palmar.runtime.clock import SimClock
from palmar.runtime.deploy import deploy
from palmar.runtime.loop import rollout
from palmar.runtime.mock import MockBody
from palmar.runtime.supervision.estop import Latch
from palmar.runtime.supervision.handshake import KEY
from palmar.serve.bodies import BodyConfig, BodyServer
from palmar.types import ActionChunk

ROBOT = gadget()
HERE = Path(__file__).parent.parent / "runtime"
PATIENCE = 60.0


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("PALMAR_TEST_LOG", str(tmp_path / "log.jsonl"))
    monkeypatch.syspath_prepend(str(HERE))
    monkeypatch.delenv(KEY, raising=False)
    (tmp_path / "log.jsonl").touch()


class Waves:
    interface = ROBOT.interface(8)

    def act(self, obs, prefix=None):
        t = obs.time + 0.1 * np.arange(1, 9)
        actions = np.stack([0.5 * np.sin(t), 0.5 + 0 * t, 100 + 0 * t, 0.3 + 0 * t], axis=1)
        return ActionChunk(actions.astype(np.float32), 0.1, obs.time)

    def reset(self):
        pass


@contextmanager
def served(where="mock:", **settings):
    server, ready = BodyServer(find_body(where), ROBOT, BodyConfig(port=0, **settings)), threading.Event()
    thread = threading.Thread(target=server.run, args=(lambda address: ready.set(),))
    thread.start()
    assert ready.wait(10)
    try:
        yield server
    finally:
        server.stop()
        thread.join(PATIENCE)
        assert not thread.is_alive()


@pytest.fixture
def logged(monkeypatch):
    """A body that writes down what it is told, as if it had passed its check."""
    monkeypatch.setattr("palmar.serve.bodies.require_checked", lambda *_: None)
    return "logged_bodies:Logged"


def calls(tmp_path, verb=None):
    lines = (tmp_path / "log.jsonl").read_text().splitlines()
    return [c for c in map(json.loads, lines) if verb in (None, c[2])]


def until(what):
    end = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


def test_it_is_the_same_body():
    with served(period=5.0) as server:
        here, there = MockBody(ROBOT, noise=True), find_body(server.address).connect()
        assert there.embodiment.channel_names == ROBOT.channel_names
        for body in (here, there):
            rollout(body, Waves(), body.reset(3), clock=SimClock(), timeout=1.0)
        a, b = here.observe(), there.observe()
        assert a.state.tobytes() == b.state.tobytes() and a.time == b.time
        np.testing.assert_array_equal(a.images["top"], b.images["top"])
        there.close()
        there.close()
        with pytest.raises(RobotFault, match="was closed"):
            there.observe()
        until(
            lambda: server._driver.poll() is not None
        )  # on a busy machine it takes longer than a driver is kept waiting
        again = RemoteBody(server.address, ROBOT)  # the next driver
        again.close()
        assert server.drivers == 2


def test_it_is_driven_in_real_time_and_comes_to_rest(logged, tmp_path):
    with served(logged) as server:
        body = find_body(server.address).connect(ROBOT)
        report = deploy(body, Waves(), "wave", body.reset(0), timeout=1.5)
        body.close()
        assert report.mode == 0 and report.outcome.reason == "timeout"
    commands = np.array([c[3:] for c in calls(tmp_path, "apply")])
    assert len(commands) > 50 and max(excess(ROBOT, ROBOT.home, commands).values()) <= 0
    assert commands[-1, 3] == 0.0 and np.abs(commands[:, 3]).max() > 0.1
    assert calls(tmp_path, "close") and not Latch(ROBOT.name).latched


def drive(address: str) -> None:
    body = RemoteBody(address)
    deploy(body, Waves(), "wave", body.reset(0), timeout=600.0)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "stopped"])
def test_a_loop_that_dies_or_hangs_leaves_the_robot_at_rest(logged, tmp_path, number):
    """As does a network that carries nothing: no command comes."""
    with served(logged, period=0.3) as server:
        paths = [str(Path(__file__).parent), str(HERE), *(p for p in sys.path if p)]
        loop = subprocess.Popen(
            [sys.executable, "-c", "import sys, test_served_bodies; test_served_bodies.drive(sys.argv[1])", server.address],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
        )  # fmt: skip
        until(lambda: len(calls(tmp_path, "apply")) > 40)
        os.kill(loop.pid, number)
        when = time.monotonic()
        until(lambda: Latch(ROBOT.name).latched)
        assert time.monotonic() - when < 10
        until(lambda: calls(tmp_path, "apply")[-1][6] == 0.0)
        time.sleep(0.2)
        commands = np.array([c[3:] for c in calls(tmp_path, "apply")])
        assert max(excess(ROBOT, ROBOT.home, commands).values()) <= 0
        assert ("process ended" if number == signal.SIGKILL else "no command came for 0.3 s") in Latch(
            ROBOT.name
        ).read().reason
        loop.kill()
        loop.wait(PATIENCE)
        until(lambda: server._driver.poll() is not None)
        with pytest.raises(BadValue, match="is stopped by its E-STOP"):
            RemoteBody(server.address)
        Latch(ROBOT.name).release()
        RemoteBody(server.address).close()


def test_its_emergency_stop_is_told_to_who_drives(logged, tmp_path):
    with served(logged) as server:
        body = RemoteBody(server.address)
        body.reset(0)
        presses = threading.Timer(0.7, lambda: Latch(ROBOT.name).press("a hand in the cell"))
        presses.start()
        with pytest.raises(RobotFault, match=r"E-STOP: .*a hand in the cell"):
            deploy(body, Waves(), "wave", body.observe(), timeout=PATIENCE)
        presses.join()
        body.close()
    assert calls(tmp_path, "apply")[-1][6] == 0.0


def test_one_driver_at_a_time_and_only_with_the_key(monkeypatch):
    with served(key="s3cret") as server:
        for wrong in (None, "s3cre", "S3cret"):
            monkeypatch.setenv(KEY, wrong) if wrong else monkeypatch.delenv(KEY, raising=False)
            with pytest.raises(BadValue, match=f"has another key.*{KEY}"):
                RemoteBody(server.address)
        monkeypatch.setenv(KEY, "s3cret")
        one = RemoteBody(server.address)
        with pytest.raises(BadValue, match="is driven by somebody else"):
            RemoteBody(server.address)
        one.close()
        until(lambda: server._driver.poll() is not None)
        RemoteBody(server.address).close()


def test_what_a_driver_thinks_of_the_robot_has_to_be_what_it_is():
    """Looser limits here would be those the watchdog brakes by."""
    with served() as server:
        first = ROBOT.channels[0]
        faster = replace(ROBOT, channels=(replace(first, velocity=2 * first.velocity), *ROBOT.channels[1:]))
        with pytest.raises(
            BadValue, match=f"velocity of '{first.name}' is .* here and .* at tcp://.*leave --robot out"
        ):
            RemoteBody(server.address, faster)
        renamed = replace(ROBOT, control_rate=ROBOT.control_rate * 2, policy_rate=ROBOT.policy_rate * 2)
        until(lambda: server._driver.poll() is not None)
        with pytest.raises(BadValue, match="commands a second"):
            RemoteBody(server.address, renamed)


def test_who_says_nothing_keeps_nobody_out():
    with served(patience=0.3) as server:
        host, port = address(server.address)
        silent = [socket.create_connection((host, port)) for _ in range(20)]
        RemoteBody(server.address).close()
        for s in silent:
            s.close()
        with socket.create_connection((host, port)) as rude:
            rude.sendall(b"GET / HTTP/1.1\r\n\r\n" * 10)
            rude.settimeout(5)
            until(lambda: rude.recv(4096) in (b"", bytes([1])) or True)
        RemoteBody(server.address).close()


def test_who_is_still_in_a_handshake_when_it_ends_does_not_drive(monkeypatch):
    came, goes_on = threading.Event(), threading.Event()
    monkeypatch.setattr("palmar.serve.bodies.challenge", lambda *_: came.set() or goes_on.wait(PATIENCE))
    with served() as server:
        line = socket.create_connection(address(server.address))
        assert came.wait(PATIENCE)
    goes_on.set()
    line.settimeout(PATIENCE)
    with line:
        assert line.recv(1) == b"" and server.drivers == 0


def test_what_cannot_be_is_refused(tmp_path, monkeypatch):
    with pytest.raises(BadValue, match="is reached from other computers, and there is no key"):
        BodyConfig(host="0.0.0.0")
    with pytest.raises(BadValue, match=r"watchdog's period is 0\.001 s"):
        BodyServer(find_body("mock:"), ROBOT, BodyConfig(period=0.001))
    with pytest.raises(BadValue, match="has not passed its check"):
        BodyServer(find_body("logged_bodies:Logged"), ROBOT)
    with pytest.raises(BadValue, match="is served already"):
        BodyServer(find_body("tcp://127.0.0.1:1"), ROBOT)
    Latch(ROBOT.name).press("test")
    with pytest.raises(BadValue, match="E-STOP"):
        BodyServer(find_body("mock:"), ROBOT)
    for odd in ("tcp://", "tcp://h:99999", "tcp://a b:1", "tcp://h:1/path"):
        with pytest.raises(BadValue, match="expected tcp://HOST:PORT"):
            find_body(odd)
    with pytest.raises(RobotFault, match=r"no body at tcp://127\.0\.0\.1:1"):
        find_body("tcp://127.0.0.1:1").connect(ROBOT)
    with socket.create_server(("127.0.0.1", 0)) as other:
        threading.Thread(
            target=lambda: other.accept()[0].sendall(b"SSH-2.0-OpenSSH_9.2" + b" " * 60), daemon=True
        ).start()
        with pytest.raises(RobotFault, match="is no body of palmar"):
            RemoteBody(f"tcp://127.0.0.1:{other.getsockname()[1]}")
    assert approval.state_folder().is_relative_to(tmp_path)
