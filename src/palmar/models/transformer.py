"""One attention, one block and one stack for encoders, decoders and causal decoders with a cache.

Masks are bool, True where a query may look, and broadcast to [B, heads, queries, keys]: `over_keys`, `causal`.
Axis legend: B batch · L tokens · D width.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from palmar.errors import BadValue


@dataclass(frozen=True)
class TransformerConfig:
    """hidden: of the feed-forward part. head_width: of one attention head, width / heads when 0."""

    width: int = 128
    layers: int = 2
    heads: int = 4
    hidden: int = 512
    head_width: int = 0
    dropout: float = 0.1

    def __post_init__(self) -> None:
        if (
            min(self.width, self.heads, self.hidden) < 1
            or min(self.layers, self.head_width) < 0
            or not 0 <= self.dropout < 1
        ):
            raise BadValue(
                f"a transformer has width {self.width}, {self.heads} heads of width {self.head_width}, hidden {self.hidden}, "
                f"{self.layers} layers and dropout {self.dropout}; expected 1 or more, heads of width 0 or more, 0 layers or "
                "more and dropout 0 … below 1"
            )
        if not self.head_width and self.width % self.heads:
            raise BadValue(f"width {self.width} is not a multiple of {self.heads} heads. Next: give head_width")


class Cache:
    """Keys and values of one attention layer for up to `length` tokens, allocated at the first and never again."""

    def __init__(self, length: int) -> None:
        self.length, self.used = length, 0
        self.kept: tuple[Tensor, Tensor] | None = None

    def add(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Append [B, heads, L, d]; all so far."""
        start, self.used = self.used, self.used + key.shape[2]
        if self.kept is None:
            shape = (*key.shape[:2], self.length, key.shape[3])
            self.kept = key.new_empty(shape), value.new_empty(shape)
        for whole, new in zip(self.kept, (key, value), strict=True):
            whole[:, :, start : self.used] = new
        return self.kept[0][:, :, : self.used], self.kept[1][:, :, : self.used]


class Attention(nn.Module):
    """Multi-head attention of x [B, Q, D] over itself, or over memory [B, L, M]."""

    def __init__(self, config: TransformerConfig, memory: int = 0) -> None:
        super().__init__()
        self.heads, self.dropout = config.heads, config.dropout
        inner = config.heads * (config.head_width or config.width // config.heads)
        self.query, self.out = nn.Linear(config.width, inner), nn.Linear(inner, config.width)
        self.key_value = nn.Linear(memory or config.width, 2 * inner)

    def forward(
        self, x: Tensor, memory: Tensor | None = None, mask: Tensor | None = None, cache: Cache | None = None
    ) -> Tensor:
        dropout = self.dropout if self.training else 0.0
        if dropout and cache is None and x.device.type == "cpu":
            return self.looked(x, memory, mask)[0]  # torch's own has no fused dropout on a CPU: slower, and keeps more
        query, key, value = self.project(x, memory)
        if cache is not None:
            key, value = cache.add(key, value)
        read = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=dropout)
        return self.out(read.transpose(1, 2).flatten(2))

    def looked(self, x: Tensor, memory: Tensor | None = None, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The same, with the weights [B, heads, Q, L] that each query gave to each key."""
        query, key, value = self.project(x, memory)
        scores = query.float() @ key.float().transpose(-1, -2) / math.sqrt(query.shape[-1])
        if mask is None:
            weights = scores.softmax(-1)
        else:  # a query that may look nowhere reads zeros, as from torch's own
            weights = scores.masked_fill(~mask, torch.finfo(scores.dtype).min).softmax(-1).masked_fill(~mask, 0.0)
        read = F.dropout(weights, self.dropout, self.training).to(value.dtype) @ value
        return self.out(read.transpose(1, 2).flatten(2)), weights

    def project(self, x: Tensor, memory: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        key, value = self.key_value(x if memory is None else memory).chunk(2, -1)
        query, key, value = (t.unflatten(-1, (self.heads, -1)).transpose(1, 2) for t in (self.query(x), key, value))
        return query, key, value


class Block(nn.Module):
    """Attention, attention over a memory where there is one, and a feed-forward part; normalised before each."""

    def __init__(self, config: TransformerConfig, memory: int = 0) -> None:
        super().__init__()
        self.norm, self.attention = nn.LayerNorm(config.width), Attention(config)
        self.across = Attention(config, memory) if memory else None
        self.norm_across = nn.LayerNorm(config.width) if memory else None
        self.think = nn.Sequential(
            nn.LayerNorm(config.width), nn.Linear(config.width, config.hidden), nn.GELU(),
            nn.Linear(config.hidden, config.width),
        )  # fmt: skip
        self.drop = nn.Dropout(config.dropout)

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        memory: Tensor | None = None,
        memory_mask: Tensor | None = None,
        cache: Cache | None = None,
    ) -> Tensor:
        x = x + self.drop(self.attention(self.norm(x), None, mask, cache))
        if self.across is not None and self.norm_across is not None:
            x = x + self.drop(self.across(self.norm_across(x), memory, memory_mask))
        return x + self.drop(self.think(x))


class Transformer(nn.Module):
    """A stack of blocks and a last normalisation: [B, L, width] → [B, L, width].

    memory: width of what is attended to besides, 0 for none (then it is an encoder, or with a causal mask a decoder-only).
    """

    def __init__(self, config: TransformerConfig, memory: int = 0) -> None:
        super().__init__()
        self.config = config
        self.blocks = nn.ModuleList(Block(config, memory) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width)

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        memory: Tensor | None = None,
        memory_mask: Tensor | None = None,
        caches: Sequence[Cache] | None = None,
    ) -> Tensor:
        for i, block in enumerate(self.blocks):
            x = block(x, mask, memory, memory_mask, None if caches is None else caches[i])
        return self.norm(x)

    def caches(self, length: int) -> list[Cache]:
        """Empty ones for a sequence of up to `length` tokens."""
        return [Cache(length) for _ in self.blocks]


def over_keys(mask: Tensor | None) -> Tensor | None:
    """bool[B, L], True where there is a token → a mask for every query."""
    return None if mask is None else mask[:, None, None, :]


def causal(prefix: int, length: int, device: torch.device | None = None) -> Tensor:
    """bool[prefix + length, prefix + length]: the prefix sees itself, the rest sees the prefix and what came before."""
    seen = torch.ones(prefix + length, prefix + length, dtype=torch.bool, device=device).tril()
    seen[:prefix, :prefix] = True
    return seen


def time_features(t: Tensor, width: int) -> Tensor:
    """Sines and cosines of t [B] in 0 … 1: [B, width], frequencies 1 … 1000 in geometric steps."""
    frequency = torch.exp(torch.linspace(0, math.log(1000.0), width // 2, device=t.device))
    angle = t.float()[:, None] * frequency
    return torch.cat([angle.sin(), angle.cos()], -1)


def grid_features(height: int, width: int, channels: int) -> Tensor:
    """Where each of h·w cells is, in sines and cosines of row and column: float32[h·w, channels]; any size will do."""
    if channels % 4:
        raise BadValue(f"grid features of {channels} channels; expected a multiple of 4")
    frequency = torch.exp(torch.linspace(0, math.log(1e-3), channels // 4, device="cpu"))

    def waves(cells: int) -> Tensor:
        angle = 100.0 * (torch.arange(cells, device="cpu") + 0.5)[:, None] / cells * frequency
        return torch.cat([angle.sin(), angle.cos()], -1)

    rows = waves(height)[:, None].expand(-1, width, -1)
    columns = waves(width)[None].expand(height, -1, -1)
    return torch.cat([rows, columns], -1).flatten(0, 1)
