"""A checkpoint keeps the names of the tasks it was trained on, and who tries it on another is told."""

import json
import shutil
from types import SimpleNamespace

import pytest
from squares import Squares
from training import train

from palmar.cli import main
from palmar.data.trained_tasks import MOST, never_trained, said_tasks, task_names
from palmar.errors import BadValue
from palmar.lab import suite
from palmar.models import checkpoint
from palmar.models.presets import palmar_nano
from palmar.policy import shipped
from palmar.train.loop import TrainConfig

CONFIG = TrainConfig(steps=1, horizon=4, batch_size=8, threads=1)


def squares(task):
    data = Squares(40)
    for e in data.episodes:
        e.task = task
    return data


def told(out):
    return said_tasks(checkpoint.read_config(out)[3])


def test_it_keeps_the_tasks_of_its_data_and_of_what_it_began_from(tmp_path):
    first = train(palmar_nano(), squares("reach"), tmp_path / "a", CONFIG, progress=False)
    second = train(palmar_nano(), squares("pick"), tmp_path / "b", CONFIG, progress=False, init=first)
    assert told(first) == ("reach",) and told(second) == ("pick", "reach")
    file = first / "config.json"
    built = json.loads(file.read_text())
    del built["info"]["tasks"]  # of an older palmar
    file.write_text(json.dumps(built))
    third = train(palmar_nano(), squares("pick"), tmp_path / "c", CONFIG, progress=False, init=first)
    assert told(first) == ("?",) and told(third) == ("?", "pick")


@pytest.mark.parametrize(
    ("kept", "strange"),
    [
        (["pick", "reach"], ("slide",)),
        (["?", "pick"], ()),  # it does not say all
        (["wipe the table"], ()),  # other names than here
        (None, ()),
        ("slide", ()),
        ([1], ()),
    ],
)
def test_what_was_never_trained_is_said_where_it_is_known(kept, strange):
    assert never_trained({"tasks": kept}, ("pick", "slide"), ("reach", "pick", "slide")) == strange


def test_a_sentence_for_each_of_many_episodes_is_not_kept():
    assert task_names(SimpleNamespace(task=f"do {i}") for i in range(MOST + 1)) == ("?",)
    looked_at = SimpleNamespace(task="look", source="still")
    assert task_names([SimpleNamespace(task="pick"), SimpleNamespace(task=""), looked_at, object()]) == ("pick",)


@pytest.mark.usefixtures("wide")
def test_eval_says_so_before_it_begins(tmp_path, monkeypatch, capsys):
    def stopped(*args, **more):
        raise BadValue("as far as here")

    monkeypatch.setattr(suite, "evaluate", stopped)
    policy = tmp_path / "policy"
    shutil.copytree(shipped(), policy)
    words = ["eval", "--policy", str(policy), "--tasks", "reach", "slide", "pick"]
    assert main(words) == 2 and "never trained" not in capsys.readouterr().out
    built = json.loads((policy / "config.json").read_text())
    built["info"]["tasks"] = ["reach"]
    (policy / "config.json").write_text(json.dumps(built))
    assert main(words) == 2
    assert "was never trained on slide, pick, by what its checkpoint says" in capsys.readouterr().out
