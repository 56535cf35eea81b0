"""Some episodes of a data set with their pictures in memory: for a short training, that draws each frame several times."""

from __future__ import annotations

from typing import Any

import numpy as np

from palmar.data.view import View
from palmar.types import Array

TOGETHER = 64
"""Frames that are read at once."""


class InMemory(View):
    """A data set of which some episodes are kept, with their pictures read once, in order. Frames keep their indices.

    most: frames to keep, 0 for all; whole episodes drawn evenly until there are as many. The pictures take
    frames · cameras · height · width · 3 bytes.
    """

    def __init__(self, source: Any, most: int = 0, seed: int = 0) -> None:
        super().__init__(source)
        self.episodes = tuple(source.episodes)
        if most:
            order = np.random.default_rng([41, seed]).permutation(len(self.episodes))
            lengths = np.array([self.episodes[i].stop - self.episodes[i].start for i in order], int)
            count = int(np.searchsorted(np.cumsum(lengths), most)) + 1
            self.episodes = tuple(self.episodes[i] for i in sorted(order[:count]))
        spans = [np.arange(e.start, e.stop) for e in self.episodes]
        frames = np.unique(np.concatenate(spans)) if spans else np.zeros(0, int)
        self._place = np.full(len(source), -1, np.int64)
        self._place[frames] = np.arange(len(frames))
        parts = [source.batch(frames[i : i + TOGETHER], 1)["images"] for i in range(0, len(frames), TOGETHER)]
        self._pictures = {c: np.concatenate([p[c] for p in parts]) for c in source.cameras} if parts else {}

    def batch(self, indices: Array, horizon: int, offsets: tuple[int, ...] = (0,)) -> dict[str, Any]:
        """As the source's; of more pictures than each frame's own the source is asked."""
        indices = np.asarray(indices, np.int64)
        if offsets != (0,):
            return dict(self.source.batch(indices, horizon, offsets=offsets))
        out = dict(self.source.batch(indices, horizon, images=False))
        return out | {"images": {c: p[self._place[indices]] for c, p in self._pictures.items()}}
