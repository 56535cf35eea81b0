"""`palmar run` with a second policy and a recording: what an episode leaves behind."""

import time
from pathlib import Path

import numpy as np
import pytest

from palmar.cli import attended as room
from palmar.cli.main import main
from palmar.cli.runs import RunConfig
from palmar.data.reader import Dataset
from palmar.data.recorder import EpisodeRecorder
from palmar.data.writer import DatasetWriter
from palmar.errors import BadFile, BadValue, RobotFault, UnknownName
from palmar.models.checkpoint import fingerprint
from palmar.policy import shipped as shipped_folder
from palmar.robots.arm7 import arm7
from palmar.runtime.adaptation.ab_log import ABLog
from palmar.runtime.adaptation.intervening import After, Intervening
from palmar.runtime.adaptation.teleop import Keyboard
from palmar.runtime.adaptation.versions import Versions
from palmar.runtime.confidence.confident import Confident
from palmar.runtime.confidence.detector import Detector
from palmar.runtime.confidence.recorded import rollouts
from palmar.runtime.deploy import Report
from palmar.runtime.fitting import Fitted
from palmar.runtime.loop import Outcome, Subscriber, rollout
from palmar.runtime.mock import MockBody
from palmar.runtime.supervision.controller import Controller, Mode
from palmar.runtime.supervision.deadman import Keys as DeadmanKeys
from palmar.runtime.worker import Inline
from palmar.types import ActionChunk

ROBOT = arm7()


class Still:
    def __init__(self, name: str = "") -> None:
        self.name, self.interface = name, ROBOT.interface(8)

    def reset(self) -> None:
        """Nothing to forget."""

    def act(self, obs, prefix=None) -> ActionChunk:
        return ActionChunk(np.zeros((8, 7), np.float32), 0.1, obs.time)


def report(mode: Mode = Mode.RUN) -> Report:
    return Report(Outcome("done", 1.0, 50), mode, "collision" if mode is Mode.ESTOP else "", {}, {})


def test_which_policy_drives_is_drawn_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "load_policy", Still)
    config = RunConfig("x", policy="one", ab="two", ab_log=tmp_path / "ab.jsonl")
    drove = []
    for _ in range(4):
        drawn = room.Drawn(config)
        drove.append(drawn.policy.name)
        assert drawn.name in drawn.ended(True, report())[0]
    assert sorted(drove) == ["one", "one", "two", "two"]
    assert len((tmp_path / "ab.jsonl").read_text().splitlines()) == 5
    for _ in range(2):  # one of the next two is the second policy's
        room.Drawn(config).ended(False, report(Mode.ESTOP))
    assert room.Drawn(config).log.decision.what == "roll back"


def test_another_version_of_a_policy_is_another_comparison(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "load_policy", Still)
    (tmp_path / "source").mkdir()
    versions = Versions(tmp_path / "mine")
    versions.begin(tmp_path / "source", "shipped")
    config = RunConfig("x", policy="shipped", ab=str(tmp_path / "mine"), ab_log=tmp_path / "ab.jsonl")
    room.Drawn(config).ended(True, report())
    room.Drawn(config).ended(True, report())
    (where := versions.room()).mkdir()
    versions.promote(versions.add(where.name, "v000", {}, {"passed": True}))
    with pytest.raises(BadValue, match=r"v000.*v001"):
        room.Drawn(config)


def test_an_episode_that_an_error_ends_counts_as_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "load_policy", Still)
    config = RunConfig("x", policy="one", ab="two", ab_log=tmp_path / "ab.jsonl")

    class Breaking(MockBody):
        def apply(self, command) -> None:
            raise RobotFault("the cable is out. Next: plug it in")

    for began in (False, True):  # what goes wrong before the robot is given to it is no episode
        drawn, body = room.Drawn(config), Breaking(ROBOT)
        with pytest.raises(RobotFault), drawn.episode():
            if not began:
                raise RobotFault("no robot. Next: switch it on")
            rollout(body, Inline(drawn.policy), body.observe(), subscribers=[drawn], timeout=1.0)
    assert ABLog(tmp_path / "ab.jsonl", "one", "two").episodes.successes == (False,)


def test_what_a_person_brought_to_its_end_is_no_success_of_the_policy(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(room, "load_policy", Still)
    drawn, body = room.Drawn(RunConfig("x", policy="one", ab="two", ab_log=tmp_path / "ab.jsonl")), MockBody(ROBOT)
    policy = Intervening(drawn.policy, Still(), After(0.4))
    rollout(body, Inline(policy), body.observe(), subscribers=[drawn], timeout=1.0)
    assert "until a person took over" in drawn.ended(True, report())[0]
    assert drawn.log.episodes.successes == (False,)


def test_an_episode_is_added_with_who_drove(tmp_path: Path) -> None:
    recorder, body = EpisodeRecorder(), MockBody(ROBOT, "pick up the red cube")
    policy = Intervening(Still(), Still(), After(0.4))
    rollout(body, Inline(policy), body.observe(), subscribers=[recorder], timeout=1.0)
    config = RunConfig("pick up the red cube", record=tmp_path / "set")
    for i in range(2):
        note = room.recorded(config, recorder, ROBOT, "pick", True, 1.0)[0]
        assert f"episode {i}" in note and "10 frames, a person drove 6" in note
    assert Dataset(tmp_path / "set").column("intervention").sum() == 12
    assert room.recorded(config, EpisodeRecorder(), ROBOT, "pick", True, 1.0)[0].startswith("nothing")
    assert room.recorded(RunConfig("x"), recorder, ROBOT, "pick", True, 1.0) == ()


def test_a_recording_says_what_the_policy_was_told(tmp_path: Path) -> None:
    recorder, body = EpisodeRecorder(), MockBody(ROBOT)  # a body knows of no instruction
    rollout(body, Inline(Still()), body.observe(), subscribers=[recorder], timeout=0.5)
    config = RunConfig("pick up the red cube", record=tmp_path / "set")
    room.recorded(config, recorder, ROBOT, "", True, 1.0)
    assert Dataset(tmp_path / "set").episodes[0].instruction == "pick up the red cube"


def test_a_folder_that_takes_no_recording_is_refused_before_the_robot_moves(tmp_path: Path) -> None:
    with DatasetWriter(tmp_path / "demos", ROBOT, ROBOT.policy_rate):
        """A set without the column of who drove."""
    (tmp_path / "file").write_text("hello")
    for name, said in (("demos", "intervention missing in one"), ("file", "file")):
        config = RunConfig("x", record=tmp_path / name)
        with pytest.raises(BadFile, match=said), room.attended(config, Fitted(ROBOT, Still()), Controller()):
            pytest.fail("it began")
    with room.attended(RunConfig("x", record=tmp_path / "new"), Fitted(ROBOT, Still()), Controller()):
        assert not list(tmp_path.glob("new/*"))


def test_without_more_the_policy_is_as_it_was() -> None:
    fit = Fitted(ROBOT, Still())
    with room.attended(RunConfig("x"), fit, Controller()) as (policy, watchers):
        assert policy is fit.policy and watchers == ()


def test_a_policy_that_is_not_there_leaves_no_comparison(tmp_path):
    for options in ({"policy": "shipped", "ab": "nope"}, {"policy": "nope", "ab": "shipped"}):
        with pytest.raises(BadFile, match="nope"):
            room.Drawn(RunConfig("x", ab_log=tmp_path / "ab.jsonl", **options))
        assert not (tmp_path / "ab.jsonl").exists()
    with pytest.raises(BadValue, match="ab and policy are both 'shipped'"):
        RunConfig("x", policy="shipped", ab="shipped")


def test_what_was_recorded_before_the_body_failed_is_kept(tmp_path):
    config, recorder, body = RunConfig("x", record=tmp_path / "set"), EpisodeRecorder(), MockBody(ROBOT)
    rollout(body, Inline(Still()), body.observe(), subscribers=(recorder,), timeout=1.0)
    with pytest.raises(RobotFault, match="bus lost") as raised, room.kept(config, recorder, ROBOT):
        raise RobotFault("bus lost")
    assert "recorded: episode 0" in raised.value.__notes__[0]
    kept = Dataset(tmp_path / "set").episodes
    assert len(kept) == 1 and not kept[0].success


def test_a_film_is_no_detector(tmp_path):
    (tmp_path / "d.json").write_bytes(bytes(range(256)) * 400)
    with pytest.raises(BadFile, match=r"is no detector \(UnicodeDecodeError") as raised:
        Detector.load(tmp_path / "d.json")
    assert len(str(raised.value)) < 500


def test_what_cannot_be_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UnknownName, match="keys"):
        RunConfig("x", correct="gamepad")
    with pytest.raises(BadValue, match="deadman"):
        RunConfig("x", correct="keys", deadman="keys")
    assert main(["run", "x", "--replay", str(tmp_path), "--ab", "shipped"]) == 2
    assert main(["collect", "--out", str(tmp_path / "s"), "--correct", "expert"]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "--ab shipped counts not with --replay" in said and "somebody to correct it" in said


def test_a_person_says_whether_a_real_robot_succeeded(monkeypatch):
    monkeypatch.setattr(room, "keyboard", lambda: None)
    assert room.succeeded(True) == (
        True,
        "policy",
        ("success: yes by the policy's own word; nobody was there to say (no terminal)",),
    )
    monkeypatch.setattr(room, "keyboard", lambda: 0)
    answers = iter(["", "perhaps", "N"])
    monkeypatch.setattr("builtins.input", lambda words: next(answers))
    assert room.succeeded(True) == (False, "person", ())


@pytest.mark.parametrize("breaks", [KeyboardInterrupt, EOFError])
def test_who_breaks_the_question_off_loses_no_episode(monkeypatch, breaks):
    def asked(words):
        raise breaks

    monkeypatch.setattr(room, "keyboard", lambda: 0)
    monkeypatch.setattr("builtins.input", asked)
    assert room.succeeded(True) == (False, "person", ("success: no; the question was broken off",))


def test_a_person_lets_a_held_robot_go_on():
    class Keys:
        def __init__(self):
            self.new = set()

        def typed(self, key):
            new = key in self.new
            self.new.discard(key)
            return new

    controller, keys, body = Controller(watchdog=9.0), Keys(), MockBody(ROBOT)
    resuming, modes = room.Resuming(controller, keys), []
    keys.new.add(room.RESUME)  # of before

    class Hands(Subscriber):
        def on_tick(self, tick):
            if tick.index in (20, 60):
                controller.hold("looked odd", "test")
            if tick.index == 40:
                keys.new.add(room.RESUME)
            if tick.index == 80:
                controller.emergency_stop("hit")
                keys.new.add(room.RESUME)
            modes.append(controller.mode)

    watchers = (controller, Hands(), resuming)
    rollout(body, Inline(Still()), body.observe(), subscribers=watchers, timeout=2.0)
    assert [modes[k] for k in (10, 30, 45, 70, 90)] == [Mode.RUN, Mode.HOLD, Mode.RUN, Mode.HOLD, Mode.ESTOP]


def test_without_standard_input_there_is_no_keyboard(monkeypatch):
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(BadValue, match="needs a terminal"):
        Keyboard()
    with pytest.raises(BadValue, match="needs a terminal"):
        DeadmanKeys()


def test_a_detector_of_another_policy_is_refused_whichever_of_two_is_drawn(tmp_path, capsys, monkeypatch) -> None:
    """Told which it is before anything moves; with a policy that has no fingerprint nothing can be compared, which is said."""
    path, shipped = tmp_path / "detector.json", fingerprint("shipped")
    rng = np.random.default_rng(0)
    steps = [
        [ActionChunk(rng.normal(size=(8, 7)).astype(np.float32), 0.1, 0.4 * i) for i in range(8)] for _ in range(14)
    ]
    fit = Fitted(ROBOT, Still())
    for own, config, said in (
        (shipped, RunConfig("x", policy="shipped", detector=path), "(fitted to this policy)"),
        (shipped, RunConfig("x", policy=str(tmp_path), detector=path), "is not known)"),
        ("", RunConfig("x", policy="shipped", detector=path), "is not known)"),
    ):
        Detector.fit(rollouts(steps, [False] * 12 + [True] * 2, names=("size",)), policy=own).save(path)
        with room.attended(config, fit, Controller()) as (policy, _):
            assert isinstance(policy, Confident)
        assert said in " ".join(capsys.readouterr().out.split())
    Detector.fit(rollouts(steps, [False] * 12 + [True] * 2, names=("size",)), policy="other").save(path)
    for config, match in (
        (RunConfig("x", policy="shipped", detector=path), r"fitted to another policy .* than 'shipped'"),
        (RunConfig("x", policy=f"{shipped_folder()}/model.safetensors", detector=path), "fitted to another policy"),
        (
            RunConfig("x", policy=str(tmp_path), ab="shipped", ab_log=tmp_path / "ab.jsonl", detector=path),
            "two drive in turn",
        ),
    ):
        with pytest.raises(BadValue, match=match), room.attended(config, fit, Controller()):
            pass
    Detector.fit(rollouts(steps, [False] * 12 + [True] * 2, names=("size",)), every=0.4).save(path)
    with room.attended(RunConfig("x", detector=path, execute=4), fit, Controller()):
        """As it was fitted."""
    seldom = RunConfig("x", detector=path, execute=8)
    with (
        pytest.raises(BadValue, match=r"asked every 0\.8 s; the detector was fitted to chunks 0\.4 s apart"),
        room.attended(seldom, fit, Controller()),
    ):
        pytest.fail("it began")


def test_it_is_said_that_the_robot_rests_and_why(monkeypatch):
    said, controller, body = [], Controller(watchdog=9.0), MockBody(ROBOT)
    monkeypatch.setattr(room, "warn", lambda template, *values: said.append(template.format(*values)))

    class Hands(Subscriber):
        def on_tick(self, tick):
            if tick.index == 20:
                controller.hold("looked odd", "test")
            if tick.index == 40:
                controller.resume()

    rollout(
        body, Inline(Still()), body.observe(), subscribers=(controller, Hands(), room.Telling(controller)), timeout=1.5
    )
    until = time.monotonic() + 5
    while len(said) < 2 and time.monotonic() < until:
        time.sleep(0.01)
    assert sorted(said) == ["0.4 s: HOLD, the robot rests: looked odd", "0.8 s: the robot goes on"]
