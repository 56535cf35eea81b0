"""How often one client may ask."""

from __future__ import annotations

import time


class Allowance:
    """Requests on credit: `rate` a second on average, as many at once."""

    def __init__(self, rate: float) -> None:
        self.rate, self._credit, self._last = rate, rate, -1.0

    def wait(self, now: float) -> float:
        """Seconds until the request that came now may be answered; it counts."""
        self._refill(now)
        self._credit -= 1.0
        return max(0.0, -self._credit / self.rate)

    def take(self) -> bool:
        """Whether a request may be answered at once; only then it counts."""
        self._refill(time.monotonic())
        if self._credit < 1:
            return False
        self._credit -= 1
        return True

    def _refill(self, now: float) -> None:
        if self._last >= 0:
            self._credit = min(self.rate, self._credit + (now - self._last) * self.rate)
        self._last = now
