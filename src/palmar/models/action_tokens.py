"""Actions as words: every number falls into one of 256 bins, and the bins are the last 256 words of the vocabulary.

The convention is OpenVLA's (arXiv 2406.09246, §3.2, after RT-2, arXiv 2307.15818): `bins` edges over ±limit make bins - 1
intervals, bin i is word vocab - 1 - i, and a bin is read as the middle of its interval.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from palmar.errors import BadValue


@dataclass(frozen=True)
class ActionTokens:
    """limit: actions are clipped there unless the caller gives larger limits, one an action (`TokenVLA.fit`: none of the
    training data are clipped). compand: bins are equally wide in asinh: fine steps about 0 and room for the rare large value,
    as of a gripper that seldom closes; off for data scaled to -1 … 1. anchors: how many actions of a chunk are
    spoken, evenly spread; those between are interpolated. Published models speak one (of a chunk of one)."""

    bins: int = 256
    limit: float = 1.0
    compand: bool = False
    anchors: int = 1

    def __post_init__(self) -> None:
        if self.bins < 3 or self.limit <= 0 or self.anchors < 1:
            raise BadValue(f"bins {self.bins}, limit {self.limit}, anchors {self.anchors}; expected ≥ 3, > 0, ≥ 1")

    def rows(self, vocab: int) -> slice:
        """The words that are actions."""
        return slice(vocab - self.bins, vocab)

    def words(self, actions: Tensor, vocab: int, limits: Tensor | None = None) -> Tensor:
        """Normalised actions [..., A] → word ids int64[..., A]. limits: float[A] instead of `limit`."""
        x, limit = torch.asinh(actions) if self.compand else actions, self._ends(limits)
        at = ((x.float() / limit).clamp(-1, 1) + 1) / 2 * (self.bins - 1)
        return vocab - 1 - at.floor().long()

    def actions(self, words: Tensor, vocab: int, limits: Tensor | None = None) -> Tensor:
        """Word ids [..., A] → float32[..., A], the middle of each bin."""
        limit = self._ends(limits)
        at = (vocab - 1 - words).clamp(0, self.bins - 2).float() + 0.5
        x = (2 * at / (self.bins - 1) - 1) * limit
        return torch.sinh(x) if self.compand else x

    def _ends(self, limits: Tensor | None) -> Tensor | float:
        if limits is None:
            return math.asinh(self.limit) if self.compand else self.limit
        return torch.asinh(limits.float()) if self.compand else limits.float()

    def steps(self, horizon: int) -> list[int]:
        """Which actions of a chunk are spoken: the first, the last, and those between."""
        n = min(self.anchors, horizon)
        return [0] if n == 1 else [round(i * (horizon - 1) / (n - 1)) for i in range(n)]

    def fill(self, spoken: Tensor, horizon: int) -> Tensor:
        """[B, anchors, A] → [B, horizon, A] by linear interpolation; a single one is held."""
        steps = self.steps(horizon)
        if len(steps) == 1:
            return spoken.expand(-1, horizon, -1)
        at = torch.tensor(steps, dtype=torch.float32, device=spoken.device)
        t = torch.arange(horizon, dtype=torch.float32, device=spoken.device)
        right = torch.bucketize(t, at).clamp(1, len(steps) - 1)
        w = ((t - at[right - 1]) / (at[right] - at[right - 1]))[:, None]
        return spoken[:, right - 1] * (1 - w) + spoken[:, right] * w
