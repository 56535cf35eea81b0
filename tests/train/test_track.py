"""What trackers hear is what training logged."""

import importlib.util
import json
import math
import sys
from types import ModuleType, SimpleNamespace
from typing import get_args

import pytest
from squares import Squares
from training import train

from palmar.errors import MissingPackage, UnknownName
from palmar.models.presets import palmar_nano
from palmar.train import track
from palmar.train.run import TrainConfig

ROW = {"step": 20.0, "loss": 1.5, "val_loss": 2.5, "pixel": math.nan}


def fake(monkeypatch, name):
    """A package whose runs remember; it is found like an installed one."""
    heard, module = SimpleNamespace(init=None, rows=[]), ModuleType(name)

    def init(**options):
        heard.init = options
        return SimpleNamespace(log=lambda row, step: heard.rows.append((step, row)))

    module.init, module.__spec__ = init, importlib.util.spec_from_loader(name, None)
    monkeypatch.setitem(sys.modules, name, module)
    return heard


@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_a_tracker_hears_finite_numbers_with_their_step(monkeypatch, tmp_path, name):
    heard = fake(monkeypatch, name)
    watch = track.tracker(name, tmp_path / "mine")
    assert heard.init == {"project": "palmar", "name": "mine"}
    watch(ROW)
    assert heard.rows == [(20, {"train/loss": 1.5, "val/loss": 2.5})]


def test_every_row_of_a_training_is_heard(monkeypatch, tmp_path):
    heard, rows = fake(monkeypatch, "wandb"), []
    config = TrainConfig(steps=4, batch_size=8, horizon=4, log_every=2, validation=0.1, validate=1, threads=1)
    watch = track.together(track.wandb("squares"), lambda row: rows.append(dict(row)))
    train(palmar_nano(), Squares(100), tmp_path, config, progress=False, watch=watch)
    logged = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [r["step"] for r in logged] == [step for step, _ in heard.rows] == [r["step"] for r in rows]
    assert len(logged) == 3 and any("val/action" in row for _, row in heard.rows)
    for line, (_, row) in zip(logged, heard.rows, strict=True):
        kept = {k: math.nan if v is None else v for k, v in line.items()}
        assert row == pytest.approx(track.scalars(kept), abs=1e-6)


def test_tensorboard_reads_what_was_written(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    watch = track.tracker("tensorboard", tmp_path)
    for i in range(3):
        watch({"step": 10.0 * i, "loss": 3.0 - i, "val_loss": math.nan})
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert events.Tags()["scalars"] == ["train/loss"]
    assert [(e.step, e.value) for e in events.Scalars("train/loss")] == [(0, 3.0), (10, 2.0), (20, 1.0)]


@pytest.mark.parametrize("name", track.TRACKERS)
def test_what_lacks_is_said_with_its_command(monkeypatch, tmp_path, name):
    monkeypatch.setattr(importlib.util, "find_spec", lambda package: None)
    with pytest.raises(MissingPackage, match=rf"'{name}' is not installed.*palmar\[track\]"):
        track.tracker(name, tmp_path)


def test_an_unknown_tracker_is_refused(tmp_path):
    with pytest.raises(UnknownName, match="Did you mean 'wandb'"):
        track.tracker("wanb", tmp_path)


def test_trackers_open_with_the_first_row(tmp_path, monkeypatch):
    opened = []
    monkeypatch.setitem(track.TRACKERS, "wandb", lambda out: opened.append(out) or (lambda row: opened.append(row)))
    watch = track.lazily(("wandb",), tmp_path / "run")
    assert opened == []
    watch({"step": 1.0})
    watch({"step": 2.0})
    assert opened == [tmp_path / "run", {"step": 1.0}, {"step": 2.0}]
    assert get_args(track.Tracker) == tuple(track.TRACKERS)
