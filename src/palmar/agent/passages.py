"""Files as passages: a few lines each that belong together, under their heading. A citation names one by file and lines.

Markdown is cut by heading and paragraph, a log by run, a black box where its guards began or ceased to act, and a result file or
page into pieces of about `SIZE` characters.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from palmar.agent import readable as text
from palmar.agent.readable import ReadableFile, parts, readable, row_of
from palmar.errors import BadFile

SIZE = 800  # characters of a passage, unless one line is longer
MOST = {**dict.fromkeys(text.ROWS, 200), **dict.fromkeys(text.JSON, 60), **dict.fromkeys(text.HTML, 200)}
OTHERS = 1000
"""Passages of one file that are kept by its kind: of rows the last, of others the first."""
HEADING = re.compile(r" {0,3}(#{1,6})\s")
LONGEST_HEADING = 300  # characters of a heading that are kept: it is repeated with every passage under it
FENCE = re.compile(r" {0,3}(```|~~~)")
KEY = re.compile(r'(\s*)"((?:[^"\\]|\\.){1,80})":\s*[\[{]\s*$')
WORD = re.compile(r"[^\W\d_]{2,}")


@dataclass(frozen=True, slots=True)
class Passage:
    """Lines first … last of the file at `path`, from 1. heading: path of headings or keys above it. text: what the lines say
    (`readable`), or a part of one very long line."""

    path: str
    first: int
    last: int
    heading: str
    text: str

    @property
    def citation(self) -> str:
        """`path:first-last`."""
        return f"{self.path}:{self.first}-{self.last}"


@dataclass(frozen=True, slots=True)
class Quotation:
    """holds: whether the lines still say what the passage says. text: what they say now, "" where they are gone. at: the lines
    (first, last) that say it now, None where none do."""

    passage: Passage
    holds: bool
    text: str
    at: tuple[int, int] | None


def quote(passage: Passage) -> Quotation:
    """The passage compared with its file as it is now."""
    try:
        file = readable(passage.path)
    except BadFile:
        return Quotation(passage, False, "", None)
    now = file.between(passage.first, passage.last)
    if now is not None and (now == passage.text or (passage.first == passage.last and passage.text in parts(now))):
        return Quotation(passage, True, now, (passage.first, passage.last))
    wanted = passage.text.split("\n")
    for i, line in enumerate(file.lines):
        if line == wanted[0] and list(file.lines[i : i + len(wanted)]) == wanted:
            return Quotation(passage, False, now or "", (file.start + i, file.start + i + len(wanted) - 1))
    return Quotation(passage, False, now or "", None)


def passages_of(path: str | Path, file: ReadableFile | None = None) -> tuple[list[Passage], int]:
    """The passages of a file in its order, and how many were left out beyond `MOST`. file: as it was read already.

    Raises `BadFile` as `readable` does.
    """
    file = readable(path) if file is None else file
    kind = Path(path).suffix.lower()
    if kind in text.ROWS:
        pieces = _rows(file)
    elif kind in text.JSON:
        pieces = _packed(file, _keys(file.lines))
    elif kind in text.HTML:
        pieces = _packed(file, [""] * len(file.lines))
    else:
        pieces = _paragraphs(file, kind in text.MARKDOWN)
    made = [Passage(str(path), *p) for p in pieces if kind in text.MARKDOWN or len(WORD.findall(p[3])) > 2]
    most = MOST.get(kind, OTHERS)
    kept = made[-most:] if kind in text.ROWS else made[:most]
    return kept, len(made) - len(kept)


Piece = tuple[int, int, str, str]
"""First line, last line, heading, text."""


def _cut(file: ReadableFile, first: int, last: int, heading: str) -> Iterator[Piece]:
    """The lines from index `first` to `last`, in pieces of about `SIZE` characters that begin and end with a line of words."""
    at = first
    while at <= last:
        end, size = at, len(file.lines[at])
        while end < last and size + len(file.lines[end + 1]) + 1 <= SIZE:
            end += 1
            size += len(file.lines[end]) + 1
        a, b = at, end
        while a < b and not file.lines[a].strip():
            a += 1
        while b > a and not file.lines[b].strip():
            b -= 1
        if file.lines[a].strip():
            for part in parts(file.lines[a]) if a == b else ["\n".join(file.lines[a : b + 1])]:
                yield file.start + a, file.start + b, heading, part
        at = end + 1


def _paragraphs(file: ReadableFile, markdown: bool) -> Iterator[Piece]:
    """Paragraphs, tables and blocks of code; short ones of a section together, long ones in pieces."""
    heads: list[str] = []
    first, last, size, fenced, begun = -1, -1, 0, "", -1  # of the section's piece, and of the block that goes on

    def flush() -> Iterator[Piece]:
        nonlocal first, size
        if first >= 0:
            yield from _cut(file, first, last, " > ".join(h for h in heads if h))
        first, size = -1, 0

    for i, line in enumerate((*file.lines, "")):
        fence = FENCE.match(line) if markdown else None
        heading = HEADING.match(line) if markdown and not fenced else None
        ends = heading is not None or (not line.strip() and not fenced) or i == len(file.lines)
        if ends and begun >= 0:  # the block begun … i-1 is whole: does it still fit?
            length = sum(len(x) + 1 for x in file.lines[begun:i])
            if first >= 0 and size + length > SIZE:
                yield from flush()
            first = begun if first < 0 else first
            last, size, begun = i - 1, size + length, -1
        if heading is not None:
            yield from flush()
            level = len(heading[1])
            heads = [*heads[: level - 1], *[""] * (level - 1 - len(heads)), _heading(line[heading.end() :])]
            first, last, size = i, i, len(line) + 1
        elif not ends and begun < 0:
            begun = i
        if fence:
            fenced = "" if fenced == fence[1] else fenced or fence[1]
    yield from flush()


def _heading(text: str) -> str:
    """The words of a heading of Markdown, without the marks that may close it. No regular expression: one that strips both ends
    takes a time that grows with the cube of the spaces in a line."""
    return text.strip().rstrip("#").rstrip()[:LONGEST_HEADING]


def _packed(file: ReadableFile, headings: list[str]) -> Iterator[Piece]:
    """Lines together up to `SIZE` characters, under the heading of the first."""
    at = 0
    while at < len(file.lines):
        end, size = at, len(file.lines[at])
        while end + 1 < len(file.lines) and size + len(file.lines[end + 1]) + 1 <= SIZE:
            end += 1
            size += len(file.lines[end]) + 1
        yield from _cut(file, at, end, headings[at])
        at = end + 1


def _keys(lines: tuple[str, ...]) -> list[str]:
    """The keys that each line of indented JSON lies under."""
    stack: list[tuple[int, str]] = []
    found = []
    for line in lines:
        indent = len(line) - len(line.lstrip())
        if line[indent : indent + 1] not in ("", "]", "}"):
            while stack and stack[-1][0] >= indent:
                stack.pop()
        found.append(" > ".join(key for _, key in stack[-6:]))
        if key := KEY.match(line):
            stack.append((len(key[1]), key[2]))
    return found


def _rows(file: ReadableFile) -> Iterator[Piece]:
    """Rows of JSON. Of a black box those where what was done changed; others together as far as they are of one run."""
    values = [row_of(line) for line in file.raw]
    if values and isinstance(values[0], dict) and "blackbox" in values[0]:
        before: Any = None
        for i, value in enumerate(values):
            now = _acted(value)
            if i == 0 or now != before or i == len(values) - 1:
                yield from _cut(file, i, i, _tick(value))
            before = now
        return
    at = 0
    while at < len(values):
        run, end, size = _run(values[at]), at, len(file.lines[at])
        while end + 1 < len(values) and _run(values[end + 1]) == run and size + len(file.lines[end + 1]) + 1 <= SIZE:
            end += 1
            size += len(file.lines[end]) + 1
        yield from _cut(file, at, end, run)
        at = end + 1


def _run(value: Any) -> str:
    if not isinstance(value, dict):
        return ""
    return f"operations log > run {value['run']}" if "palmar" in value and "run" in value else ""


def _acted(value: Any) -> Any:
    """What a person looks for in a tick of a black box: which guards changed the command, whether it stopped, what failed."""
    if not isinstance(value, dict):
        return None
    reasons = value.get("reasons")
    guards = [r.get("guard") for r in reasons if isinstance(r, dict)] if isinstance(reasons, list) else []
    return guards, value.get("stop"), value.get("halted"), value.get("failure")


def _tick(value: Any) -> str:
    if isinstance(value, dict) and "time" in value:
        return f"black box > tick {value.get('index')} at {value['time']} s"
    return "black box"
