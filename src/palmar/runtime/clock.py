"""Time is an argument: the same loop runs on the wall clock and on a simulated one."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    def now(self) -> float:
        """Seconds since the clock was made."""
        ...

    def wait_until(self, when: float) -> float:
        """Sleep until `when` [s]; return how late the wake-up was [s]."""
        ...


class SimClock:
    """Time that passes only when the loop waits: nothing sleeps and nothing is ever late."""

    def __init__(self) -> None:
        self._now = 0.0

    def now(self) -> float:
        return self._now

    def wait_until(self, when: float) -> float:
        self._now = max(self._now, when)
        return 0.0


class WallClock:
    """Real time. The last `spin` seconds are waited actively: a sleep alone wakes up to a millisecond late."""

    def __init__(self, spin: float = 0.0008) -> None:
        self._start, self._spin = time.perf_counter(), spin

    def now(self) -> float:
        return time.perf_counter() - self._start

    def wait_until(self, when: float) -> float:
        if (left := when - self.now() - self._spin) > 0:
            time.sleep(left)
        while (late := self.now() - when) < 0:
            time.sleep(0)  # yields the interpreter lock to the policy's thread
        return late
