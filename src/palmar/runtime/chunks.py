"""Chunks that overlap: the action buffer, in which the newest wins, consumed steps are dropped and a tick can always be
answered; and their mean."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from palmar.errors import BadValue
from palmar.runtime.delay import Delay
from palmar.types import ActionChunk, Array, Observation, Policy, Prefix


@dataclass(frozen=True, slots=True)
class Coming:
    """The running chunk from the inside: actions float32[T, A], which of them runs, and how much of it is over, 0 … 1.
    t0: when its observation was made [s]. aligned: it has been followed at full speed since then.
    behind: how far the chunks have fallen behind the clock in all [s]."""

    actions: Array
    index: int
    phase: float
    t0: float = 0.0
    aligned: bool = True
    behind: float = 0.0


class ChunkBuffer:
    """Holds the chunk being carried out and says when the next is due (chunk recycling: compute T, execute `execute`).

    blend: seconds over which the old chunk fades into the new one at a seam; 0 switches at once.
    realtime: tell the policy what runs while it computes (`rest`), so that its chunk fits on to it (real-time chunking).
    delay: how many steps that will be; measured, and kept over `reset`.
    epoch: counts the resets; what was asked for before a reset never enters after it.
    slipped: how far the chunks are behind the clock, because the robot followed them more slowly (`slip`) [s]. A chunk counts
    from where the robot was when its observation was made: what it fell behind before that is not held against it.
    """

    def __init__(
        self, execute: int = 4, blend: float = 0.0, realtime: bool = False, delay: Delay | None = None
    ) -> None:
        self.execute, self.blend, self.realtime = execute, blend, realtime
        self.delay = delay or Delay()
        self.epoch = 0
        self.reset()

    def reset(self) -> None:
        """Forget the chunks: the robot rests, or a person moves it."""
        self.epoch += 1
        self._made = -np.inf
        self._chunk: ActionChunk | None = None
        self._old: ActionChunk | None = None
        self._spliced = 0.0
        self._idle_since: float | None = -np.inf
        self._asked: float | None = None
        self.slipped = self._slip = self._slip_old = self._slip_asked = 0.0
        self.seam = 0.0

    @property
    def current(self) -> ActionChunk | None:
        return self._chunk

    def due(self, now: float, dt: float) -> bool:
        """Is it time to ask the policy again? True every `execute` actions, or as many as the running chunk says, since the
        last time it was asked."""
        own = None if self._chunk is None else self._chunk.execute
        return self._asked is None or now - self._asked > ((own or self.execute) - 0.5) * dt

    def asked(self, now: float) -> None:
        self._asked, self._slip_asked = now, self.slipped

    def slip(self, seconds: float) -> None:
        """The tick that is over followed the chunk for so much less than its length: the rest of it comes later."""
        self.slipped += seconds

    def _path(self, now: float) -> float:
        """`now` on the time of the running chunk."""
        return now - (self.slipped - self._slip)

    def coming(self, now: float) -> Coming | None:
        """The running chunk and where in it the robot is; None when none runs."""
        if self._chunk is None or (at := _index(self._chunk, self._path(now))) is None:
            return None
        return Coming(self._chunk.actions, *at, self._chunk.t0, self.slipped == self._slip, self.slipped)

    def rest(self, now: float) -> Prefix | None:
        """What the running chunk will do from `now` on, the first step being the one that runs now; None when none runs, or
        without `realtime`. Committed are the steps that are expected to begin before the answer comes."""
        if not self.realtime or self._chunk is None or (at := _index(self._chunk, self._path(now))) is None:
            return None
        left = self._chunk.actions[at[0] :]
        return Prefix(left, min(self.delay.steps, len(left)))

    def position(self, now: float) -> int:
        """Which step of the running chunk runs now; 0 when none does."""
        at = None if self._chunk is None else _index(self._chunk, self._path(now))
        return 0 if at is None else at[0]

    def push(self, chunk: ActionChunk, now: float, epoch: int | None = None) -> None:
        """Splice a chunk in. Its steps that were consumed before `now` never run; `seam` keeps the jump at the splice.

        Consumed are the steps during which the robot followed the chunk before: of the time it rested, because that had run
        dry, no step is lost. The robot is still where it stopped, and the chunk goes on from there.
        epoch: the buffer's when the chunk was asked for. Raises `BadValue` for a chunk of before a reset, from the future, or
        from before the one that runs; the buffer is as it was.
        """
        if epoch is not None and epoch != self.epoch:
            raise BadValue(
                f"a chunk that was asked for before a reset (epoch {epoch}, now {self.epoch}) is not carried out. Next: wait "
                "for the one that is asked for now"
            )
        if not self._made - 1e-6 <= chunk.t0 <= now + 1e-6:
            raise BadValue(
                f"the chunk answers an observation of {chunk.t0:.3f} s; expected one between that of the running chunk "
                f"({self._made:.3f} s) and now ({now:.3f} s). Next: let the policy set t0 to the observation's time"
            )
        self._made, before = chunk.t0, self.sample(now)
        if before is None and self._idle_since is not None:
            chunk = replace(chunk, t0=chunk.t0 + max(now - max(self._idle_since, chunk.t0), 0.0))
        # behind since its observation; a chunk that was never asked for has none of that
        slip = self.slipped if self._asked is None else self._slip_asked
        age = now - (self.slipped - slip) - chunk.t0
        self.delay.consumed(0 if self._chunk is None else int(np.ceil(age / chunk.dt - 1e-6)))
        self._old, self._slip_old = self._chunk, self._slip
        self._chunk, self._slip, self._spliced = chunk, slip, now
        after = _at(chunk, self._path(now))
        if before is not None and after is not None:
            self.seam = float(np.linalg.norm(before[0] - after[0]))

    def sample(self, now: float) -> tuple[Array, float] | None:
        """The action float32[A] for the tick that starts now and its phase 0 … 1, or None when the buffer has run dry."""
        if self._chunk is None or (new := _at(self._chunk, self._path(now))) is None:
            self._idle_since = now if self._idle_since is None else self._idle_since
            return None
        self._idle_since = None
        action, phase = new
        fade = (now - self._spliced) / self.blend if self.blend > 0 else 1.0
        if (
            fade < 1.0
            and self._old is not None
            and (old := _at(self._old, now - (self.slipped - self._slip_old))) is not None
        ):
            action = fade * action + (1 - fade) * old[0]
        return action, phase


def _index(chunk: ActionChunk, now: float) -> tuple[int, float] | None:
    """The step that runs at `now` and how much of it is over, 0 … 1; None before the first and after the last."""
    age = (now - chunk.t0) / chunk.dt + 1e-6  # a tick that lands on a boundary belongs to the step it opens
    i = int(age)
    return (i, age - i) if age >= 0 and i < len(chunk.actions) else None


def _at(chunk: ActionChunk, now: float) -> tuple[Array, float] | None:
    at = _index(chunk, now)
    return None if at is None else (chunk.actions[at[0]], at[1])


class Averaged:
    """Keep the inner policy's newest chunks and answer with their exponentially weighted mean (temporal ensembling).

    Weight exp(-decay · age) with the oldest chunk at age 0. Source: ACT, Zhao et al. 2023, arXiv 2304.13705, §IV-B.
    """

    def __init__(self, inner: Policy, decay: float = 0.01) -> None:
        self.inner, self.decay = inner, decay
        self.interface = inner.interface
        self._chunks: list[ActionChunk] = []

    def reset(self) -> None:
        self.forget()
        self.inner.reset()

    def forget(self) -> None:
        """The chunks before now."""
        self._chunks.clear()

    def act(self, obs: Observation, prefix: Prefix | None = None) -> ActionChunk:
        return self.mean(self.inner.act(obs, prefix))

    def mean(self, new: ActionChunk) -> ActionChunk:
        """`new` with its actions averaged with the chunks before it, which are kept."""
        end = len(new.actions)
        shift = [round((new.t0 - c.t0) / new.dt) for c in self._chunks]
        self._chunks = [c for c, s in zip(self._chunks, shift, strict=True) if 0 <= s < end] + [new]
        total, weight = np.zeros_like(new.actions, dtype=float), np.zeros((end, 1))
        for age, chunk in enumerate(self._chunks):
            s = round((new.t0 - chunk.t0) / new.dt)
            n = len(chunk.actions) - s
            w = np.exp(-self.decay * age)
            total[:n] += w * chunk.actions[s:]
            weight[:n] += w
        return replace(new, actions=(total / weight).astype(np.float32))
