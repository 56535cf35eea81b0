"""One head many times, whose disagreement is a measure of uncertainty."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from palmar.errors import BadValue
from palmar.mapping import Interface
from palmar.models.base import Batch, PriorChunk
from palmar.models.guidance import blended
from palmar.models.heads.base import Head, Parts, heads_in
from palmar.models.heads.joints import JointPositionConfig
from palmar.models.heads.regression import RegressionConfig

if TYPE_CHECKING:
    from palmar.data.normalize import Normalizer
    from palmar.types import Array


@dataclass(frozen=True)
class EnsembleConfig:
    """members: how many heads over one body, alike but for the numbers they begin with (deep ensembles, Lakshminarayanan
    et al. 2017, arXiv 1612.01474, of the last layers only). head: with a hidden layer, or they all learn the same; a
    regression, since the mean of quaternions, or of chunks that go left and right around a thing, is no answer."""

    head: RegressionConfig = field(default_factory=JointPositionConfig)
    members: int = 5

    def build(self, width: int, interface: Interface) -> Head:
        return EnsembleHead(self, width, interface)


class EnsembleHead(Head):
    """The loss is the mean of the members' losses, the answer the mean of their answers; where they have not been taught
    they differ (`models.uncertainty.Ensemble`)."""

    def __init__(self, config: EnsembleConfig, width: int, interface: Interface) -> None:
        super().__init__()
        if config.members < 2:
            raise BadValue(f"an ensemble of {config.members}; expected 2 members or more")
        self.members = nn.ModuleList(config.head.build(width, interface) for _ in range(config.members))

    def fit(self, actions: Array, normalizer: Normalizer) -> None:
        for head in heads_in(self.members):
            head.fit(actions, normalizer)

    def loss(self, context: Tensor, batch: Batch) -> tuple[Tensor, Parts]:
        losses, parts = zip(*(head.loss(context, batch) for head in heads_in(self.members)), strict=True)
        return torch.stack(losses).mean(), {k: torch.stack([p[k] for p in parts]).mean() for k in parts[0]}

    def answers(self, context: Tensor) -> Tensor:
        """[K, B, T, A], of each member."""
        return torch.stack([head.act(context) for head in heads_in(self.members)])

    def act(self, context: Tensor, prior: PriorChunk | None = None) -> Tensor:
        return blended(self.answers(context).mean(0), prior)
