"""`palmar certify`: exit codes, what it writes, and what it refuses."""

import json
from pathlib import Path

import pytest

from palmar.certify.checklist import GROUPS
from palmar.certify.item import Check, Found
from palmar.cli.main import main
from palmar.runtime.adaptation.certificate import ITEMS, KEY, read_certificate


@pytest.fixture
def verdicts(monkeypatch: pytest.MonkeyPatch) -> dict[str, bool | None]:
    """The checklist, each item with a verdict that a test may change; all are met."""
    monkeypatch.delenv(KEY, raising=False)
    said: dict[str, bool | None] = dict.fromkeys(ITEMS, True)

    def check(name: str) -> Check:
        return Check(name, "a requirement", "the way to it", lambda case: Found(said[name], f"found {name}", {"n": 1}))

    for group, own in list(GROUPS.items()):
        monkeypatch.setitem(GROUPS, group, tuple(check(c.name) for c in own))
    return said


def test_all_items_met_certify(verdicts, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "release" / "c.json"
    assert main(["certify", "--out", str(out)]) == 0
    assert "certified" in capsys.readouterr().out
    assert read_certificate(out).certified and "Certified" in out.with_suffix(".html").read_text()
    assert main(["certify", "--verify", str(out)]) == 0
    assert main(["certify", "--out", str(out)]) == 2  # it is there already
    assert main(["certify", "--out", str(out), "--force", "--json"]) == 0


def test_one_item_that_is_not_met_refuses(verdicts, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    verdicts["force"] = False
    out = tmp_path / "c.json"
    assert main(["certify", "--out", str(out), "--json"]) == 1
    assert not json.loads(capsys.readouterr().out)["certified"]
    assert main(["certify", "--verify", str(out)]) == 1
    assert "item not met: force" in capsys.readouterr().out
    verdicts["force"] = None
    assert main(["certify"]) == 0


def test_single_items_are_answered_and_certify_nothing(verdicts, capsys: pytest.CaptureFixture[str]) -> None:
    verdicts["force"] = False
    assert main(["certify", "--only", "success", "light", "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert not made["certified"] and [i["name"] for i in made["items"]] == ["success", "light"]
    assert main(["certify", "--only", "force"]) == 1


def test_quick_certifies_nothing(verdicts, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["certify", "--quick"]) == 1
    assert "--quick certifies nothing" in capsys.readouterr().out


def test_less_than_the_defaults_certifies_nothing(verdicts, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["certify", "--hostile", "100", "--days", "36500"]) == 1
    said = " ".join(capsys.readouterr().out.split())
    assert "--hostile and --days ask for less than by default, which certifies nothing" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere"], "no checkpoint at 'nowhere'"),
        (["--robot", "arm9"], "unknown robot 'arm9'"),
        (["--data", "nowhere"], "is no folder with files"),
        (["--only", "speed"], "unknown item 'speed'"),
        (["--out", "c.html"], "expected a name for the JSON"),
        (["--verify", "nowhere.json"], "no certificate at 'nowhere.json'"),
        (["--verify", "c.json", "--evidence", "x"], "--evidence x counts only without --verify"),
    ],
)
def test_a_mistake_is_told(
    verdicts,
    words: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["certify", *words]) == 2
    assert said in " ".join(capsys.readouterr().err.split())
    assert not list(tmp_path.iterdir())
