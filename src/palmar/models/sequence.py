"""Fusion: named segments of tokens to a context for the head.

A configuration builds its fusion; all are called alike: segments → `Fused`. width is that of every token.
Axis legend: B batch · L tokens · D width · N context vectors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from palmar.errors import BadValue
from palmar.models.layers import Residual, cell_centres
from palmar.models.objects import Found
from palmar.models.transformer import Attention, Transformer, TransformerConfig, over_keys

WORDS = "words"


@dataclass(frozen=True)
class Segment:
    """tokens [B, L, D] of one source. mask: bool[B, L], True where there is a token; None when all are. times: how many
    pictures in time a camera's tokens come from, 0 for what is no camera. grid: rows and columns of each picture's tokens;
    None when they do not lie on one. cells: [B, h·w, C], what the encoder made of the newest picture of a camera."""

    name: str
    tokens: Tensor
    mask: Tensor | None = None
    times: int = 0
    grid: tuple[int, int] | None = None
    cells: Tensor | None = None


@dataclass(frozen=True)
class Fused:
    """context: [B, N, D] for the head. memory: [B, L, D] with mask bool[B, L], everything that was fused. weights: [B,
    heads, words, L], where each word looked among the segments that are not words, in their order. found: the objects, where
    the system locates them."""

    context: Tensor
    memory: Tensor
    mask: Tensor | None = None
    weights: Tensor | None = None
    found: Found | None = None


class Fusion(nn.Module):
    """Segments to a context."""

    def forward(self, segments: Sequence[Segment]) -> Fused:
        raise NotImplementedError


def joined(segments: Sequence[Segment]) -> tuple[Tensor, Tensor | None]:
    """All tokens one after the other, and their mask; None when there is nothing to hide."""
    tokens = torch.cat([s.tokens for s in segments], 1)
    if all(s.mask is None for s in segments):
        return tokens, None
    whole = [
        s.mask if s.mask is not None else s.tokens.new_ones(s.tokens.shape[:2], dtype=torch.bool) for s in segments
    ]
    return tokens, torch.cat(whole, 1)


def masked_mean(tokens: Tensor, mask: Tensor | None) -> Tensor:
    """[B, L, D] → [B, D]; zeros when there is nothing."""
    if mask is None:
        return tokens.mean(1)
    weight = mask[..., None].to(tokens.dtype)
    return (tokens * weight).sum(1) / weight.sum(1).clamp(min=1)


@dataclass(frozen=True)
class PassConfig:
    """All tokens go to the head as they are, without the words: these came in by FiLM, and the head is a transformer (RT-1)."""

    width: int = 128

    def build(self, pictures: int, others: int, horizon: int) -> Fusion:
        return Pass()


class Pass(Fusion):
    def forward(self, segments: Sequence[Segment]) -> Fused:
        tokens, mask = joined(segments)
        return Fused(tokens, tokens, mask)


@dataclass(frozen=True)
class PooledConfig:
    """One vector a picture, all concatenated, and a residual MLP. pool: the mean of the tokens, or keypoints: where each
    channel is strongest (spatial softmax, Levine et al. 2016, arXiv 1504.00702)."""

    width: int = 256
    blocks: int = 1
    pool: Literal["mean", "keypoints"] = "mean"

    def build(self, pictures: int, others: int, horizon: int) -> Fusion:
        return Pooled(self, pictures, others)


class Pooled(Fusion):
    """pictures: cameras × pictures in time. others: segments that are no pictures; each becomes its mean."""

    def __init__(self, config: PooledConfig, pictures: int, others: int) -> None:
        super().__init__()
        self.config = config
        each = config.width * (2 if config.pool == "keypoints" else 1)
        self.enter = nn.Linear(pictures * each + others * config.width, config.width)
        self.blocks = nn.Sequential(*(Residual(config.width, config.width) for _ in range(config.blocks)))
        self.norm = nn.LayerNorm(config.width)

    def forward(self, segments: Sequence[Segment]) -> Fused:
        parts: list[Tensor] = []
        for s in segments:
            parts += self.pictures(s) if s.times else [masked_mean(s.tokens, s.mask)]
        vector = self.norm(self.blocks(F.relu(self.enter(torch.cat(parts, -1)))))[:, None]
        return Fused(vector, *joined(segments))

    def pictures(self, segment: Segment) -> list[Tensor]:
        frames = segment.tokens.unflatten(1, (segment.times, -1)).unbind(1)
        if self.config.pool == "mean":
            return [f.mean(1) for f in frames]
        if segment.grid is None:
            raise BadValue("keypoints of compressed tokens, which have no place. Next: pool='mean', or compress=None")
        where = cell_centres(*segment.grid).to(segment.tokens) * 2 - 1
        return [(f.transpose(1, 2).softmax(-1) @ where).flatten(1) for f in frames]


@dataclass(frozen=True)
class SelfAttentionConfig:
    """Concatenate and attend. readouts: learned tokens that see all and are seen by none, so that heads can be added or
    changed without touching the rest (Octo, arXiv 2405.12213); 0 for one a step of the chunk."""

    transformer: TransformerConfig = field(default_factory=TransformerConfig)
    readouts: int = 1

    @property
    def width(self) -> int:
        return self.transformer.width

    def build(self, pictures: int, others: int, horizon: int) -> Fusion:
        return SelfAttention(self, self.readouts or horizon)


class SelfAttention(Fusion):
    """The context is what the readout tokens have read."""

    def __init__(self, config: SelfAttentionConfig, readouts: int) -> None:
        super().__init__()
        self.readouts = nn.Parameter(torch.randn(readouts, config.width) * 0.02)
        self.encoder = Transformer(config.transformer)

    def forward(self, segments: Sequence[Segment]) -> Fused:
        tokens, mask = joined(segments)
        batch, length, extra = *tokens.shape[:2], len(self.readouts)
        x = torch.cat([tokens, self.readouts.expand(batch, -1, -1)], 1)
        seen = torch.ones(length + extra, length + extra, dtype=torch.bool, device=x.device)
        seen[:length, length:] = False
        if mask is not None:
            there = F.pad(mask, (0, extra), value=True)
            seen = seen & there[:, None, None, :]
        x = self.encoder(x, seen)
        return Fused(x[:, length:], x[:, :length], mask)


@dataclass(frozen=True)
class CrossAttentionConfig:
    """The words ask, everything else answers."""

    transformer: TransformerConfig = field(default_factory=TransformerConfig)

    @property
    def width(self) -> int:
        return self.transformer.width

    def build(self, pictures: int, others: int, horizon: int) -> Fusion:
        return CrossAttentionFusion(self)


class CrossAttentionFusion(Fusion):
    """Words query vision and state; the context is the mean of what they found. `Fused.weights` says where the last
    layer's heads looked."""

    def __init__(self, config: CrossAttentionConfig) -> None:
        super().__init__()
        self.decoder = Transformer(config.transformer, config.width)
        self.last = Attention(config.transformer, config.width)
        self.norm = nn.LayerNorm(config.width)

    def forward(self, segments: Sequence[Segment]) -> Fused:
        words, asked = joined([s for s in segments if s.name == WORDS])
        memory, mask = joined([s for s in segments if s.name != WORDS])
        x = self.decoder(words, over_keys(asked), memory, over_keys(mask))
        found, weights = self.last.looked(x, memory, over_keys(mask))
        context = self.norm(masked_mean(x + found, asked))[:, None]
        return Fused(context, memory, mask, weights)


@dataclass(frozen=True)
class EncoderDecoderConfig:
    """An encoder over all tokens and a decoder whose queries are the steps of the chunk (ACT, arXiv 2304.13705)."""

    encoder: TransformerConfig = field(default_factory=TransformerConfig)
    decoder: TransformerConfig = field(default_factory=TransformerConfig)

    @property
    def width(self) -> int:
        return self.encoder.width

    def build(self, pictures: int, others: int, horizon: int) -> Fusion:
        return EncoderDecoder(self, horizon)


class EncoderDecoder(Fusion):
    """The context is one vector a step."""

    def __init__(self, config: EncoderDecoderConfig, horizon: int) -> None:
        super().__init__()
        self.encoder = Transformer(config.encoder)
        self.queries = nn.Parameter(torch.randn(horizon, config.decoder.width) * 0.02)
        self.decoder = Transformer(config.decoder, config.encoder.width)

    def forward(self, segments: Sequence[Segment]) -> Fused:
        tokens, mask = joined(segments)
        memory = self.encoder(tokens, over_keys(mask))
        queries = self.queries.expand(len(tokens), -1, -1)
        return Fused(self.decoder(queries, memory=memory, memory_mask=over_keys(mask)), memory, mask)


FusionConfig = PassConfig | PooledConfig | SelfAttentionConfig | CrossAttentionConfig | EncoderDecoderConfig
