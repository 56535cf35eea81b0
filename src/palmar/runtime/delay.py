"""How many steps of the running chunk are carried out while the next one is computed."""

from __future__ import annotations

import math
from collections import deque


class Delay:
    """A high percentile of the newest delays, in steps of the chunk that were consumed.

    Not a maximum since the start: one slow answer must not be believed for ever. The first answer is left out: it pays for
    loading and compiling, and the robot rests meanwhile. percentile: 0 … 100. window: how many answers are remembered.
    first: steps to assume before anything is known.
    """

    def __init__(self, percentile: float = 90.0, window: int = 50, first: int = 0) -> None:
        self.percentile, self.first = percentile, first
        self._seen: deque[int] = deque(maxlen=window)
        self._warm = False

    def consumed(self, steps: int) -> None:
        """A chunk came after so many steps of the one before had begun, 0 or more."""
        if self._warm:
            self._seen.append(max(0, steps))
        self._warm = True

    @property
    def steps(self) -> int:
        """The delay to expect: the smallest that `percentile` percent of the newest answers did not exceed."""
        if not self._seen:
            return self.first
        rank = math.ceil(self.percentile / 100 * len(self._seen))
        return sorted(self._seen)[max(0, rank - 1)]
