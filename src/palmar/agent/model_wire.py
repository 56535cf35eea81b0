"""What both protocols of language models share: addresses and keys, bounded event streams, and when to try again."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Annotated, Any
from urllib.parse import urlsplit

from palmar.agent.language_model import LONGEST, MOST_CALLS, ModelAnswer, ModelUsage, Stopped, ToolCall
from palmar.console import printable
from palmar.errors import BadValue, ModelUnreachable
from palmar.ranges import Range, check_ranges
from palmar.serve.reach import loopback

LONGEST_EVENT = 8 * LONGEST
"""Bytes of one server-sent event: an answer in JSON, where a character may take six."""
LONGEST_STREAM = 128 * LONGEST
"""Bytes of a whole stream: an event of some 300 bytes for each few characters."""
SHOWN = 200  # characters of what a server says that a message repeats
PASSING = (408, 409, 425, 429, 500, 502, 503, 504, 529)
"""HTTP statuses that may pass by themselves: too many requests, overloaded, a gateway that restarts."""


@dataclass(frozen=True)
class Patience:
    """How long an answer is waited for.

    limit: for the whole answer, with all tries [s]; what is running then may last `silence` longer. silence: without a byte
    [s]. retries: after the first try. first_wait: before the second try, twice as long before each next [s]. longest_wait: at
    most, also where the server asks for more [s]. sleep: waits so many seconds.
    """

    limit: Annotated[float, Range(0, 3600, above=True, unit="seconds")] = 120.0
    silence: Annotated[float, Range(0, 3600, above=True, unit="seconds")] = 60.0
    retries: Annotated[int, Range(0, 10)] = 3
    first_wait: Annotated[float, Range(0, 60, unit="seconds")] = 1.0
    longest_wait: Annotated[float, Range(0, 600, unit="seconds")] = 30.0
    sleep: Callable[[float], None] = time.sleep

    def __post_init__(self) -> None:
        check_ranges(self)


class EventError(Exception):
    """An error that a server reports inside its stream. passing: it may pass by itself."""

    def __init__(self, said: str, passing: bool = False) -> None:
        super().__init__(said)
        self.said, self.passing = said, passing


class TryAgain(Exception):
    """What may pass by itself. after: seconds that the server asks to wait, None where it does not say."""

    def __init__(self, why: str, after: float | None = None) -> None:
        super().__init__(why)
        self.why, self.after = why, after


@dataclass(frozen=True, slots=True)
class Deadline:
    """end: on the monotonic clock [s]."""

    where: str
    end: float

    @property
    def left(self) -> float:
        return self.end - time.monotonic()

    def check(self) -> None:
        """Raise `ModelUnreachable` when the time is over."""
        if self.left <= 0:
            raise ModelUnreachable(
                f"{self.where} did not finish its answer in time. Next: ask again, a longer limit, or --planner rules"
            )

    def wait(self, patience: Patience) -> float:
        """How long the next byte may be waited for [s]."""
        return max(0.05, min(patience.silence, self.left))


def with_retries(where: str, patience: Patience, once: Callable[[Deadline], ModelAnswer]) -> ModelAnswer:
    """The answer of `once`, which is called again when it raises `TryAgain`. Raises `ModelUnreachable` when it keeps failing."""
    deadline = Deadline(where, time.monotonic() + patience.limit)
    tries, wait, why = 0, patience.first_wait, ""
    while True:
        tries += 1
        try:
            return once(deadline)
        except TryAgain as error:
            why, after = error.why, error.after
        pause = wait if after is None else max(after, wait)
        if tries > patience.retries or pause > min(patience.longest_wait, deadline.left):
            break
        patience.sleep(pause)
        wait = min(2 * wait, patience.longest_wait)
    asked = "" if after is None else f", and asks to wait {after:.0f} s"
    raise ModelUnreachable(
        f"{where} {why}{asked} ({tries} {'try' if tries == 1 else 'tries'}). Next: ask again later, or --planner rules"
    )


def seconds_to_wait(header: str | None) -> float | None:
    """Of a header Retry-After, in seconds or as a date; None for none, and for what is neither."""
    if not header:
        return None
    try:
        seconds = float(header)
    except ValueError:
        try:
            until = parsedate_to_datetime(header)
        except ValueError:
            return None
        seconds = (until.astimezone(UTC) - datetime.now(UTC)).total_seconds()
    return max(0.0, seconds) if math.isfinite(seconds) else None


def failed(where: str, status: int, said: str, after: float | None, variable: str) -> TryAgain | ModelUnreachable:
    """The error for an answer with an HTTP status other than 200. said: its body, without the key. variable: that holds it."""
    about = f"answers with status {status}" + (f": {said}" if said else "")
    if status in PASSING:
        return TryAgain(about, after)
    if 300 <= status < 400:
        return ModelUnreachable(
            f"{where} answers with a redirect ({status}), which is not followed: the key is for this address alone. "
            "Next: the address that it leads to, if that is the right one"
        )
    if status in (401, 403):
        return ModelUnreachable(f"{where} {about}. Next: the right key in {variable}, or --planner rules")
    if status == 404:
        return ModelUnreachable(f"{where} {about}. Next: another model or address")
    return ModelUnreachable(f"{where} {about}. Next: another model, or --planner rules")


# ------------------------------------------------------------------------------------------------------- addresses and keys


def model_address(given: str, variable: str, default: str) -> str:
    """Where a model is reached, without a slash at the end: as given, else of the environment variable, else the default.

    Raises `BadValue` for what is no such address, and for plain HTTP to another computer unless it was given.
    """
    address = given or os.environ.get(variable, "").strip() or default
    try:
        parts = urlsplit(address)
        host, _ = parts.hostname, parts.port
        named = parts.username is not None or parts.password is not None
    except ValueError:
        host, named = None, False
    if named:
        raise BadValue(
            f"the address of a language model has a name or a password in it. Next: HOST alone, and the key in {KEYS[variable]}"
        )
    odd = not address.isascii() or any(c.isspace() or not c.isprintable() for c in address)
    if not host or odd or parts.scheme not in ("http", "https") or parts.query or parts.fragment:
        raise BadValue(
            f"'{printable(address)[:SHOWN]}' is no address of a language model. Next: https://HOST/PATH, or "
            "http://127.0.0.1:PORT/PATH on this computer"
        )
    if parts.scheme == "http" and not given and not loopback(host):
        raise BadValue(
            f"{variable} is {address[:SHOWN]}: anybody on the way could read the key and the pictures. Next: https, or give the "
            "address itself, such as openai:MODEL@URL"
        )
    return address.rstrip("/")


KEYS = {"ANTHROPIC_BASE_URL": "ANTHROPIC_API_KEY", "OPENAI_BASE_URL": "OPENAI_API_KEY"}
"""{variable of the address: variable of the key}."""


def key_of(variable: str) -> str:
    """The key in an environment variable, "" for none. Raises `BadValue` for one that no header holds."""
    key = os.environ.get(variable, "").strip()
    if not key.isascii() or any(not c.isprintable() or c.isspace() for c in key):
        raise BadValue(
            f"the key in {variable} has characters that no header holds; expected printable ASCII. Next: copy it again"
        )
    return key


def said_by(body: bytes | str, key: str) -> str:
    """The beginning of what a server says, in one line, without the key if it repeats it."""
    text = body.decode("utf-8", "replace") if isinstance(body, bytes) else body
    if key:
        text = text.replace(key, "…")
    return " ".join(printable(text).split())[:SHOWN]


# ------------------------------------------------------------------------------------------------------------------ streams


def server_events(pieces: Iterable[bytes], deadline: Deadline) -> Iterator[tuple[str, str]]:
    """(event, data) of a stream of server-sent events, as they come.

    Raises `ModelUnreachable` for what is too long or no UTF-8, and when the time is over.
    """
    where, total, rest = deadline.where, 0, b""
    event, data, size = "", list[str](), 0
    for piece in pieces:
        deadline.check()
        total += len(piece)
        if total > LONGEST_STREAM or len(rest) > LONGEST_EVENT:
            raise too_long(where)
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            size += len(line)
            if size > LONGEST_EVENT:
                raise too_long(where)
            try:
                name, _, value = line.rstrip(b"\r").decode("utf-8").partition(":")
            except UnicodeDecodeError:
                raise unlike(where, "bytes that are no UTF-8") from None
            value = value.removeprefix(" ")
            if name == "event":
                event = value
            elif name == "data":
                data.append(value)
            elif not name and not value:
                if data:
                    yield event, "\n".join(data)
                event, data, size = "", [], 0


def too_long(where: str) -> ModelUnreachable:
    return ModelUnreachable(
        f"{where} answers with more than {LONGEST // 1024} KiB, which were cut off. Next: ask for less, or another model"
    )


def unlike(where: str, what: str) -> ModelUnreachable:
    """The error for an answer that is not as the protocol says."""
    return ModelUnreachable(
        f"{where} answers with {what}. Next: an address that speaks this protocol, or another model"
    )


def check_stream(where: str, kind: str, key: str) -> None:
    """Raise `ModelUnreachable` for an answer of another content type."""
    if not kind.lower().startswith("text/event-stream"):
        raise unlike(where, f"content of type '{said_by(kind, key)}' instead of text/event-stream")


def read_json(text: str) -> Any:
    """JSON without NaN and infinity. Raises ValueError."""
    try:
        return json.loads(text, parse_constant=_no_number)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


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
    """An object inside another, empty where there is none."""
    found = said.get(name) if isinstance(said, dict) else None
    return found if isinstance(found, dict) else {}


def count(said: Any, name: str, before: int = 0) -> int:
    """A number of tokens, `before` where it is not said."""
    found = said.get(name) if isinstance(said, dict) else None
    return found if isinstance(found, int) and not isinstance(found, bool) and found >= 0 else before


class AnswerInParts:
    """Puts an answer together from its pieces and keeps it to its bounds. spoken: text was passed on already."""

    def __init__(self, where: str, on_text: Callable[[str], None] | None) -> None:
        self.where, self.on_text, self.spoken = where, on_text, False
        self._size = 0
        self._text: list[str] = []
        self._calls: dict[Hashable, tuple[str, str, list[str]]] = {}

    def text(self, piece: Any) -> None:
        if piece := self._counted(piece):
            self._text.append(piece)
            if self.on_text is not None:
                self.spoken = True
                self.on_text(piece)

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
            json.dumps(said, ensure_ascii=False).encode()  # lone surrogates, which no file or terminal takes
        except ValueError as error:
            return ToolCall(id, name, fault=f"its input is no JSON ({str(error)[:80]})")
        if not isinstance(said, dict):
            return ToolCall(id, name, fault=f"its input is a {type(said).__name__}; expected a JSON object")
        return ToolCall(id, name, said)

    def finish(self, stopped: Stopped, usage: ModelUsage, own: tuple[Mapping[str, Any], ...] = ()) -> ModelAnswer:
        calls = tuple(self.read(key) for key in self._calls)
        return ModelAnswer("".join(self._text), calls, "tools" if calls and stopped == "end" else stopped, usage, own)

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
        if not isinstance(piece, str):
            raise unlike(self.where, f"{type(piece).__name__} where text belongs")
        encoded = piece.encode("utf-8", "replace")
        self._size += len(encoded)
        if self._size > LONGEST:
            raise too_long(self.where)
        return encoded.decode()
