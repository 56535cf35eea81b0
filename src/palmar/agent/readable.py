"""What a person reads in each line of a text file, whatever its format: the lines that a citation names.

Markdown and plain text are read as they stand. A row of JSON becomes "key: value, …" without long lists of numbers, and a line
of HTML its visible words. The numbers of lines are those of an editor.
"""

from __future__ import annotations

import hashlib
import html
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from palmar.errors import BadFile, regular_file, unusable

LARGEST = 16_000_000  # bytes that are read of a file: of rows the last, other files must be smaller
LONGEST_LINE = 2000  # characters of a line that is one passage; a longer one is cut into parts
PARTS = 40  # of one line; what is behind them is not read
PAIRS, DEPTH, SHORT = 300, 12, 300  # of a row: pairs, levels, characters of one value
DAMAGED = 0.1  # share of characters that are no UTF-8, up to which a file is text
ROWS, HTML, JSON, MARKDOWN = (".jsonl", ".ndjson"), (".html", ".htm"), (".json",), (".md", ".markdown")
SMALL = {c: c + 32 for c in range(ord("A"), ord("Z") + 1)}  # `str.lower` may change the length of a text
UNSEEN = ("style", "script", "svg", "template")  # elements of HTML whose text nobody reads
BREAKS = re.compile(r"/?(p|div|li|tr|td|th|dt|dd|h[1-6]|br|figcaption|summary|section|table|ul|ol)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ReadableFile:
    """lines: what each says. start: number of the first of them, 1 unless the beginning of a long log is left out. raw: the
    lines themselves, undecodable bytes replaced."""

    lines: tuple[str, ...]
    start: int
    raw: tuple[str, ...]

    def between(self, first: int, last: int) -> str | None:
        """What the lines first … last say; None where they are not there."""
        if not self.start <= first <= last < self.start + len(self.lines):
            return None
        return "\n".join(self.lines[first - self.start : last - self.start + 1])


@dataclass(frozen=True, slots=True)
class Contents:
    """data: the bytes of a file that are read. start: number of the line that they begin with."""

    data: bytes
    start: int

    def digest(self) -> str:
        """SHA-256 of both."""
        return hashlib.sha256(b"%d\n" % self.start + self.data).hexdigest()


def readable(path: str | Path) -> ReadableFile:
    """Raises `BadFile` for a file that is missing or no text, and for one larger than `LARGEST` unless its name ends as those of
    `ROWS` do."""
    return in_lines(path, contents(path))


def contents(path: str | Path) -> Contents:
    """What is read of a file: all of it, or the last `LARGEST` bytes of rows. Raises `BadFile` for a file that is missing, and for
    another that is larger than `LARGEST`."""
    return Contents(*_bytes(regular_file(path), Path(path).suffix.lower()))


def in_lines(path: str | Path, held: Contents) -> ReadableFile:
    """What each line says. Raises `BadFile` for what is no text."""
    data, start = held.data, held.start
    if b"\0" in data:
        raise BadFile(f"'{path}' holds zero bytes; expected text. Next: name the text files alone")
    text = data.decode("utf-8-sig", "replace")
    if text.count("\ufffd") > DAMAGED * len(text) + 2:
        raise BadFile(f"'{path}' is no text in UTF-8. Next: convert it, or name another file")
    raw = tuple(line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")) if text else ()
    kind = Path(path).suffix.lower()
    if kind in ROWS:
        lines = tuple(map(row_words, raw))
    elif kind in JSON:
        lines = tuple(row_words(line) if len(line) > LONGEST_LINE else line for line in raw)
    elif kind in HTML:
        lines = visible(raw)
    else:
        lines = raw
    return ReadableFile(lines, start, raw)


def _bytes(path: Path, kind: str) -> tuple[bytes, int]:
    """What is read of a file, and the number of its first line."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(0)
            if size <= LARGEST:
                return file.read(LARGEST), 1
            if kind not in ROWS:
                raise BadFile(
                    f"'{path}' is of {size / 1e6:.0f} MB; expected at most {LARGEST / 1e6:.0f}. Next: name a part of it"
                )
            start, left = 1, size - LARGEST
            while left > 0 and (block := file.read(min(left, 1 << 20))):
                start, left = start + block.count(b"\n"), left - len(block)
            data = file.read(LARGEST)
    except OSError as error:
        raise unusable(error, path) from error
    return data.partition(b"\n")[2], start + 1  # the first line is cut


def parts(line: str) -> list[str]:
    """The line, or what it is cut into: at most `PARTS` of at most `LONGEST_LINE` characters, cut at spaces where there are any."""
    found: list[str] = []
    at = 0
    while at < len(line) and len(found) < PARTS:
        end = at + LONGEST_LINE
        if end < len(line):
            space = line.rfind(" ", at + 1, end)
            end = space + 1 if space > at else end
        found.append(line[at:end])
        at = end
    return found or [line]


def row_of(line: str) -> Any:
    """The value of a line of JSON; None for one that is damaged or nested too deeply."""
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def row_words(line: str) -> str:
    """A line of JSON as "key: value, …"; the line itself where it is no object or list."""
    value = row_of(line)
    if not isinstance(value, dict | list):
        return line
    said: list[str] = []
    _say("", value, said, 0)
    return ", ".join(said)


def _say(name: str, value: Any, said: list[str], depth: int) -> None:
    if len(said) >= PAIRS:
        return
    if isinstance(value, dict) and depth < DEPTH:
        for key, inner in value.items():
            _say(f"{name}.{key}" if name else str(key), inner, said, depth + 1)
    elif isinstance(value, list) and any(isinstance(v, dict | list) for v in value) and depth < DEPTH:
        for i, inner in enumerate(value[:PAIRS]):
            _say(f"{name}[{i}]", inner, said, depth + 1)
    elif isinstance(value, list) and len(value) > 8:
        said.append(f"{name}: {len(value)} values")
    elif isinstance(value, dict | list):
        said.append(_one_line(f"{name}: {', '.join(_plain(v) for v in value)}"[:SHORT]))
    else:
        said.append(_one_line(f"{name}: {_plain(value)}"))


def _plain(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return str(value)[:SHORT] if isinstance(value, str) else json.dumps(value)[:SHORT]


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _unescaped(text: str) -> str:
    """HTML's text without its entities, in as many lines: an entity that stands for the end of a line becomes a space."""
    return "\n".join(html.unescape(line).replace("\n", " ") for line in text.split("\n"))


def visible(raw: tuple[str, ...]) -> tuple[str, ...]:
    """The visible text of each line of an HTML page. One pass: what is never closed hides the rest."""
    text = "\n".join(raw)
    small = text.lower() if text.isascii() else text.translate(SMALL)
    seen: list[str] = []
    at = 0
    while at < len(text):
        tag = text.find("<", at)
        if tag < 0:
            seen.append(_unescaped(text[at:]))
            break
        seen.append(_unescaped(text[at:tag]))
        name = re.match(r"[a-z]+", small[tag + 1 : tag + 12])
        if text.startswith("<!--", tag):
            end, close = text.find("-->", tag), 3
        elif name and name.group() in UNSEEN:
            end, close = small.find(f"</{name.group()}", tag), 0
            if end >= 0:
                seen.append("\n" * text.count("\n", tag, end))
                tag, end, close = end, text.find(">", end), 1
        else:
            end, close = text.find(">", tag), 1
        if end < 0:
            seen.append("\n" * text.count("\n", tag))
            break
        seen.append("\n" * text.count("\n", tag, end) or (" " if BREAKS.match(text, tag + 1) else ""))
        at = end + close
    lines = [" ".join(line.split()) for line in "".join(seen).split("\n")]
    return tuple(lines[: len(raw)] + [""] * (len(raw) - len(lines)))
