"""Passages are lines of their file, word for word, whatever the file holds; and a citation can be checked."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import palmar
from palmar.agent import passages, readable, sources
from palmar.agent.passages import Passage, passages_of, quote
from palmar.errors import BadFile

DOCS = Path(palmar.__file__).parents[2] / "docs"
LINES = st.lists(
    st.sampled_from(
        ["", "# One", "## Two", "#### Four", "```", "~~~", "| a | b |", "|---|---|", "    code", "- item", "# "]
    )
    | st.text(st.characters(exclude_characters="\n\r\0", exclude_categories=["Cs"]), max_size=60)
    | st.text("word ", min_size=700, max_size=1500),
    max_size=40,
)


def written(folder: Path, name: str, data: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


@pytest.mark.parametrize("name", ("notes.md", "notes.txt"))
@given(lines=LINES, ending=st.sampled_from(["\n", "\r\n"]), last=st.booleans())
@settings(max_examples=60, deadline=None)
def test_a_passage_is_its_lines_and_no_words_are_lost(tmp_path_factory, name, lines, ending, last):
    text = ending.join(lines) + (ending if last and lines else "")
    path = written(tmp_path_factory.mktemp("p"), name, text)
    held = path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n").split("\n")
    found, left_out = passages_of(path)
    covered: set[int] = set()
    for p in found:
        assert 1 <= p.first <= p.last <= len(held)
        assert p.text == "\n".join(held[p.first - 1 : p.last])
        assert len(p.text) <= passages.SIZE or p.first == p.last
        assert quote(p).holds and quote(p).at == (p.first, p.last)
        here = set(range(p.first, p.last + 1))
        assert not here & covered, "a line is in one passage"
        covered |= here
    assert left_out == 0
    if name.endswith(".md"):
        assert {i + 1 for i, line in enumerate(held) if line.strip()} <= covered


def test_every_passage_of_the_docs_is_what_the_file_holds():
    pages = sorted(DOCS.glob("*.md"))
    assert len(pages) > 20
    for path in pages:
        held = path.read_text("utf-8").split("\n")
        found, left_out = passages_of(path)
        assert left_out == 0 and all(p.text == "\n".join(held[p.first - 1 : p.last]) for p in found)
        assert {i for p in found for i in range(p.first, p.last + 1)} >= {i + 1 for i, line in enumerate(held) if line}


def test_headings_are_the_path_to_a_passage_and_none_is_read_in_a_block_of_code(tmp_path):
    text = "# Top\n\nfirst\n\n## Inner\n\n```\n# no heading\n```\n\n# Other ##\n\nlast\n"
    found, _ = passages_of(written(tmp_path, "a.md", text))
    assert [(p.heading, p.first, p.last) for p in found] == [("Top", 1, 3), ("Top > Inner", 5, 9), ("Other", 11, 13)]


def test_paragraphs_stay_whole_and_long_ones_are_cut_between_lines(tmp_path):
    short, long = "word " * 60, "\n".join(["row " * 40] * 12)
    found, _ = passages_of(written(tmp_path, "a.md", f"{short}\n\n{short}\n\n{short}\n\n{long}\n"))
    assert [(p.first, p.last) for p in found] == [(1, 3), (5, 5), (7, 10), (11, 14), (15, 18)]


def test_a_huge_line_is_read_in_bounded_parts_that_can_be_checked(tmp_path):
    path = written(tmp_path, "a.md", "# Top\n" + "word " * 400_000 + "\nend\n")
    found, _ = passages_of(path)
    parts = [p for p in found if p.first == 2]
    assert len(parts) == readable.PARTS and all(len(p.text) <= readable.LONGEST_LINE and p.last == 2 for p in parts)
    assert all(quote(p).holds for p in found)


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("a.md", b"\x89PNG\r\n\0\0\0\rIHDR", "zero bytes"),
        ("a.md", bytes(range(128, 256)) * 20, "no text in UTF-8"),
        ("a.json", b" " * (readable.LARGEST + 1), "expected at most"),
    ],
)
def test_what_is_no_text_or_too_large_is_refused_with_the_next_step(tmp_path, name, data, said):
    with pytest.raises(BadFile, match=said) as error:
        passages_of(written(tmp_path, name, data))
    assert "Next: " in str(error.value) and name in str(error.value)


def test_a_folder_and_a_file_that_is_not_there_are_refused(tmp_path):
    for path in (tmp_path, tmp_path / "none.md"):
        with pytest.raises(BadFile):
            passages_of(path)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.md", b""),
        ("a.jsonl", b""),
        ("a.json", b""),
        ("a.html", b""),
        ("a.md", b"\n\n \n"),
        ("a.json", b"[" * 200_000),
        ("a.jsonl", b"[" * 200_000 + b"\n{\n" + b'{"a":' * 200_000),
        ("a.html", b"<" * 200_000),
        ("a.html", b"<!--" * 100_000),
        ("a.html", b"<script>" * 50_000 + b"never read"),
        ("a.html", b"<a title='" * 50_000),
        ("a.txt", b"\r" * 1000),
        ("a.md", b"a few words and one bad \xff byte here\n" * 30),
        ("a.md", b"\xef\xbb\xbf# Byte order mark\n\nwords and more words\n"),
    ],
)
def test_hostile_files_are_read_to_their_end_with_checkable_passages(tmp_path, name, data):
    found, _ = passages_of(written(tmp_path, name, data))
    assert len(found) <= 1000 and all(quote(p).holds for p in found)
    assert not any("never read" in p.text for p in found)


def test_the_log_of_runs_is_read_by_run_and_its_newest_rows_are_kept(tmp_path, monkeypatch):
    monkeypatch.setitem(passages.MOST, ".jsonl", 3)
    rows = [
        {
            "palmar": 1,
            "run": f"r{i}",
            "event": "ended",
            "success": i % 2 == 0,
            "words": "self-collision",
            "values": [1.0] * 99,
        }
        for i in range(5)
        for _ in range(2)
    ]
    path = written(tmp_path, "ops.jsonl", "".join(json.dumps(r) + "\n" for r in rows) + '{"palmar": 1, "run": "cut')
    found, left_out = passages_of(path)
    assert [(p.first, p.last) for p in found] == [(7, 8), (9, 10), (11, 11)] and left_out == 3
    assert found[0].heading == "operations log > run r3"
    assert "success: false, words: self-collision, values: 99 values" in found[0].text


def test_of_a_black_box_the_ticks_are_read_where_something_changed(tmp_path):
    quiet = {"index": 0, "time": 0.0, "state": [0.0] * 9, "reasons": [], "stop": False, "halted": "", "failure": ""}
    loud = quiet | {"reasons": [{"guard": "velocity", "words": "velocity 2.1 → 1.0 rad/s"}]}
    ticks = [quiet, quiet, quiet, loud, loud, quiet, quiet | {"stop": True, "halted": "collision"}]
    rows = [{"blackbox": 1, "robot": 'name = "arm7"'}, *(t | {"index": i, "time": i / 50} for i, t in enumerate(ticks))]
    path = written(tmp_path, "fault-000.jsonl", "".join(json.dumps(r) + "\n" for r in rows))
    found, _ = passages_of(path)
    assert [p.first for p in found] == [1, 2, 5, 7, 8]
    assert "velocity 2.1 → 1.0 rad/s" in found[2].text and found[2].heading == "black box > tick 3 at 0.06 s"
    assert all(quote(p).holds for p in found)


def test_results_are_read_under_their_keys_and_bare_numbers_are_left_out(tmp_path):
    value = {"config": {"policy": "shipped"}, "success": {"layout": {"all": {"value": 0.955}}}, "curve": [0.5] * 400}
    found, _ = passages_of(written(tmp_path, "result.json", json.dumps(value, indent=1)))
    assert '"policy": "shipped"' in found[0].text and len(found) == 1
    whole = written(tmp_path, "one.json", json.dumps(value | {"note": "word " * 600}))
    assert "success.layout.all.value: 0.955" in passages_of(whole)[0][0].text


def test_of_a_page_the_visible_words_are_read(tmp_path):
    page = (
        "<!doctype html>\n<style>p { color: red }</style>\n<h1>Certificate of mine</h1>\n<p>Not certified:\n"
        "22 of 24 items met.</p><script>\nvar hidden = 1;\n</script>\n<!-- also hidden --><p>Missing: force &amp; latency.</p>\n"
        '<img src="data:image/png;base64,' + "QUJD" * 50_000 + '">\n'
    )
    path = written(tmp_path, "release.html", page)
    (found,), _ = passages_of(path)
    said = "Certificate of mine\nNot certified:\n22 of 24 items met.\n\n\nMissing: force & latency."
    assert (found.first, found.last, found.text) == (3, 8, said) and quote(found).holds


@pytest.mark.parametrize("entity", ["&#10;", "&NewLine;", "&#x0A;", "&#10", "&#13;", "&#8232;"])
def test_an_entity_that_ends_a_line_shifts_no_number_of_a_line(tmp_path, entity):
    assert readable.visible((f"a{entity}b", "<p>c", f"{entity}{entity}d</p>e")) == ("a b", "c", "d e")
    page = f"<p>one{entity}two\n<p>\n<p>the stop button brakes\n"
    file = readable.readable(written(tmp_path, "a.html", page))
    assert file.lines == ("one two", "", "the stop button brakes")


def test_the_end_of_a_log_that_is_too_large_is_read_with_its_own_lines(tmp_path, monkeypatch):
    monkeypatch.setattr(readable, "LARGEST", 1000)
    rows = [f'{{"event": "number {i:03d}", "words": "the run went on"}}\n' for i in range(100)]
    path = written(tmp_path, "ops.jsonl", "".join(rows))
    found, _ = passages_of(path)
    assert found[-1].last == 100 and found[0].first > 70
    assert all(f"number {p.first - 1:03d}" in p.text.split("\n")[0] and quote(p).holds for p in found)


def test_a_quotation_tells_what_the_file_says_now(tmp_path):
    path = written(tmp_path, "a.md", "# A\n\nThe arm may move.\n\n# B\n\nThe arm rests.\n")
    first, second = passages_of(path)[0]
    assert (first.citation, quote(first).at) == (f"{path}:1-3", (1, 3))
    written(tmp_path, "a.md", "# A\n\nNever: The arm may move.\n\nmore\n\n# B\n\nThe arm rests.\n")
    assert not quote(first).holds and quote(first).at is None and "Never" in quote(first).text
    moved = quote(second)
    assert not moved.holds and moved.at == (7, 9)
    path.unlink()
    assert quote(second) == passages.Quotation(second, False, "", None)
    assert not quote(Passage(str(path), 0, 0, "", "")).holds


def test_a_citation_names_the_file_and_the_lines():
    assert Passage("C:/docs/a.md", 3, 9, "", "").citation == "C:/docs/a.md:3-9"


@pytest.mark.parametrize(
    ("line", "heading"),
    [
        ("# Other ##", "Other"), ("#\tC#", "C"), ("# ", ""), ("## #", ""), ("# a" + " " * 100_000 + "b", "a" + " " * 299),
        ("#" + " " * 100_000, ""), ("# a" + "#" * 100_000, "a"), ("# " + "#" * 100_000 + " b", "#" * 300),
        ("# a" + " #" * 100_000 + "b", "a" + " #" * 149 + " "),
    ],
    ids=range(9),
)  # fmt: skip
def test_a_heading_of_any_length_is_read(tmp_path, line, heading):
    """An expression that strips both ends of a line takes hours for some of these."""
    found, _ = passages_of(written(tmp_path, "a.md", f"{line}\n\nThe arm rests.\n"))
    assert found[-1].heading == heading and found[-1].last == 3


def test_files_are_found_once_without_what_is_hidden_and_the_rest_is_named(tmp_path):
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "b").mkdir()
    for name in ("b/z.md", "a.json", ".hidden/no.md", "no.safetensors", "tokenizer.json", ".no.md"):
        written(tmp_path, name, "x")
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "same.md").symlink_to(tmp_path / "b" / "z.md")
    (tmp_path / "gone.md").symlink_to(tmp_path / "nothing")
    own = written(tmp_path, "own.suffix", "x")
    found, unread = sources.files_under([tmp_path / "b", tmp_path, own, tmp_path / "none"])
    assert [f.name for f in found] == ["z.md", "a.json", "gone.md", "own.suffix"]
    assert [(Path(u.path).name, "Next: " in u.why) for u in unread] == [("none", True)]


def test_a_link_does_not_lead_out_of_the_folder_that_was_named(tmp_path):
    home, runs = tmp_path / "home", tmp_path / "runs"
    for folder in (home, runs, runs / ".ssh", tmp_path / "runs2"):
        folder.mkdir(parents=True)
    key, own = written(home, "id_ed25519", "PRIVATE KEY"), written(runs, "own.md", "x")
    (runs / "readme.txt").symlink_to(key)
    (runs / "up.txt").symlink_to(Path("..") / "home" / "id_ed25519")
    (runs / "beside.txt").symlink_to(written(tmp_path / "runs2", "b.md", "x"))
    (runs / "hidden.txt").symlink_to(written(runs / ".ssh", "id_rsa", "PRIVATE KEY"))
    (runs / "also.md").symlink_to(own)
    found, unread = sources.files_under([runs])
    assert [f.name for f in found] == ["also.md"]
    assert sorted(Path(u.path).name for u in unread) == ["beside.txt", "hidden.txt", "readme.txt", "up.txt"]
    assert all("is a link to" in u.why and "Next: name '" in u.why for u in unread)
    (tmp_path / "link").symlink_to(runs)
    assert [f.name for f in sources.files_under([tmp_path / "link"])[0]] == ["also.md"]  # named itself
    assert [f.name for f in sources.files_under([runs / "readme.txt"])[0]] == ["readme.txt"]


def test_a_pipe_is_named_and_never_waited_for(tmp_path):
    import os

    os.mkfifo(tmp_path / "pipe.md")
    found, unread = sources.files_under([tmp_path])
    assert found == [] and "pipe" in unread[0].why


def test_at_most_so_many_files_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "MOST_FILES", 2)
    for i in range(4):
        written(tmp_path, f"{i}.md", "x")
    found, unread = sources.files_under([tmp_path])
    assert len(found) == 2 and "only 2 of 4" in unread[0].why


def test_the_docs_are_found_in_a_checkout_and_in_a_wheel(tmp_path, monkeypatch):
    assert [p.name for p in sources.documentation()] == ["README.md", "docs"]
    package = tmp_path / "site-packages" / "palmar"
    (package / "agent").mkdir(parents=True)
    monkeypatch.setattr(sources, "__file__", str(package / "agent" / "sources.py"))
    assert sources.documentation() == ()
    (package / "assets" / "docs").mkdir(parents=True)
    assert sources.documentation() == (package / "assets" / "docs",)
