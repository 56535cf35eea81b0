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

LONGEST = 1 << 20  # bytes of a line that is read
KINDS = (
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
    """file: where it is kept, None to keep it in memory alone. A key or a picture never enters it: texts, plans and results do.
    tell: called with each event, for who shows it. Raises `BadFile` where the file cannot be written."""

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
            if file.is_file() and file.stat().st_size:
                read_conversation(file)  # what is no conversation is not written to
            try:
                file.parent.mkdir(parents=True, exist_ok=True)
                self._out = file.open("a", encoding="utf-8", errors="backslashreplace")
            except OSError as error:
                raise BadFile(f"{file} cannot be written ({error.strerror}). Next: another --log") from error

    def add(self, kind: str, **said: Any) -> None:
        """kind: of `KINDS`. said: values that JSON has."""
        if kind not in KINDS:
            raise BadValue(f"event '{kind}' is unknown; expected {', '.join(KINDS)}. Next: one of them")
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
    """The events of a log. A last line that was cut off is left out. Raises `BadFile` for what is no conversation."""
    return list(_events(regular_file(file)))


def _events(file: Path) -> Iterator[dict[str, Any]]:
    try:
        lines = file.read_bytes().split(b"\n")
    except OSError as error:
        raise BadFile(f"{file} cannot be read ({error.strerror}). Next: a file that --log wrote") from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            event = json.loads(line) if len(line) <= LONGEST else None
        except (ValueError, RecursionError):
            if number == len(lines) and number > 1:  # written while the machine went down
                return
            event = None
        if not isinstance(event, dict) or event.get("event") not in KINDS or not _whole(event):
            raise BadFile(f"{file}, line {number} is no event of a conversation. Next: a file that --log wrote")
        yield event


def _whole(event: dict[str, Any]) -> bool:
    """Whether it has what is shown of its kind."""
    kind = event["event"]
    if kind == "plan":
        return isinstance(event.get("plan"), list)
    return isinstance(event.get("ending"), str) if kind == "end" else True
