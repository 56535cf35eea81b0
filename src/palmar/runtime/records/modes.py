"""Changes of a controller's mode as they are recorded, each once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from palmar.runtime.loop import Tick
from palmar.runtime.supervision.controller import Controller, Mode
from palmar.types import Reason


@dataclass(frozen=True)
class Change:
    """mode: from now on. words: why. source: what led to it, such as a guard, watchdog or deadman; "" of RUN. reason: of the guard
    that stopped the robot, None where no guard did."""

    mode: Mode
    words: str
    source: str
    reason: Reason | None


class Modes:
    """controller: None for a rollout without one. source: of the newest change."""

    def __init__(self, controller: Controller | None) -> None:
        self.controller, self.source = controller, ""
        self._seen = 0 if controller is None else len(controller.history)

    def changes(self, tick: Tick | None) -> Iterator[Change]:
        """Since the last call. tick: the newest, None at the end."""
        if self.controller is None or len(self.controller.history) == self._seen:
            return
        fault = tick.verdict.fault if tick is not None and tick.verdict.stop else None
        for _, mode, words in self.controller.history[self._seen :]:
            self._seen += 1
            # a mode that nothing names is led to by the guard that stops now, or by what held before
            known = self.controller.source or ("" if fault is None else fault.guard) or self.source
            self.source = "" if mode is Mode.RUN else known or mode.name.lower()
            yield Change(mode, words, self.source, None if mode is Mode.RUN else fault)


def emergency_stops(controller: Controller) -> int:
    """How often it went into ESTOP; one that two things ask for is one. May be read from any thread."""
    modes = [mode for _, mode, _ in tuple(controller.history)]
    return sum(
        mode is Mode.ESTOP and before is not Mode.ESTOP for before, mode in zip([Mode.RUN, *modes], modes, strict=False)
    )
