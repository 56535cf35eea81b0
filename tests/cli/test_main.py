"""The command line: exit codes, messages, and one JSON object."""

import json
from pathlib import Path

import pytest

from palmar.cli.main import main


def said(capsys: pytest.CaptureFixture[str]) -> tuple[str, str]:
    out, err = capsys.readouterr()
    return out, " ".join(err.split())


def test_alone_says_what_to_do_next(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    out, _ = said(capsys)
    assert 'palmar run "pick up the red cube"' in out and "palmar demo" in out


@pytest.mark.parametrize(
    ("instruction", "message"),
    [
        ("pick up the purpel cube", "unknown colour 'purpel'. Did you mean 'purple'?"),
        ("pick up the red pyramid", "unknown object 'pyramid'. Known: cube, block"),
        ("push the red cube", "does not say which way; expected one of left, right, forward"),
        ("put the red ball", "does not say where"),
        ("", "no object in ''"),
    ],
)
def test_an_instruction_it_cannot_do(instruction: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", instruction]) == 2
    assert message in said(capsys)[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["eval", "--policy", "/nowhere/at/all"], "no checkpoint at '/nowhere/at/all'. Next: train one"),
        (["eval", "--policy", "expert", "--world", "mars"], "world is 'mars'; expected sim, twin or twin:SEED"),
        (["eval", "--policy", "expert", "--episodes", "0"], "episodes is 0; expected 1 or more"),
        (["inspect", "/nowhere/at/all"], "/nowhere/at/all"),
        (["train", "--data", "/nowhere/at/all"], "/nowhere/at/all"),
        (["collect", "--out", "x", "--strength", "9"], "randomisation strength is 9.0; expected 0 … 2"),
        (["compare", "/nowhere/a.json", "/nowhere/b.json"], "no results at '/nowhere/a.json'"),
    ],
)
def test_a_users_mistake_is_exit_code_2(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert message in said(capsys)[1]


def test_an_error_is_json_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", "--policy", "/nowhere/at/all", "--json"]) == 2
    assert json.loads(said(capsys)[0])["kind"] == "BadFile"


def test_a_full_folder_is_not_written_into(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    assert main(["collect", "--out", str(tmp_path), "--episodes", "1"]) == 2
    assert main(["demo", "--out", str(tmp_path)]) == 2
    assert main(["demo", "--out", str(tmp_path), "--force"]) == 2, "only a demo may be replaced"
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_an_unknown_command_lists_the_known(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["evaluate"])
    assert end.value.code == 2
    out, err = capsys.readouterr()
    assert "eval" in out + err
