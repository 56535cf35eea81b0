"""An E-STOP stays latched for every process until it is released, also when it cannot be written properly."""

import json
import os
import resource
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from palmar.cli import main
from palmar.errors import BadFile, BadValue
from palmar.robots.arm7 import arm7
from palmar.runtime.clock import SimClock
from palmar.runtime.control.path import Control
from palmar.runtime.deploy import deploy
from palmar.runtime.loop import Subscriber, rollout
from palmar.runtime.mock import MockBody
from palmar.runtime.records.blackbox import BlackBox
from palmar.runtime.safety.filter import Safety
from palmar.runtime.safety.guards import GUARDS
from palmar.runtime.supervision.controller import Controller, Mode
from palmar.runtime.supervision.estop import Latch, Running, all_latched, running
from palmar.runtime.supervision.latching import Latching
from palmar.runtime.worker import Inline
from palmar.types import ActionChunk

ROBOT = arm7("channels")


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "palmar" / "estop"


def test_it_is_latched_until_it_is_released(state):
    latch = Latch("arm7")
    assert latch.read() is None and latch.release() is None
    first = latch.press("the  arm\nhit the table", by="controller")
    assert first.reason == "the arm hit the table" and first.who.startswith("controller, ")
    assert latch.press("again") == first == Latch("arm7").read()
    assert [p.robot for p in all_latched()] == ["arm7"]
    with pytest.raises(BadValue, match=r"the arm hit the table.*palmar estop --release arm7"):
        latch.require_released()
    assert latch.release() == first and not latch.latched
    latch.require_released()
    assert list(state.iterdir()) == []


@pytest.mark.parametrize("content", ["", "{", "[]", '{"robot": "arm7"}', "\0"])
def test_a_damaged_latch_is_a_latch(state, content):
    latch = Latch("arm7")
    latch.prepare()
    latch.path.write_text(content)
    assert latch.latched and "cannot be read" in str(latch.read())
    with pytest.raises(BadValue, match="is latched"):
        latch.require_released()
    latch.release()
    assert not latch.latched


def test_a_reason_that_is_no_text_latches_all_the_same():
    pressed = Latch("arm7").press("a \udcff hand")
    assert "hand" in pressed.reason and "hand" in Latch("arm7").read().reason


def test_a_full_disk_latches_all_the_same():
    latch = Latch("arm7")
    latch.prepare()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        latch.press("collision")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert latch.latched and latch.path.stat().st_size == 0


def test_a_place_that_cannot_be_written_is_told_before_anything_moves(tmp_path):
    (tmp_path / "file").write_text("")
    latch = Latch("arm7", tmp_path / "file" / "estop")
    with pytest.raises(BadFile, match="Next:"):
        latch.prepare()
    with pytest.raises(BadFile, match="Next:"):
        latch.press("x")


@pytest.mark.parametrize("names", [("a/b", "a_b"), ("../x", "x"), ("ä", "a"), ("", "robot"), ("a" * 300, "a" * 60)])
def test_every_name_has_a_file_of_its_own_in_the_folder(names, state):
    one, two = Latch(names[0]), Latch(names[1])
    assert one.path != two.path and one.path.parent == two.path.parent == state
    one.press("x")
    assert one.latched and not two.latched and all_latched()[0].robot == names[0]


def test_marks_of_dead_processes_do_not_count(state):
    mark = Running("arm7")
    assert running() == ["arm7"]
    gone = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
    dead = state / f"other.{gone.stdout.strip()}.running"
    dead.write_text("other")
    (state / "odd.running").write_text("odd")
    assert running() == ["arm7"] and not dead.exists()
    mark.close()
    assert running() == []


class Turning:
    interface = ROBOT.interface(8)

    def act(self, obs, prefix=None):
        rows = np.tile(ROBOT.home, (8, 1)).astype(np.float32)
        rows[:, 0] = 0.3 * np.sin(obs.time + 0.1 * np.arange(8))
        return ActionChunk(rows, 0.1, obs.time)

    def reset(self):
        pass


def drive(*more, body=None, timeout=3.0):
    controller, latch = Controller(), Latch("arm7")
    safety, latching = Safety(ROBOT, guards=(*GUARDS, controller)), Latching(controller, latch)
    body = body or MockBody(ROBOT)
    outcome = rollout(
        body, Turning(), body.reset(), clock=SimClock(), control=Control(ROBOT, safety),
        subscribers=(controller, latching, *more), stop=controller.over, timeout=timeout,
    )  # fmt: skip
    return controller, latch, outcome, body


def test_a_press_from_elsewhere_stops_a_run_at_its_next_tick():
    class Other(Subscriber):
        def on_tick(self, tick):
            if tick.index == 50:
                assert running() == ["arm7"]
                Latch("arm7").press("a hand in the cell")

    controller, latch, outcome, body = drive(Other())
    ((when, mode, _),) = controller.history
    assert (mode, when) == (Mode.ESTOP, pytest.approx(51 / 50)) and outcome.reason == "stopped"
    assert "a hand in the cell" in controller.reason and latch.latched
    assert abs(body.commands[-1] - body.commands[-2]).max() == 0
    assert running() == []


def test_an_emergency_stop_of_a_run_outlives_it(tmp_path):
    class Jammed(MockBody):
        def observe(self, images=True):
            obs = super().observe(images)
            if obs.time > 1.0:
                obs.state[0] += 1.0
            return obs

    controller, latch, outcome, _ = drive(BlackBox(tmp_path), body=Jammed(ROBOT), timeout=6.0)
    assert controller.mode is Mode.ESTOP and outcome.reason == "stopped"
    pressed = latch.read()
    assert pressed.reason.startswith("tracking joint1") and pressed.who.startswith("controller")


def test_a_hold_is_not_latched():
    class Silent(MockBody):
        def observe(self, images=True):
            obs = super().observe(images)
            return replace(obs, time=min(obs.time, 1.0))

    controller, latch, _, _ = drive(body=Silent(ROBOT))
    assert controller.mode is Mode.HOLD and not latch.latched


def test_the_command(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["estop"]) == 2
    assert "no robot is driven from this machine now" in capsys.readouterr().err
    assert main(["estop", "arm7", "--reason", "test", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["pressed"][0]["reason"] == "test"
    assert main(["run", "--robot", "arm7", "--body", "mock:", "wave"]) == 2
    said = capsys.readouterr().err
    assert "the E-STOP of robot 'arm7' is latched: test (person, " in said and "palmar estop --release arm7" in said
    assert main(["estop", "--list"]) == 1
    assert "arm7: test" in capsys.readouterr().out
    assert main(["estop", "--release"]) == 2
    assert "needs the name of a robot" in capsys.readouterr().err
    assert main(["estop", "--release", "arm7"]) == 0
    assert "released; it was latched for: test" in capsys.readouterr().out
    assert main(["estop", "--release", "arm7"]) == 0
    assert "was not latched" in capsys.readouterr().out
    assert main(["estop", "--list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"latched": [], "driven": []}
    assert os.listdir(Latch("arm7").folder) == []  # noqa: PTH208


def test_a_deployment_obeys_and_keeps_the_latch(tmp_path, monkeypatch):
    """Without a subscriber of one's own: it does not begin while the E-STOP is latched, and stops when it is pressed."""
    monkeypatch.setattr("palmar.runtime.deploy.Threaded", Inline)
    latch, body = Latch(ROBOT.name, tmp_path), MockBody(ROBOT, noise=True)
    latch.press("before")
    with pytest.raises(BadValue, match="is latched: before"):
        deploy(body, Turning(), "go", body.reset(), clock=SimClock(), latch=latch)
    latch.release()

    class Presses(Subscriber):
        def on_tick(self, tick):
            if tick.time > 0.5:
                latch.press("during")

    report = deploy(
        body, Turning(), "go", body.reset(), clock=SimClock(), latch=latch, subscribers=(Presses(),), timeout=5.0
    )
    assert report.mode is Mode.ESTOP and "during" in report.reason and report.outcome.duration < 2.0


def test_a_wrong_name_says_who_goes_on(capsys, monkeypatch):
    monkeypatch.setattr("palmar.runtime.supervision.estop.running", lambda: ["arm7"])
    assert main(["estop", "arm77"]) == 1
    said = " ".join(capsys.readouterr().out.split())
    assert "arm7 is driven now, and goes on. Next: palmar estop arm7, or palmar estop for all" in said
    assert main(["estop", "arm7"]) == 0
