"""How both protocols of language models read an answer: events within bounds, strict JSON, and an answer made of its parts."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from typing import Any

from palmar.agent.language_model import LONGEST, MOST_CALLS, ModelAnswer, Stopped, ToolCall
from palmar.agent.model_wire import Deadline, TryAgain, said_by
from palmar.errors import ModelUnreachable

LONGEST_EVENT = 8 * LONGEST
"""Bytes of one server-sent event: an answer in JSON, where a character may take six."""
LONGEST_STREAM = 128 * LONGEST
"""Bytes of a whole stream: an event of some 300 bytes for each few characters."""
DEEPEST = 100
"""Objects and lists inside each other, of what a tool is given."""


class EventError(Exception):
    """An error that a server reports inside its stream. passing: it may pass by itself."""

    def __init__(self, said: str, passing: bool = False) -> None:
        super().__init__(said)
        self.said, self.passing = said, passing


def server_events(pieces: Iterable[bytes], deadline: Deadline) -> Iterator[tuple[str, str]]:
    """(event, data) of a stream of server-sent events, as they come, by the WHATWG's specification. Of an event without a type,
    the first is "".

    Raises `ModelUnreachable` for what is too long or no UTF-8, and when the time is over.
    """
    where = deadline.where
    event, data, size = "", list[str](), 0
    for number, line in enumerate(_lines(pieces, deadline)):
        try:
            text = line.decode("utf-8-sig" if number == 0 else "utf-8")
        except UnicodeDecodeError:
            raise unlike(where, "bytes that are no UTF-8") from None
        name, _, value = text.partition(":")  # a comment has no name
        value = value.removeprefix(" ")
        if name == "event":
            event = value
        elif name == "data":
            data.append(value)
            size += len(line)
            if size > LONGEST_EVENT:
                raise too_long(where)
        elif not text:
            if data:
                yield event, "\n".join(data)
            event, data, size = "", [], 0


def _lines(pieces: Iterable[bytes], deadline: Deadline) -> Iterator[bytes]:
    """Lines without their ends, which are CR LF, LF or CR. What follows the last end is left out. Raises `ModelUnreachable`."""
    begun, size, total, after_cr = list[bytes](), 0, 0, False  # begun: pieces of a line without its end
    for piece in pieces:
        deadline.check()
        total += len(piece)
        if total > LONGEST_STREAM:
            raise too_long(deadline.where)
        if not piece:
            continue
        first, *more = re.split(rb"\r\n|\n|\r", piece.removeprefix(b"\n") if after_cr else piece)
        after_cr = piece.endswith(b"\r")
        begun.append(first)
        size += len(first)
        if more:
            *lines, rest = [b"".join(begun), *more]
            begun, size = [rest], len(rest)
            yield from lines
        if size > LONGEST_EVENT:
            raise too_long(deadline.where)


def too_long(where: str) -> ModelUnreachable:
    return ModelUnreachable(
        f"{where} answers with more than {LONGEST // 1024} KiB, which were cut off. Next: ask for less, or another model"
    )


def unlike(where: str, what: str) -> ModelUnreachable:
    """The error for an answer that is not as the protocol says."""
    return ModelUnreachable(
        f"{where} answers with {what}. Next: an address that speaks this protocol, or another model"
    )


def check_stream(where: str, kind: str, encoding: str, key: str) -> None:
    """Raise `ModelUnreachable` for an answer of another content type, and for one in a content encoding."""
    if not kind.lower().startswith("text/event-stream"):
        raise unlike(where, f"content of type '{said_by(kind, key)}' instead of text/event-stream")
    if not plain(encoding):
        raise unlike(where, f"content encoded as '{said_by(encoding, key)}', which was not asked for")


def plain(encoding: str) -> bool:
    """Whether a header Content-Encoding says that bytes are as they arrive. Others are not decoded: a few KB may become GB."""
    return encoding.strip().lower() in ("", "identity")


def read_json(text: str) -> Any:
    """JSON without NaN, infinity and numbers that are too large for a float. Raises ValueError."""
    try:
        return json.loads(text, parse_constant=_no_number, parse_float=_finite, parse_int=_whole)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        shown = text if len(text) <= 20 else text[:20] + "…"
        raise ValueError(f"{shown} is too large for a number")
    return value


def _whole(text: str) -> int:
    _finite(text)
    return int(text)


def object_of(where: str, data: str) -> dict[str, Any]:
    """The JSON object of an event. Raises `ModelUnreachable`."""
    try:
        said = read_json(data)
    except ValueError:
        said = None
    if not isinstance(said, dict):
        raise unlike(where, "an event that is no JSON object")
    return said


def part(said: Any, name: str) -> dict[str, Any]:
    """An object inside another, of an error that a server reports: empty where there is none."""
    found = said.get(name) if isinstance(said, dict) else None
    return found if isinstance(found, dict) else {}


def object_in(where: str, said: Mapping[str, Any], name: str) -> dict[str, Any]:
    """An object inside another, empty where it is left out or null. Raises `ModelUnreachable` for anything else."""
    found = said.get(name)
    if found is not None and not isinstance(found, dict):
        raise unlike(where, f"{type(found).__name__} as '{name}', where an object belongs")
    return found or {}


def objects_in(where: str, said: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """A list of objects inside an object, empty where it is left out or null. Raises `ModelUnreachable` for anything else."""
    found = said.get(name)
    if found is not None and not (isinstance(found, list) and all(isinstance(f, dict) for f in found)):
        raise unlike(where, f"'{name}' that is no list of objects")
    return found or []


def text_in(where: str, said: Mapping[str, Any], name: str) -> str:
    """Text inside an object, "" where it is left out or null. Raises `ModelUnreachable` for anything else."""
    found = said.get(name)
    return "" if found is None else checked_text(where, found)


def index_in(where: str, said: Mapping[str, Any], default: int) -> int:
    """The index of a part of an answer. Raises `ModelUnreachable` for what is no count."""
    found = said.get("index")
    if found is None:
        return default
    if isinstance(found, bool) or not isinstance(found, int) or found < 0:
        raise unlike(where, f"an index that is {str(found)[:40]}")
    return found


def checked_text(where: str, piece: Any) -> str:
    """Text without lone surrogates. Raises `ModelUnreachable` for anything else."""
    if not isinstance(piece, str):
        raise unlike(where, f"{type(piece).__name__} where text belongs")
    return encodable(piece)


def encodable(said: Any) -> Any:
    """What JSON has, without lone surrogates in any text of it: they cannot be sent."""
    if isinstance(said, str):
        return said.encode("utf-8", "replace").decode()
    if isinstance(said, Mapping):
        return {encodable(name): encodable(value) for name, value in said.items()}
    if isinstance(said, list | tuple):
        return [encodable(value) for value in said]
    return said


def nested(said: Any, most: int) -> bool:
    """Whether more than so many objects and lists are inside each other."""
    level = [said]
    for _ in range(most + 1):
        level = [v for v in level if isinstance(v, dict | list)]
        if not level:
            return False
        level = [inner for v in level for inner in (v.values() if isinstance(v, dict) else v)]
    return True


class AnswerInParts:
    """Puts an answer together from its pieces and keeps it to its bounds. spoken: text was passed on already."""

    def __init__(self, where: str, on_text: Callable[[str], None] | None) -> None:
        self.where, self.on_text, self.spoken = where, on_text, False
        self._size = 0
        self._text: list[str] = []
        self._calls: dict[Hashable, tuple[str, str, list[str]]] = {}

    def text(self, piece: Any) -> str:
        """More of the text. Returns the piece as it was taken, without lone surrogates."""
        if piece := self._counted(piece):
            self._text.append(piece)
            if self.on_text is not None:
                self.spoken = True
                self.on_text(piece)
        return piece

    def call(self, key: Hashable, id: Any, name: Any) -> None:
        """A tool call begins. key: by which `input` names it."""
        if len(self._calls) >= MOST_CALLS:
            raise unlike(self.where, f"more than {MOST_CALLS} tool calls")
        self._calls[key] = self._counted(id), self._counted(name), []

    def input(self, key: Hashable, piece: Any) -> None:
        """More of what a call gives its tool, as JSON text."""
        if key not in self._calls:
            raise unlike(self.where, "the input of a tool call that did not begin")
        self._calls[key][2].append(self._counted(piece))

    def id_of(self, key: Hashable) -> str | None:
        """Of the call under this key, None where there is none."""
        return self._calls[key][0] if key in self._calls else None

    def read(self, key: Hashable) -> ToolCall:
        """The call under this key, as far as it came."""
        id, name, pieces = self._calls[key]
        try:
            said = read_json("".join(pieces).strip() or "{}")
            if nested(said, DEEPEST):
                raise ValueError("nested too deeply")
            json.dumps(said, ensure_ascii=False).encode()  # lone surrogates, which no file or terminal takes
        except ValueError as error:
            return ToolCall(id, name, fault=f"its input is no JSON ({str(error)[:80]})")
        if not isinstance(said, dict):
            return ToolCall(id, name, fault=f"its input is a {type(said).__name__}; expected a JSON object")
        return ToolCall(id, name, said)

    def finish(self, stopped: Stopped, own: tuple[Mapping[str, Any], ...] = ()) -> ModelAnswer:
        calls = tuple(self.read(key) for key in self._calls)
        return ModelAnswer("".join(self._text), calls, "tools" if calls and stopped == "end" else stopped, own)

    def broken(self, why: str = "broke off in the middle of its answer") -> TryAgain | ModelUnreachable:
        """The error for a stream that does not go on: tried again, unless a person has read the beginning already."""
        if not self.spoken:
            return TryAgain(why)
        return ModelUnreachable(f"{self.where} {why}, after its beginning. Next: ask again")

    def reported(self, error: EventError, key: str) -> TryAgain | ModelUnreachable:
        """The error for one that the server reports in its stream."""
        said = said_by(error.said, key)
        return self.broken(f"reports {said}") if error.passing else unlike(self.where, f"an error: {said}")

    def _counted(self, piece: Any) -> str:
        text = checked_text(self.where, piece)
        self._size += len(text.encode())
        if self._size > LONGEST:
            raise too_long(self.where)
        return text
