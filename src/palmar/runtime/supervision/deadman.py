"""Deadman switches: what a person holds while the robot may move. `Controller(deadman=switch)` asks at every tick.

    keys          any key held in this terminal
    udp:PORT      a device on the network that sends a datagram that begins with "1" while it is held
    FILE          a file that something writes to while it is held

A switch that breaks (the terminal closes, the network is gone, the file disappears) is released. Time is that of a monotonic
clock: how the wall clock is set does not matter.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from palmar.errors import BadFile, BadValue
from palmar.runtime.typed import Typed

GRACE = 0.25
"""Longest time without a sign of life while the switch is held [s]."""
FIRST = 0.8
"""A terminal repeats a key that is held only after this time at the latest [s]; from the second sign on `GRACE` counts."""
FORMS = "keys, udp:PORT or a file"


class Deadman(Protocol):
    """Called: whether the switch is held now; never waits. close: give back what it took."""

    def __call__(self) -> bool: ...

    def close(self) -> None: ...


class Signs:
    """Held while signs of life come. first: longest time from the first sign to the second, grace: between later ones [s]."""

    def __init__(
        self, grace: float = GRACE, first: float | None = None, now: Callable[[], float] = time.monotonic
    ) -> None:
        self.grace, self.first, self.now = grace, grace if first is None else first, now
        self._last: float | None = None
        self._repeats = False

    def seen(self, sign: bool) -> bool:
        """Tell whether a sign came since the last call; whether the switch is held."""
        now = self.now()
        held = self._last is not None and now - self._last <= (self.grace if self._repeats else self.first)
        if sign:
            self._repeats, self._last, held = held, now, True
        return held

    def forget(self) -> None:
        """It was let go: only a new sign counts."""
        self._last = None


class Keys:
    """A key held in a terminal, by its repetition. Raises `BadValue` where there is no terminal."""

    def __init__(self, file: int | None = None, signs: Signs | None = None) -> None:
        self._typed = Typed("--deadman keys", "--deadman udp:PORT or a file", file)
        self._signs = signs or Signs(first=FIRST)

    def __call__(self) -> bool:
        return self._signs.seen(bool(self._typed.read()))

    def close(self) -> None:
        self._typed.close()


class Datagrams:
    """A device that sends b"1…" to a UDP port of this machine while it is held, and b"0" when it is released."""

    def __init__(self, port: int, signs: Signs | None = None, host: str = "") -> None:
        self._signs = signs or Signs()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        try:
            self._socket.bind((host, port))
        except OSError as error:
            self._socket.close()
            raise BadValue(
                f"--deadman udp:{port} cannot listen ({error.strerror}). Next: another port, or end what uses it"
            ) from error
        self.port = self._socket.getsockname()[1]

    def __call__(self) -> bool:
        sign = released = False
        for _ in range(100):  # whoever sends more than that a tick is no switch
            try:
                word = self._socket.recv(16)
            except OSError:
                break
            sign, released = word[:1] == b"1", word[:1] == b"0"
        if released:
            self._signs.forget()
        return self._signs.seen(sign)

    def close(self) -> None:
        self._socket.close()


class Touched:
    """A file that changes (its time or size) while the switch is held. Raises `BadFile` when it is not there."""

    def __init__(self, path: str | Path, signs: Signs | None = None) -> None:
        self.path, self._signs = Path(path), signs or Signs()
        if not self.path.is_file():
            raise BadFile(f"--deadman is '{path}' and there is no such file; expected {FORMS}. Next: one of them")
        self._before = self._stamp()

    def _stamp(self) -> tuple[int, int] | None:
        try:
            found = self.path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size

    def __call__(self) -> bool:
        before, self._before = self._before, self._stamp()
        return self._signs.seen(self._before is not None and self._before != before) and self._before is not None

    def close(self) -> None:
        """Nothing to give back."""


def deadman_of(words: str) -> Deadman:
    """The switch that is meant by `keys`, `udp:PORT` or the name of a file. Raises `BadValue`, `BadFile`."""
    if words == "keys":
        return Keys()
    kind, colon, port = words.partition(":")
    if kind == "udp" and colon:
        if not port.isdecimal() or not 1 <= int(port) <= 65535:
            raise BadValue(f"--deadman is '{words}'; expected a port 1 … 65535. Next: --deadman udp:5005")
        return Datagrams(int(port))
    return Touched(words)


def wait_until_held(switch: Deadman, seconds: float, sleep: Callable[[float], None] = time.sleep) -> None:
    """Return when the switch is held. Raises `BadValue` when it is not within so many seconds."""
    until = time.monotonic() + seconds
    while not switch():
        if time.monotonic() > until:
            raise BadValue(
                f"the deadman switch was not held within {seconds:g} s; the run has not begun. Next: hold it while the run goes on"
            )
        sleep(0.01)
