"""`palmar models` and `palmar convert`: what there is to build, and weights of others made readable."""

import json

import pytest
import torch

from palmar.cli.main import main
from palmar.models.catalogue import fitted, short, speakers, speaks, views
from palmar.models.presets import PRESETS, preset
from palmar.models.tensors import read_tensors


def test_it_lists_every_system_with_its_sizes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["models", "--json"]) == 0
    out, err = capsys.readouterr()
    rows = {r["system"]: r for r in json.loads(out)["models"]}
    assert set(rows) >= {"palmar", "rt1", "octo", "octo-small", "gr2", "bcz", "humanoid", "act", "diffusion"}
    assert set(rows) >= {"rt2", "openvla", "pi0", "palme", "smolvla"}
    act = rows["act"]
    assert act["published"] == 84e6 and abs(act["paper"] / 84e6 - 1) < 0.15 and 0.5e6 < act["tiny"] < 5e6
    assert act["cameras"] == "4 × 480×640 px" and "L1" in act["head"]
    assert rows["humanoid"]["published"] is None and rows["palmar"]["paper"] is None
    assert "published" in err and "palmar train" in err and "…" not in err  # at 80 columns nothing is cut


def test_figures_are_short() -> None:
    assert [short(x) for x in (None, 1_234_567, 95e6, 7.5e9)] == ["–", "1.23 M", "95 M", "7.5 B"]
    assert views(((256, 256), (128, 128), (128, 128))) == "1 × 256×256, 2 × 128×128 px"


@pytest.mark.parametrize(
    ("name", "answers"), [("palmar-nano", False), ("act-tiny", False), ("rt2-tiny", True), ("pi0-tiny", True)]
)
def test_who_can_answer_questions_is_known_before_it_is_built(name: str, answers: bool) -> None:
    config = preset(name)
    with torch.device("meta"):
        built = config.build(fitted(config))
    assert speaks(config) is answers is hasattr(built, "language_loss") is (name in speakers())


def test_a_pytorch_file_becomes_safetensors(tmp_path, capsys):
    weight = torch.arange(6.0).reshape(2, 3)
    torch.save({"model": {"w": weight, "b": torch.ones(2)}, "optimiser": {"m": torch.zeros(9)}}, tmp_path / "x.pth")
    told, out = ["convert", str(tmp_path / "x.pth")], tmp_path / "x.safetensors"
    assert main([*told, str(out), "--prefix", "model.", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["numbers"] == 8
    tensors, _ = read_tensors(out)
    assert tensors.keys() == {"w", "b"} and torch.equal(tensors["w"], weight)
    for wrong, said in (
        ([str(out)], "is there already"),
        ([str(tmp_path / "y.pth")], "ends in .safetensors"),
        ([str(tmp_path / "y.safetensors"), "--prefix", "net."], "they begin with model., optimiser."),
    ):
        assert main([*told, *wrong]) == 2
        assert said in capsys.readouterr().err
    assert not (tmp_path / "y.safetensors").exists()


STANDS = ("pi0-paper", "smolvla-paper")
"""Built as published."""


@pytest.mark.parametrize("name", PRESETS)
def test_one_preset_says_what_it_is_built_of_and_where_it_departs_from_its_paper(name, capsys):
    assert main(["models", name, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    system = name.partition("-")[0]
    assert found["preset"] == name and found["parameters"] > 0 and found["about"].endswith(".")
    theirs = system not in ("palmar", "imagenet", "humanoid")
    assert ("eparts from" in found["about"]) == (theirs and name not in STANDS)
    assert ("it locates objects" in found["about"]) == (found["parts"].get("objects", "None") != "None")
