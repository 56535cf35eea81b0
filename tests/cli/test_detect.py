"""`palmar detect`: a detector is fitted to a policy in simulation, and says what it is worth."""

import json
from dataclasses import replace

import numpy as np
import pytest

from palmar.cli import main
from palmar.errors import BadValue
from palmar.lab import histories as played
from palmar.lab.histories import SPEED, Conditions, familiar_features, histories
from palmar.models.checkpoint import fingerprint
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

    found = Detector.load(out)
    assert found.policy == fingerprint("shipped") != ""
    found.check_policy(fingerprint("shipped"), "shipped")
    found.check_policy("", "openpi:host")  # nothing to compare
    with pytest.raises(BadValue, match=r"fitted to another policy .* than 'mine' \(other\). Next: palmar detect mine"):
        found.check_policy("other", "mine")
    replace(found, policy="0" * 16).save(out)
    words = ["collect", "--driver", "shipped", "--correct", "expert", "--detector", str(out), "--episodes", "1"]
    assert main([*words, "--out", str(tmp_path / "set")]) == 2
    assert "fitted to another policy" in " ".join(capsys.readouterr().err.split()) and not (tmp_path / "set").exists()


def test_too_few_episodes_are_refused_before_one_is_played(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(played, "episode", lambda *_: pytest.fail("played"))
    words = ["detect", "shipped", "--conditions", "2", "--episodes", "9", "--tasks", "reach", "--processes", "1"]
    assert main([*words, "--out", str(tmp_path / "x.json")]) == 2
    assert "are 18 episodes; expected 20 or more" in " ".join(capsys.readouterr().err.split())


def outcome(fails):
    """An episode whose end `fails(seed, first condition)` says."""

    def episode(_, job):
        config, _, seed = job
        rng = np.random.default_rng(seed)
        first = config.randomization.sample(rng) == Conditions(2, 1.3).world(0).sample(rng)
        steps = [rng.normal(0, 0.1, (8, 7)).astype(np.float32) for _ in range(8)]
        return [ActionChunk(s, 0.1, 0.4 * i) for i, s in enumerate(steps)], [0.0] * 8, not fails(seed, first)

    return episode


def test_what_it_cannot_be_fitted_on_or_judged_by_is_told(tmp_path, capsys, monkeypatch, wide):
    """Played in full, so 1 and no user's mistake; and a detector whose ranking nobody could try says so."""
    words = ["detect", "shipped", "--conditions", "2", "--episodes", "12", "--tasks", "reach", "--processes", "1"]
    monkeypatch.setattr(played, "episode", outcome(lambda seed, first: False))
    assert main([*words, "--out", str(tmp_path / "x.json")]) == 1
    assert "expected 10 or more of each. Next: a larger --strength" in " ".join(capsys.readouterr().out.split())
    assert not (tmp_path / "x.json").exists()
    monkeypatch.setattr(played, "episode", outcome(lambda seed, first: first))
    assert main([*words, "--out", str(tmp_path / "x.json")]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "How well it ranks is not known" in said and "ROC-AUC" not in said and (tmp_path / "x.json").exists()


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
