"""Each symptom is provoked and recognised; a healthy run has none."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from speaking import SpeakingConfig
from squares import Squares
from training import train

from palmar.errors import BadFile
from palmar.eval.rows import read_rows
from palmar.policy import shipped
from palmar.train.doctor import diagnose, examine, from_predictions
from palmar.train.loop import TrainConfig

SMALL = TrainConfig(steps=120, horizon=4, batch_size=32, threads=1, log_every=10, lr=3e-3, augment=None, validate=8,
                    ema=0.9, validation=0.2)  # fmt: skip


def names(found):
    return [f.symptom for f in found]


def run(tmp_path, config=SMALL, data=None, objective=None, **more):
    if objective is not None:
        more["objective"] = objective
    return train(SpeakingConfig(), data or Squares(400), tmp_path / "run", config, progress=False, **more)


def test_a_healthy_run_has_nothing(tmp_path):
    data = Squares(800)
    for i, e in enumerate(data.episodes):
        e.task = "ab"[i % 2]
    out = run(tmp_path, data=data)
    assert examine(out) == []
    rows = read_rows(out / "metrics.jsonl")
    assert {"val_spread", "val_jitter", "val_error/a", "val_error/b", "val_action"} <= set().union(*rows)


def test_the_shipped_checkpoint_has_a_healthy_normaliser():
    assert diagnose([], json.loads((shipped() / "config.json").read_text())["normalizers"]) == []


def test_mode_collapse(tmp_path):
    """A learner whose targets are all alike answers everything alike."""

    def blind(model, batch, raw):
        return model.loss(dataclasses.replace(batch, actions=torch.zeros_like(batch.actions)))

    found = examine(run(tmp_path, objective=blind))
    assert "mode collapse" in names(found)
    one = next(f for f in found if f.symptom == "mode collapse")
    assert one.value < one.limit and "%" in one.said and "lower --lr" in one.fix


def test_action_jitter(tmp_path):
    """A learner of shaken chunks shakes, where the demonstrations do not."""
    shake = torch.tensor([1.0, -1.0, 1.0, -1.0]).view(1, -1, 1)

    def shaken(model, batch, raw):
        free = dataclasses.replace(batch, pad=torch.zeros_like(batch.pad))
        return model.loss(dataclasses.replace(free, actions=batch.actions + 2 * shake))

    class Unpadded(Squares):
        def batch(self, indices, horizon):
            raw = super().batch(indices, horizon)
            return raw | {"pad": np.zeros_like(raw["pad"])}

    found = examine(run(tmp_path, data=Unpadded(400), objective=shaken))
    assert "--quality" in next(f for f in found if f.symptom == "action jitter").fix


def test_overfitting(tmp_path):
    """A hundred pictures of noise whose actions are noise, learned by heart."""
    config = dataclasses.replace(SMALL, steps=250, validate=12, ema=0.0, lr=1e-2)
    data = Squares(120)
    rng = np.random.default_rng(0)
    data.actions = rng.normal(0, 1, data.actions.shape).astype(np.float32)
    data.images = rng.integers(0, 256, (120, 4, 4, 3)).repeat(12, 1).repeat(12, 2).astype(np.uint8)
    found = examine(run(tmp_path, config, data))
    assert "overfitting" in names(found)
    assert "training error went" in next(f for f in found if f.symptom == "overfitting").said


def test_gradient_explosion_and_nan(tmp_path):
    def bursts(model, batch, raw):
        loss, parts = model.loss(batch)
        bursts.calls += 1
        return loss * (1e4 if 60 <= bursts.calls < 65 else 1.0), parts

    bursts.calls = 0
    assert names(examine(run(tmp_path, objective=bursts))) == ["gradient explosion"]

    def poisons(model, batch, raw):
        loss, parts = model.loss(batch)
        poisons.calls += 1
        return loss * (float("nan") if poisons.calls == 60 else 1.0), parts

    poisons.calls = 0
    (tmp_path / "nan").mkdir()
    found = examine(run(tmp_path / "nan", objective=poisons))
    assert names(found) == ["NaN"] and "at step 60" in found[0].said


def test_task_imbalance(tmp_path):
    """One task in twenty, with actions of its own size."""
    data = Squares(800)
    data.actions = data.actions.copy()
    rng = np.random.default_rng(0)
    for i, e in enumerate(data.episodes):
        e.task = "rare" if i % 8 == 0 else "common"
        if e.task == "rare":
            data.actions[e.start : e.stop, :2] += rng.normal(0, 0.3, (e.stop - e.start, 2)).astype(np.float32)
    found = examine(run(tmp_path, data=data))
    assert "task imbalance" in names(found)
    assert "'rare'" in next(f for f in found if f.symptom == "task imbalance").said


def test_forgetting():
    rows = [{"step": s, "val_language": v} for s, v in ((10, 0.4), (20, 0.8), (30, 0.75), (40, 0.55))]
    (found,) = diagnose(rows)
    assert found.symptom == "catastrophic forgetting" and found.value == pytest.approx(0.25) and "web data" in found.fix
    assert diagnose(rows[:3]) == []


def test_dimensions_that_hardly_move_and_a_normaliser_that_does_nothing():
    fine = {"names": ["a", "b"], "offset": [0.0, 0.1], "scale": [0.5, 0.0]}
    assert diagnose([], {"state": fine}) == []
    (faint,) = diagnose([], {"state": {"names": ["a", "b", "c"], "offset": [0, 0, 0], "scale": [0.5, 1e-5, 0.4]}})
    assert faint.symptom == "near-constant dimension" and "b (1e-05)" in faint.said
    (idle,) = diagnose([], {"action": {"names": ["a"], "offset": [0.0], "scale": [1.0]}})
    assert idle.symptom == "normaliser inactive"


def test_a_loss_that_comes_back():
    rows = [{"step": i, "loss": v} for i, v in enumerate([5, 2, 1, 0.5, 1, 3, 4, 4])]
    assert names(diagnose(rows)) == ["divergence"]
    assert diagnose([r | {"stage": float(i > 3)} for i, r in enumerate(rows[:6])]) == []


def test_predictions_alone():
    rng = np.random.default_rng(0)
    labels = np.cumsum(rng.normal(0, 0.1, (50, 8, 3)), 1) + rng.normal(0, 1, (50, 1, 3))
    assert from_predictions(labels + rng.normal(0, 0.01, labels.shape), labels) == []
    assert names(from_predictions(np.zeros_like(labels) + 0.01 * labels, labels)) == ["mode collapse"]
    assert names(from_predictions(labels + rng.normal(0, 2, labels.shape), labels)) == ["action jitter"]
    assert names(from_predictions(labels * np.nan, labels)) == ["NaN"]


def test_a_run_that_is_being_written_and_one_that_is_not_there(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 1.0, "loss": 2.0}\n{"step": 2.0, "lo')
    assert examine(tmp_path) == []
    with pytest.raises(BadFile, match=r"no metrics.jsonl"):
        examine(Path("/nowhere"))


def test_the_command(tmp_path, capsys):
    from palmar.cli.commands import Doctor
    from palmar.console import Screen

    (tmp_path / "metrics.jsonl").write_text('{"step": 1.0, "loss": null}\n')
    code, figures = Doctor(tmp_path).run(Screen())
    assert code == 1 and figures["findings"][0]["symptom"] == "NaN" and "Fix:" in capsys.readouterr().out
    json.dumps(figures, allow_nan=False)
    (tmp_path / "metrics.jsonl").write_text('{"step": 5.0, "loss": 1.0, "val_action": 1.0}\n')
    code, figures = Doctor(tmp_path).run(Screen())
    out = capsys.readouterr().out
    assert code == 1 and "too short to judge: 5 steps, with 1 rows (of 5" in out and "healthy" not in out
    assert figures["too_short"].startswith("5 steps")
    (tmp_path / "metrics.jsonl").write_text('{"step": 5.0, "loss": 1.0, "val_action": 1.0}\n' * 5)
    assert Doctor(tmp_path).run(Screen())[0] == 0 and "healthy" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("config.json", "{", "config.json' is damaged"),
        ("config.json", "[]", "config.json' is damaged"),
        ("config.json", '{"normalizers": {"state": {"offset": [0.0]}}}', "config.json' is damaged .*'scale'"),
        ("metrics.jsonl", '{"step": 1.0}\nrubbish\n{"step": 2.0}\n', "metrics.jsonl' is damaged: line 2"),
        ("metrics.jsonl", '{"loss": 1.0}\n', "metrics.jsonl' is damaged: line 1"),
        ("metrics.jsonl", "\x00\x01rubbish", "metrics.jsonl' is damaged: line 1"),
    ],
)
def test_a_damaged_file_is_named(tmp_path, name, text, message):
    (tmp_path / "metrics.jsonl").write_text('{"step": 1.0, "loss": 2.0}\n')
    (tmp_path / name).write_text(text)
    with pytest.raises(BadFile, match=message + r".*Next:"):
        examine(tmp_path)
