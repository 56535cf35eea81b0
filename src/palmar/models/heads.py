"""From the fused vector to actions."""

from __future__ import annotations

from torch import Tensor, nn


class ChunkHead(nn.Module):
    """All T actions at once, normalised: [B, D] → [B, T, A]. Trained with L1 (OpenVLA-OFT, arXiv 2502.19645)."""

    def __init__(self, width: int, horizon: int, actions: int) -> None:
        super().__init__()
        self.shape = (horizon, actions)
        self.out = nn.Linear(width, horizon * actions)
        nn.init.normal_(self.out.weight, std=0.01)
        nn.init.zeros_(self.out.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(x).unflatten(-1, self.shape)

    @staticmethod
    def loss(predicted: Tensor, actions: Tensor, pad: Tensor, importance: Tensor) -> Tensor:
        """Mean absolute error over real steps (pad bool[B, T] is True after the end), weighted by float[A]."""
        weight = (~pad).to(predicted.dtype)
        error = (predicted - actions).abs() @ (importance / importance.sum().clamp(min=1e-6))
        return (error * weight).sum() / weight.sum().clamp(min=1)


class DoneHead(nn.Module):
    """Is the instruction fulfilled? [B, D] → logit [B]."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.out = nn.Linear(width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(x).squeeze(-1)

    @staticmethod
    def loss(logit: Tensor, done: Tensor) -> Tensor:
        """Cross-entropy in which the few frames after success weigh as much as the others (at most ten times)."""
        done = done.to(logit.dtype)
        share = done.mean().clamp(1e-6, 1)
        weight = 1 + done * (((1 - share) / share).clamp(1, 10) - 1)
        return nn.functional.binary_cross_entropy_with_logits(logit, done, weight)
