"""`palmar replay`: a dump is played again, and compared with other limits and guards."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from palmar.cli import main
from palmar.description.write import write_robot
from palmar.robots.arm7 import arm7
from palmar.runtime.clock import SimClock
from palmar.runtime.deploy import deploy
from palmar.runtime.mock import MockBody
from palmar.runtime.worker import Inline
from palmar.types import ActionChunk

ROBOT = arm7("channels")


class Swings:
    interface = ROBOT.interface(8)

    def act(self, obs, prefix=None):
        rows = np.tile(ROBOT.home, (8, 1)).astype(np.float32)
        rows[:, 0] = 0.5 * np.sin(2 * (obs.time + 0.1 * np.arange(8)))
        return ActionChunk(rows, 0.1, obs.time)

    def reset(self):
        pass


@pytest.fixture
def dump(tmp_path, monkeypatch):
    class Jammed(MockBody):
        def observe(self, images=True):
            obs = super().observe(images)
            if obs.time > 2.0:
                obs.state[3] += 1.0
            return obs

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("palmar.runtime.deploy.Threaded", Inline)
    body = Jammed(ROBOT)
    deploy(body, Swings(), "swing", body.reset(), timeout=6.0, clock=SimClock(), blackbox=tmp_path / "box")
    return str(next(Path("box").iterdir()))


@pytest.mark.usefixtures("wide")
def test_it_is_the_same_bit_for_bit(dump, capsys):
    assert main(["replay", dump]) == 0
    out = capsys.readouterr().out
    assert "every command bit for bit the same" in out and "tracking joint4" in out
    assert main(["replay", dump, "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["identical"] and figures["stopped"]["recorded"] == figures["stopped"]["now"]


def test_other_limits_and_guards(dump, capsys):
    slow = replace(ROBOT, channels=tuple(replace(c, velocity=c.velocity / 10) for c in ROBOT.channels))
    write_robot(slow, "slow.toml")
    assert main(["replay", dump, "--robot", "slow.toml", "--plot", "other.png", "--json"]) == 1
    figures = json.loads(capsys.readouterr().out)
    assert figures["different"] > 0 and figures["channels"]["joint1"]["largest"] > 0
    assert Path("other.png").read_bytes().startswith(b"\x89PNG")
    assert main(["replay", dump, "--without", "tracking", "jump", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["stopped"]["now"] is None
    Path("guards_of_the_command.py").write_text(
        "from palmar.runtime.safety.guards import GUARDS as OLD\nGUARDS = OLD[1:]\n"
    )
    assert main(["replay", dump, "--guards", "guards_of_the_command.py:GUARDS"]) == 0
    assert main(["replay", dump, "--guards", "guards_of_the_command"]) == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--without", "trackin"], "Did you mean 'tracking'"), (["--guards", "nowhere"], "cannot be imported"),
        (["--robot", "so101"], "the dump is of joint1"), (["--plot", "box"], "is a folder"),
    ],
)  # fmt: skip
def test_a_mistake_is_told(dump, words, said, capsys):
    assert main(["replay", dump, *words]) == 2
    assert said in capsys.readouterr().err


def test_what_is_no_dump_is_told(tmp_path, capsys):
    (tmp_path / "x.jsonl").write_text("{}\n")
    for path, said in [("x.jsonl", "is no black box"), ("none.jsonl", "there is no"), ("", "is a folder")]:
        assert main(["replay", str(tmp_path / path)]) == 2
        assert said in capsys.readouterr().err
