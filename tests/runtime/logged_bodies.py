"""Bodies that write down every call in the file named by PALMAR_TEST_LOG, one JSON line each, for tests with real processes."""

import json
import os
import threading
import time
from pathlib import Path

import numpy as np
from faulty_bodies import Good


class Logged(Good):
    """Follows its commands at once."""

    def __init__(self, robot):
        self.note("connect")
        super().__init__(robot)

    def note(self, verb, values=()):
        line = json.dumps([time.monotonic(), os.getpid(), verb, *[float(v) for v in values]])
        with Path(os.environ["PALMAR_TEST_LOG"]).open("a") as file:
            file.write(f"{line}\n")

    def apply(self, command):
        self.note("apply", command)
        self.before, self.at = self.at, np.array(command)
        self.ticks += 1

    def close(self):
        self.note("close")


class Stuck(Logged):
    """Does not come back from `observe` once it was told to move for a while."""

    def observe(self, images=True):
        if self.ticks > 40:
            threading.Event().wait()
        return super().observe(images)


class Dead(Stuck):
    """After that it takes no commands either, but has a switch."""

    def apply(self, command):
        if self.ticks > 40:
            threading.Event().wait()
        super().apply(command)

    def stop(self):
        self.note("stop")


class Refuses(Stuck):
    """After that it raises at every command."""

    def apply(self, command):
        if self.ticks > 40:
            raise OSError("the bus is gone")
        super().apply(command)

    def stop(self):
        self.note("stop")


class Dies(Logged):
    """Raises at the second command and takes its process along at the third."""

    def apply(self, command):
        super().apply(command)
        if self.ticks == 2:
            raise OSError("the bus does not answer")
        if self.ticks == 3:
            os._exit(9)


class FrozenCamera(Logged):
    def picture(self):
        return np.full((24, 32, 3), 7, np.uint8)


class BlackCamera(Logged):
    def picture(self):
        return np.zeros((24, 32, 3), np.uint8)
