"""The places that a model cites, `path:line` or `path:first-last`, compared with those that the tools named to it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from unicodedata import east_asian_width

LINES = re.compile(r":(\d+)(?:[-–](\d+))?")
PATH = re.compile(r"[\w./\\~+-]{1,300}")
MOST_DIGITS = 9  # of the number of a line


@dataclass(frozen=True, slots=True)
class Place:
    """Lines first … last of the file at `path`, as a tool named them to the model."""

    path: str
    first: int
    last: int

    def __str__(self) -> str:
        return f"{self.path}:{self.first}-{self.last}"


@dataclass(frozen=True, slots=True)
class Citation:
    """A place as an answer cites it. path: as far as the answer gives it. lines: (first, last), None for a number that no line
    has. named: a tool named the file."""

    text: str
    path: str
    lines: tuple[int, int] | None
    named: bool


def places_in(text: str, path: str) -> list[Place]:
    """The lines of the file at `path` that a text cites."""
    return [Place(path, *c.lines) for c in citations(text, (path,), ()) if c.named and c.path == path and c.lines]


def citations(text: str, paths: Iterable[str], endings: Iterable[str]) -> Iterator[Citation]:
    """What a text cites: lines of the files at `paths`, which may be named by the end of their path alone (docs/a.md, a.md) and may
    have spaces in it, and lines of whatever else is named like a file. endings: of the names of files, such as ".md".

    The time it takes grows with the length of the text and no faster.
    """
    names = {name for path in paths for name in ends_of(path)}
    lengths = sorted({len(n) for n in names}, reverse=True)
    window = max([*lengths, 300]) + 1
    last_of_names, known = tuple({n.rpartition("/")[2] for n in names}), tuple(e.lower() for e in endings)
    for found in LINES.finditer(text):
        before = text[max(0, found.start() - window) : found.start()].rstrip("`*\"'”’")
        token = (PATH.match(before[:-301:-1]) or [""])[0][::-1]
        name = ""
        if before.endswith(last_of_names):
            name = next((before[-n:] for n in lengths if before[-n:] in names and _begins(before[:-n])), "")
        if name or (token.lower().endswith(known) and token.lower() not in known):
            first, last = found[1], found[2] or found[1]
            lines = (int(first), int(last)) if max(len(first), len(last)) <= MOST_DIGITS else None
            yield Citation(f"{name or token}{found[0][: 2 * MOST_DIGITS + 4]}", name or token, lines, bool(name))


def ends_of(path: str) -> list[str]:
    """The path, and what is left of it from each of its separators on."""
    parts = path.split("/")
    return [end for i in range(len(parts)) if (end := "/".join(parts[i:]))]


def _begins(before: str) -> bool:
    """Whether a path can begin behind this text: at its beginning, behind a space or a mark, and behind a letter of a script that
    is written without spaces."""
    last = before[-1:]
    return not (last.isalnum() or last in tuple("_-./\\~+")) or east_asian_width(last) in "WF"


def with_checked_citations(text: str, named: Iterable[Place], endings: Iterable[str]) -> str:
    """The answer, with a note under it for each place that it cites and that is not within one that a tool named.

    endings: of the names of files, such as ".md"; what ends otherwise is checked where a tool named a file of that name.
    """
    held: dict[str, set[tuple[int, int]]] = {}
    for place in named:
        for end in ends_of(place.path):
            held.setdefault(end, set()).add((place.first, place.last))
    wrong = [
        c.text
        for c in citations(text, {p.path for p in named}, endings)
        if c.lines is None or not any(a <= c.lines[0] <= c.lines[1] <= b for a, b in held.get(c.path, ()))
    ]
    if not wrong:
        return text
    return f"{text}\n\n(named by no tool, and so not to be relied on: {', '.join(dict.fromkeys(wrong))})"
