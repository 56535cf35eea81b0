"""Many tokens of an image to few."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from palmar.models.transformer import Transformer, TransformerConfig


@dataclass(frozen=True)
class TokenLearnerConfig:
    """tokens: how many are left. hidden: of the network that scores every place for every one of them."""

    tokens: int = 8
    hidden: int = 64

    def build(self, width: int) -> nn.Module:
        return TokenLearner(self, width)


class TokenLearner(nn.Module):
    """[B, N, D] → [B, tokens, D]: each is a mean of all places under weights learned for it.

    Source: Ryoo et al. 2021, arXiv 2106.11297, with the softmax over places of its version 1.1, as RT-1 uses it.
    """

    def __init__(self, config: TokenLearnerConfig, width: int) -> None:
        super().__init__()
        self.score = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, config.hidden), nn.GELU(), nn.Linear(config.hidden, config.tokens)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.weights(x).to(x.dtype) @ x

    def weights(self, x: Tensor) -> Tensor:
        """[B, tokens, N], each row summing to 1: where each token looks."""
        return self.score(x).float().transpose(1, 2).softmax(-1)


@dataclass(frozen=True)
class ResamplerConfig:
    """queries: how many tokens are left. hidden of the feed-forward part is four times the width."""

    queries: int = 48
    layers: int = 2
    heads: int = 4

    def build(self, width: int) -> nn.Module:
        return Resampler(self, width)


class Resampler(nn.Module):
    """[B, N, D] → [B, queries, D]: learned queries read the tokens. Source: Perceiver; Flamingo, arXiv 2204.14198."""

    def __init__(self, config: ResamplerConfig, width: int) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.randn(config.queries, width) * 0.02)
        self.read = Transformer(TransformerConfig(width, config.layers, config.heads, 4 * width, dropout=0.0), width)

    def forward(self, x: Tensor) -> Tensor:
        return self.read(self.queries.expand(len(x), -1, -1), memory=x)


CompressConfig = TokenLearnerConfig | ResamplerConfig
