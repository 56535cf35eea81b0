"""check-body, run --body and run --replay from the command line."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import faulty_bodies as bodies
import numpy as np
import pytest

from palmar.cli import attended, live, opened
from palmar.cli.main import main
from palmar.cli.runs import RunConfig
from palmar.data.writer import DatasetWriter
from palmar.description.write import write_robot
from palmar.embodiments import Embodiment
from palmar.robot_parts import Channel
from palmar.runtime.clock import SimClock
from palmar.runtime.supervision.hosted import HostedBody
from palmar.runtime.worker import Inline
from palmar.types import ActionChunk, Episode, Observation, Step


class Waves:
    """A policy for the gadget that says it is done in its third chunk."""

    def __init__(self, **changes):
        self.interface = replace(bodies.gadget().interface(8), **changes)
        self.calls = 0

    def act(self, obs, prefix=None):
        self.calls += 1
        actions = np.tile(np.float32([0.1, 0.5, 100.0, 0.0]), (8, 1))
        return ActionChunk(actions, 0.1, obs.time, done=0.9 if self.calls > 3 else 0.1)

    def reset(self):
        pass


@pytest.fixture(autouse=True)
def own(tmp_path, monkeypatch):
    """A state folder, a clock that does not wait, and a policy that needs no checkpoint."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr("palmar.runtime.clock.WallClock", SimClock)
    monkeypatch.setattr("palmar.runtime.deploy.WallClock", SimClock)
    monkeypatch.setattr("palmar.runtime.deploy.Threaded", Inline)
    monkeypatch.setattr(attended, "load_policy", lambda where: Waves())
    # a test on a busy machine is no dead loop: the longest period there is
    monkeypatch.setattr(opened, "HostedBody", lambda where, robot, period: HostedBody(where, robot, 5.0))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def gadget(tmp_path):
    write_robot(bodies.gadget(), tmp_path / "gadget.toml")
    return "gadget.toml"


def told(capsys):
    out, err = capsys.readouterr()
    return out, err


@pytest.mark.parametrize("kind", ["Good", "Monotonic"])
def test_a_good_body_passes_and_is_then_driven(kind, gadget, capsys):
    words = ["--robot", gadget, "--body", f"faulty_bodies:{kind}"]
    assert main(["run", *words, "--video", "None", "wave"]) == 2
    assert f"Next: palmar check-body --robot {gadget} --body faulty_bodies:{kind}" in told(capsys)[1]
    assert main(["check-body", *words, "--json"]) == 0
    out, _ = told(capsys)
    figures = json.loads(out)
    assert figures["passed"] and Path(figures["kept"]).is_file()
    assert main(["run", *words, "--video", "None", "--timeout", "5", "--json", "wave"]) == 0
    out, err = told(capsys)
    figures = json.loads(out)
    assert figures["done"] and figures["success"] is None and figures["mode"] == "RUN"
    assert "the policy says it is done" in err and "simulator" not in err
    assert any("no kinematics" in o for o in figures["off"])


def test_a_body_may_know_its_own_robot(capsys):
    assert main(["run", "--body", "faulty_bodies:Alone", "wave"]) == 2
    assert "Next: palmar check-body --body faulty_bodies:Alone" in told(capsys)[1]
    assert main(["check-body", "--body", "faulty_bodies:Alone"]) == 0
    assert main(["run", "--body", "faulty_bodies:Alone", "--timeout", "4", "--video", "None", "wave"]) == 0


def test_a_faulty_body_fails_and_is_not_driven(gadget, capsys):
    words = ["--robot", gadget, "--body", "faulty_bodies:Inverted"]
    assert main(["check-body", *words]) == 1
    out, _ = told(capsys)
    assert "no shoulder: " in out and "Next: inverted sign" in out
    assert main(["run", *words, "wave"]) == 2
    assert "it failed shoulder" in told(capsys)[1]


def test_the_mock_needs_no_check_and_is_filmed_by_its_camera(gadget, capsys):
    assert main(["run", "--robot", gadget, "--body", "mock:", "--timeout", "3", "wave", "--json"]) == 0
    figures = json.loads(told(capsys)[0])
    assert Path(figures["video"]).stat().st_size > 1000


def test_running_is_a_call(gadget):
    result = live.run(RunConfig("wave", body="mock:", robot=gadget, timeout=4.0, video=None))
    assert result.exit_code == 0 and result.done and result.film is None


def test_a_body_that_fails_while_it_is_driven_is_a_fault_of_the_robot(gadget, monkeypatch, capsys):
    monkeypatch.setattr("palmar.runtime.supervision.hosted.require_checked", lambda *_: None)
    words = ["run", "--robot", gadget, "--body", "faulty_bodies:Raises", "--video", "None", "wave"]
    assert main(words) == 3
    assert "'faulty_bodies:Raises' raised in apply: OSError: the bus does not answer" in told(capsys)[1]


def test_guessed_limits_block_a_policy(tmp_path, capsys):
    guessed = Channel("shoulder", "revolute", "rad", -1.5, 1.5, 2.0, sources={"velocity": "guess"})
    write_robot(Embodiment("gadget", (guessed, *bodies.gadget().channels[1:])), tmp_path / "guessed.toml")
    assert main(["run", "--robot", "guessed.toml", "--body", "mock:", "wave"]) == 2
    assert "shoulder (velocity)" in told(capsys)[1]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["check-body", "--body", "no_such_thing:Arm"], "there is no module 'no_such_thing'"),
        (["check-body", "--body", "faulty_bodies"], "expected mock:, gym:ENV"),
        (["check-body", "--body", "mock:"], "Next: --robot NAME"),
        (["check-body", "--body", "faulty_bodies:NoApply", "--robot", "gadget.toml"], "it has no apply"),
        (["check-body", "--body", "faulty_bodies:OtherNames", "--robot", "gadget.toml"], "channels hip, elbow"),
        (["check-body", "--body", "mock:", "--robot", "gadgett"], "unknown robot 'gadgett'"),
        (["run", "--body", "mock:", "--robot", "gadget.toml"], "the instruction is empty"),
        (["run", "--body", "mock:", "--robot", "gadget.toml", "--names", "a", "--json", "x"], "--names has 'a'"),
        (["run", "--body", "mock:", "--robot", "gadget.toml", "--hold", "a=b", "--json", "x"], "'b' is no number"),
        (["run", "--body", "mock:", "--world", "twin", "x"], "expected one of them"),
        (["run", "--robot", "gadget.toml", "pick up the red cube"], "there are scenes for arm7"),
        (["run", "--body", "sim:", "--episode", "3", "pick up the red cube"], "only with --replay"),
        (["run", "--replay", "nowhere", "--body", "mock:"], "not with --replay"),
        (["run", "--keys", "action=a", "--body", "sim:"], "--keys"),
        (["run"], "the instruction is empty; expected what to do"),
        (["run", "--body", "mock:", "--robot", "gadget.toml", " "], "the instruction is empty"),
        (["run", "--replay", "nowhere"], "there is no data set at 'nowhere'"),
    ],
)
def test_a_mistake_is_told(gadget, words, said, capsys):
    assert main(words) == 2
    assert said in told(capsys)[1]


def test_a_body_that_cannot_be_reached_is_a_fault_of_the_robot(gadget, capsys):
    assert main(["check-body", "--robot", gadget, "--body", "faulty_bodies:CannotConnect"]) == 3
    assert "no robot at 192.168.0.7" in told(capsys)[1]


def test_a_policy_of_other_names_is_mapped_or_refused(gadget, monkeypatch, capsys):
    names = ("hip", "elbow", "jaw", "wheel")
    monkeypatch.setattr(attended, "load_policy", lambda where: Waves(action_names=names, cameras={"front": (12, 12)}))
    words = ["run", "--robot", gadget, "--body", "mock:", "wave", "--video", "None", "--timeout", "4"]
    assert main(words) == 2
    said = told(capsys)[1]
    assert "the policy 'shipped' does not fit gadget: camera 'front' is missing" in said
    assert "Next: say which it is, --cameras front=CAMERA" in said
    assert main([*words, "--cameras", "front=top"]) == 2
    assert "action channel 'hip' is missing" in told(capsys)[1]
    assert main([*words, "--cameras", "front=top", "--names", "hip=shoulder"]) == 0


@pytest.fixture
def recorded(tmp_path):
    """Two episodes of the gadget; in the second the shoulder is sent beyond its limit."""
    robot = bodies.gadget()
    with DatasetWriter(tmp_path / "set", robot, fps=10) as writer:
        for seed in range(2):
            steps = []
            for i in range(20):
                action = np.float32([0.3 * (1 - np.cos(i / 10)), 0.5, 100.0, 0.0])
                if seed and i in (10, 11):
                    action[0] = 1.8
                state = robot.state_from(np.array([0.3 * (1 - np.cos(i / 10)), 0.5, 100.0, 0.0]), np.zeros(4))
                image = np.full((24, 32, 3), i * 5, np.uint8)
                obs = Observation({"top": image}, state.astype(np.float32), "wave", i / 10)
                steps.append(Step(obs, action, action))
            writer.add(Episode("wave", "wave", seed, "human", steps, True, "done", 2.0))
    return "set"


def test_a_set_is_replayed_episode_by_episode(gadget, recorded, capsys):
    assert main(["run", "--replay", recorded, "--robot", gadget, "--episode", "0", "--json"]) == 0
    figures = json.loads(told(capsys)[0])
    assert figures["episodes"] == [0] and figures["commands"] == 100
    assert figures["changed"] == 0 and figures["outside"] == 0
    code = main(["run", "--replay", recorded, "--robot", gadget, "--plot", "replay.png", "--json"])
    figures = json.loads(told(capsys)[0])
    assert code == int(bool(figures["stopped"])) and figures["commands"] == 200 and figures["outside"] == 0
    assert figures["guards"]["position"]["shoulder"] >= 1
    assert figures["channels"]["shoulder"]["episode"] == 1 and figures["channels"]["elbow"]["changed"] == 0
    assert Path("replay.png").read_bytes().startswith(b"\x89PNG")
    assert main(["run", "--replay", recorded, "--robot", gadget, "--plot", "replay.png"]) == 2
    assert "is there already" in told(capsys)[1]


def test_a_plot_goes_into_a_new_folder(gadget, recorded, capsys):
    words = ["run", "--replay", recorded, "--robot", gadget, "--episode", "0", "--plot"]
    assert main([*words, "new/deeper/replay.png"]) == 0
    assert Path("new/deeper/replay.png").is_file()
    Path("file").touch()
    assert main([*words, "file/replay.png"]) == 2
    assert "'file' is a file; expected a folder" in told(capsys)[1]


def test_a_replay_takes_the_robot_that_the_set_names(recorded, capsys):
    assert main(["run", "--replay", recorded]) == 2
    said = told(capsys)[1]
    assert "'set' names robot 'gadget', which does not come with palmar, and no --robot is given" in said
    assert "Next: palmar robot make set --out robot.toml" in said
    info = Path("set/meta/info.json")
    named = json.loads(info.read_text()) | {"robot_type": "mobile3"}
    info.write_text(json.dumps(named))
    assert main(["run", "--replay", recorded]) == 2
    assert "mobile3 takes" in told(capsys)[1]
    info.write_text(json.dumps(named | {"robot_type": None}))
    assert main(["run", "--replay", recorded]) == 2
    assert "names no robot" in told(capsys)[1]


def test_a_replay_that_does_not_fit_is_told(gadget, recorded, capsys):
    assert main(["run", "--replay", recorded, "--robot", gadget, "--episode", "9"]) == 2
    assert "the set has 2 episodes, 0 … 1" in told(capsys)[1]
    assert main(["run", "--replay", recorded, "--robot", "arm7"]) == 2
    assert "its actions are shoulder, elbow, jaw, wheel" in told(capsys)[1]
    assert main(["run", "--replay", recorded, "--robot", gadget, "--names", "hip=shoulder"]) == 2
    assert "unknown channel of gadget 'hip'" in told(capsys)[1]


def test_a_recording_in_degrees_is_replayed_on_a_robot_in_radians(gadget, tmp_path, capsys):
    robot, turn = bodies.gadget(), 180 / np.pi
    limits = ("lower", "upper", "velocity", "acceleration", "jerk", "home", "tolerance")
    turned = [replace(c, unit="deg", **{q: getattr(c, q) * turn for q in limits}) for c in robot.channels[:2]]
    recorder, root = replace(robot, channels=(*turned, *robot.channels[2:]), state=()), tmp_path / "degrees"
    with DatasetWriter(root, recorder, fps=10) as writer:
        steps = []
        for i in range(20):
            recorded = np.array([0.3 * turn * (1 - np.cos(i / 10)), 0.5 * turn, 100.0, 0.0])
            state = recorder.state_from(recorded, np.zeros(4)).astype(np.float32)
            obs = Observation({"top": np.zeros((24, 32, 3), np.uint8)}, state, "wave", i / 10)
            steps.append(Step(obs, np.float32(recorded), np.float32(recorded)))
        writer.add(Episode("wave", "wave", 0, "human", steps, True, "done", 2.0))
    words = ["run", "--replay", str(root), "--robot", gadget, "--json"]

    def replayed(*more):
        assert main([*words, *more]) == 0
        return json.loads(told(capsys)[0])

    converted = replayed()  # the set states its units
    assert converted["changed"] == 0 and converted["stopped"] == {} and converted["notes"] == []
    info = json.loads((root / "meta/info.json").read_text())
    for feature in info["features"].values():
        feature.pop("units", None)  # as every set that palmar did not write
    (root / "meta/info.json").write_text(json.dumps(info))
    assert main(words) == 2
    assert "look like 'deg' ('shoulder' from 0 to" in told(capsys)[1]
    stated = replayed("--unit", *(f"{n}=deg" for n in ("shoulder", "elbow", "shoulder.pos", "elbow.pos")))
    assert stated["channels"] == converted["channels"]
    assert "states no unit of jaw, wheel" in stated["notes"][0]
    assert main([*words, "--unit", "hip=deg"]) == 2
    assert "unknown channel of the recording 'hip'" in told(capsys)[1]


def test_the_body_lives_in_this_process_without_a_watchdog(gadget, monkeypatch):
    monkeypatch.setattr(opened, "HostedBody", None)
    result = live.run(RunConfig("wave", body="mock:", robot=gadget, timeout=4.0, video=None, watchdog=None))
    assert result.exit_code == 0


def test_a_period_that_cannot_be_kept_is_told_before_anything_is_connected(gadget, capsys):
    words = ["run", "--robot", gadget, "--body", "mock:", "--watchdog", "0.01", "wave"]
    assert main(words) == 2
    assert "the watchdog's period is 0.01 s; gadget gets 50 commands a second" in told(capsys)[1]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_check_that_is_ended_brakes_and_lets_go(tmp_path, number, code):
    write_robot(bodies.gadget(), tmp_path / "gadget.toml")
    log = tmp_path / "log.jsonl"
    log.touch()
    paths = [str(Path(__file__).parents[1] / "runtime"), *(p for p in sys.path if p)]
    words = ["-m", "palmar.cli", "check-body", "--robot", "gadget.toml", "--body", "logged_bodies:Logged"]
    environment = os.environ | {"PALMAR_TEST_LOG": str(log), "PYTHONPATH": os.pathsep.join(paths)}
    run = subprocess.Popen(
        [sys.executable, *words],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )

    def calls():
        return [json.loads(line) for line in log.read_text().splitlines()]

    until = time.monotonic() + 60
    while len({c[3] for c in calls() if c[2] == "apply"}) < 5:  # the first channel moves
        assert time.monotonic() < until and run.poll() is None, run.communicate()
        time.sleep(0.005)
    run.send_signal(number)
    _, err = run.communicate(timeout=60)
    assert run.returncode == code and "Stopped by SIG" in err and "Traceback" not in err
    done = calls()
    assert done[-1][2] == "close"
    commands = [c[3:] for c in done if c[2] == "apply"]
    assert np.allclose(commands[-1], commands[-2], atol=1e-3)
