"""What is held and pressed on the page, as the keys of a keyboard (`adaptation.teleop.Keys`)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable

from palmar.runtime.adaptation.teleop import Keys
from palmar.runtime.supervision.deadman import GRACE

ENABLE = "enable"
"""The button that is held while the robot may move, with --deadman page."""


class PageKeys:
    """Held is what the newest message says, for `GRACE` seconds: a page that is silent holds nothing. quiet: seconds since the
    newest message. From any thread."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._down: frozenset[str] = frozenset()
        self._heard = -1e9
        self._presses: dict[str, int] = {}
        self._arrived: set[str] = set()
        self._lock = threading.Lock()

    def said(self, down: Iterable[str]) -> None:
        """These are down now, and no others."""
        self._down, self._heard = frozenset(down), self._now()

    def press(self, key: str) -> None:
        """It went down."""
        with self._lock:
            self._presses[key] = self._presses.get(key, 0) + 1
            self._arrived.add(key)

    @property
    def quiet(self) -> float:
        return self._now() - self._heard

    def held(self, key: str) -> bool:
        return key in self._down and self.quiet <= GRACE

    def pressed(self, key: str) -> bool:
        """An even number of presses since the last time is none."""
        with self._lock:
            return self._presses.pop(key, 0) % 2 == 1

    def typed(self, key: str) -> bool:
        with self._lock:
            arrived = key in self._arrived
            self._arrived.discard(key)
            return arrived


class EitherKeys:
    """Of several sources, such as a terminal and the page."""

    def __init__(self, *sources: Keys) -> None:
        self.sources = sources

    def held(self, key: str) -> bool:
        return any([s.held(key) for s in self.sources])

    def pressed(self, key: str) -> bool:
        return sum([s.pressed(key) for s in self.sources]) % 2 == 1

    def typed(self, key: str) -> bool:
        return any([s.typed(key) for s in self.sources])


class PageDeadman:
    """A `Deadman`: whether the enabling button is held by who drives."""

    def __init__(self, keys: PageKeys) -> None:
        self.keys = keys

    def __call__(self) -> bool:
        return self.keys.held(ENABLE)

    def close(self) -> None:
        """Nothing to give back."""
