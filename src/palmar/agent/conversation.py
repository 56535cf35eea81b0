"""What was said and done between a person and an agent, one JSON object a line, written as it happens and read again whole."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

from palmar.console import warn
from palmar.errors import BadFile, BadValue, regular_file
from palmar.files import hold

LONGEST_ROW = 1 << 20  # bytes of a line that is read
EVENTS = (
    "person",
    "model",
    "agent",
    "plan",
    "question",
    "answer",
    "refusal",
    "step",
    "result",
    "scene",
    "sources",
    "end",
    "note",
)


class Conversation:
    """file: where it is kept, None to keep it in memory alone; what is there is added to, and a last line that was cut off is
    removed. A key or a picture never enters it: texts, plans and results do. tell: called with each event, for who shows it.
    Raises `BadFile` where the file cannot be written."""

    def __init__(
        self,
        file: Path | None = None,
        tell: Callable[[dict[str, Any]], None] = lambda event: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.events: list[dict[str, Any]] = []
        self._tell, self._clock = tell, clock
        self._out: TextIO | None = None
        if file is not None:
            there = regular_file(file).exists() and file.stat().st_size > 0
            if there:
                list(_events(file, quiet=True))  # what is no conversation is not written to
            try:
                file.parent.mkdir(parents=True, exist_ok=True)
                self._out = file.open("a", encoding="utf-8", errors="backslashreplace")
                if not hold(self._out):
                    self.close()
                    raise BadFile(f"{file} is written by another conversation now. Next: another --log, or wait")
                if there:
                    _end_last_line(file)
            except OSError as error:
                raise BadFile(f"{file} cannot be written ({error.strerror}). Next: another --log") from error

    def add(self, kind: str, **said: Any) -> None:
        """kind: of `EVENTS`. said: values that JSON has."""
        if kind not in EVENTS:
            raise BadValue(f"event '{kind}' is unknown; expected {', '.join(EVENTS)}. Next: one of them")
        event = {"time": round(self._clock(), 3), "event": kind} | said
        self.events.append(event)
        if self._out is not None:
            try:
                self._out.write(json.dumps(event, ensure_ascii=False, allow_nan=False) + "\n")
                self._out.flush()
            except OSError as error:  # a full disk must not stop a robot in the middle of a skill
                warn("the conversation is no more kept ({}). Next: another --log", error.strerror or str(error))
                self.close()
        self._tell(event)

    def close(self) -> None:
        if self._out is not None:
            out, self._out = self._out, None
            with suppress(OSError):  # what could not be written was told
                out.close()


def read_conversation(file: Path) -> list[dict[str, Any]]:
    """The events of a log. A last line that was cut off is left out, with a warning. Raises `BadFile` for what is no
    conversation, an empty file too."""
    events = list(_events(regular_file(file)))
    if not events:
        raise BadFile(f"{file} holds no conversation: it has no event. Next: a file that --log wrote")
    return events


def _events(file: Path, quiet: bool = False) -> Iterator[dict[str, Any]]:
    try:
        lines = file.read_bytes().split(b"\n")
    except OSError as error:
        raise BadFile(f"{file} cannot be read ({error.strerror}). Next: a file that --log wrote") from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        event = _event(line)
        if event is None and number == len(lines) > 1:  # no end of a line: written while the machine went down
            if not quiet:
                warn("line {} of {} was cut off when it was written, and is left out", number, file)
            return
        if event is None:
            raise BadFile(f"{file}, line {number} is no event of a conversation. Next: a file that --log wrote")
        yield event


def _event(line: bytes) -> dict[str, Any] | None:
    """The event that a line holds; None where it holds none, or not all that is shown of one."""
    try:
        event = json.loads(line) if len(line) <= LONGEST_ROW else None
    except (ValueError, RecursionError):
        return None
    if not isinstance(event, dict) or event.get("event") not in EVENTS:
        return None
    kind = event["event"]
    if kind == "plan":
        return event if isinstance(event.get("plan"), list) else None
    return event if kind != "end" or isinstance(event.get("ending"), str) else None


def _end_last_line(file: Path) -> None:
    """Remove a last line that was cut off, and end one that lacks nothing but its end: what is added then is a line of its own.
    Raises `OSError`."""
    with file.open("rb+") as log:
        data = log.read()
        whole = data.rfind(b"\n") + 1
        last = data[whole:]
        if last.strip() and _event(last) is None:
            log.truncate(whole)
            warn("the last line of {} was cut off when it was written ({} bytes); it is removed", file, len(last))
        elif last:
            log.write(b"\n")
