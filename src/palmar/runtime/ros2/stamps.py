"""When a message was captured, on this machine's monotonic clock, whatever the sender's clock says."""

from __future__ import annotations

from collections import deque

WINDOW = 10.0
"""The smallest difference of the two clocks is that of the last so many seconds [s]."""
PART = 1.0
"""In parts of so many seconds [s]."""


class Stamps:
    """Capture times of one sender.

    A stamp is read as `stamp + offset`, where the offset is the smallest `arrival − stamp` of the last 10 seconds: the quickest
    message is taken to have come at once. So an offset between the two clocks, of seconds or of years, cancels; a message that was
    delayed by d seconds more than the quickest is d seconds old; and one whose stamp does not advance grows old, although it
    arrives. Never later than the arrival. What cannot be seen is the delay that all messages share.

    Clocks that drift apart are followed within the window; a sender's clock that is set back makes its messages old for that time,
    which stops the robot. A stamp of 0 is none: the arrival counts.
    """

    def __init__(self) -> None:
        self._least: deque[list[float]] = deque()  # [begin of the part [s], smallest difference in it [s]]

    def captured(self, stamp: float, arrival: float) -> float:
        """stamp: of the message's header [s]. arrival: on this machine's monotonic clock [s]."""
        if stamp == 0.0:
            return arrival
        difference = arrival - stamp
        if self._least and arrival - self._least[-1][0] < PART:
            self._least[-1][1] = min(self._least[-1][1], difference)
        else:
            self._least.append([arrival, difference])
        while arrival - self._least[0][0] > WINDOW + PART:
            self._least.popleft()
        return min(stamp + min(least for _, least in self._least), arrival)
