"""A running policy that follows the folder of its versions: a new one that acts there takes over here, between two chunks."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

from palmar.console import warn
from palmar.errors import PalmarError
from palmar.policy import Policy, load_policy
from palmar.runtime.adaptation.swapping import Swappable
from palmar.runtime.adaptation.versions import Versions
from palmar.types import Observation, Reason


class Following:
    """Looks every `every` seconds, on a thread of its own, which version acts in a folder of versions, loads it and swaps it in.

    policy: what drives, and is given to `RollBack(policy, told=following.rolled_back)`. A version that cannot be loaded or does
    not fit is told once and left alone; what drives goes on. warm: an observation for the first answer of a new version.
    """

    def __init__(
        self, root: str | Path, every: float = 2.0, warm: Observation | None = None,
        load: Callable[[str], Policy] = load_policy,
    ) -> None:  # fmt: skip
        self.versions, self.every, self.warm, self.load = Versions(root), every, warm, load
        name = self.versions.current
        self.policy = Swappable(load(str(self.versions.path(name))), name)
        self._seen = name
        self._alarms: deque[tuple[str, Reason]] = deque()  # the version that alarmed, and why; not yet in the folder
        self._told: Reason | None = None  # that could not be written, and was told
        self._writing = threading.Lock()
        self._closed = False
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="palmar-following", daemon=True)

    def __enter__(self) -> Following:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed = True
        self._wake.set()
        self._thread.join(timeout=5.0)
        self._go_back()

    def look(self) -> bool:
        """Swap the version that acts in the folder in, when it is another than at the last look; whether it did. Before, the
        folder goes back from versions that alarmed."""
        self._go_back()
        try:
            name = self.versions.current
            if name == self._seen:
                return False
            self._seen = name
            if name == self.policy.version:
                return False
            self.policy.swap(self.load(str(self.versions.path(name))), name, self.warm)
        except Exception as error:  # of a damaged checkpoint, or of the new policy's first answer: anything
            told = error if isinstance(error, PalmarError | OSError) else f"{type(error).__name__}: {error}"
            warn("{} goes on: {}", self.policy.version, told)
            return False
        return True

    def rolled_back(self, reason: Reason) -> None:
        """The alarm of a version that was swapped in: the folder goes back to its parent too, at the next look, unless another
        acts there by then. It returns at once, for the loop: no disk is waited for. What is wrong with the folder, such as a full
        disk, is told and does not stop the robot."""
        history = list(self.policy.history)
        alarmed = [
            before.version for before, now in pairwise(history) if now.reason is not None
        ]  # that it went back from
        if alarmed:
            self._alarms.append((alarmed[-1], reason))
            self._wake.set()

    def _go_back(self) -> None:
        """An alarm is kept until the folder went back, or another version acts there."""
        with self._writing:
            while self._alarms:
                alarmed, reason = self._alarms[0]
                try:
                    if self.versions.current == alarmed:
                        self._seen = self.versions.roll_back(str(reason), alarmed) or self._seen
                except (PalmarError, OSError) as error:
                    if self._told is not reason:
                        warn(
                            "{} drives; the folder of versions did not go back with it: {}", self.policy.version, error
                        )
                    self._told = reason
                    return
                self._alarms.popleft()

    def _follow(self) -> None:
        while not self._closed:
            self._wake.wait(self.every)
            self._wake.clear()
            if not self._closed:
                self.look()
