"""Actions as discrete tokens, one after the other or in parallel."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from palmar.mapping import Interface
from palmar.models import conventions as c
from palmar.models.base import Batch
from palmar.models.heads.base import Head, Parts, over_chunk
from palmar.models.transformer import Transformer, TransformerConfig, causal

if TYPE_CHECKING:
    from palmar.data.normalize import Normalizer
    from palmar.types import Array


@dataclass(frozen=True)
class TokenConfig:
    """bins a dimension, equally wide from low to high (normalised); `TokenHead.fit` suits them to the data. decoder:
    over the context and the tokens. parallel: all tokens at once instead of one after the other."""

    decoder: TransformerConfig = field(default_factory=TransformerConfig)
    bins: int = 256
    low: float = -5.0
    high: float = 5.0
    parallel: bool = False
    label_smoothing: float = 0.0

    def build(self, width: int, interface: Interface) -> Head:
        return TokenHead(self, width, interface)


class TokenHead(Head):
    """Every action dimension of every step is a token (RT-1, arXiv 2212.06817): a decoder-only transformer reads the
    context, then T·A tokens, step by step and within a step dimension by dimension. The likeliest is taken."""

    def __init__(self, config: TokenConfig, width: int, interface: Interface) -> None:
        super().__init__()
        self.edges: Tensor
        self.config, self.shape = config, (interface.horizon, actions := len(interface.action_names))
        self.length, inner = interface.horizon * actions, config.decoder.width
        self.enter = nn.Linear(width, inner)
        self.decoder = Transformer(config.decoder)
        self.embed = nn.Embedding(config.bins + 1, inner)  # the last one: begin
        self.places = nn.Parameter(torch.randn(self.length, inner) * 0.02)
        self.logits = nn.Linear(inner, config.bins)
        self.register_buffer("edges", c.uniform_edges(config.low, config.high, config.bins, actions))

    @torch.no_grad()
    def fit(self, actions: Array, normalizer: Normalizer) -> None:
        """Bins from the least to the largest action, narrow where there are many and nowhere wide
        (`conventions.covering_edges`)."""
        self.edges.copy_(c.covering_edges(torch.from_numpy(normalizer.forward(actions)), self.config.bins))

    def loss(self, context: Tensor, batch: Batch) -> tuple[Tensor, Parts]:
        truth = c.to_bins(batch.actions, self.edges)
        logits = self.teach(self.enter(context), truth.flatten(1)).float()
        wrong = F.cross_entropy(
            logits.transpose(1, 2), truth.flatten(1), reduction="none", label_smoothing=self.config.label_smoothing
        )
        loss = over_chunk(wrong.view_as(truth), batch)
        said = logits.detach().argmax(-1).view_as(truth)
        action = over_chunk((c.from_bins(said, self.edges) - batch.actions).abs(), batch)
        right = over_chunk((said == truth).float(), batch)
        return loss, {"action": action, "tokens": loss, "accuracy": right}

    def teach(self, context: Tensor, tokens: Tensor) -> Tensor:
        """Logits [B, T·A, bins] of every token, given the true ones before it."""
        if self.config.parallel:
            begun = torch.full_like(tokens, self.config.bins)
            return self.logits(self.run(context, begun, None))
        before = torch.cat([torch.full_like(tokens[:, :1], self.config.bins), tokens[:, :-1]], 1)
        return self.logits(self.run(context, before, causal(context.shape[1], self.length, context.device)))

    def run(self, context: Tensor, tokens: Tensor, mask: Tensor | None) -> Tensor:
        x = torch.cat([context, self.embed(tokens) + self.places[: tokens.shape[1]]], 1)
        return self.decoder(x, mask)[:, context.shape[1] :]

    def act(self, context: Tensor, cached: bool = True) -> Tensor:
        """cached: keep the keys and values of what was read, instead of reading all again for every token."""
        return c.from_bins(self.tokens(context, cached), self.edges)

    def said(self, context: Tensor) -> Tensor:
        """Logits [B, T, A, bins] of every token of its answer, given those that it said before."""
        return self.teach(self.enter(context), self.tokens(context).flatten(1)).float().unflatten(1, self.shape)

    def tokens(self, context: Tensor, cached: bool = True) -> Tensor:
        """The likeliest, int64[B, T, A]."""
        context = self.enter(context)
        begin = torch.full((len(context), 1), self.config.bins, device=context.device)
        if self.config.parallel:
            tokens = self.teach(context, begin.expand(-1, self.length)).argmax(-1)
        else:
            tokens = self.decode(context, begin) if cached else self.decode_again(context, begin)
        return tokens.unflatten(-1, self.shape)

    def decode(self, context: Tensor, begin: Tensor) -> Tensor:
        """Tokens int64[B, T·A], each read once."""
        prefix = context.shape[1]
        caches = self.decoder.caches(prefix + self.length)
        x = torch.cat([context, self.embed(begin) + self.places[:1]], 1)
        mask: Tensor | None = causal(prefix, 1, context.device)
        tokens = []
        for i in range(self.length):
            out = self.decoder(x, mask, caches=caches)[:, -1:]
            tokens.append(self.logits(out).argmax(-1))
            if i + 1 < self.length:
                x, mask = self.embed(tokens[-1]) + self.places[i + 1], None
        return torch.cat(tokens, 1)

    def decode_again(self, context: Tensor, begin: Tensor) -> Tensor:
        """The same tokens, reading everything before for each."""
        tokens = begin
        for i in range(self.length):
            out = self.run(context, tokens, causal(context.shape[1], i + 1, context.device))[:, -1:]
            tokens = torch.cat([tokens, self.logits(out).argmax(-1)], 1)
        return tokens[:, 1:]
