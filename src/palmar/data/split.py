"""Which episodes of a data set a checkpoint was not trained on, told by their content and not by their place.

A checkpoint keeps one digest for each episode it was trained on. A set that grew since, was merged with another or filtered is
therefore split as it should be.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

TRAINED_ON = "trained_on"
"""Where a checkpoint's info holds the digests of its training episodes."""
OTHERS = "?"
"""Among the digests: it began from a checkpoint that does not say what it was trained on."""


@dataclass(frozen=True)
class Split:
    """held_out: places in `source.episodes` of those that were not trained on. trained: how many were. known: the checkpoint
    says which episodes it was trained on. text: the same in a sentence."""

    held_out: tuple[int, ...]
    trained: int
    known: bool
    text: str


def episode_digests(source: Any) -> tuple[str, ...]:
    """12 hexadecimal digits for each of `source.episodes`, of its states and actions as recorded: what wraps a set (a filter,
    other names) does not change them. A part of a recorded episode, such as a stretch that a person drove, has the digits of
    the whole: who was trained on the part has seen that episode."""
    raw = source
    while (inner := getattr(raw, "source", None)) is not None and hasattr(inner, "states") and len(inner) == len(raw):
        raw = inner
    states, actions = (np.asarray(x, np.float32) for x in (raw.states, raw.actions))
    recorded = sorted((int(e.start), int(e.stop)) for e in getattr(raw, "episodes", ()))
    starts = np.array([start for start, _ in recorded], np.int64)
    out = []
    for e in source.episodes:
        start, stop = int(e.start), int(e.stop)
        place = int(np.searchsorted(starts, start, side="right")) - 1
        if place >= 0 and stop <= recorded[place][1]:
            start, stop = recorded[place]
        digest = hashlib.blake2b(digest_size=6)
        for values in (states, actions):
            digest.update(np.ascontiguousarray(values[start:stop]).tobytes())
        out.append(digest.hexdigest())
    return tuple(out)


def said_episodes(info: Mapping[str, Any]) -> tuple[str, ...] | None:
    """The digests of the episodes that a checkpoint (its `info`) was trained on; None when it does not say, or not as a list of
    texts."""
    listed = info.get(TRAINED_ON)
    if not isinstance(listed, list | tuple) or not all(isinstance(digest, str) for digest in listed):
        return None
    return tuple(listed)


def held_out(source: Any, info: Mapping[str, Any]) -> Split:
    """info: of a checkpoint (`NeuralPolicy.info`); empty for a policy that has none. When it does not say what it was trained
    on, every episode counts as held out, and the text says so."""
    n, listed = len(source.episodes), said_episodes(info)
    if listed is None:
        return Split(
            tuple(range(n)), 0, False,
            f"the policy does not say which episodes it was trained on: all {n} are taken as held out, and the errors are too "
            "low if it was trained on some of them",
        )  # fmt: skip
    seen = set(listed)
    places = tuple(i for i, digest in enumerate(episode_digests(source)) if digest not in seen)
    trained = n - len(places)
    if not trained:
        text = f"none of these {n} episodes was trained on: all are held out"
    else:
        text = f"{len(places)} of {n} episodes are held out; the other {trained} were trained on"
    if OTHERS in seen:
        text += "; the checkpoint that it began from does not say what it was trained on"
    return Split(places, trained, OTHERS not in seen, text)
