"""Actions as discrete tokens, one after the other or in parallel."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from palmar.mapping import Interface
from palmar.models import conventions as c
from palmar.models.base import Batch, PriorChunk
from palmar.models.guidance import blended
from palmar.models.heads.base import Head, Parts, over_chunk
from palmar.models.transformer import Transformer, TransformerConfig, causal

if TYPE_CHECKING:
    from palmar.data.normalize import Normalizer
    from palmar.types import Array


@dataclass(frozen=True)
class TokenConfig:
    """bins a dimension, equally wide from low to high (normalised); `TokenHead.fit` suits them to the data. decoder:
    over the context and the tokens. parallel: all tokens at once instead of one after the other. neighbours: standard deviation
    [bins] of a normal distribution around the true bin, which is the target in place of the true bin alone: what is nearly right
    is then nearly right in the loss (Farebrother et al., arXiv 2403.03950); 0 for the true bin alone."""

    decoder: TransformerConfig = field(default_factory=TransformerConfig)
    bins: int = 256
    low: float = -5.0
    high: float = 5.0
    parallel: bool = False
    label_smoothing: float = 0.0
    neighbours: float = 0.0

    def build(self, width: int, interface: Interface) -> Head:
        return TokenHead(self, width, interface)


class TokenHead(Head):
    """Every action dimension of every step is a token (RT-1, arXiv 2212.06817): a decoder-only transformer reads the
    context, then T·A tokens, step by step and within a step dimension by dimension. The likeliest is taken.

    One after the other, the committed actions of a running chunk are forced: what follows is conditioned on them. In parallel
    no token sees another, and the answer is blended with the running chunk."""

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
            logits.transpose(1, 2), self.targets(truth.flatten(1)), reduction="none",
            label_smoothing=self.config.label_smoothing,
        )  # fmt: skip
        loss = over_chunk(wrong.view_as(truth), batch)
        said = logits.detach().argmax(-1).view_as(truth)
        action = over_chunk((c.from_bins(said, self.edges) - batch.actions).abs(), batch)
        right = over_chunk((said == truth).float(), batch)
        return loss, {"action": action, "tokens": loss, "accuracy": right}

    def targets(self, truth: Tensor) -> Tensor:
        """The true bins, or where neighbours count the probabilities [B, bins, T·A] of all. truth: int64[B, T·A]."""
        if not self.config.neighbours:
            return truth
        bins = torch.arange(self.config.bins, device=truth.device)
        apart = (bins - bins[:, None]).float() / self.config.neighbours
        return torch.softmax(-(apart**2) / 2, 1)[truth].transpose(1, 2)

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

    def act(self, context: Tensor, prior: PriorChunk | None = None, cached: bool = True) -> Tensor:
        """cached: keep the keys and values of what was read, instead of reading all again for every token."""
        if self.config.parallel or prior is None or not prior.committed:
            said = c.from_bins(self.tokens(context, cached), self.edges)
            return blended(said, prior) if self.config.parallel else said
        committed = prior.actions[:, : min(prior.committed, self.shape[0])].to(self.edges)
        return c.from_bins(self.tokens(context, cached, c.to_bins(committed, self.edges).flatten(1)), self.edges)

    def said(self, context: Tensor) -> Tensor:
        """Logits [B, T, A, bins] of every token of its answer, given those that it said before."""
        return self.teach(self.enter(context), self.tokens(context).flatten(1)).float().unflatten(1, self.shape)

    def tokens(self, context: Tensor, cached: bool = True, known: Tensor | None = None) -> Tensor:
        """The likeliest, int64[B, T, A]. known: int64[B, K], the first so many, given."""
        context = self.enter(context)
        begin = torch.full((len(context), 1), self.config.bins, device=context.device)
        if self.config.parallel:
            tokens = self.teach(context, begin.expand(-1, self.length)).argmax(-1)
        else:
            known = begin[:, :0] if known is None else known
            tokens = self.decode(context, begin, known) if cached else self.decode_again(context, begin, known)
        return tokens.unflatten(-1, self.shape)

    def decode(self, context: Tensor, begin: Tensor, known: Tensor) -> Tensor:
        """Tokens int64[B, T·A], each read once."""
        prefix = context.shape[1]
        caches = self.decoder.caches(prefix + self.length)
        x = torch.cat([context, self.embed(begin) + self.places[:1]], 1)
        mask: Tensor | None = causal(prefix, 1, context.device)
        tokens = []
        for i in range(self.length):
            out = self.decoder(x, mask, caches=caches)[:, -1:]
            tokens.append(known[:, i : i + 1] if i < known.shape[1] else self.logits(out).argmax(-1))
            if i + 1 < self.length:
                x, mask = self.embed(tokens[-1]) + self.places[i + 1], None
        return torch.cat(tokens, 1)

    def decode_again(self, context: Tensor, begin: Tensor, known: Tensor) -> Tensor:
        """The same tokens, reading everything before for each."""
        tokens = torch.cat([begin, known], 1)
        for i in range(known.shape[1], self.length):
            out = self.run(context, tokens, causal(context.shape[1], i + 1, context.device))[:, -1:]
            tokens = torch.cat([tokens, self.logits(out).argmax(-1)], 1)
        return tokens[:, 1:]
