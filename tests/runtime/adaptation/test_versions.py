"""The history of a policy's versions: what acts, where it came from, and that nothing acts without a gate."""

import json
from pathlib import Path

import pytest

from palmar.errors import BadFile, BadValue, UnknownName
from palmar.runtime.adaptation.versions import Versions, is_history

PASSED = {"passed": True, "reasons": []}
FAILED = {"passed": False, "reasons": ["gate change on new tables"]}


def begun(root: Path) -> Versions:
    source = root / "source"
    source.mkdir()
    (source / "config.json").write_text("{}")
    versions = Versions(root / "history", now=lambda: "2026-01-01T00:00:00+00:00")
    assert versions.begin(source, "shipped") == "v000"
    return versions


def added(versions: Versions, gate: dict | None) -> str:
    where = versions.room()
    where.mkdir()
    return versions.add(where.name, versions.current, {"corrections": "data/c"}, gate)


def test_a_version_with_a_passed_gate_acts_and_its_parent_again(tmp_path: Path) -> None:
    versions = begun(tmp_path)
    assert (versions.path("v000") / "config.json").exists() and versions.current == "v000"
    name = added(versions, PASSED)
    assert versions.current == "v000"
    versions.promote(name)
    assert Versions(versions.root).current == name == "v001"
    assert versions.version(name).parent == "v000" and versions.version(name).passed
    assert versions.roll_back("tracking joint4") == "v000" == versions.current
    assert [e["event"] for e in versions.history()] == ["began", "promoted", "rolled back"]
    assert versions.history()[-1]["reason"] == "tracking joint4"
    with pytest.raises(BadValue, match="no parent"):
        versions.roll_back("again")


@pytest.mark.parametrize(("gate", "said"), [(None, "held-out"), (FAILED, "did not pass")])
def test_without_a_passed_gate_nothing_changes(tmp_path: Path, gate: dict | None, said: str) -> None:
    versions = begun(tmp_path)
    name = added(versions, gate)
    with pytest.raises(BadValue, match=said):
        versions.promote(name)
    assert versions.current == "v000" and versions.history()[-1]["event"] == "rejected"


def test_what_a_crash_left_is_no_version(tmp_path: Path) -> None:
    versions = begun(tmp_path)
    (versions.room()).mkdir()  # no manifest: it was cut off
    with (versions.root / "history.jsonl").open("a") as file:
        file.write('{"time": "2026')
    assert versions.names() == ["v000"] and len(versions.history()) == 1
    assert added(versions, PASSED) == "v001"


def test_a_version_that_was_compared_with_one_that_was_rolled_back_does_not_act(tmp_path: Path) -> None:
    versions = begun(tmp_path)
    versions.promote(added(versions, PASSED))
    later = added(versions, PASSED)  # is adapted from v001, and tried against it
    versions.roll_back("tracking joint4")
    with pytest.raises(BadValue, match="compared it with v001, and v000 acts now"):
        versions.promote(later)
    assert versions.current == "v000" and versions.history()[-1]["event"] == "rejected"


def test_a_history_that_a_crash_cut_off_goes_on(tmp_path: Path) -> None:
    versions = begun(tmp_path)
    versions.promote(added(versions, PASSED))
    file = versions.root / "history.jsonl"
    file.write_bytes(file.read_bytes()[:-20])
    versions.roll_back("test")
    assert [e["event"] for e in versions.history()] == ["began", "rolled back"]


def test_foreign_folders_and_names_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "notes.txt").write_text("mine")
    with pytest.raises(BadFile, match="something else"):
        Versions(tmp_path / "a")
    versions = begun(tmp_path)
    with pytest.raises(UnknownName, match="v000"):
        versions.version("v007")
    (versions.root / "v000" / "manifest.json").write_text(json.dumps({"name": "v000"}))
    with pytest.raises(BadFile, match="manifest"):
        versions.version("v000")
    assert is_history(versions.root) and not is_history(tmp_path / "a")


def test_an_alarm_of_one_version_does_not_take_another_back(tmp_path: Path) -> None:
    """v001 alarmed; v002 was promoted before the folder could go back."""
    versions = begun(tmp_path)
    for _ in range(2):
        versions.promote(added(versions, PASSED))
    assert versions.roll_back("late", "v001") == "" and versions.current == "v002"
    assert versions.roll_back("its own", "v002") == "v001" == versions.current
