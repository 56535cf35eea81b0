"""Chunks that overlap: the action buffer, in which the newest wins, late steps are dropped and a tick can always be answered; and
their mean."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from palmar.types import ActionChunk, Array, Observation, Policy


class ChunkBuffer:
    """Holds the chunk being carried out and says when the next is due (chunk recycling: compute T, execute `execute`).

    blend: seconds over which the old chunk fades into the new one at a seam; 0 switches at once.
    """

    def __init__(self, execute: int = 4, blend: float = 0.0) -> None:
        self.execute, self.blend = execute, blend
        self.reset()

    def reset(self) -> None:
        self._chunk: ActionChunk | None = None
        self._old: ActionChunk | None = None
        self._spliced = 0.0
        self._idle_since: float | None = -np.inf
        self._asked: float | None = None
        self.seam = 0.0

    @property
    def current(self) -> ActionChunk | None:
        return self._chunk

    def due(self, now: float, dt: float) -> bool:
        """Is it time to ask the policy again? True every `execute` actions since the last time it was asked."""
        return self._asked is None or now - self._asked > (self.execute - 0.5) * dt

    def asked(self, now: float) -> None:
        self._asked = now

    def push(self, chunk: ActionChunk, now: float) -> None:
        """Splice a chunk in. Its steps before `now` are late and never run; `seam` keeps the jump at the splice.

        Of a chunk that was computed while the robot rested no step is late: the robot is still where it was observed, and
        the chunk begins now.
        """
        before = self.sample(now)
        if before is None and self._idle_since is not None and self._idle_since <= chunk.t0 + 1e-9 < now:
            chunk = replace(chunk, t0=now)
        self._old, self._chunk, self._spliced = self._chunk, chunk, now
        after = _at(chunk, now)
        if before is not None and after is not None:
            self.seam = float(np.linalg.norm(before[0] - after[0]))

    def sample(self, now: float) -> tuple[Array, float] | None:
        """The action float32[A] for the tick that starts now and its phase 0 … 1, or None when the buffer has run dry."""
        if self._chunk is None or (new := _at(self._chunk, now)) is None:
            self._idle_since = now if self._idle_since is None else self._idle_since
            return None
        self._idle_since = None
        action, phase = new
        fade = (now - self._spliced) / self.blend if self.blend > 0 else 1.0
        if fade < 1.0 and self._old is not None and (old := _at(self._old, now)) is not None:
            action = fade * action + (1 - fade) * old[0]
        return action, phase


def _at(chunk: ActionChunk, now: float) -> tuple[Array, float] | None:
    age = (now - chunk.t0) / chunk.dt + 1e-6  # a tick that lands on a boundary belongs to the step it opens
    i = int(age)
    return (chunk.actions[i], age - i) if age >= 0 and i < len(chunk.actions) else None


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

    def act(self, obs: Observation, prefix: Array | None = None) -> ActionChunk:
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
