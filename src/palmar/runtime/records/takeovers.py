"""When a person drives, as it is recorded: one takeover from the first of their chunks to the next of the policy's."""

from __future__ import annotations

from palmar.runtime.loop import Tick

GAP = 0.5
"""How long nothing of a person's may be carried out before they no longer drive [s]."""


class Takeovers:
    """driving: a person does. n: how often they took over. seconds: how long they drove, lasted: at a stretch, the newest [s].

    On a busy machine a person's chunks have gaps: a tick without a chunk belongs to who drove before, and is no second takeover.
    After `GAP` seconds of such ticks they drive no longer, since the last that was carried out.
    """

    def __init__(self) -> None:
        self.driving, self.n, self.seconds, self.lasted, self._acted = False, 0, 0.0, 0.0, 0.0

    def start(self, time: float) -> None:
        """A rollout begins [s]; n and seconds count on."""
        self.driving, self._acted = False, time

    def add(self, tick: Tick) -> bool:
        """True where the driver changes with this tick."""
        before = self.driving
        if tick.acting and tick.chunk is not None:
            passed = max(tick.time - self._acted, 0.0) if before else 0.0
            self.seconds, self.lasted = self.seconds + passed, self.lasted + passed
            self.driving, self._acted = tick.chunk.intervention, tick.time
        elif tick.time - self._acted > GAP:
            self.driving = False
        if self.driving and not before:
            self.n, self.lasted = self.n + 1, 0.0
        return self.driving != before

    def end(self) -> bool:
        """The rollout is over; True where a person drove."""
        before, self.driving = self.driving, False
        return before
