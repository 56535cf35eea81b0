"""Signals of episodes that were kept as chunks, for fitting: a table of numbers from histories."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from palmar.errors import BadValue
from palmar.runtime.confidence.distance import Gaussian
from palmar.runtime.confidence.learn import Rollouts
from palmar.runtime.confidence.signals import SPAN, signals
from palmar.types import ActionChunk

CHUNK_SIGNALS = ("disagreement", "seam", "size", "jerk", "turns")
"""Of the chunks alone, for any policy; `travel` takes the place of `size` where actions are positions."""


def rollouts(
    episodes: Sequence[Sequence[ActionChunk]],
    failed: Sequence[bool],
    tasks: Sequence[int] | None = None,
    names: Sequence[str] = CHUNK_SIGNALS,
    familiar: Gaussian | None = None,
) -> Rollouts:
    """episodes: the chunks of each, in order. failed, tasks: one an episode; all of one task when none is said. familiar: see
    `signals`.

    Raises `BadValue` when counts differ or an episode has no chunk, `UnknownName` for a signal that is none.
    """
    tasks = [0] * len(episodes) if tasks is None else tasks
    if not len(episodes) == len(failed) == len(tasks) or not episodes or not all(episodes):
        raise BadValue(
            f"{len(episodes)} episodes, {len(failed)} ends, {len(tasks)} tasks, shortest of "
            f"{min(map(len, episodes), default=0)} chunks; expected as many of each, each with a chunk. Next: leave empty ones out"
        )
    lengths = np.array([len(e) for e in episodes])
    values = np.full((len(episodes), int(lengths.max()), len(names)), np.nan)
    for i, chunks in enumerate(episodes):
        for t in range(len(chunks)):
            values[i, t] = signals(chunks[max(0, t + 1 - SPAN) : t + 1], names, familiar)
    return Rollouts(tuple(names), values, lengths, np.array(failed, bool), np.array(tasks, int))
