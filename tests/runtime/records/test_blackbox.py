"""A black box holds the seconds before a fault, and the guards run over it again give the same commands bit for bit."""

import json
from dataclasses import replace

import numpy as np
import pytest

from palmar.errors import BadFile, BadValue, UnknownName
from palmar.robots import robot as robot_named
from palmar.robots import robots
from palmar.robots.arm7 import arm7
from palmar.runtime.clock import SimClock
from palmar.runtime.control.path import Control
from palmar.runtime.deploy import deploy
from palmar.runtime.loop import Subscriber, Tick, rollout
from palmar.runtime.mock import MockBody
from palmar.runtime.records.blackbox import BlackBox, read_dump
from palmar.runtime.records.rerun import find_guards, rerun, summary
from palmar.runtime.safety.filter import Safety
from palmar.runtime.safety.guards import GUARDS
from palmar.runtime.supervision.controller import Controller
from palmar.runtime.worker import Inline
from palmar.thresholds import Thresholds
from palmar.types import ActionChunk, Verdict

ROBOT = arm7("channels")


class Script:
    """Joint targets by a function of time."""

    interface = ROBOT.interface(8)

    def __init__(self, at):
        self.at = at

    def act(self, obs, prefix=None):
        actions = [np.append(self.at(obs.time + 0.1 * (i + 1)), 1.0) for i in range(8)]
        return ActionChunk(np.array(actions, np.float32), 0.1, obs.time)

    def reset(self):
        pass


class Jammed(MockBody):
    """One joint is not where it was told to be from 2 s on."""

    def observe(self, images=True):
        obs = super().observe(images)
        if obs.time >= 2.0:
            obs.state[3] += 1.0
        return obs


class Wild:
    """Actions far beyond every limit, the same for the same seed."""

    def __init__(self, robot, seed=0):
        self.interface = robot.interface(8)
        self.robot, self.rng = robot, np.random.default_rng(seed)

    def act(self, obs, prefix=None):
        actions = self.rng.normal(0, 2.0, (8, len(self.robot.action_names)))
        return ActionChunk(actions.astype(np.float32), 1 / self.robot.policy_rate, obs.time)

    def reset(self):
        pass


def jammed(folder, seconds=0.5):
    safety = Safety(ROBOT)
    body, box = Jammed(ROBOT), BlackBox(folder, seconds=seconds, safety=safety)
    policy = Script(lambda t: np.full(7, np.nan) if t > 1.9 else sway(t))
    rollout(body, Inline(policy), body.reset(), control=Control(ROBOT, safety), subscribers=(box,), timeout=3.0)
    return box


def sway(t):
    return ROBOT.home[:7] + 0.1 * np.array([1, 0.3, 0, 0, 0, 0, 0]) * (1 - np.cos(2 * t))


def test_it_holds_the_seconds_before_a_fault(tmp_path):
    box = jammed(tmp_path / "box")
    (path,) = box.written
    ticks = [json.loads(line) for line in path.read_text().splitlines()][1:]
    assert len(ticks) == 25
    assert ticks[-1]["stop"] and ticks[-1]["time"] == pytest.approx(2.0)
    assert ticks[-1]["target"][0] == "nan"
    assert ticks[0]["stop"] is False
    assert ticks[-1]["reasons"][0]["words"] == "tracking joint4 1 > 0.35 rad"
    assert ticks[-1]["reasons"][0]["bound"] == 0.35
    assert ticks[-2]["reasons"][0]["words"] == "nan joint1 target is nan"
    assert len(ticks[0]["command"]) == 8
    assert len(box.dump(tmp_path / "all.jsonl").read_text().splitlines()) == 26
    body = MockBody(ROBOT)
    rollout(body, Inline(Script(sway)), body.reset(), subscribers=(box,), timeout=1.0)
    assert box.written == []


def test_no_picture_is_kept():
    body, box = MockBody(ROBOT), BlackBox("nowhere")
    box.on_start(body.observe(), body)
    home = ROBOT.home
    for i in range(3):
        obs = body.observe()
        assert obs.images
        box.on_tick(Tick(i, 0.02 * i, obs, home, Verdict(home), looked=True))
    assert len(box._ring) == 3 and not any(tick.observation.images for tick, *_ in box._ring)


def test_no_dump_takes_the_place_of_another(tmp_path):
    (first,) = jammed(tmp_path).written
    (second,) = jammed(tmp_path).written
    kept = second.read_text()
    first.unlink()
    (third,) = jammed(tmp_path).written
    assert third.name == "fault-002.jsonl" and second.read_text() == kept


def test_a_dump_from_the_middle_of_a_run_is_played_bit_for_bit(tmp_path):
    (path,) = jammed(tmp_path).written
    dump = read_dump(path)
    assert dump.ticks[0].index == 76 and np.abs(dump.start.rate).max() > 0  # it begins in motion
    done = rerun(dump)
    assert np.array_equal(done.sent, np.array([t.command for t in dump.ticks]))
    assert done.stopped == done.stopped_now == 24
    assert [tuple(str(r) for r in now) for now in done.reasons] == [t.words for t in dump.ticks]


@pytest.mark.parametrize("name", robots())
def test_wild_motion_of_every_robot_with_its_zones_is_played_bit_for_bit(name, tmp_path):
    robot = robot_named(name)
    safety = Safety(robot)
    body, box = MockBody(robot), BlackBox(tmp_path, seconds=1.0, safety=safety)
    rollout(body, Inline(Wild(robot)), body.reset(), control=Control(robot, safety), subscribers=(box,), timeout=4.0)
    dump = read_dump(box.dump(tmp_path / "wild.jsonl"))
    done = rerun(dump)
    assert len(done.time) == round(robot.control_rate) and any(done.reasons)
    assert not done.different.any()


def test_what_the_controller_did_is_part_of_it(tmp_path):
    """A person holds, then the arm jams: E-STOP, and it goes back to the measured position."""
    robot = arm7("channels")

    class Person(Subscriber):
        def on_tick(self, tick):
            if tick.index == 60:
                controller.hold("person")
            if tick.index == 75:
                controller.resume()

    class Jams(MockBody):
        def observe(self, images=True):
            obs = super().observe(images)
            if obs.time >= 2.5:
                obs.state[0] -= 0.4
            return obs

    body, controller = Jams(robot), Controller()
    safety = Safety(robot, guards=(*GUARDS, controller))
    box = BlackBox(tmp_path, seconds=10.0, safety=safety)
    rollout(
        body, Inline(Script(sway)), body.reset(), control=Control(robot, safety), subscribers=(controller, Person(), box),
        timeout=4.0,
    )  # fmt: skip
    dump = read_dump(box.dump(tmp_path / "all.jsonl"))
    assert {t.halted for t in dump.ticks} == {"", "brake", "yield"}
    done = rerun(dump)
    assert not done.different.any()
    other = rerun(dump, guards=GUARDS)  # the person's hold stays; the stop is that of the guards
    assert not other.different[:126].any() and other.stopped_now == done.stopped
    without = rerun(dump, guards=[g for g in GUARDS if g.__name__ not in ("tracking", "jump")])
    assert without.stopped_now is None and without.different.any()
    assert [k for k in range(61, 76) if "controller" in {r.guard for r in without.reasons[k]}] == list(range(61, 76))


def test_other_limits_are_compared(tmp_path):
    (path,) = jammed(tmp_path, seconds=10.0).written
    dump = read_dump(path)
    slow = replace(ROBOT, channels=tuple(replace(c, velocity=c.velocity / 20) for c in ROBOT.channels))
    done = rerun(dump, slow)
    figures = summary(dump, done, slow)
    assert not figures["identical"] and figures["guards"]["velocity"]["now"] > 0
    assert figures["channels"]["joint1"]["largest"] > 0 and figures["channels"]["joint7"]["largest"] == 0
    assert figures["stopped"]["recorded"] == figures["stopped"]["now"] == pytest.approx(2.0)
    tolerant = replace(
        ROBOT, channels=tuple(replace(c, tolerance=2.0) for c in ROBOT.channels), thresholds=Thresholds(jump=1000.0)
    )
    assert rerun(dump, tolerant).stopped_now is None


def test_a_deployment_writes_one_that_can_be_played(tmp_path, monkeypatch):
    monkeypatch.setattr("palmar.runtime.deploy.Threaded", Inline)
    body = Jammed(ROBOT)
    deploy(body, Script(sway), "sway", body.reset(), timeout=4.0, clock=SimClock(), blackbox=tmp_path)
    (path,) = tmp_path.glob("*.jsonl")
    dump = read_dump(path)
    assert dump.guards[-1] == "controller" and not rerun(dump).different.any()


def test_what_cannot_be_played_is_told(tmp_path):
    (path,) = jammed(tmp_path).written
    dump = read_dump(path)
    with pytest.raises(BadValue, match="has channels"):
        rerun(dump, robot_named("so101"))
    with pytest.raises(BadValue, match="commands a second"):
        rerun(dump, replace(ROBOT, control_rate=100.0))
    with pytest.raises(UnknownName, match="unknown guard of the dump 'magic'"):
        rerun(replace(dump, guards=("magic",)))
    box = BlackBox(tmp_path / "bare")
    body = MockBody(ROBOT)
    rollout(body, Inline(Script(sway)), body.reset(), subscribers=(box,), timeout=0.2)
    with pytest.raises(BadFile, match="no state of the guards"):
        rerun(read_dump(box.dump(tmp_path / "bare.jsonl")))


def test_a_damaged_dump_is_told(tmp_path):
    (path,) = jammed(tmp_path).written
    text = path.read_text()
    lines = text.splitlines()
    bad = tmp_path / "bad.jsonl"
    for content, said in [
        ("", "is no black box"), ("{}\n", "of no black box"), (text[:-40], "is no black box"),
        (text.replace('"blackbox": 1', '"blackbox": 9', 1), "format 9"), (f"{lines[0]}\n", "holds no ticks"),
        (text.replace('"command": [', '"command": [1.0, ', 2), "is not of arm7"), ("\0\1", "is no black box"),
        (text.replace('"target": [', '"target": [true, ', 1), "is no black box"),
    ]:  # fmt: skip
        bad.write_text(content)
        with pytest.raises(BadFile, match=said):
            read_dump(bad)
    bad.write_bytes(b"\xff\xfe")
    with pytest.raises(BadFile, match="is no text"):
        read_dump(bad)


def test_guards_of_ones_own(tmp_path, monkeypatch):
    (tmp_path / "guards_for_a_test.py").write_text(
        "from palmar.runtime.safety.guards import GUARDS as OLD\nGUARDS = OLD[3:]\nNUMBER = 3\nWRONG = [1]\n"
    )
    assert find_guards(str(tmp_path / "guards_for_a_test.py")) == GUARDS[3:]
    monkeypatch.chdir(tmp_path)
    assert find_guards("guards_for_a_test:OLD") == GUARDS
    for where, said in [
        ("guards_for_a_test:NUMBER", "is int"),
        ("guards_for_a_test:WRONG", "is list"),
        ("nowhere", "cannot be imported"),
        ("no.py", "no file"),
    ]:
        with pytest.raises(BadValue, match=said):
            find_guards(where)
    with pytest.raises(UnknownName, match="unknown name in 'guards_for_a_test' 'GARDS'"):
        find_guards("guards_for_a_test:GARDS")


def test_a_full_disk_leaves_no_half_black_box(tmp_path, monkeypatch):
    body, box = MockBody(ROBOT), BlackBox(tmp_path)
    box.on_start(body.observe(), body)
    box.on_tick(Tick(0, 0.0, body.observe(), ROBOT.home, Verdict(ROBOT.home)))

    def full(self, data):
        self.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(type(tmp_path), "write_bytes", full)
    with pytest.raises(BadFile, match="the disk is full"):
        box.dump(tmp_path / "fault-000.jsonl")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    body, box = MockBody(ROBOT), BlackBox(tmp_path / "file" / "boxes")
    (tmp_path / "file").write_text("")
    box.on_start(body.observe(), body)
    box.on_tick(Tick(0, 0.0, body.observe(), ROBOT.home, Verdict(ROBOT.home, stop=True)))
    for write in (lambda: box.keep("skill"), lambda: box.on_end("fault"), lambda: box.dump(box.folder / "x.jsonl")):
        with pytest.raises(BadFile, match=r"file' is a file; expected a folder.*Next: "):
            write()


@pytest.mark.parametrize("said", ["a\u2028b", "a\u0085b", "a\x0b\x0c\x1cb", "a\r\nb", "a\u2029", "\udcff"])
def test_whatever_a_policy_says_is_read_again(tmp_path, said):
    body, box = MockBody(ROBOT), BlackBox(tmp_path)
    box.on_start(body.observe(), body)
    for i in range(3):
        failure = RuntimeError(said) if i == 1 else None
        box.on_tick(Tick(i, 0.02 * i, body.observe(), ROBOT.home, Verdict(ROBOT.home), failure=failure))
    dump = read_dump(box.keep("skill"))
    assert [t.failure for t in dump.ticks] == ["", f"RuntimeError: {said}", ""]
