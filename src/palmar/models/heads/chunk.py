"""All actions of a chunk at once, by regression."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor, nn

from palmar.errors import BadValue
from palmar.mapping import Interface
from palmar.models.heads.base import Head, Regression

if TYPE_CHECKING:
    pass


@dataclass(frozen=True)
class ChunkConfig:
    """per_step: the context holds one vector for every step of the chunk (ACT), not one for all."""

    per_step: bool = False

    def build(self, width: int, interface: Interface) -> Head:
        return (StepHead if self.per_step else ChunkHead)(width, interface.horizon, len(interface.action_names))


class ChunkHead(Regression):
    """All T actions at once from one vector: [B, N, D] → [B, T, A]."""

    def __init__(self, width: int, horizon: int, actions: int) -> None:
        super().__init__()
        self.shape = (horizon, actions)
        self.out = nn.Linear(width, horizon * actions)
        nn.init.normal_(self.out.weight, std=0.01)
        nn.init.zeros_(self.out.bias)

    def forward(self, context: Tensor) -> Tensor:
        return self.out(context.mean(1)).unflatten(-1, self.shape)


class StepHead(Regression):
    """Each of T vectors becomes one action: [B, T, D] → [B, T, A]. Source: ACT, arXiv 2304.13705."""

    def __init__(self, width: int, horizon: int, actions: int) -> None:
        super().__init__()
        self.horizon, self.out = horizon, nn.Linear(width, actions)

    def forward(self, context: Tensor) -> Tensor:
        if context.shape[1] != self.horizon:
            raise BadValue(f"{context.shape[1]} vectors for a chunk of {self.horizon}; expected one a step")
        return self.out(context)
