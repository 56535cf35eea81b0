"""The whole life in small: collect → inspect → train → resume → evaluate → deploy in real time, through the command line."""

import json
import shutil
from pathlib import Path

import pytest

from palmar.cli.main import main


def figures(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict:
    capsys.readouterr()
    code = main([*arguments, "--json"])
    out = capsys.readouterr().out
    assert code in (0, 1), out
    return json.loads(out)


def test_from_demonstrations_to_a_robot_that_moves(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, policy = str(tmp_path / "data"), str(tmp_path / "policy")

    collected = figures(capsys, "collect", "--out", data, "--episodes", "4", "--processes", "1")
    assert collected["saved"] == 4 and collected["frames"] > 60

    page = tmp_path / "page.html"
    seen = figures(capsys, "inspect", data, "--html", str(page))
    assert "4" in json.dumps(seen) and page.stat().st_size > 10_000

    first = figures(
        capsys,
        "train",
        "palmar-nano",
        "--data",
        data,
        "--out",
        policy,
        "--steps",
        "30",
        "--batch-size",
        "32",
    )
    rows = [json.loads(line) for line in (tmp_path / "policy" / "metrics.jsonl").read_text().splitlines()]
    losses = [r["loss"] for r in rows if "loss" in r]
    assert first["step"] == 30 and losses[-1] < losses[0], losses

    trials = figures(
        capsys, "eval", "--policy", policy, "--episodes", "1", "--tasks", "reach", "pick", "--processes", "1",
        "--out", str(tmp_path / "a.json"),
    )  # fmt: skip
    assert trials["success"]["layout"]["all"]["n"] == 2
    shutil.copy(tmp_path / "a.json", tmp_path / "b.json")
    same = figures(capsys, "compare", str(tmp_path / "a.json"), str(tmp_path / "b.json"))
    assert same["difference"] == 0 and same["verdict"] == "cannot tell"

    film = tmp_path / "run.mp4"
    ran = figures(capsys, "run", "reach the red cube", "--policy", policy, "--timeout", "1.5", "--video", str(film))
    assert 0 < ran["timing"]["ticks"] <= 75 and ran["mode"] == "RUN"
    assert film.stat().st_size > 5_000


def test_a_damaged_checkpoint_names_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "config.json").write_text("{")
    (tmp_path / "model.safetensors").write_bytes(b"\0" * 100)
    assert main(["eval", "--policy", str(tmp_path), "--episodes", "1", "--processes", "1"]) == 2
    message = capsys.readouterr().err
    assert "config.json" in message and "Next:" in message
