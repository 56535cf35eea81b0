"""The action expert: a small transformer that reads a language model's keys and values and moves noise towards actions.

Because the prefix (pictures, words) never looks at the actions, the language model runs once and its cache is all the
expert needs: attention over cache and actions is the block-causal attention of π₀ (arXiv 2410.24164, §IV). SmolVLA
(arXiv 2506.01844, §3) makes every second layer look at the cache alone, through key and value maps of its own.

Axis legend: B batch · M expert tokens · P prefix tokens · T horizon · W width of the expert.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from palmar.models.vlm import DecoderConfig

Cache = Sequence[tuple[Tensor, Tensor]]
"""Keys and values a layer: each [B, kv heads, P, head width], rotated to their positions."""


@dataclass(frozen=True)
class ExpertConfig:
    """width, hidden: of a token and of its MLP; heads are those of the language model. cross_every: every how many layers
    one looks at the cache alone (0: none does). causal: an action looks at earlier actions only."""

    width: int = 72
    hidden: int = 192
    cross_every: int = 0
    causal: bool = False


class ExpertLayer(nn.Module):
    """Named as in `transformers`, so that published weights can be copied by name."""

    def __init__(self, config: ExpertConfig, d: DecoderConfig, cross: bool) -> None:
        super().__init__()
        self.d, self.cross = d, cross
        source = d.kv_heads * d.head_dim if cross else config.width
        self.input_layernorm = nn.RMSNorm(config.width, d.epsilon)
        self.q_proj = nn.Linear(config.width, d.heads * d.head_dim, bias=False)
        self.k_proj = nn.Linear(source, d.kv_heads * d.head_dim, bias=False)
        self.v_proj = nn.Linear(source, d.kv_heads * d.head_dim, bias=False)
        self.o_proj = nn.Linear(d.heads * d.head_dim, config.width, bias=False)
        self.post_attention_layernorm = nn.RMSNorm(config.width, d.epsilon)
        self.gate_proj = nn.Linear(config.width, config.hidden, bias=False)
        self.up_proj = nn.Linear(config.width, config.hidden, bias=False)
        self.down_proj = nn.Linear(config.hidden, config.width, bias=False)

    def forward(
        self, x: Tensor, cache: tuple[Tensor, Tensor], turn: Callable[[Tensor], Tensor], mask: Tensor
    ) -> Tensor:
        """x: [B, M, W]. mask: bool[B, 1, M, P + M], of which a cross layer takes the first P columns."""

        def split(t: Tensor) -> Tensor:
            return t.unflatten(-1, (-1, self.d.head_dim)).transpose(1, 2)

        h = self.input_layernorm(x)
        query, (keys, values) = turn(split(self.q_proj(h))), cache
        if self.cross:
            keys, values = (
                split(m(t.transpose(1, 2).flatten(2))) for m, t in ((self.k_proj, keys), (self.v_proj, values))
            )
            mask = mask[..., : keys.shape[2]]
        else:
            keys = torch.cat([keys, turn(split(self.k_proj(h)))], 2)
            values = torch.cat([values, split(self.v_proj(h))], 2)
        read = F.scaled_dot_product_attention(query, keys.to(query), values.to(query), mask, enable_gqa=True)
        x = x + self.o_proj(read.transpose(1, 2).flatten(2))
        h = self.post_attention_layernorm(x)
        return x + self.down_proj(F.gelu(self.gate_proj(h), approximate="tanh") * self.up_proj(h))


class Expert(nn.Module):
    """As many layers as the language model has; layer i reads layer i's keys and values."""

    def __init__(self, config: ExpertConfig, d: DecoderConfig) -> None:
        super().__init__()
        self.config, self.d = config, d
        every = config.cross_every
        crosses = [every > 0 and i % every == every - 1 for i in range(d.layers)]
        self.layers = nn.ModuleList(ExpertLayer(config, d, c) for c in crosses)
        self.norm = nn.RMSNorm(config.width, d.epsilon)

    def forward(self, x: Tensor, cache: Cache, there: Tensor, blocks: Tensor) -> Tensor:
        """x: [B, M, W]; there: bool[B, P] prefix tokens; blocks: bool[M, M], who (row) looks at whom → [B, M, W]."""
        own = blocks.expand(len(x), -1, -1)
        mask = torch.cat([there[:, None].expand(-1, x.shape[1], -1), own], 2)[:, None]
        first = there.sum(1, keepdim=True)
        turn = rotation(first + torch.arange(x.shape[1], device=x.device), self.d.head_dim, self.d.theta)
        for layer, kept in zip(self.layers, cache, strict=True):
            x = layer(x, kept, turn, mask)
        return self.norm(x)


def rotation(positions: Tensor, width: int, theta: float) -> Callable[[Tensor], Tensor]:
    """Rotary position embedding for [B, heads, M, width] at positions [B, M] (RoFormer, arXiv 2104.09864), halves paired
    as in `transformers`."""
    angles = positions.float()[..., None] * theta ** (-torch.arange(0, width, 2, device=positions.device) / width)
    cos, sin = (f(angles)[:, None].repeat(1, 1, 1, 2) for f in (torch.cos, torch.sin))

    def turn(x: Tensor) -> Tensor:
        left, right = x.chunk(2, -1)
        return x * cos.to(x.dtype) + torch.cat([-right, left], -1) * sin.to(x.dtype)

    return turn


def block_causal(blocks: Sequence[int], causal_last: bool = False) -> Tensor:
    """bool[M, M] for blocks of the given lengths: a token sees its own block and those before; `causal_last`: in the
    last block only the tokens before it."""
    block = torch.cat([torch.full((n,), i) for i, n in enumerate(blocks)])
    see = block[None, :] <= block[:, None]
    if causal_last:
        last = block == len(blocks) - 1
        see &= ~(last[:, None] & last[None, :]) | torch.ones_like(see).tril()
    return see
