"""`palmar push` and `palmar pull` against a hub on a loopback port: what is sent, what is fetched, and what is refused."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_hub import TOKEN, FakeHub, fake_hub
from synthetic import ROBOT, episode

from palmar.cli.main import main
from palmar.data.reader import Dataset
from palmar.data.writer import DatasetWriter
from palmar.eval.results import Results, Trial
from palmar.hub.contents import hidden, inside
from palmar.models import checkpoint
from palmar.policy import shipped

constants = pytest.importorskip("huggingface_hub.constants")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with fake_hub() as made:
        monkeypatch.setenv("HF_ENDPOINT", made.address)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield made


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("hub") / "set"
    with DatasetWriter(root, ROBOT, 10) as writer:
        for seed in range(4):
            writer.add(episode(12, seed=seed, instruction="lift <b>|it", success=seed > 0))
    return root


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A checkpoint with what a run leaves beside it."""
    folder = shutil.copytree(shipped(), tmp_path / "run")
    (folder / "metrics.jsonl").write_text("{}")
    (folder / "train.safetensors").write_bytes(b"state")
    (folder / "old.pth").write_bytes(b"pickle")
    (folder / ".secret").write_text("hf_x")
    (tmp_path / "outside.json").write_text("{}")
    (folder / "link.json").symlink_to(tmp_path / "outside.json")
    return folder


def files(hub: FakeHub, name: str) -> dict[str, bytes]:
    return hub.repositories[name].commits[-1][1]


# ------------------------------------------------------------------------------------------------ there and back


def test_a_checkpoint_goes_and_comes_back_equal(hub: FakeHub, run: Path, tmp_path: Path, capsys) -> None:
    assert main(["push", str(run), "me/pick", "--license", "apache-2.0", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    sent = files(hub, "models/me/pick")
    assert sorted(sent) == ["README.md", "config.json", "model.safetensors"]
    assert said["left_out"] == [".secret", "link.json", "metrics.jsonl", "old.pth", "train.safetensors"]
    assert said["private"] is True and hub.repositories["models/me/pick"].private
    card = sent["README.md"].decode()
    assert card.startswith("---\nlicense: apache-2.0\nlibrary_name: palmar\n")
    for fact in ("| model | palmar-tiny |", "front 96×96 px", "dx [m]", "Not measured."):
        assert fact in card
    assert not (run / "README.md").exists()
    assert main(["pull", "me/pick", "--out", str(tmp_path / "got"), "--revision", said["commit"], "--json"]) == 0
    got = json.loads(capsys.readouterr().out)
    assert (got["commit"], got["files"], got["left_out"]) == (said["commit"], 3, [])
    assert (tmp_path / "got/model.safetensors").read_bytes() == (run / "model.safetensors").read_bytes()
    assert sorted(p.name for p in (tmp_path / "got").iterdir()) == sorted(sent)
    checkpoint.load(tmp_path / "got")


def test_a_data_set_gets_its_tag_and_no_stale_file(hub: FakeHub, data: Path, tmp_path: Path, capsys) -> None:
    hub.add("datasets/me/lifts", {"data/chunk-000/file-009.parquet": b"old", ".gitattributes": b"x"}, private=True)
    assert main(["push", str(data), "me/lifts", "--license", "cc-by-4.0", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    stored, sent = hub.repositories["datasets/me/lifts"], files(hub, "datasets/me/lifts")
    assert said["repository"] == "datasets/me/lifts" and stored.tags == {"v3.0": said["commit"]}
    local = {p.relative_to(data).as_posix() for p in data.rglob("*") if p.is_file()}
    assert set(sent) == {
        *(n for n in local if n.startswith(("meta/", "data/", "videos/"))),
        "README.md",
        ".gitattributes",
    }
    card = sent["README.md"].decode()
    for fact in (
        "- LeRobot",
        "data_files: data/*/*.parquet",
        "| episodes | 4 |",
        r"lift &lt;b>\|it",
        "75.0 % [30.1, 95.4] (n=4)",
    ):
        assert fact in card
    assert main(["push", str(data), "me/lifts", "--license", "cc-by-4.0"]) == 0
    newest = stored.commits[-1][0]
    assert stored.tags == {"v3.0": newest} and newest != said["commit"]
    capsys.readouterr()
    assert main(["pull", "datasets/me/lifts", "--out", str(tmp_path / "got"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["commit"] == newest
    there = Dataset(tmp_path / "got")
    assert len(there) == 48 and [e.success for e in there.episodes] == [False, True, True, True]
    there.frame(20)


def test_the_tag_of_a_data_set_comes_before_main(hub: FakeHub, data: Path, tmp_path: Path, capsys) -> None:
    whole = {p.relative_to(data).as_posix(): p.read_bytes() for p in data.rglob("*") if p.is_file()}
    tagged = hub.add("datasets/me/a", whole)
    newer = hub.add("datasets/me/a", whole | {"NEWER.md": b""})
    for tags, expected in (({"v3.0": tagged}, tagged), ({}, newer)):
        hub.repositories["datasets/me/a"].tags = tags
        assert main(["pull", "datasets/me/a", "--out", str(tmp_path / expected), "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["commit"] == expected


def test_measured_success_is_in_the_card(hub: FakeHub, run: Path, tmp_path: Path) -> None:
    trials = [
        Trial("reach", "layout", "sim", i, "reach", i > 1, 1.0, True, "cube", None, 0.01, 1.0, 0.1, 10, 0)
        for i in range(20)
    ]
    Results({"world": "sim", "robot": "arm7"}, tuple(trials)).save(tmp_path / "results.json")
    told = ["push", str(run), "me/pick", "--license", "mit", "--results", str(tmp_path / "results.json")]
    assert main(told) == 0
    assert "| layout | 90.0 % [69.9, 97.2] (n=20) |" in files(hub, "models/me/pick")["README.md"].decode()


def test_a_card_of_ones_own_is_kept_and_needs_no_licence(hub: FakeHub, run: Path, capsys) -> None:
    (run / "README.md").write_text("# mine")
    assert main(["push", str(run), "me/pick", "--license", "mit"]) == 2
    assert "is the card already" in capsys.readouterr().err
    assert main(["push", str(run), "me/pick", "--public"]) == 0
    assert files(hub, "models/me/pick")["README.md"] == b"# mine"
    assert not hub.repositories["models/me/pick"].private


# ------------------------------------------------------------------------------------------------ refused before sending


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["me/pick"], "the licence is ''; expected under which one others may use it"),
        (["me/pick", "--license", "MIT License"], "the licence is 'MIT License'"),
        (["pick", "--license", "mit"], "'pick' is no repository of a hub; expected OWNER/NAME"),
        (["me/../x", "--license", "mit"], "'me/../x' is no repository of a hub"),
        (["datasets/me/pick", "--license", "mit"], "holds a checkpoint; 'datasets/me/pick' is the name of a data set"),
        (["me/pick", "--license", "mit", "--results", "none.json"], "no results at 'none.json'"),
    ],
)
def test_what_is_not_right_is_told_before_anything_is_sent(
    words: list[str], message: str, hub: FakeHub, run: Path, capsys
) -> None:
    assert main(["push", str(run), *words]) == 2
    assert message in capsys.readouterr().err
    assert hub.requests == []


def test_a_folder_that_is_none_is_told(hub: FakeHub, run: Path, data: Path, tmp_path: Path, capsys) -> None:
    (tmp_path / "empty").mkdir()
    broken = shutil.copytree(run, tmp_path / "broken", symlinks=True)
    (broken / "model.safetensors").write_bytes(b"x" * 40)
    older = shutil.copytree(data, tmp_path / "older")
    info = json.loads((older / "meta/info.json").read_text())
    (older / "meta/info.json").write_text(json.dumps(info | {"codebase_version": "v9.0"}))
    for folder, message in (
        (tmp_path / "no", "no folder"),
        (tmp_path / "empty", "is no checkpoint (config.json, model.safetensors) and no data set (meta/info.json)"),
        (broken, "is truncated or damaged"),
        (older, "v9.0"),
    ):
        assert main(["push", str(folder), "me/pick", "--license", "mit"]) == 2
        assert message in capsys.readouterr().err
    assert hub.requests == []


def test_what_is_public_is_not_pushed_to_in_silence(hub: FakeHub, run: Path, capsys) -> None:
    before = hub.add("models/me/pick", {"config.json": b"{}"}, private=False)
    assert main(["push", str(run), "me/pick", "--license", "mit"]) == 2
    assert (
        "'me/pick' is there and public; what is pushed could be read by all. Next: --public" in capsys.readouterr().err
    )
    assert hub.repositories["models/me/pick"].commits[-1][0] == before


def test_a_token_that_is_missing_wrong_or_could_be_read(
    hub: FakeHub, run: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    push, pull = ["push", str(run), "me/pick", "--license", "mit"], ["pull", "me/pick", "--out", str(tmp_path / "got")]
    hub.add("models/me/pick", {"config.json": b"{}", "model.safetensors": b""}, private=True)
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    for words in (push, pull):
        assert main(words) == 2
        err = capsys.readouterr().err
        assert "HF_TOKEN" in err and "Next: " in err and "hf_wrong" not in err
    monkeypatch.delenv("HF_TOKEN")
    assert main(push) == 2 and "HF_TOKEN is not set" in capsys.readouterr().err
    assert main(pull) == 2 and "or none that can be read without HF_TOKEN" in capsys.readouterr().err
    assert all(token in ("", "hf_wrong") for _, _, token in hub.requests)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    for address, message in (
        ("http://example.org", "over which HF_TOKEN would travel readable. Next: https"),
        ("ftp://example.org", "HF_ENDPOINT is 'ftp://example.org'; expected the address of a hub"),
        ("http://[1", "HF_ENDPOINT is 'http://[1'; expected the address of a hub"),
        ("https://me:pw@example.org", "HF_ENDPOINT holds a user or a password"),
    ):
        monkeypatch.setenv("HF_ENDPOINT", address)
        assert main(push) == 2
        err = capsys.readouterr().err
        assert message in err and ":pw@" not in err
    monkeypatch.setenv("HF_TOKEN", "hf_a\tb")
    assert main(push) == 2 and "HF_TOKEN holds a space or characters" in capsys.readouterr().err


# ------------------------------------------------------------------------------------------------ fetched whole or not at all


@pytest.fixture
def stored(hub: FakeHub) -> str:
    files = {p.name: p.read_bytes() for p in shipped().iterdir()}
    return hub.add(
        "models/me/pick",
        files | {"optimizer.bin": b"pickle", "eval.py": b"print()", ".gitattributes": b"", ".x/y.json": b"{}"},
    )


def test_pickles_and_programs_are_left(hub: FakeHub, stored: str, tmp_path: Path, capsys) -> None:
    assert main(["pull", "me/pick", "--out", str(tmp_path / "got"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["left_out"] == ["optimizer.bin", "eval.py"]
    assert sorted(p.name for p in (tmp_path / "got").iterdir()) == ["config.json", "model.safetensors"]
    assert not any("optimizer.bin" in path or "eval.py" in path for _, path, _ in hub.requests)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            {"config.json": b"{}", "pytorch_model.bin": b"x"},
            "has no model.safetensors. It has 'pytorch_model.bin', a format that",
        ),
        (
            {"config.json": b"{}", "model.safetensors": b"x", "../out.json": b"x"},
            "a file called '../out.json', which is no name",
        ),
        ({"config.json": b"{}", "model.safetensors": b"x", "a/../../x": b"x"}, "a file called 'a/../../x'"),
        ({"config.json": b"{}", "model.safetensors": b"x" * 99}, "what came of 'me/odd' does not open"),
    ],
)
def test_a_repository_that_is_not_what_it_should_be(
    content: dict, message: str, hub: FakeHub, tmp_path: Path, capsys
) -> None:
    hub.add("models/me/odd", content)
    assert main(["pull", "me/odd", "--out", str(tmp_path / "new/got")]) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_names_that_leave_the_folder_are_known() -> None:
    for name in ("", "/etc/x.json", "../x.json", "a/../../x", "a//b", "./a", "a\\b", "C:x", "a\nb", "a\x1bb"):
        assert not inside(name), name
    assert inside("videos/observation.images.front/chunk-000/file-000.mp4") and inside("a..b/c")
    assert [hidden(name) for name in (".git/x", "a/.b", "a/b.c")] == [True, True, False]


def test_what_is_not_there_is_told(hub: FakeHub, stored: str, tmp_path: Path, capsys) -> None:
    for words, message in (
        (["me/none"], f"there is no model 'me/none' at {hub.address}"),
        (["datasets/me/pick"], "(me/pick would be another)"),
        (["me/pick", "--revision", "v9"], "has no such revision"),
        (["me"], "'me' is no repository of a hub"),
        (["me/a--b"], "'me/a--b' is no name for a hub"),
    ):
        assert main(["pull", *words, "--out", str(tmp_path / "got")]) == 2
        assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_there_is_not_touched(hub: FakeHub, stored: str, tmp_path: Path, capsys) -> None:
    (tmp_path / "got").mkdir()
    (tmp_path / "got/mine").write_text("1")
    (tmp_path / "file").touch()
    for name, message in (("got", "is there already"), ("file", "is a file; expected a folder")):
        assert main(["pull", "me/pick", "--out", str(tmp_path / name)]) == 2
        assert message in capsys.readouterr().err
    assert hub.requests == [] and (tmp_path / "got/mine").read_text() == "1"
    (tmp_path / "empty").mkdir()
    assert main(["pull", "me/pick", "--out", str(tmp_path / "empty")]) == 0
    assert (tmp_path / "empty/config.json").is_file()


def test_a_network_cut_in_the_middle_leaves_nothing(
    hub: FakeHub, stored: str, tmp_path: Path, monkeypatch, capsys
) -> None:
    from huggingface_hub import file_download

    monkeypatch.setattr(file_download.time, "sleep", lambda seconds: None)  # between its own tries
    hub.cut.add("model.safetensors")
    assert main(["pull", "me/pick", "--out", str(tmp_path / "new/got")]) == 2
    assert re.search(r"cannot be read: no connection, or it broke \(\w+\)\. Next: try again", capsys.readouterr().err)
    assert list(tmp_path.iterdir()) == []
    hub.cut.clear()
    assert main(["pull", "me/pick", "--out", str(tmp_path / "new/got")]) == 0


def test_other_bytes_than_the_hub_said_are_refused(hub: FakeHub, stored: str, tmp_path: Path, capsys) -> None:
    for name in ("model.safetensors", "config.json"):
        hub.wrong = {name}
        assert main(["pull", "me/pick", "--out", str(tmp_path / "got")]) == 2
        assert f"'{name}' of 'me/pick' came damaged" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_file_that_cannot_be_compared_is_not_fetched(
    name: str, hub: FakeHub, stored: str, tmp_path: Path, capsys
) -> None:
    hub.unsaid = {name}
    assert main(["pull", "me/pick", "--out", str(tmp_path / "got")]) == 2
    assert f"the hub names no digest of '{name}' of 'me/pick'" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [] and not any("resolve" in path for _, path, _ in hub.requests)


def test_nobody_there_is_told(run: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    with fake_hub() as gone:
        address = gone.address
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_ENDPOINT", address)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    for words in (
        ["pull", "me/pick", "--out", str(tmp_path / "got")],
        ["push", str(run), "me/pick", "--license", "mit"],
    ):
        assert main(words) == 2
        assert "no connection, or it broke" in capsys.readouterr().err
    assert not (tmp_path / "got").exists()
