"""`palmar models`: what there is to build, as a table and as figures."""

import json

import pytest

from palmar.cli.main import main
from palmar.models.catalogue import short, views


def test_it_lists_every_system_with_its_sizes(capsys: pytest.CaptureFixture[str]) -> None:
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
