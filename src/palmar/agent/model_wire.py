"""What both protocols of language models share: tries of a request within a time limit, and which errors are tried again."""

from __future__ import annotations

import math
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Annotated

from palmar.agent.language_model import ModelAnswer
from palmar.console import printable
from palmar.errors import ModelUnreachable
from palmar.ranges import Range, check_ranges

SHOWN = 200  # characters of what a server says that a message repeats
READ = 4096  # characters of it that are looked at for them
DAY = 86_400.0  # seconds: of a wait that a server asks for, a message shows no more
LOOK = 0.2  # seconds between two looks at the clock: on some systems Ctrl-C is noticed only then
PASSING = (408, 409, 425, 429, 500, 502, 503, 504, 529)
"""HTTP statuses that may pass by themselves: too many requests, overloaded, a gateway that restarts."""


@dataclass(frozen=True)
class Patience:
    """How long an answer is waited for.

    limit: for the whole answer, with all tries [s]; a try that is running then is abandoned. silence: without a byte [s].
    retries: after the first try. first_wait: before the second try, twice as long before each next [s]. longest_wait: at most,
    also where the server asks for more [s]. sleep: waits so many seconds.
    """

    limit: Annotated[float, Range(0, 3600, above=True, unit="seconds")] = 120.0
    silence: Annotated[float, Range(0, 3600, above=True, unit="seconds")] = 60.0
    retries: Annotated[int, Range(0, 10)] = 3
    first_wait: Annotated[float, Range(0, 60, unit="seconds")] = 1.0
    longest_wait: Annotated[float, Range(0, 600, unit="seconds")] = 30.0
    sleep: Callable[[float], None] = time.sleep

    def __post_init__(self) -> None:
        check_ranges(self)


class TryAgain(Exception):
    """What may pass by itself. after: seconds that the server asks to wait, None where it does not say."""

    def __init__(self, why: str, after: float | None = None) -> None:
        super().__init__(why)
        self.why, self.after = why, after


@dataclass(frozen=True, slots=True)
class Deadline:
    """Of one try. end: on the monotonic clock [s]. instead: as of `find_model`. over: set when nobody waits for the try any
    more."""

    where: str
    end: float
    instead: str = ""
    over: threading.Event = field(default_factory=threading.Event, repr=False, compare=False)

    @property
    def left(self) -> float:
        return self.end - time.monotonic()

    def check(self) -> None:
        """Raise `ModelUnreachable` when the time is over."""
        if self.left <= 0 or self.over.is_set():
            raise self.unfinished()

    def unfinished(self) -> ModelUnreachable:
        return ModelUnreachable(
            f"{self.where} did not finish its answer in time. Next: {either('ask again', 'a longer limit', self.instead)}"
        )

    def wait(self, patience: Patience) -> float:
        """How long the next byte may be waited for [s]."""
        return max(0.05, min(patience.silence, self.left))


OnText = Callable[[str], None] | None
"""Given an answer's text in pieces; None where nobody reads along."""


def with_retries(
    where: str,
    patience: Patience,
    once: Callable[[Deadline, OnText], ModelAnswer],
    on_text: OnText = None,
    instead: str = "",
) -> ModelAnswer:
    """The answer of `once`, which is called again when it raises `TryAgain`.

    Each call is made on another thread, `on_text` and `Patience.sleep` are called on this one. instead: as of `find_model`.
    Raises `ModelUnreachable` when it keeps failing, and at the limit.
    """
    end = time.monotonic() + patience.limit
    tries, wait, why = 0, patience.first_wait, ""
    while True:
        tries += 1
        deadline = Deadline(where, end, instead)
        try:
            return _one_try(once, deadline, on_text)
        except TryAgain as error:
            why, after = error.why, error.after
        pause = wait if after is None else max(after, wait)
        if tries > patience.retries or pause > min(patience.longest_wait, deadline.left):
            break
        patience.sleep(pause)
        wait = min(2 * wait, patience.longest_wait)
    asked = "" if after is None else f", and asks to wait {_shown(after)}"
    raise ModelUnreachable(
        f"{where} {why}{asked} ({tries} {'try' if tries == 1 else 'tries'}). "
        f"Next: {either('ask again later', instead or 'another model')}"
    )


def _shown(seconds: float) -> str:
    """A wait in words, at most a day."""
    return f"{seconds:.0f} s" if seconds <= DAY else "more than a day"


def _one_try(once: Callable[[Deadline, OnText], ModelAnswer], deadline: Deadline, on_text: OnText) -> ModelAnswer:
    """`once` on a thread of its own, which is abandoned when the time is over: an HTTP library that reads a header byte by byte
    looks at no clock. What is abandoned ends with the next piece of its answer, and holds up nothing."""
    came: queue.SimpleQueue[str | ModelAnswer | BaseException] = queue.SimpleQueue()

    def work() -> None:
        try:
            came.put(once(deadline, None if on_text is None else came.put))
        except BaseException as error:  # raised by who waits
            came.put(error)

    threading.Thread(target=work, name="palmar language model", daemon=True).start()
    try:
        while True:
            try:
                item = came.get(timeout=min(LOOK, max(0.0, deadline.left)))
            except queue.Empty:
                if deadline.left > 0:
                    continue
                raise deadline.unfinished() from None
            if isinstance(item, ModelAnswer):
                return item
            if isinstance(item, BaseException):
                raise item
            if on_text is not None:
                on_text(item)
    finally:
        deadline.over.set()


def either(*steps: str) -> str:
    """Next steps of which one is enough, in words. Empty ones are left out."""
    given = [step for step in steps if step]
    return ", or ".join([", ".join(given[:-1]), given[-1]] if given[1:] else given)


def seconds_to_wait(header: str | None) -> float | None:
    """Of a header Retry-After, in seconds or as a date; None for none, and for what is neither."""
    if not header:
        return None
    try:
        seconds = float(header)
    except ValueError:
        try:
            until = parsedate_to_datetime(header)
        except (ValueError, OverflowError):
            return None
        until = until if until.tzinfo else until.replace(tzinfo=UTC)  # -0000: UTC
        seconds = (until - datetime.now(UTC)).total_seconds()  # `astimezone` fails near the years 1 and 9999
    return max(0.0, seconds) if math.isfinite(seconds) else None


def failed(
    deadline: Deadline, status: int, said: str, after: float | None, variable: str
) -> TryAgain | ModelUnreachable:
    """The error for an answer with an HTTP status other than 200. said: its body, without the key. variable: that holds it."""
    where, instead = deadline.where, deadline.instead
    about = f"answers with status {status}" + (f": {said}" if said else "")
    if status in PASSING:
        return TryAgain(about, after)
    if 300 <= status < 400:
        return ModelUnreachable(
            f"{where} answers with a redirect ({status}), which is not followed: the key is for this address alone. "
            "Next: the address that it leads to, if that is the right one"
        )
    if status in (401, 403):
        return ModelUnreachable(f"{where} {about}. Next: {either(f'the right key in {variable}', instead)}")
    if status == 404:
        return ModelUnreachable(f"{where} {about}. Next: another model or address")
    return ModelUnreachable(f"{where} {about}. Next: {either('another model', instead)}")


def said_by(body: bytes | str, key: str) -> str:
    """The beginning of what a server says, in one line, without the key if it repeats it."""
    text = body.decode("utf-8", "replace") if isinstance(body, bytes) else body
    if key:
        text = text.replace(key, "…")  # before anything is cut, which could leave half of it
    return " ".join(printable(text[:READ]).split())[:SHOWN]
