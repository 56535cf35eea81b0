"""What every action head is: two verbs, and the means over a chunk that their losses are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from palmar.models.base import Batch, PriorChunk
from palmar.models.guidance import blended
from palmar.models.layers import mean_where

if TYPE_CHECKING:
    from palmar.data.normalize import Normalizer
    from palmar.types import Array


Parts = dict[str, Tensor]


def over_chunk(error: Tensor, batch: Batch, importance: Tensor | None = None) -> Tensor:
    """Mean of an error [B, T, A] over the real steps of a batch, weighted by float[A] (`Batch.importance`)."""
    return over_steps(error, batch.pad, batch.importance if importance is None else importance, batch.each("steps"))


def over_steps(error: Tensor, pad: Tensor, importance: Tensor, each: float | None = None) -> Tensor:
    """As `over_chunk`, of some steps. pad: bool[B, T], True after the end. each: see `layers.divided`."""
    mean = (error * (importance / importance.sum().clamp(min=1e-6))).sum(-1)  # no matrix product: bf16 would round it
    return mean_where(mean, ~pad, each)


class Head(nn.Module):
    """The two verbs."""

    def fit(self, actions: Array, normalizer: Normalizer) -> None:
        """As `Model.fit`."""

    def loss(self, context: Tensor, batch: Batch) -> tuple[Tensor, Parts]:
        raise NotImplementedError

    def masks(self, batch: Batch) -> dict[str, Tensor]:
        """As `Model.masks`: what its loss takes means over beside the rows and the real steps."""
        return {}

    def act(self, context: Tensor, prior: PriorChunk | None = None) -> Tensor:
        raise NotImplementedError


def heads_in(modules: nn.ModuleList) -> list[Head]:
    """As what they are."""
    return [m for m in modules if isinstance(m, Head)]


class Regression(Head):
    """A head whose `forward` is its answer: trained with L1 (OpenVLA-OFT, arXiv 2502.19645). Its network does not see the
    running chunk: the answer is blended with it (`guidance.blended`)."""

    def loss(self, context: Tensor, batch: Batch) -> tuple[Tensor, Parts]:
        error = (self(context).float() - batch.actions).abs()
        loss = over_chunk(error, batch)
        return loss, {"action": loss}

    def act(self, context: Tensor, prior: PriorChunk | None = None) -> Tensor:
        return blended(self(context).float(), prior)
