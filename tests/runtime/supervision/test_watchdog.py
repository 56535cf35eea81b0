"""Real processes, killed, stopped and blocked in turn: the body always comes to rest within its limits, and the E-STOP says why."""

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

from palmar.certify.hostile import attacker, excess
from palmar.description.write import write_robot
from palmar.robots import robot as robot_named
from palmar.robots import robots
from palmar.runtime.loop import LONGEST
from palmar.runtime.mock import MockBody
from palmar.runtime.safety.filter import Safety
from palmar.runtime.safety.limits import Limits
from palmar.runtime.supervision.estop import Latch
from palmar.runtime.supervision.link import SEED, Kind, receive
from palmar.runtime.supervision.watchdog import Host, braking
from palmar.types import Observation

HERE = Path(__file__).parent.parent
ROBOT = gadget()
PATIENCE = 90.0
"""Longest time for anything to happen [s]: a busy machine is no failure."""


class Run:
    """`palmar run` on a body that writes down what it is told."""

    def __init__(self, folder, body="Logged", *options, policy="waves", period=1.0):
        write_robot(ROBOT, folder / "gadget.toml")
        self.log = folder / "log.jsonl"
        self.log.touch()
        self.latch = Latch("gadget", folder / "state" / "palmar" / "estop")
        paths = [str(HERE), *(p for p in sys.path if p)]
        self.environment = os.environ | {
            "PALMAR_TEST_LOG": str(self.log), "XDG_STATE_HOME": str(folder / "state"), "PYTHONPATH": os.pathsep.join(paths),
        }  # fmt: skip
        words = ["--robot", "gadget.toml", "--body", f"logged_bodies:{body}", "--video", "None", "--timeout", "600"]
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "driven.py"), policy, *words, "--watchdog", str(period), *options, "wave"],
            cwd=folder, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.pid = self.process.pid

    def calls(self, verb=None):
        """[time, process, verb, values …] of every call so far, or of those of one verb."""
        lines = self.log.read_text().splitlines(keepends=True)
        calls = [json.loads(line) for line in lines if line.endswith("\n")]
        return [c for c in calls if verb in (None, c[2])]

    def commands(self):
        return np.array([c[3:] for c in self.calls("apply")])

    def until(self, what, said=""):
        until = time.monotonic() + PATIENCE
        while not what():
            ended = self.process.poll() is not None
            assert time.monotonic() < until, f"{said or what} did not happen; ended: {ended}; {self.calls()[-3:]}"
            time.sleep(0.005)

    def moving(self):
        """It has been driven for a while and moves at half its way."""
        self.until(lambda: len(self.calls("apply")) > 35 or self.process.poll() is not None, "moving")
        assert self.process.poll() is None, self.process.communicate()
        return self

    def host(self):
        """The process that the body lives in."""
        return self.calls("connect")[0][1]

    def at_rest(self):
        """The last commands brake it, within its limits, to a standstill."""
        commands = self.commands()
        assert max(excess(ROBOT, ROBOT.home, commands).values()) <= 0
        assert commands[-1, 3] == 0.0 and np.abs(commands[-1] - commands[-2])[:3].max() < 1e-3
        assert np.abs(commands[:, 3]).max() > 0.1, "it never moved"
        return commands

    def end(self):
        out, err = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, out + err

    def refused(self):
        """Another run is refused with the reason and the command that releases it."""
        again = subprocess.run(
            [*self.process.args], cwd=self.log.parent, env=self.environment, capture_output=True, text=True, timeout=PATIENCE
        )  # fmt: skip
        assert again.returncode == 2 and "palmar estop --release gadget" in again.stderr
        return again.stderr


@pytest.fixture
def start(tmp_path):
    runs = []

    def begin(*args, **options):
        runs.append(Run(tmp_path, *args, **options))
        return runs[-1]

    yield begin
    for run in runs:
        for pid in {c[1] for c in run.calls("connect")} | {run.pid}:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        run.process.communicate()


def test_the_loop_is_killed(start):
    run = start(period=4.0).moving()
    os.kill(run.pid, signal.SIGKILL)
    killed = time.monotonic()
    run.until(lambda: run.calls("close"))
    run.at_rest()
    assert run.calls("apply")[-1][0] - killed < 4.0  # at rest within a period: it does not wait for the period to pass
    assert run.latch.read().who.startswith("watchdog")
    assert "the control loop's process ended while the robot moved" in run.refused()


def test_the_loop_hangs_and_comes_back(start):
    run = start(period=1.0).moving()
    os.kill(run.pid, signal.SIGSTOP)
    run.until(lambda: run.latch.latched)
    run.until(lambda: run.commands()[-1, 3] == 0.0)
    time.sleep(0.3)
    count = len(run.at_rest())
    os.kill(run.pid, signal.SIGCONT)
    code, said = run.end()
    assert code == 3 and "watchdog: no command came for 1 s" in said
    assert len(run.commands()) == count, "a loop that comes back moves nothing"


def test_the_watchdog_is_killed(start):
    run = start().moving()
    os.kill(run.host(), signal.SIGKILL)
    killed = time.monotonic()
    code, said = run.end()
    assert code == 3 and "has ended (code -9); the robot is braked from the loop's process" in said
    run.at_rest()
    assert {c[1] for c in run.calls("apply") if c[0] > killed + 0.05} == {run.pid}
    assert run.latch.read().who.startswith("control loop")


def test_the_watchdog_hangs(start):
    run = start(period=0.3).moving()
    os.kill(run.host(), signal.SIGSTOP)
    code, said = run.end()
    assert code == 3 and "does not answer; the robot is braked from the loop's process" in said
    run.at_rest()


def test_the_watchdog_is_told_to_end(start):
    run = start().moving()
    os.kill(run.host(), signal.SIGTERM)
    code, said = run.end()
    assert code == 3 and "its process was told to end; the watchdog brakes the robot" in said
    run.at_rest()
    assert run.calls("close")


def test_the_policy_process_is_killed(start):
    run = start(policy="process", period=5.0).moving()
    os.kill(int(run.process.stdout.readline().split()[1]), signal.SIGKILL)
    run.until(lambda: run.commands()[-1, 3] == 0.0 and run.commands()[-3, 3] == 0.0)
    time.sleep(0.3)
    run.at_rest()
    assert run.process.poll() is None  # it holds and waits
    run.process.send_signal(signal.SIGINT)
    code, said = run.end()
    assert code == 130 and "the policy fails" in said
    assert not run.latch.latched


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGHUP", 129), ("SIGINT", 130)])
def test_a_signal_brakes_and_the_exit_code_says_so(start, name, code):
    run = start().moving()
    run.process.send_signal(getattr(signal, name))
    assert run.end()[0] == code
    run.at_rest()
    assert run.calls("close") and not run.latch.latched


def test_the_body_does_not_come_back(start):
    run = start("Stuck", period=0.5)
    code, said = run.end()
    assert code == 3 and "watchdog: the body has not come back from observe for 0.5 s" in said
    run.at_rest()
    assert run.latch.latched


@pytest.mark.parametrize("body", ["Dead", "Refuses"])
def test_a_body_that_takes_no_commands_is_stopped_by_its_own_switch(start, body):
    run = start(body, period=0.5)
    code, said = run.end()
    assert code == 3 and "watchdog: the body has not come back from observe" in said
    assert len(run.calls("stop")) == 1 and run.latch.latched


def test_the_emergency_stop_is_pressed_in_another_terminal(start):
    run = start().moving()
    words = [sys.executable, "-m", "palmar.cli", "estop", "--reason", "a hand in the cell"]
    pressed = subprocess.run(words, env=run.environment, capture_output=True, text=True)
    assert pressed.returncode == 0 and "gadget is latched: a hand in the cell" in pressed.stdout, pressed
    assert "its run is stopping" in pressed.stdout
    code, said = run.end()
    assert code == 3 and "a hand in the cell" in said
    run.at_rest()
    assert "a hand in the cell" in run.refused()
    released = subprocess.run(
        [*words[:4], "--release", "gadget"], env=run.environment, capture_output=True, text=True
    )  # fmt: skip
    assert released.returncode == 0 and not run.latch.latched


@pytest.mark.parametrize(("body", "why"), [("FrozenCamera", "camera top frozen"), ("BlackCamera", "camera top black")])
def test_a_camera_that_shows_nothing_new_holds_the_robot(start, body, why):
    run = start(body)
    run.until(lambda: len(run.commands()) > 60 and not run.commands()[-5:, 3].any())
    run.process.send_signal(signal.SIGTERM)
    code, said = run.end()
    assert code == 143 and why in said
    run.at_rest()


class Told(MockBody):
    """Refuses the commands whose numbers are given, and has a switch."""

    def __init__(self, refused=(), slow=0.0):
        self.refused, self.slow, self.count, self.calls, self.switched = refused, 0.0, 0, 0, threading.Event()
        super().__init__(ROBOT)
        self.slow = slow

    def observe(self, images=True):
        return self.once(lambda: (time.sleep(self.slow), super(Told, self).observe(images))[1])

    def apply(self, command):
        self.count += 1
        if self.count in self.refused:
            raise OSError("no answer")
        self.once(lambda: super(Told, self).apply(command))

    def once(self, call):
        self.calls += 1
        assert self.calls == 1, "two calls at once"
        try:
            return call()
        finally:
            self.calls -= 1

    def stop(self):
        self.switched.set()


def driven(body, tmp_path, period=5.0):
    """A host whose body moves: the loop's end of its connection, and it."""
    ours, theirs = socket.socketpair()
    host = Host(body, theirs, period, Latch("gadget", tmp_path))
    for i in range(5):
        host._apply(ROBOT.home + [0.004 * i, 0, 0, 0.01 * i])
    return ours, host


def test_a_command_that_is_refused_is_not_the_last_that_brakes(tmp_path):
    body = Told(refused=(6, 7, 9))
    ours, host = driven(body, tmp_path)
    host.halt("watchdog: a test")
    assert body.commands[-1][3] == 0.0 and not host._moving and not body.switched.is_set()
    ours.close()


def test_an_emergency_stop_waits_for_a_call_that_is_about_to_come_back(tmp_path):
    body = Told(slow=0.3)
    ours, host = driven(body, tmp_path)
    seen = threading.Thread(target=host._call, args=("observe", body.observe))
    seen.start()
    while not body.calls:
        time.sleep(0.001)
    host._beat = time.monotonic()
    host.halt("E-STOP: a test", latch=False)
    seen.join()
    assert body.commands[-1][3] == 0.0 and not host._moving
    ours.close()


def test_a_loop_that_reads_nothing_does_not_keep_the_body_from_being_stopped(tmp_path):
    body = Told(refused=range(6, 10_000))
    ours, host = driven(body, tmp_path, period=0.2)
    host.sock.setblocking(False)
    with pytest.raises(BlockingIOError):
        while True:
            host.sock.send(b"x")
    host.sock.setblocking(True)
    threading.Thread(target=host.halt, args=("watchdog: a test",), daemon=True).start()
    assert body.switched.wait(PATIENCE)
    ours.close()


def test_a_robot_that_moves_is_brought_to_rest_before_its_body_is_reset(tmp_path):
    body, before = Told(), []
    ours, host = driven(body, tmp_path)
    moved = len(body.commands)
    body.reset = lambda seed=None: before.extend(body.commands) or body.observe()
    host._answer(Kind.RESET, memoryview(SEED.pack(-1)))
    assert receive(ours)[0] is Kind.SEEN
    assert len(before) > moved and before[-1][3] == 0.0 and not host._moving
    ours.close()


def test_an_emergency_stop_during_reset_uses_the_bodys_own_switch(tmp_path):
    """A body that moves by itself in `reset` takes no commands, and nobody has sent one."""
    body = Told()
    ours, theirs = socket.socketpair()
    host = Host(body, theirs, 0.2, Latch("gadget", tmp_path))
    body.reset = lambda seed=None: body.switched.wait(PATIENCE) and body.observe()
    watch = threading.Thread(target=host.watch, daemon=True)
    watch.start()
    asked = threading.Thread(target=host._answer, args=(Kind.RESET, memoryview(SEED.pack(-1))))
    asked.start()
    host.latch.press("a test")
    kind, said = receive(ours)
    asked.join()
    host.ended.set()
    watch.join()
    assert body.switched.is_set() and kind is Kind.FAULT and b"E-STOP: a test" in bytes(said)
    ours.close()


def test_a_robot_at_rest_does_not_move_once_its_emergency_stop_is_pressed(tmp_path):
    body = Told()
    ours, theirs = socket.socketpair()
    host = Host(body, theirs, 5.0, Latch("gadget", tmp_path))
    host._apply(ROBOT.home)
    host.latch.press("a test")
    watch = threading.Thread(target=host.watch, daemon=True)
    watch.start()
    until = time.monotonic() + PATIENCE
    while not host.stopped and time.monotonic() < until:
        time.sleep(0.001)
    host._apply(ROBOT.home + [0.004, 0, 0, 0])
    host.ended.set()
    watch.join()
    assert host.stopped.startswith("E-STOP: a test") and len(body.commands) == 1 and not body.switched.is_set()
    ours.close()


def test_a_body_that_does_not_come_back_from_close_is_left(tmp_path, monkeypatch):
    body, left = Told(), threading.Event()
    monkeypatch.setattr("palmar.runtime.supervision.watchdog.CLOSES", 0.05)
    ours, theirs = socket.socketpair()
    host = Host(body, theirs, 5.0, Latch("gadget", tmp_path))
    body.close = lambda: left.wait(PATIENCE)
    host._leave = left.set
    host._close()
    assert left.is_set()
    ours.close()


def test_the_period_begins_with_the_first_command_that_moves(tmp_path):
    """A robot that rested, with nobody talking to it, for longer than the period is not stopped when it is told to move."""
    body = Told()
    ours, host = driven(body, tmp_path, period=5.0)
    host._apply(host._command)
    host._apply(host._command * [1, 1, 1, 0])
    host._apply(host._command)
    assert not host._moving
    host._beat -= 100.0
    seen = []
    body.once = lambda call: seen.append((host._moving, time.monotonic() - host._beat < 5.0))
    host._apply(host._command + [0.004, 0, 0, 0])
    assert seen == [(True, True)]
    ours.close()


def test_braking_is_a_path_to_rest_within_the_limits():
    limits = Limits.of(ROBOT)
    value, rate = np.array([0.2, 0.5, 50.0, 0.4]), np.array([1.9, -1.0, 0.0, 0.5])
    path = braking(limits, value, rate, np.zeros(4))
    assert path[-1][3] == 0.0 and len(path) > 3
    steps = np.diff([value, *path], axis=0) / limits.dt
    assert (np.abs(np.diff([rate, *steps], axis=0)) <= limits.acceleration * limits.dt * (1 + 1e-9)).all()
    assert braking(limits, value * [1, 1, 1, 0], np.zeros(4), np.zeros(4)) == []
    jump = braking(
        limits, value, np.array([1e4, -1e4, 1e5, 1e3]), np.array([1e6, 0, 0, -1e6])
    )  # of a loop without guards
    assert (jump >= ROBOT.lower).all() and (jump <= ROBOT.upper).all() and jump[-1][3] == 0.0


@pytest.mark.parametrize("name", robots())
def test_braking_from_what_was_commanded_alone_is_within_the_limits_of_every_robot(name):
    """The watchdog knows the last commands, not the state of the guards: rates from differences, rounding included."""
    robot = robot_named(name)
    limits, rng = Limits.of(robot), np.random.default_rng(0)
    for _ in range(6):
        safety, commands = Safety(robot), [robot.home]
        obs = Observation({}, robot.state_from(robot.home, 0 * robot.home).astype(np.float32))
        safety.tolerance = np.full(len(robot.home), np.inf)
        attack = attacker(robot, rng)
        for _ in range(int(rng.integers(20, 120))):
            commands.append(safety.check(attack(commands[-1]), obs, 0.0).command)
        rates = np.diff(commands, axis=0) / limits.dt
        path = braking(limits, commands[-1], rates[-1], (rates[-1] - rates[-2]) / limits.dt)
        assert len(path) * limits.dt < LONGEST
        assert max(excess(robot, robot.home, np.array([*commands[1:], *path])).values()) <= 0
