"""Writing beside the loop: a thread of its own writes what the loop hands over, so that no tick waits for a disk."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from palmar.console import warn
from palmar.errors import FULL

T = TypeVar("T")
PATIENCE = 5.0
"""How long the end of a run waits for what is still to be written [s]."""


class Background(Generic[T]):
    """write: called on the thread, with one item after the other. what: the file, in messages. most: largest sum of sizes of items
    that wait; an item that is more is dropped. again: after `write` has raised, the next item is tried; False: nothing is written
    any more. finish: called on the thread at the end, with whether every item that was taken is written.

    What `write` raises is said once on standard error and counted, never raised: a disk that is full must not stop a robot.
    written, dropped, failed: items. trouble: the last that `write` raised, in words.
    """

    def __init__(
        self,
        write: Callable[[T], None],
        what: str,
        most: int = 1000,
        again: bool = True,
        finish: Callable[[bool], None] | None = None,
    ) -> None:
        self.what, self.most, self.again = what, most, again
        self.written = self.dropped = self.failed = 0
        self.trouble = ""
        self._write, self._finish = write, finish
        self._queue: queue.SimpleQueue[tuple[T, int] | None] = queue.SimpleQueue()
        self._waiting, self._lock = 0, threading.Lock()
        self._thread = threading.Thread(target=self._work, name="palmar-record", daemon=True)
        self._thread.start()

    def put(self, item: T, size: int = 1) -> bool:
        """Whether the item is taken. Returns at once."""
        with self._lock:
            if self._waiting + size > self.most:
                self.dropped += 1
                return False
            self._waiting += size
        self._queue.put((item, size))
        return True

    def close(self, patience: float = PATIENCE) -> bool:
        """Wait until everything is written, at most `patience` seconds; whether it is. Items are taken no more."""
        self.most = 0
        self._queue.put(None)
        self._thread.join(patience)
        return not self._thread.is_alive()

    @property
    def lost(self) -> str:
        """What is not in the file, in words; "" when everything is."""
        said = []
        if self.dropped:
            said.append(f"{self.dropped} records were dropped, for it was written too slowly")
        if self.failed:
            said.append(f"{self.failed} records could not be written ({self.trouble})")
        if self._thread.is_alive():
            said.append("its disk does not answer")
        return f"'{self.what}' is not whole: {'; '.join(said)}" if said else ""

    def _work(self) -> None:
        while (entry := self._queue.get()) is not None:
            item, size = entry
            try:
                if self.failed and not self.again:
                    self.failed += 1
                    continue
                self._write(item)
                self.written += 1
            except Exception as error:
                self.failed += 1
                self._say(error)
            finally:
                with self._lock:
                    self._waiting -= size
        if self._finish is not None:
            try:
                self._finish(not self.failed)
            except Exception as error:
                self.failed += 1
                self._say(error)

    def _say(self, error: Exception) -> None:
        full = isinstance(error, OSError) and error.errno in FULL
        before, self.trouble = self.trouble, "the disk is full" if full else f"{type(error).__name__}: {error}"
        if not before:  # on a thread of its own: nobody may read what is said
            said = ("'{}' cannot be written: {}; the robot goes on", self.what, self.trouble)
            threading.Thread(target=warn, args=said, daemon=True).start()
