"""`palmar collect --teleop`: what keys do, what is kept, and what a fault leaves behind."""

import json
import os
import pty
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from lerobot_stand_in import FOLLOWER, FRONT, LEADER, SEEING, standing_in

from palmar.checks import Check
from palmar.cli.attended import RESUME
from palmar.cli.main import main
from palmar.cli.teleoperated import TeleopConfig, teleoperate
from palmar.data.reader import Dataset
from palmar.description.file import read_robot
from palmar.description.write import write_robot
from palmar.errors import BadValue, RobotFault
from palmar.runtime.bodies.approval import write_result
from palmar.runtime.bodies.find import find_body
from palmar.runtime.mock import MockBody
from palmar.runtime.supervision.estop import Latch

BODY = FOLLOWER + FRONT


@pytest.fixture(autouse=True)
def lerobot(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    with standing_in(monkeypatch) as simulated:
        yield simulated


@pytest.fixture
def robot(tmp_path) -> str:
    """A robot file of an arm whose check has passed."""
    write_robot(SEEING, tmp_path / "arm.toml", "a test")
    body = find_body(BODY).connect(SEEING)
    write_result(body, [Check("all", True, "")])
    body.close()
    return str(tmp_path / "arm.toml")


class Script:
    """Keys that are typed one after the other, each when it has been asked for so often, or when something is so. A robot that a
    busy machine has held goes on."""

    def __init__(self, *typed: tuple[str, int | Callable[[], bool]], held: str = "") -> None:
        self.left, self.asked, self.down = list(typed), 0, held

    def typed(self, key: str) -> bool:
        if key == RESUME:
            return True
        if not self.left or key != self.left[0][0]:
            return False
        self.asked += 1
        wanted = self.left[0][1]
        if not (wanted() if callable(wanted) else self.asked >= wanted):
            return False
        self.left.pop(0)
        self.asked = 0
        return True

    def held(self, key: str) -> bool:
        return key in self.down

    def pressed(self, key: str) -> bool:
        return False


def config(robot: str, out: Path, **more) -> TeleopConfig:
    settings = {"instruction": "wave", "watchdog": None, "teleop": LEADER, "body": BODY} | more
    return TeleopConfig(out, robot=robot, **settings)


def test_a_person_begins_and_ends_episodes_and_says_what_became_of_them(lerobot, robot, tmp_path) -> None:
    keys = Script(
        (" ", 3),
        ("y", lambda: lerobot.port("follower").at["shoulder_pan"] > 12),
        (" ", 3),
        ("x", 10),
        (" ", 3),
        ("n", 10),
        ("q", 3),
    )
    lerobot.port("leader").at["shoulder_pan"] = 40.0
    done = teleoperate(config(robot, tmp_path / "set"), keys=keys)
    assert (done.saved, done.failures, done.discarded, done.reason) == (2, 1, 1, "ended by the person")
    ports = lerobot.PORTS
    assert (
        not ports["follower"].connected and not ports["leader"].connected and ports["follower"].at["shoulder_pan"] > 10
    )
    data = Dataset(tmp_path / "set")
    assert [e.success for e in data.episodes] == [True, False] and data.tasks == ["wave"] and data.robot_type == "so101"
    batch = data.batch(np.arange(len(data)), horizon=1)
    assert batch["images"]["front"].shape[1:] == (48, 64, 3) and batch["state"].shape == (done.frames, 6)
    first = batch["actions"][: data.episodes[0].length, 0]
    assert (
        first[0] == pytest.approx([10.0] * 6, abs=0.5) and (np.diff(first[:, 0]) >= -1e-3).all() and first[-1, 0] > 10
    )
    more = teleoperate(config(robot, tmp_path / "set", resume=True, episodes=1), keys=Script((" ", 3), ("y", 10)))
    assert more.there == 2 and more.saved == 1 and more.reason == "all episodes are recorded"
    assert len(Dataset(tmp_path / "set").episodes) == 3


def test_an_episode_that_ends_by_itself_is_asked_about(robot, tmp_path) -> None:
    keys = Script((" ", 3), ("y", 3 + 40), (" ", 3), ("x", 3 + 40), ("q", 3))
    done = teleoperate(config(robot, tmp_path / "set", timeout=0.7), keys=keys)
    assert done.saved == 1 and done.discarded == 1


@pytest.mark.parametrize(
    ("port", "said"), [("leader", "so101_leader at leader' does not"), ("follower", "so101_follower at follower")]
)
def test_a_cable_that_is_pulled_ends_the_session_and_what_was_recorded_is_kept(
    lerobot, robot, tmp_path, port, said
) -> None:
    wanted = lerobot.port(port)
    wanted.fault, wanted.after = OSError(5, "Input/output error"), wanted.used + 40
    began = time.monotonic()
    with pytest.raises(RobotFault, match=said) as error:
        teleoperate(config(robot, tmp_path / "set"), keys=Script((" ", 3)))
    assert time.monotonic() - began < 20 and "as a failure" in error.value.__notes__[0]
    kept = Dataset(tmp_path / "set").episodes
    assert [e.success for e in kept] == [False] and kept[0].length > 3
    assert not lerobot.PORTS["leader"].connected or port == "leader"


def test_keys_drive_a_body_too(tmp_path, monkeypatch) -> None:
    seen = []
    monkeypatch.setattr(
        MockBody, "apply", lambda self, command, to=MockBody.apply: (seen.append(command), to(self, command))
    )
    keys = Script((" ", 3), ("y", lambda: bool(seen) and np.ptp([c[1] for c in seen]) > 0.02), held="w")
    done = teleoperate(config("arm7", tmp_path / "set", body="mock:", teleop="keys", episodes=1), keys=keys)
    assert done.saved == 1
    actions = Dataset(tmp_path / "set").batch(np.arange(done.frames), horizon=1)["actions"][:, 0]
    assert actions[:, 0].max() == pytest.approx(0.01) and not actions[:, 1:6].any()


def test_an_emergency_stop_ends_the_session(robot, tmp_path) -> None:
    class Pressing(Script):
        verdicts = 0

        def typed(self, key: str) -> bool:
            self.verdicts += key == "y"
            if self.verdicts == 5:  # twice before the episode
                Latch("so101").press("a test", by="test")
            return super().typed(key)

    done = teleoperate(config(robot, tmp_path / "set"), keys=Pressing((" ", 3)))
    assert done.exit_code == 3 and done.failures == 1 and "a test" in done.reason
    with pytest.raises(BadValue, match="latched"):
        teleoperate(config(robot, tmp_path / "other"), keys=Script((" ", 3)))


def test_a_body_that_has_not_passed_its_check_is_not_driven(tmp_path) -> None:
    write_robot(SEEING, tmp_path / "arm.toml", "a test")
    with pytest.raises(BadValue, match=r"has not passed its check as robot 'so101'.*palmar check-body --robot"):
        teleoperate(config(str(tmp_path / "arm.toml"), tmp_path / "set"), keys=Script())
    assert not (tmp_path / "set").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--teleop", "keys"], "--teleop drives no body"),
        (["--body", "mock:"], "--body mock: counts only with --teleop"),
        (["--longest", "5"], "--longest 5.0 counts only with --teleop"),
        (
            ["--teleop", "keys", "--body", "mock:", "--instruction", "x", "--driver", "shipped"],
            "counts not with --teleop",
        ),
        (["--teleop", "keys", "--body", "mock:", "--robot", "arm7"], "the instruction is empty"),
        (
            ["--teleop", "hands", "--body", "mock:", "--instruction", "x"],
            "teleop is 'hands'; expected keys, or lerobot:TYPE",
        ),
        (["--teleop", "lerobot:", "--body", "mock:", "--instruction", "x"], "names no type of lerobot"),
        (["--teleop", "keys", "--body", "sim:", "--instruction", "x"], "body is 'sim:'"),
        (["--teleop", "keys", "--body", "mock:", "--robot", "arm7", "--instruction", "x"], "--teleop needs a terminal"),
        (["--teleop", "keys", "--body", "mock:", "--instruction", "x", "--names", "a=b"], "keys have none"),
    ],
)
def test_what_does_not_fit_together_is_told(words, said, tmp_path, capsys) -> None:
    assert main(["collect", "--out", str(tmp_path / "set"), *words]) == 2
    assert said in capsys.readouterr().err and not (tmp_path / "set").exists()


def test_a_robot_file_is_made_of_a_lerobot_robot(tmp_path, capsys) -> None:
    out = tmp_path / "arm.toml"
    assert main(["robot", "make", BODY, "--out", str(out)]) == 0
    made = read_robot(out)
    assert (
        made.channels == SEEING.channels
        and made.cameras == SEEING.cameras
        and "lerobot:so101_follower" in out.read_text()
    )
    assert main(["robot", "make", BODY, "--data", "x", "--out", str(tmp_path / "other.toml")]) == 2
    assert "expected no --data, --description or --frames" in capsys.readouterr().err
    assert main(["robot", "make", "lerobot:so101", "--out", str(tmp_path / "other.toml")]) == 2
    assert "Did you mean 'so101_follower'?" in capsys.readouterr().err


def test_the_whole_command_in_a_terminal(robot, tmp_path) -> None:
    """The body in the process of its watchdog, and a real terminal."""
    main_end, child = pty.openpty()
    code = f"import sys; sys.path[:0] = {sys.path!r}; from palmar.cli.main import main; sys.exit(main(sys.argv[1:]))"
    words = ["collect", "--out", str(tmp_path / "set"), "--body", BODY, "--robot", robot, "--teleop", LEADER]
    process = subprocess.Popen(
        [sys.executable, "-c", code, *words, "--instruction", "wave", "--watchdog", "2", "--json"],
        stdin=child, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ,
    )  # fmt: skip
    try:
        for shown, key in (("robot rests", " "), ("it begins", "y"), ("robot rests", "q")):
            assert next(line for line in process.stderr if shown in line)
            os.write(main_end, key.encode())
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
        os.close(main_end)
        os.close(child)
    assert process.returncode == 0, err
    assert json.loads(out)["saved"] == 1 and len(Dataset(tmp_path / "set")) == json.loads(out)["frames"]
