"""The options of a training as one value, from Python as from the command line."""

import json
import shutil
from dataclasses import fields, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from synthetic import ROBOT, episode

from palmar.cli.commands.learn import Train
from palmar.data.findings import examine
from palmar.data.reader import Dataset
from palmar.data.writer import DatasetWriter
from palmar.errors import BadValue, UnknownName
from palmar.lab.collect import CollectConfig, collect
from palmar.models import checkpoint
from palmar.sim.instructions import FREE
from palmar.train.loop import train
from palmar.train.prepare import TrainSettings, prepare, read
from palmar.train.request import TrainRequest


@pytest.fixture(scope="module")
def demos(tmp_path_factory):
    return collect(tmp_path_factory.mktemp("prepare") / "set", CollectConfig(2, ("reach",)), 1, progress=False).root


def test_a_training_is_two_calls_with_one_value_each(demos, tmp_path):
    said = []
    settings = TrainSettings(
        preset="palmar-nano", data=(demos,), out=tmp_path / "run", steps=1, batch_size=8, weights=(2.0,), lr=3e-4
    )
    request = prepare(settings, said.append)
    assert request.config.steps == 1 and request.config.lr == 3e-4 and request.embodiment == "arm7"
    assert request.recipe.stages[0].data.sources == (2.0,) and request.config.horizon == 16
    out = train(request, settings.out, progress=False)
    assert checkpoint.read_interface(out).embodiment == "arm7"
    again = prepare(replace(settings, preset=None, init=str(out), normalizer="new"))
    assert again.model == request.model and again.normalizer == "new" and Path(again.init) == out
    assert prepare(replace(settings, steps=None)).config.minutes == 40.0
    assert prepare(replace(settings, success_only=True)).config.success_only and not request.config.success_only
    told = "reach the red cube"
    free = prepare(replace(settings, free_words=True)).paraphrases(told)
    assert free[: len(plain := request.paraphrases(told))] == plain and len(free) == len(plain) + FREE


def test_frames_at_another_rate_than_fps_are_refused_and_what_else_does_not_fit_is_said(demos, tmp_path):
    """A policy would act at twice the speed; statistics under a name that no feature has are read by nobody."""
    slow, odd = (shutil.copytree(demos, tmp_path / name) for name in ("slow", "odd"))
    for path in slow.glob("data/*/*.parquet"):
        table = pq.read_table(path)
        at = table.column_names.index("timestamp")
        pq.write_table(table.set_column(at, "timestamp", pa.array(2 * table["timestamp"].to_numpy())), path)
    settings = TrainSettings(preset="palmar-nano", data=(slow,), steps=1)
    with pytest.raises(
        BadValue, match=r"slow: frame rate .*0\.2 s apart, which is 5 fps; expected 0\.1 s.*Next: write the true"
    ):
        prepare(settings)
    stats = json.loads((odd / "meta/stats.json").read_text())
    stats["actions"] = stats.pop("action")
    (odd / "meta/stats.json").write_text(json.dumps(stats))
    said: list[str] = []
    prepare(replace(settings, data=(odd,)), said.append)
    assert any("statistics without a feature (actions)" in s and s.startswith("warning: ") for s in said)
    assert "actions" in [c for f in examine(Dataset(odd)) for c in f.channels]
    said.clear()
    prepare(replace(settings, data=(demos,)), said.append)
    assert not any("warning" in s for s in said)


def test_numbers_that_are_not_finite_are_said_once(demos, tmp_path, recwarn):
    """Refused by place; with --good-only nothing warns of what is left out, and nothing computes with it."""
    root = shutil.copytree(demos, tmp_path / "set")
    path = min(root.glob("data/*/*.parquet"))
    table = pq.read_table(path)
    at = table.column_names.index("action")
    rows = table["action"].to_pylist()
    rows[1][0] = float("inf")
    pq.write_table(table.set_column(at, table.field(at), pa.array(rows, table.field(at).type)), path)
    said: list[str] = []
    settings = TrainSettings(preset="palmar-nano", data=(root,), steps=1)
    with pytest.raises(BadValue, match=r"is inf in episode 0, frame 1\. Next: leave the episode out"):
        prepare(settings, said.append)
    assert not [s for s in said if "finite" in s]
    prepare(replace(settings, good_only=True), said.append)
    assert any("1 NaN or infinity" in s for s in said) and not [s for s in said if "warning" in s]
    examine(Dataset(root, cache=False))
    assert not [w for w in recwarn if issubclass(w.category, RuntimeWarning)]


def test_the_command_has_these_options_and_what_is_shown_beside():
    own = {f.name for f in fields(Train)} - {f.name for f in fields(TrainSettings)}
    assert own == {"json", "track"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": ()}, "--data names no folder"),
        ({"data": (Path("act-tiny"),)}, "is a preset, and --data took it for a folder"),
        ({"init": "a", "pretrained": Path("b")}, "both say where to begin"),
        ({"normalizer": "new"}, "goes with --init"),
        ({"weights": (1.0, 2.0)}, "2 numbers for 1 data sets"),
    ],
)
def test_options_that_contradict_each_other_are_told_first(changes, message):
    with pytest.raises(BadValue, match=message):
        prepare(replace(TrainSettings(data=(Path("nowhere"),)), **changes))
    with pytest.raises(UnknownName, match="recipe"):
        prepare(TrainSettings(data=(Path("nowhere"),), recipe="nowhere"))


def test_a_request_that_cannot_be_is_refused_where_it_is_made():
    for more, message in (
        ({}, "without data"), ({"init": "a", "pretrained": "b"}, "both say where to begin"),
        ({"normalizer": "keep"}, "without init"), ({"dt": 0.0}, "dt is 0.0"),
    ):  # fmt: skip
        with pytest.raises(BadValue, match=message):
            TrainRequest(None, [] if not more else [object()], None, **more)


def test_what_a_policy_did_before_a_person_took_over_may_hold_anything(tmp_path):
    """It is not trained on; the numbers of the person's stretch are."""
    with DatasetWriter(tmp_path / "set", ROBOT, 10, interventions=True) as writer:
        made = episode(12, seed=1)
        writer.add(
            replace(made, steps=[replace(s, intervention=k >= 6) for k, s in enumerate(made.steps)], source="corrected")
        )
    path = min((tmp_path / "set").glob("data/*/*.parquet"))
    table = pq.read_table(path)
    at = table.column_names.index("action")
    rows = table["action"].to_pylist()
    rows[2][0] = float("nan")
    pq.write_table(table.set_column(at, table.field(at), pa.array(rows, table.field(at).type)), path)
    settings = TrainSettings(preset="palmar-nano", data=(tmp_path / "set",), steps=1)
    assert sum(e.stop - e.start for e in read(settings, tmp_path / "set", None, print).episodes) == 6
    rows[8][0] = float("nan")
    pq.write_table(table.set_column(at, table.field(at), pa.array(rows, table.field(at).type)), path)
    with pytest.raises(BadValue, match="is nan in episode 0"):
        read(settings, tmp_path / "set", None, print)
