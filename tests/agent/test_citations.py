"""What an answer cites is compared with what the tools named, whatever the names of files hold."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palmar.agent.citations import Place, citations, places_in, with_checked_citations
from palmar.agent.sources import ENDINGS

NAMED = (
    Place("/home/my docs/notes.md", 3, 5),
    Place("docs/stop.md", 10, 20),
    Place("runs/blackbox/skill-000.jsonl", 2, 501),
    Place("runs/own.suffix", 1, 9),
    Place("LICENSE", 1, 9),
    Place("docs/(old) stop.md", 1, 1),
)
NOTE = "\n\n(named by no tool, and so not to be relied on: "


def wrong(text):
    said = with_checked_citations(text, NAMED, {*ENDINGS, ".suffix"})
    assert said.startswith(text)
    return said[len(text) :].removeprefix(NOTE).removesuffix(")")


@pytest.mark.parametrize(
    "text",
    [
        "(/home/my docs/notes.md:3-5)", "my docs/notes.md:4", "see notes.md:3–5.", "`stop.md`:10-20", "**docs/stop.md:10**",
        "it failed (at 8.8 s, runs/blackbox/skill-000.jsonl:192)", "skill-000.jsonl:2-501", "own.suffix:9", "LICENSE:7",
        "docs/(old) stop.md:1", "(old) stop.md:1-1", "见stop.md:12。", "at 127.0.0.1:8000, 12:30, model:4", "",
    ],
)  # fmt: skip
def test_places_that_a_tool_named_are_left_alone(text):
    assert wrong(text) == ""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("made_up.md:7", "made_up.md:7"), ("notes.md:2-5", "notes.md:2-5"), ("notes.md:5-3", "notes.md:5-3"),
        ("/home/my docs/notes.md:99", "/home/my docs/notes.md:99"), ("xstop.md:10", "xstop.md:10"),
        ("other/stop.md:10", "other/stop.md:10"), ("`made_up.md`:7", "made_up.md:7"), ("made_up.suffix:1", "made_up.suffix:1"),
        ("MADE_UP.MD:7", "MADE_UP.MD:7"), ("LICENSE:10", "LICENSE:10"), (f"stop.md:{'9' * 5000}", f"stop.md:{'9' * 21}"),
        ("stop.md:10-99999999999", "stop.md:10-99999999999"), ("a.md:1, a.md:1 and b.md:2", "a.md:1, b.md:2"),
        *((f"made_up{e}:7", f"made_up{e}:7") for e in ENDINGS),
    ],
)  # fmt: skip
def test_places_that_no_tool_named_are_told(text, said):
    assert wrong(f"It is so ({text}).") == said


def test_without_any_tool_every_place_is_told():
    assert with_checked_citations("x.md:1", (), ENDINGS).endswith("relied on: x.md:1)")


def test_the_lines_that_a_text_names_of_a_file():
    said = "its last 10.0 s (runs/my box/a.jsonl:2-501), least at runs/my box/a.jsonl:192; palmar replay runs/my box/a.jsonl"
    assert places_in(said, "runs/my box/a.jsonl") == [
        Place("runs/my box/a.jsonl", 2, 501), Place("runs/my box/a.jsonl", 192, 192)
    ]  # fmt: skip
    assert str(Place("a.md", 1, 2)) == "a.md:1-2"


@pytest.mark.parametrize(
    "text", ["a.md" * 100_000, "a/" * 200_000, "a.md:1" * 20_000, ":1" * 50_000, "docs/stop.md:" * 20_000]
)
def test_an_answer_of_any_length_is_checked(text):
    """An expression that looks for a path takes hours for some of these."""
    assert with_checked_citations(text, NAMED, ENDINGS).startswith(text)


@given(st.text("a.md:1-9 /(`é见", max_size=60))
def test_what_is_cited_is_in_the_text(text):
    for c in citations(text, ("docs/a.md",), (".md",)):
        assert (c.path in text and c.named == (c.path in ("docs/a.md", "a.md"))) or not c.named
