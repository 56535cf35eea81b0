"""Collecting: labels come from the clean expert, seeds decide everything, and Ctrl-C loses nothing that was saved."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from synthetic import episode

from palmar.cli import main
from palmar.data.reader import Dataset
from palmar.errors import BadValue
from palmar.lab import collect as room
from palmar.lab.collect import TAIL, TRIES, CollectConfig, collect, record
from palmar.lab.worlds import Loaded
from palmar.robots.arm7 import arm7
from palmar.sim import truth
from palmar.sim.params import NO_RANDOMIZATION
from palmar.types import Episode


def test_an_episode_follows_from_its_seed() -> None:
    config = CollectConfig(tasks=("reach",), noises=(0.01,))
    a, b = record(Loaded(), (config, 5)), record(Loaded(), (config, 5))
    assert a.success and len(a.steps) == len(b.steps)
    for x, y in zip(a.steps, b.steps, strict=True):
        np.testing.assert_array_equal(x.observation.images["wrist"], y.observation.images["wrist"])
        np.testing.assert_array_equal(x.action, y.action)


def test_noise_drives_and_the_clean_expert_labels() -> None:
    noisy = record(Loaded(), (CollectConfig(tasks=("reach",), noises=(0.01,)), 5))
    apart = [np.abs(s.action[:3] - s.executed[:3]).max() for s in noisy.steps[1:]]
    assert np.median(apart) > 1e-3
    clean = record(Loaded(), (CollectConfig(tasks=("reach",), noises=(0.0,), randomization=NO_RANDOMIZATION), 5))
    for s in clean.steps[1:]:
        np.testing.assert_allclose(s.action, s.executed, atol=1e-6)


def test_what_done_looks_like_is_recorded() -> None:
    steps = record(Loaded(), (CollectConfig(tasks=("reach",), noises=(0.0,)), 9)).steps
    done = [s.done for s in steps]
    assert not done[0] and done[-1] and sum(done) >= TAIL


HEEDS_CTRL_C = (  # a runner in the background starts its children deaf to it
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "from palmar.cli import main; raise SystemExit(main())"
)


def test_ctrl_c_keeps_what_was_saved(tmp_path: Path) -> None:
    out = tmp_path / "set"
    command = [
        sys.executable,
        "-c",
        HEEDS_CTRL_C,
        "collect",
        "--out",
        str(out),
    ]
    child = subprocess.Popen(
        [*command, "--tasks", "reach", "--processes", "1"], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    until = time.time() + 120
    info = out / "meta/info.json"  # an episode counts when it says so
    while time.time() < until and not (info.exists() and json.loads(info.read_text())["total_episodes"] >= 3):
        time.sleep(0.1)
    os.kill(child.pid, signal.SIGINT)
    _, said = child.communicate(timeout=60)
    assert child.returncode == 130, said
    assert "Stopped by Ctrl-C" in said
    data = Dataset(out, cache=False)
    assert len(data.episodes) >= 3 and len(data) == sum(e.length for e in data.episodes)


def made_up(loaded: Loaded, job: tuple[CollectConfig, int]) -> Episode:
    """As fast as `record` is slow; every third seed fails."""
    seed = job[1]
    return episode(4, seed=seed, success=seed % 3 != 2, privileged=len(truth.names(arm7())))


def test_resume_goes_on_after_the_seeds_that_are_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "record", made_up)
    first = collect(tmp_path / "set", CollectConfig(episodes=3, seed=10), processes=1, resume=True, progress=False)
    assert (first.tried, first.saved, first.there, first.short) == (4, 3, 0, 0)
    more = collect(tmp_path / "set", CollectConfig(episodes=5, seed=10), processes=1, resume=True, progress=False)
    assert (more.saved, more.frames, more.there, more.short) == (2, 8, 3, 0)
    assert [e.seed for e in Dataset(tmp_path / "set").episodes] == [10, 12, 13, 15, 16]
    enough = collect(tmp_path / "set", CollectConfig(episodes=5), processes=1, resume=True, progress=False)
    assert (enough.tried, enough.saved, enough.there, enough.short) == (0, 0, 5, 0)


def test_what_is_missing_after_all_tries_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "record", lambda loaded, job: made_up(loaded, (job[0], job[1] if job[1] < 2 else 2)))
    done = collect(tmp_path / "set", CollectConfig(episodes=4), processes=1, progress=False)
    assert (done.tried, done.saved, done.short) == (4 * TRIES, 2, 2)
    assert list(done.tries.values()) == [(2, 4 * TRIES)]


@pytest.mark.usefixtures("wide")
def test_a_set_that_is_short_says_which_task_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def made(loaded: Loaded, job: tuple[CollectConfig, int]) -> Episode:
        task = job[0].tasks[job[1] % 2]
        return replace(made_up(loaded, (job[0], 2 if task == "slide" else 0)), task=task)

    monkeypatch.setattr(room, "record", made)
    words = ["--tasks", "slide", "reach", "--world", "near:0", "--episodes", "4", "--processes", "1"]
    assert main(["collect", "--out", str(tmp_path / "set"), *words]) == 0
    words[6] = "9"
    monkeypatch.setattr(room, "TRIES", 1)
    assert main(["collect", "--out", str(tmp_path / "more"), *words]) == 1
    said = " ".join(capsys.readouterr().out.split())
    assert "5 fewer than asked for: too many tries failed (saved: slide 0 of 5)" in said
    assert "or without the tasks that fail in this world" in said


def test_an_expert_takes_over_as_a_person_would() -> None:
    config = CollectConfig(
        tasks=("reach",), driver="shipped", correct="expert", patience=0.8, randomization=NO_RANDOMIZATION
    )
    made = record(Loaded(), (config, 5))
    drove = [s.intervention for s in made.steps]
    assert made.source == "corrected" and made.success
    assert not any(drove[:8]) and all(drove[8:]) and len(drove) > 9
    assert all(np.array_equal(s.action, s.executed) for s in made.steps)


@pytest.mark.parametrize("settings", [{"driver": "expert"}, {"driver": "shipped", "beta": 0.5}])
def test_who_corrects_needs_a_policy_that_drives_alone(settings: dict) -> None:
    with pytest.raises(BadValue, match="somebody to correct it"):
        CollectConfig(tasks=("reach",), correct="expert", **settings)


def test_a_driver_of_another_robot_is_refused_and_leaves_no_set(tmp_path: Path) -> None:
    """The advice is of this command, which takes no names."""
    config = CollectConfig(episodes=1, driver="shipped", robot="so101", tasks=("touch",))
    for _ in range(2):
        with pytest.raises(BadValue, match=r"Next: --robot arm7, or a policy trained on 'so101'$") as refused:
            collect(tmp_path / "set", config, processes=1, progress=False)
        assert "--names" not in str(refused.value) and not (tmp_path / "set").exists()
