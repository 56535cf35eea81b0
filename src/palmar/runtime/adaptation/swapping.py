"""Changing the policy of a loop that runs: between two chunks, at once, and back on the first alarm."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from palmar.errors import BadValue
from palmar.runtime.correcting import corrector
from palmar.runtime.loop import Body, Subscriber, Tick
from palmar.types import ActionChunk, Observation, Policy, Prefix, Reason

SILENT = 1.0  # longest time without a chunk in time where nobody says another [s]
COMPARED = ("cameras", "state_names", "action_names", "dt", "state_units", "action_units", "offsets")


@dataclass(frozen=True)
class Swap:
    """at: seconds of `Swappable.now`. reason: why it went back, None for a swap forward."""

    at: float
    version: str
    reason: Reason | None = None


class Swappable:
    """A policy that can be exchanged while it acts. A chunk is made wholly by one policy: the one at hand when it was asked for;
    one that went back meanwhile is not handed on.

    version: name of the policy that answers the next question. `swap` and `roll_back` may be called from any thread. The chunk
    that runs is carried out as always until the next takes its place; limits and guards are those of the loop.
    """

    def __init__(self, policy: Policy, version: str = "", now: Callable[[], float] = time.monotonic) -> None:
        self.interface, self.now = policy.interface, now
        self._at = (policy, version)
        self._before: list[tuple[Policy, str]] = []  # each on trial when the next was swapped in, the first proven
        self._withdrawn: tuple[Policy, str] | None = None
        self._stale: tuple[Policy, str] | None = None  # to be reset before it acts: what it remembers is of before
        self._last: tuple[Policy, str] | None = None  # who answered last, or raised
        self._lock = threading.Lock()
        self.history: list[Swap] = []

    @property
    def inner(self) -> Policy:
        return self._at[0]

    @property
    def version(self) -> str:
        return self._at[1]

    @property
    def on_trial(self) -> bool:
        """Whether there is a policy to go back to."""
        return bool(self._before)

    def reset(self) -> None:
        self.inner.reset()

    def act(self, obs: Observation, prefix: Prefix | None = None) -> ActionChunk:
        while True:
            at = self._at  # one read: the whole chunk is of this policy
            if at is self._stale:
                at[0].reset()
                self._stale = None
            try:
                chunk = at[0].act(obs, prefix)
            except Exception:
                if at is not self._withdrawn:
                    self._last = at
                    raise
                continue
            if at is not self._withdrawn:  # rolled back while it computed
                self._last = at
                return chunk

    @property
    def answered_last(self) -> bool:
        """Whether it was the version at hand that answered last, or raised."""
        return self._last is self._at

    def swap(self, policy: Policy, version: str, warm: Observation | None = None) -> None:
        """The next question goes to `policy`. warm: an observation to answer once before, on the caller's thread: the first answer
        of a network takes longest.

        Raises `BadValue`, and nothing is exchanged, when the two do not mean the same by their numbers, are of other robots,
        when the new one answers fewer actions at once, or when either corrects actions between chunks (`runtime.correcting`);
        and what the policy raises on `warm`.
        """
        check_same(self.interface, policy, version)
        if (short := policy.interface.horizon) < self.interface.horizon:
            raise BadValue(
                f"'{version}' answers {short} actions at once; the policy that runs answers {self.interface.horizon}, and the loop "
                "counts on them. Next: a policy adapted from the one that runs"
            )
        if corrector(self.inner) is not None or corrector(policy) is not None:
            raise BadValue(
                f"'{version}' cannot take over within an episode: a policy with a residual correction is exchanged between "
                "episodes only. Next: load it for the next episode"
            )
        policy.reset()
        if warm is not None:
            policy.act(warm)
            policy.reset()
        with self._lock:
            self._before.append(self._at)
            self._at = (policy, version)
            self.history.append(Swap(self.now(), version))

    def keep(self) -> None:
        """The policy at hand has proven itself: an alarm no longer leads back."""
        with self._lock:
            self._before.clear()

    def roll_back(self, reason: Reason) -> bool:
        """To the policy before the last swap; False when there is none. It may be computing still, so it is reset when it acts
        next, on that thread. Where it was on trial itself it still is: its next alarm leads back further."""
        with self._lock:
            if not self._before:
                return False
            before = self._before.pop()
            self._stale = before
            self._withdrawn, self._at = self._at, before
            self.history.append(Swap(self.now(), self._at[1], reason))
        return True


def check_same(ours: object, policy: Policy, version: str) -> None:
    """Raise `BadValue` naming the first thing in which a policy's interface is not `ours`."""
    for what in COMPARED:
        mine, theirs = getattr(ours, what), getattr(policy.interface, what)
        if mine != theirs:
            raise BadValue(
                f"'{version}' has other {what} than the policy that runs: {_shown(theirs)} and {_shown(mine)}. Next: a policy "
                "adapted from the one that runs"
            )

    robots = getattr(ours, "embodiment", ""), policy.interface.embodiment
    if all(robots) and robots[0] != robots[1]:
        raise BadValue(
            f"'{version}' drives {robots[1]}; the policy that runs drives {robots[0]}. Next: a policy adapted from the one that "
            "runs"
        )


def _shown(value: object) -> str:
    words = ", ".join(map(str, value)) if isinstance(value, Mapping | tuple) else str(value)
    return (words if len(words) <= 80 else words[:77] + "…") or "none"


class RollBack(Subscriber):
    """Goes back on the first alarm of a version that was swapped in: a guard that stops the robot while a chunk of it runs, a
    failure of it, no chunk that is in time, or a confidence that is an alarm. What the version before did meanwhile is not charged
    to it. told: called once with the reason, on the loop's thread, such as `Following.rolled_back`.

    alpha: a chunk's confidence at or below it is an alarm (`JudgeConfig.alpha`); 0 for none. silent: longest time without a fresh
    chunk that was in time to be carried out [s]; None for that of `Controller.watchdog`, which holds the robot then.
    stalled: why the robot, asked to move, does not, "" while it does. forget: that of the worker the policy computes on: what it
    had finished when it went back is not carried out. Not given, `deploy` gives those of its controller and its worker.
    """

    def __init__(
        self, policy: Swappable, alpha: float = 0.0, told: Callable[[Reason], object] = lambda reason: None,
        silent: float | None = None, stalled: Callable[[], str] | None = None, forget: Callable[[], None] | None = None,
    ) -> None:  # fmt: skip
        self.policy, self.alpha, self.told, self.silent = policy, alpha, told, silent
        self.stalled, self.forget = stalled, forget
        self._heard, self._stall, self._stopped, self._version = 0.0, "", False, policy.version
        self._own = False  # the chunk that runs is of the version at hand

    def on_start(self, obs: Observation, body: Body) -> None:
        self._heard, self._stopped, self._own = obs.time, False, False

    def on_tick(self, tick: Tick) -> None:
        version = self.policy.version
        if (tick.new_chunk and tick.acting) or not self.policy.on_trial or version != self._version:
            self._heard = tick.time
        if version != self._version:
            self._version, self._own = version, False
        if tick.new_chunk and tick.chunk is not None:
            self._own = self.policy.answered_last and not tick.chunk.intervention
        before, self._stall = self._stall, "" if self.stalled is None else self.stalled()
        stall = self._stall if self._stall != before else ""  # one that began before the swap is not its fault
        if self.policy.on_trial and (reason := self._alarm(tick, stall)) is not None and self.policy.roll_back(reason):
            if self.forget is not None:
                self.forget()
            self.told(reason)
        self._stopped = tick.verdict.stop

    def _alarm(self, tick: Tick, stall: str) -> Reason | None:
        if tick.failure is not None and self.policy.answered_last:
            return Reason("swap", over=None, note=f"the policy fails ({type(tick.failure).__name__}: {tick.failure})")
        if tick.verdict.stop and not self._stopped and self._own:
            return tick.verdict.fault
        if stall and self._own:
            return Reason("swap", over=None, note=stall)
        longest = SILENT if self.silent is None else self.silent
        if (quiet := tick.time - self._heard) > longest:
            self._heard = tick.time  # the one before has as long
            return Reason("swap", "without a chunk in time", quiet, longest, "s")
        if not self._own:
            return None
        if tick.new_chunk and tick.chunk is not None and not np.isfinite(tick.chunk.actions).all():
            return Reason("swap", over=None, note="actions of the policy are not finite (nan)")
        sure = tick.chunk.confidence if tick.new_chunk and tick.chunk is not None else None
        if self.alpha and sure is not None and sure <= self.alpha:
            return Reason("swap", "confidence", sure, self.alpha, over=False)
        return None
