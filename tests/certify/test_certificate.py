"""A certificate holds for what it was made of, and for nothing that was changed since."""

import json
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from certified import certificate, checkpoint

from palmar.cli import attended, live, operated
from palmar.cli.main import main
from palmar.cli.runs import RunConfig, RunResult
from palmar.description.write import write_robot
from palmar.errors import BadFile, BadValue
from palmar.robots.arm7 import arm7
from palmar.robots.so101 import so101
from palmar.runtime.adaptation.certificate import (
    KEY,
    Certificate,
    Fingerprints,
    checkpoint_files,
    read_certificate,
    require_certificate,
)
from palmar.runtime.adaptation.versions import CERTIFIED, Versions


@pytest.fixture(autouse=True)
def no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEY, raising=False)


def written(made: Certificate, path: Path) -> Path:
    path.write_text(json.dumps(made.to_dict()))
    return path


@pytest.fixture
def there(tmp_path: Path) -> SimpleNamespace:
    policy = checkpoint(tmp_path / "policy")
    return SimpleNamespace(policy=policy, file=written(certificate(policy), tmp_path / "c.json"), root=tmp_path)


def test_it_holds_for_what_it_was_made_of(there: SimpleNamespace) -> None:
    found = require_certificate(there.file, str(there.policy), "arm7")
    assert found.certified and found == certificate(there.policy)


def test_a_changed_checkpoint_is_told_by_its_file(there: SimpleNamespace) -> None:
    (there.policy / "model.safetensors").write_bytes(b"other weights")
    (there.policy / "extra.txt").write_text("new")
    with pytest.raises(
        BadValue, match=r"extra\.txt is new; checkpoint: model\.safetensors has changed.* Next: palmar certify"
    ):
        require_certificate(there.file, str(there.policy), "arm7")


def test_another_robot_and_another_version_are_told(there: SimpleNamespace, tmp_path: Path) -> None:
    with pytest.raises(BadValue, match="robot: its description has changed"):
        require_certificate(there.file, str(there.policy), "so101")
    now = Fingerprints.of(str(there.policy), "arm7")
    assert read_certificate(there.file).problems(Fingerprints(now.checkpoint, now.robot, "", "9.9")) == [
        f"palmar: version {now.palmar} then, 9.9 now"
    ]


def test_a_robot_file_of_the_same_numbers_is_the_same_robot(there: SimpleNamespace, tmp_path: Path) -> None:
    write_robot(arm7(), tmp_path / "copy.toml")
    assert require_certificate(there.file, str(there.policy), str(tmp_path / "copy.toml")).certified


def test_the_data_are_compared_where_they_are_given(tmp_path: Path) -> None:
    policy, data = checkpoint(tmp_path / "policy"), tmp_path / "set"
    data.mkdir()
    (data / "info.json").write_text("1")
    file = written(certificate(policy, data=data), tmp_path / "c.json")
    assert require_certificate(file, str(policy), "arm7").certified
    assert require_certificate(file, str(policy), "arm7", data).certified
    (data / "info.json").write_text("2")
    with pytest.raises(BadValue, match="data: have changed"):
        require_certificate(file, str(policy), "arm7", data)


def test_what_becomes_of_a_version_does_not_change_it(there: SimpleNamespace) -> None:
    before = checkpoint_files(str(there.policy))
    for name in ("manifest.json", "metrics.jsonl", ".lock"):
        (there.policy / name).write_text("x")
    assert checkpoint_files(str(there.policy)) == before and len(before) == 2


@pytest.mark.parametrize("change", [{"policy": "other"}, {"certified": False}, {"quick": True}, {"items": []}])
def test_a_changed_certificate_is_none(there: SimpleNamespace, change: dict) -> None:
    there.file.write_text(json.dumps(json.loads(there.file.read_text()) | change))
    with pytest.raises(BadFile, match="was changed after it was made"):
        read_certificate(there.file)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": "x"}', "null", '"palmar certificate 1"'])
def test_another_file_is_no_certificate(tmp_path: Path, text: str) -> None:
    (tmp_path / "c.json").write_text(text)
    with pytest.raises(BadFile, match=r"is no certificate.*Next: palmar certify --out"):
        read_certificate(tmp_path / "c.json")
    with pytest.raises(BadFile, match="no certificate at"):
        read_certificate(tmp_path / "none.json")


def test_only_a_key_tells_who_made_it(there: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY, "ours")
    with pytest.raises(BadFile, match="is not signed; expected the key of PALMAR_CERTIFICATE_KEY"):
        read_certificate(there.file)
    written(certificate(there.policy), there.file)
    assert read_certificate(there.file).certified
    monkeypatch.setenv(KEY, "theirs")
    with pytest.raises(BadFile, match="signed with another key"):
        read_certificate(there.file)


@pytest.mark.parametrize(
    ("options", "said"), [({"without": ("force",)}, "item not met: force"), ({"quick": True}, "made with --quick")]
)
def test_one_that_certifies_nothing_promotes_nothing(tmp_path: Path, options: dict, said: str) -> None:
    policy = checkpoint(tmp_path / "policy")
    made = certificate(policy, **options)
    assert not made.certified
    with pytest.raises(BadValue, match=said):
        require_certificate(written(made, tmp_path / "c.json"), str(policy), "arm7")


def test_only_a_verdict_certifies_and_only_one(there: SimpleNamespace) -> None:
    """0 and 1 are no verdicts, and an item that is there twice has none."""
    made = certificate(there.policy)
    for met in (0, 1, ""):
        items = tuple(i | {"met": met if i["name"] == "force" else i["met"]} for i in made.items)
        other = replace(made, items=items)
        assert not other.certified and other.missing == ["force"]
        with pytest.raises(BadFile, match=r"is no certificate.*without name or verdict"):
            read_certificate(written(other, there.file))
    twice = replace(made, items=(*made.items, made.items[0] | {"met": False}))
    assert not twice.certified and twice.missing == ["success"]
    with pytest.raises(BadFile, match=r"is no certificate.*an item is there twice"):
        read_certificate(written(twice, there.file))


def test_an_item_that_does_not_apply_is_not_missing(there: SimpleNamespace) -> None:
    made = certificate(there.policy)
    items = tuple(i | {"met": None if i["name"] == "force" else i["met"]} for i in made.items)
    assert Certificate(made.made, made.policy, made.robot, False, made.fingerprints, items).certified
    fewer = Certificate(made.made, made.policy, made.robot, False, made.fingerprints, items[1:])
    assert fewer.missing == ["success"] and not fewer.certified


def test_a_folder_of_versions_may_need_certificates(tmp_path: Path) -> None:
    versions = Versions(tmp_path / "versions")
    versions.require_certificates("arm7")
    versions.begin(checkpoint(tmp_path / "first"), "first")
    where = checkpoint(versions.room(), b"better")
    versions.add(where.name, "v000", {}, {"passed": True, "reasons": []})
    with pytest.raises(BadValue, match=r"v001 has no certificate.*Next: palmar certify .*v001 --robot arm7"):
        versions.promote("v001")
    other = written(certificate(tmp_path / "first"), tmp_path / "other.json")
    with pytest.raises(BadValue, match=r"does not hold.*model\.safetensors has changed"):
        versions.promote("v001", other)
    assert versions.current == "v000" and [e["event"] for e in versions.history()] == ["began", "rejected", "rejected"]
    versions.promote("v001", written(certificate(where), tmp_path / "own.json"))
    assert versions.current == "v001" and Versions(tmp_path / "versions").certified


def test_the_robot_of_a_folder_of_versions_is_its_contents_and_not_its_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home := tmp_path / "home").mkdir(), (away := tmp_path / "away").mkdir()
    write_robot(arm7(), home / "robot.toml")
    monkeypatch.chdir(home)
    versions = Versions(tmp_path / "versions")
    versions.require_certificates("robot.toml")
    versions.begin(checkpoint(tmp_path / "first"), "first")
    where = checkpoint(versions.room(), b"better")
    versions.add(where.name, "v000", {}, {"passed": True, "reasons": []})
    monkeypatch.chdir(away)
    write_robot(so101(), away / "robot.toml")  # another robot, where the same path leads now
    other = written(certificate(where, "robot.toml"), tmp_path / "other.json")
    with pytest.raises(BadValue, match="robot: its description has changed"):
        versions.promote("v001", other)
    (away / "robot.toml").unlink()
    versions.promote("v001", written(certificate(where, "arm7"), tmp_path / "own.json"))
    assert versions.current == "v001"


def test_a_damaged_mark_lets_nothing_act(tmp_path: Path) -> None:
    versions = Versions(tmp_path / "versions")
    versions.begin(checkpoint(tmp_path / "first"), "first")
    where = checkpoint(versions.room(), b"better")
    versions.add(where.name, "v000", {}, {"passed": True, "reasons": []})
    (versions.root / CERTIFIED).write_text("arm7")
    with pytest.raises(BadFile, match=r"does not say for which robot.* Next: palmar adapt --certified ROBOT"):
        versions.promote("v001", written(certificate(where), tmp_path / "c.json"))
    assert versions.current == "v000"


def test_adapt_promotes_with_a_certificate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    versions = Versions(tmp_path / "versions")
    versions.begin(checkpoint(tmp_path / "first"), "first")
    where = checkpoint(versions.room(), b"better")
    versions.add(where.name, "v000", {}, {"passed": True, "reasons": []})
    file = written(certificate(where, without=("light",)), tmp_path / "c.json")
    words = ["adapt", str(versions.root), "--promote", "v001", "--certificate", str(file)]
    assert main(words) == 2 and versions.current == "v000"
    written(certificate(where), file)
    assert main(words) == 0 and versions.current == "v001"
    assert main(["adapt", str(tmp_path / "first"), "--promote", "v001"]) == 2
    assert main(["adapt", "shipped", "--certificate", str(file)]) == 2
    assert "no folder of versions" in (err := capsys.readouterr().err) and "only with --promote" in err


def test_a_run_may_need_a_certificate(there: SimpleNamespace, capsys: pytest.CaptureFixture[str]) -> None:
    run = ["run", "reach the red cube", "--video", "None", "--certified", str(there.file)]
    assert main(run) == 2  # it is of another checkpoint than the shipped one
    assert main([*run, "--ab", "x"]) == 2
    assert main([*run, "--body", "mock:"]) == 2
    err = " ".join(capsys.readouterr().err.split())
    assert "does not hold for 'shipped'" in err and "--ab names a second" in err and "Next: --robot" in err


class Page:
    """A page where the same instruction is typed twice. between: what happens before it is typed again."""

    address = "http://127.0.0.1:0"

    def __init__(self, between) -> None:
        self.between, self.typed, self.refused = between, 0, []

    def instruction(self) -> str | None:
        self.typed += 1
        if self.typed == 2:
            self.between()
        return "reach the red cube" if self.typed < 3 else None

    def failed(self, why: str) -> None:
        self.refused.append(why)

    def ended(self, summary: dict) -> None:
        """Nothing is shown."""

    def close(self) -> None:
        """Nothing is open."""


def test_every_run_of_a_session_needs_a_certificate_for_the_version_that_acts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    versions = Versions(tmp_path / "versions")
    versions.begin(checkpoint(tmp_path / "first"), "first")
    where = checkpoint(versions.room(), b"other")
    versions.add(where.name, "v000", {}, {"passed": True, "reasons": []})
    file = written(certificate(versions.root), tmp_path / "c.json")
    page, drove = Page(lambda: versions.promote("v001")), []

    def drive(config, *rest) -> RunResult:
        drove.append(versions.current)
        return RunResult(config.instruction, True, True, 1.0, "RUN", "done", defaultdict(float), {})

    monkeypatch.setattr(live, "_on_table", drive)
    monkeypatch.setattr(operated, "RunPage", lambda *args: page)
    words = ["run", "--page", "--page-address", "127.0.0.1:0", "--video", "None", "--policy", str(versions.root)]
    assert main([*words, "--certified", str(file)]) == 0
    assert drove == ["v000"] and versions.current == "v001"
    assert len(page.refused) == 1 and "v001' on 'arm7': checkpoint: model.safetensors has changed" in page.refused[0]
    page.typed = 0
    page.between = lambda: None
    assert main([*words, "--certified", str(file)]) == 2 and page.typed == 0  # no page opens
    assert "does not hold" in " ".join(capsys.readouterr().err.split())


def test_the_policy_that_was_loaded_is_the_one_that_was_certified(
    there: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its files are written between the hash and the loading of it."""
    drove = []

    def load(where: str) -> object:
        (there.policy / "model.safetensors").write_bytes(b"other weights")
        return object()

    def fits(config, policy, robot) -> None:
        drove.append(policy)
        raise BadValue("a test ends here. Next: nothing")

    monkeypatch.setattr(attended, "load_policy", load)
    monkeypatch.setattr(live, "_fitted", fits)
    run = [
        "run",
        "reach the red cube",
        "--video",
        "None",
        "--policy",
        str(there.policy),
        "--certified",
        str(there.file),
    ]
    assert main(run) == 2 and not drove
    assert "checkpoint: model.safetensors has changed" in " ".join(capsys.readouterr().err.split())


def test_the_version_that_was_certified_is_the_one_that_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    versions, loaded = Versions(tmp_path / "versions"), []
    versions.begin(checkpoint(tmp_path / "first"), "first")
    monkeypatch.setattr(attended, "load_policy", loaded.append)
    file = written(certificate(versions.root), tmp_path / "c.json")
    drawn = attended.Drawn(RunConfig("x", str(versions.root), certified=file))
    assert loaded == [str(versions.root / "v000")] and drawn.name == str(versions.root)


def test_verify_says_what_changed(there: SimpleNamespace, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["certify", str(there.policy), "--verify", str(there.file), "--json"]
    assert main(words) == 0 and json.loads(capsys.readouterr().out)["valid"]
    (there.policy / "config.json").unlink()
    assert main(words) == 1
    assert json.loads(capsys.readouterr().out)["problems"] == ["checkpoint: config.json is gone"]
    assert main([*words, "--quick"]) == 2
    there.file.write_text("{")
    assert main(words) == 2
