"""`palmar detect`: a detector is fitted to a policy in simulation, and says what it is worth."""

import json

import numpy as np
import pytest

from palmar.cli import main
from palmar.lab import histories as played
from palmar.lab.histories import SPEED, Conditions, familiar_features, histories
from palmar.ranges import COLLECTED
from palmar.runtime.confidence.detector import Detector
from palmar.runtime.confidence.distance import DISTANCE
from palmar.runtime.confidence.recorded import CHUNK_SIGNALS
from palmar.types import ActionChunk

pytest.importorskip("mujoco")


def test_conditions_are_drawn_once_and_have_the_same_tables():
    drawn = Conditions(count=3, strength=2.0, each=2)
    jobs, groups = drawn.jobs("expert", ("reach", "pick"), 5.0)
    assert groups == [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2]
    assert [j[1:] for j in jobs[:4]] == [j[1:] for j in jobs[4:8]]
    assert jobs[0][0].randomization == drawn.world(0) != drawn.world(1)


def test_episodes_are_played_and_their_chunks_kept():
    """The expert plans one action at a time, of which few signals are known."""
    drawn = Conditions(count=1, strength=0.0, each=1)
    r = histories(*drawn.jobs("expert", ("reach",), 5.0), processes=1, progress=False)
    assert r.names == ("size", SPEED) and len(r) == 1 and not r.failed[0]
    assert np.isfinite(r.values[0, 1 : r.lengths[0], r.names.index(SPEED)]).all()
    assert r.only(("size",)).values.shape == (*r.values.shape[:2], 1)


@pytest.fixture
def outcomes(monkeypatch):
    """Episodes without a simulator: those that fail have chunks that disagree."""

    def episode(_, job):
        config, task, seed = job
        rng = np.random.default_rng(
            [
                seed,
                len(task),
                round(1e6 * config.randomization.sample(np.random.default_rng(0)).values.get("friction", 0)),
            ]
        )
        fails = rng.random() < 0.4
        steps = [rng.normal(0, 0.05 if fails else 0.01, (8, 7)).astype(np.float32) for _ in range(12)]
        return [ActionChunk(s, 0.1, 0.4 * i) for i, s in enumerate(steps)], [0.0] * 12, not fails

    monkeypatch.setattr(played, "episode", episode)


@pytest.mark.usefixtures("outcomes")
def test_it_is_fitted_and_says_how_well_it_ranks(tmp_path, capsys):
    out = tmp_path / "detector.json"
    words = [
        "detect",
        "shipped",
        "--conditions",
        "4",
        "--episodes",
        "8",
        "--tasks",
        "reach",
        "pick",
        "--processes",
        "1",
    ]
    assert main([*words, "--out", str(out), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["episodes"] == 64 and found["auc_equal_time"] > 0.9 and found["failures"] >= 10
    assert Detector.load(out).names == CHUNK_SIGNALS
    assert main([*words, "--out", str(out)]) == 2  # it is there
    assert "--force" in capsys.readouterr().err


@pytest.mark.usefixtures("outcomes")
def test_too_few_failures_are_told(tmp_path, capsys):
    words = ["detect", "shipped", "--conditions", "2", "--episodes", "2", "--tasks", "reach", "--processes", "1"]
    assert main([*words, "--out", str(tmp_path / "x.json")]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "expected 10 or more of each. Next:" in said and not (tmp_path / "x.json").exists()


def test_what_a_policy_makes_of_the_worlds_it_knows_is_familiar(monkeypatch):
    """Of successes alone, at every chunk; a policy without features has none."""

    def episode(_, job):
        config, task, seed = job
        rng = np.random.default_rng(seed)
        success = seed % 2 == 0
        assert config.randomization.strength == COLLECTED and task in ("reach", "pick")
        made = [ActionChunk(np.zeros((8, 7), np.float32), 0.1, 0.4 * i, features=rng.normal(0 if success else 50, 1, 5))
                for i in range(10)]  # fmt: skip
        return made, [0.0] * 10, success

    monkeypatch.setattr(played, "episode", episode)
    found = familiar_features("shipped", ("reach", "pick"), 5.0, tables=6, processes=1, progress=False)
    assert found is not None and np.abs(found.mean).max() < 1 and found(np.full(5, 50.0)) > 10 * found(np.ones(5))
    r = histories([(played.EvalConfig("shipped", 1, ("reach",), randomization=played.Randomization(COLLECTED)), "reach", s)
                   for s in (3, 4)], [0, 0], ("size",), 1, False, found)  # fmt: skip
    assert r.names == ("size", DISTANCE) and r.values[0, 0, 1] > 10 * r.values[1, 0, 1]
    monkeypatch.setattr(
        played, "episode", lambda _, job: ([ActionChunk(np.zeros((8, 7), np.float32), 0.1, 0.0)], [0.0], True)
    )
    assert familiar_features("shipped", ("reach",), 5.0, tables=2, processes=1, progress=False) is None
