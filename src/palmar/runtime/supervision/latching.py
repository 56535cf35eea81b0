"""A run and the E-STOP of its robot: pressed elsewhere it stops the run, and an E-STOP of the run stays latched after it."""

from __future__ import annotations

import threading

from palmar.errors import BadFile
from palmar.runtime.loop import Body, Subscriber, Tick
from palmar.runtime.supervision.controller import Controller, Mode
from palmar.runtime.supervision.estop import Latch, Running
from palmar.types import Observation


class Latching(Subscriber):
    """Looks at the latch at every tick, and latches what the controller stops for.

    trouble: why the E-STOP could not be latched, "" when it was or need not be.
    """

    def __init__(self, controller: Controller, latch: Latch) -> None:
        self.controller, self.latch, self.trouble = controller, latch, ""
        self._writing: threading.Thread | None = None
        self._running: Running | None = None

    def on_start(self, obs: Observation, body: Body) -> None:
        self._running = Running(self.latch.robot, self.latch.folder)

    def on_tick(self, tick: Tick) -> None:
        if self.controller.mode is not Mode.ESTOP:
            if self.latch.latched:
                self.controller.emergency_stop(f"E-STOP {self.latch.read()}")
        elif self._writing is None:  # on a thread: a disk may be slow, and the arm has to be braked
            self._writing = threading.Thread(target=self._press, args=(self.controller.reason,))
            self._writing.start()

    def on_end(self, reason: str) -> None:
        if self._running is not None:
            self._running.close()
        if self._writing is None and self.controller.mode is Mode.ESTOP:
            self._press(self.controller.reason)
        if self._writing is not None:
            self._writing.join()

    def _press(self, reason: str) -> None:
        try:
            self.latch.press(reason, by="controller")
        except BadFile as error:
            self.trouble = str(error)
