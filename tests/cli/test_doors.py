"""Where a command writes is looked at before it works: one way for every command and every option that names a file."""

from pathlib import Path

import pytest

from palmar.cli.main import main

WRITING = [
    ["robot", "make", "nothing.urdf", "--out", "{}.toml"],
    ["inspect", "nothing", "--html", "{}.html"],
    ["import", "nothing", "--out", "{}"],
    ["convert", "nothing.pth", "{}.safetensors"],
    ["train", "act-tiny", "--data", "nothing", "--out", "{}"],
    ["questions", "--out", "{}"],
    ["collect", "--out", "{}"],
    ["demo", "--out", "{}"],
    ["eval", "--policy", "nothing", "--out", "{}.json"],
    ["eval", "--policy", "nothing", "--data", "nothing", "--html", "{}.html"],
    ["pull", "me/pick", "--out", "{}"],
    ["sysid", "--out", "{}.json"],
    ["run", "--replay", "nothing", "--plot", "{}.png"],
    ["run", "pick up the red cube", "--policy", "nothing", "--video", "{}.mp4"],
    ["run", "pick up the red cube", "--policy", "nothing", "--blackbox", "{}"],
]


@pytest.mark.parametrize("words", WRITING, ids=lambda words: " ".join(words[:2] + words[-2:]))
def test_a_place_that_cannot_be_written_is_told_before_any_work(
    words: list[str], tmp_path: Path, monkeypatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    assert main([w.format("file/new/x") for w in words]) == 2
    assert "'file' is a file; expected a folder. Next: another path" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


READING = [w for w in WRITING if any(part.startswith("nothing") for part in w)]


@pytest.mark.parametrize("words", READING, ids=lambda words: " ".join(words[:2] + words[-2:]))
def test_a_new_folder_passes_and_is_not_left_behind_by_a_failure(
    words: list[str], tmp_path: Path, monkeypatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([w.format("new/deeper/x") for w in words]) == 2
    assert "nothing" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
