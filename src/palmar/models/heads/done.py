"""Whether the instruction is fulfilled."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from palmar.models.base import Batch

if TYPE_CHECKING:
    pass


class DoneHead(nn.Module):
    """Is the instruction fulfilled? [B, D] → logit [B]."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.out = nn.Linear(width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(x).squeeze(-1)

    @staticmethod
    def loss(logit: Tensor, batch: Batch) -> Tensor:
        """Cross-entropy in which the few frames after success weigh as much as the others (at most ten times)."""
        done, each = batch.done.to(logit.dtype), batch.each("done")
        share = (done.mean() if each is None else done.new_tensor(each)).clamp(1e-6, 1)
        weight = 1 + done * (((1 - share) / share).clamp(1, 10) - 1)
        return nn.functional.binary_cross_entropy_with_logits(logit, done, weight)
