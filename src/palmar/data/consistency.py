"""What may change within a data set and should not: the time between frames, and the units of a channel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from palmar.data.stats import finite_rows
from palmar.types import Array

LATE = 0.1  # frames by which a timestamp may be off
NEAR = 1.4  # a jump is one of units when it is that near to one of these factors
UNITS = ((57.3, "degrees and radians"), (100.0, "percent and fractions, or m and cm"), (1000.0, "m and mm"))


@dataclass(frozen=True, slots=True)
class Irregular:
    """The first frame whose timestamp is not its number over fps. frames: how many are so; found, expected: [s]."""

    episode: int
    frame: int
    found: float
    expected: float
    frames: int
    total: int

    def __str__(self) -> str:
        return (
            f"timestamps are irregular: in episode {self.episode}, frame {self.frame} has {self.found:.4f} s; expected "
            f"{self.expected:.4f} s (frame over fps); so have {self.frames} of {self.total} frames. Frames are taken by their "
            "number. Next: if fps in meta/info.json is wrong, correct it; if frames are missing, record again"
        )


@dataclass(frozen=True, slots=True)
class UnitChange:
    """A channel whose values are `ratio` times as large from `episode` on. kind: "state" or "action"."""

    kind: str
    channel: str
    episode: int
    ratio: float

    def __str__(self) -> str:
        times = self.ratio if self.ratio > 1 else 1 / self.ratio
        name = next((f", as between {what}" for factor, what in UNITS if factor / NEAR < times < factor * NEAR), "")
        size = "larger" if self.ratio > 1 else "smaller"
        return (
            f"{self.kind} '{self.channel}' changes its unit: from episode {self.episode} on its values are {times:.3g} times "
            f"{size}{name}. Next: convert one part, or leave it out"
        )


def irregular(timestamps: Array, start: Array, stop: Array, fps: float) -> Irregular | None:
    """Compare timestamps [s] (float[frames]) with frame / fps, each episode from its first; None where they agree.

    start, stop: int64[episodes], where each begins and ends. A frame is off by more than `LATE` of a frame, or not a number.
    """
    if not len(timestamps):
        return None
    lengths = stop - start
    frame = np.arange(len(timestamps)) - np.repeat(start, lengths)
    expected = frame / fps
    with np.errstate(invalid="ignore"):
        off = ~(np.abs(timestamps.astype(np.float64) - expected) <= LATE / fps)
    if not off.any():
        return None
    i = int(off.argmax())
    episode = int(np.searchsorted(stop, i, side="right"))
    return Irregular(episode, int(frame[i]), float(timestamps[i]), float(expected[i]), int(off.sum()), len(timestamps))


def unit_changes(kind: str, values: Array, names: Sequence[str], episodes: Sequence[Any]) -> list[UnitChange]:
    """Channels whose size (99th percentile of the absolute value in an episode) jumps once and stays so.

    values: float[frames, width]; frames that are not all finite are left out. Every episode after the jump is larger than every
    one before it (or smaller), and their medians differ by about one of `UNITS`; episodes in which a channel is 0 throughout do
    not count for it. A channel that is used in the second half only may look the same: it is a warning.
    """
    spans = [values[e.start : e.stop] for e in episodes]
    rows = [x[finite_rows(x)] for x in spans]
    episodes = [e for e, x in zip(episodes, rows, strict=True) if len(x)]
    sizes = [np.quantile(np.abs(x), 0.99, axis=0) for x in rows if len(x)]
    if len(sizes) < 2:
        return []
    size = np.array(sizes, np.float64)
    out = []
    for c, name in enumerate(names):
        ratio, at = _jump(size[:, c])
        if at:
            out.append(UnitChange(kind, name, int(episodes[at].index), ratio))
    return out


def _jump(sizes: Array) -> tuple[float, int]:
    """(times, index) of the split that separates the two sides most; (1, 0) where there is none."""
    known = np.isfinite(sizes) & (sizes > 1e-9)
    log = np.log(np.where(known, sizes, 1.0))
    widest, ratio, first = 0.0, 1.0, 0
    for at in range(1, len(sizes)):
        before, after = log[:at][known[:at]], log[at:][known[at:]]
        if not len(before) or not len(after):
            continue
        margin = max(after.min() - before.max(), before.min() - after.max())
        gap = float(np.median(after) - np.median(before))
        if margin > widest and any(abs(abs(gap) - np.log(factor)) < np.log(NEAR) for factor, _ in UNITS):
            widest, ratio, first = float(margin), float(np.exp(gap)), at
    return ratio, first
