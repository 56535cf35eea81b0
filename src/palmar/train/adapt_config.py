"""How a checkpoint is adapted to corrections (`train.adapt`), as a value that needs no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, get_args

from palmar.errors import UnknownName
from palmar.ranges import BATCH, COUNT, RATE, Range, Seed, check_ranges

Part = Literal["head", "lora", "all"]


@dataclass(frozen=True)
class AdaptConfig:
    """How a checkpoint is adapted."""

    part: Part = "all"
    """Which weights move: the head, low-rank adapters beside the linear layers (merged at the end) with the head, or all."""
    steps: Annotated[int, COUNT] = 60
    """Of the optimiser."""
    corrections: Annotated[int, BATCH] = 32
    """Frames of corrections in a batch."""
    replay: Annotated[int, Range(0, 10**6)] = 64
    """Frames of old data in a batch; 0 for none, which forgets."""
    replayed: Annotated[int, COUNT] = 4000
    """Frames of old data to draw from, whole episodes taken evenly: reading more takes longer than the training."""
    lr: Annotated[float, RATE] = 3e-4
    """Highest learning rate."""
    rank: Annotated[int, Range(1, 4096)] = 8
    """Of the low-rank adapters."""
    threads: int = 0
    """Of torch; 0 for all cores."""
    seed: Seed = 0

    def __post_init__(self) -> None:
        check_ranges(self)
        if self.part not in get_args(Part):
            raise UnknownName("part to adapt", self.part, get_args(Part))
