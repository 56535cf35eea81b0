"""The learning rate over a stage, as a share of its peak."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from palmar.errors import BadValue, UnknownName

Kind = Literal["cosine", "restarts", "constant"]


@dataclass(frozen=True)
class Schedule:
    """A linear warm-up from a hundredth, then `kind`.

    cosine: down to `floor`. restarts: `cycles` cosines of equal length, each from the peak (SGDR, Loshchilov & Hutter
    2017, arXiv 1608.03983). constant: at the peak. warmup: share of the stage.
    """

    kind: Kind = "cosine"
    warmup: float = 0.03
    floor: float = 0.01
    cycles: int = 3

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise UnknownName("schedule", self.kind, get_args(Kind))
        if not (0 <= self.warmup < 1 and 0 <= self.floor <= 1 and self.cycles >= 1):
            raise BadValue(
                f"{self}; expected warmup 0 … 1, floor 0 … 1 and cycles ≥ 1. Next: leave them out for the defaults"
            )

    def factor(self, progress: float) -> float:
        """progress 0 … 1 through the stage → 0.01 … 1."""
        p, warm = min(progress, 1.0), self.warmup
        if p < warm:
            return max(p / warm, 0.01)
        if self.kind == "constant":
            return 1.0
        p = (p - warm) / max(1 - warm, 1e-9)
        if self.kind == "restarts":
            p = p * self.cycles % 1.0 if p < 1 else 1.0
        return self.floor + (1 - self.floor) * 0.5 * (1 + math.cos(math.pi * p))
