"""Actions spoken by a vision-language model, one word a number: RT-2 and OpenVLA.

pictures, question → VLM → action words, read back as numbers. The words of actions are chosen among themselves, as RT-2
does when decoding, and trained so too. The model goes on speaking English: `language_loss` is for co-fine-tuning.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from palmar.mapping import Interface
from palmar.models.action_tokens import ActionTokens
from palmar.models.base import Batch, Inputs, Prediction, PriorChunk, check_pictures
from palmar.models.heads import DoneHead, over_steps
from palmar.models.objects import objects_loss
from palmar.models.speaking import Prefix, Speaking, SpeakingConfig
from palmar.models.vlm import VLM, VLMConfig

if TYPE_CHECKING:
    from palmar.data.normalize import Normalizer
    from palmar.types import Array

DONE = 0.1  # how much the done head counts


@dataclass(frozen=True)
class TokenVLAConfig(SpeakingConfig):
    """prompt: what is asked, with {instruction} in it."""

    vlm: VLMConfig = field(default_factory=VLMConfig)
    tokens: ActionTokens = field(default_factory=ActionTokens)
    prompt: str = "What action should the robot take to {instruction}?"
    preset: str = "openvla"

    def build(self, interface: Interface) -> TokenVLA:
        return TokenVLA(self, interface)


class TokenVLA(Speaking):
    """See the module's head. The state is not an input: neither RT-2 nor OpenVLA looks at it."""

    roles: ClassVar[Mapping[str, Sequence[str]]] = {
        **Speaking.roles,
        "head": ("vlm.projector", "finished"),  # actions are words: what is new is what pictures are to the words
    }

    def __init__(self, config: TokenVLAConfig, interface: Interface) -> None:
        super().__init__()
        check_pictures(interface)
        self.config: TokenVLAConfig = config
        self.interface = interface
        self.vlm = VLM(config.vlm)
        self.objects = self.build_objects(config, interface)
        self.finished = DoneHead(self.vlm.width)
        self.vocab = config.vlm.decoder.vocab - config.vlm.decoder.spare
        self.reach: Tensor
        self.register_buffer("reach", torch.full((len(interface.action_names),), config.tokens.limit))

    @torch.no_grad()
    def fit(self, actions: Array, normalizer: Normalizer) -> None:
        """Every action of the data lies within the bins, also a rare one far from the mean."""
        largest = np.abs(normalizer.forward(actions)).max(0)
        self.reach.copy_(torch.from_numpy(np.maximum(largest, self.config.tokens.limit)))

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Cross-entropy of the action words; parts: words, action (mean absolute error of the likeliest words, told the
        true ones before), accuracy (share of words right), done, loss."""
        bins, vocab = self.config.tokens, self.vocab
        steps = bins.steps(batch.actions.shape[1])
        words = bins.words(batch.actions[:, steps], vocab, self.reach).flatten(1)  # [B, anchors · A]
        logits, hidden, (_, there, found) = self.told(batch, words)
        target = words - (vocab - bins.bins)

        def over(values: Tensor) -> Tensor:
            spoken = values.unflatten(1, (len(steps), -1)).float()
            return over_steps(spoken, batch.pad[:, steps], batch.importance, batch.each("spoken"))

        best = logits.argmax(-1)
        said = over(F.cross_entropy(logits.transpose(1, 2), target, reduction="none"))
        meant = bins.actions((best + vocab - bins.bins).unflatten(1, (len(steps), -1)), vocab, self.reach)
        error = (meant - batch.actions[:, steps]).abs().flatten(1)
        done = DoneHead.loss(self._finished(hidden, there), batch)
        objects, more = objects_loss(self.objects, found, batch)
        total = said + DONE * done + objects
        parts = {
            "words": said,
            "action": over(error),
            "accuracy": over(best == target),
            "done": done,
            "loss": total,
        } | more
        return total, {k: v.detach() for k, v in parts.items()}

    def masks(self, batch: Batch) -> dict[str, Tensor]:
        """spoken: the real steps among those that are said."""
        steps = self.config.tokens.steps(batch.actions.shape[1])
        return super().masks(batch) | {"spoken": ~batch.pad[:, steps]}

    def act(self, inputs: Inputs, prior: PriorChunk | None = None) -> Prediction:
        """confidence: geometric mean of the probabilities of the words said. Committed actions of a running chunk are forced:
        the words that follow are conditioned on them."""
        bins, vocab, horizon = self.config.tokens, self.vocab, self.interface.horizon
        width, rows = len(self.interface.action_names), bins.rows(vocab)
        embeddings, there, _ = self.prefix(inputs, self.config.prompt)
        hidden, cache = self.vlm.run(embeddings, there, embeddings.shape[1], keep=True)
        features = mean_over(hidden, there)
        done = self.finished(features)
        said, sure, known = [], [], self._forced(prior)
        for i in range(count := len(bins.steps(horizon)) * width):
            logs = self.vlm.logits(hidden[:, -1], rows).float().log_softmax(-1)
            best, word = logs.max(-1)
            said.append(known[:, i] if i < known.shape[1] else word + rows.start)
            sure.append(best)
            if i + 1 < count:
                there = F.pad(there, (0, 1), value=True)
                hidden, cache = self.vlm.run(self.vlm.embed(said[-1])[:, None], there, 0, cache)
        spoken = bins.actions(torch.stack(said, 1).unflatten(1, (-1, width)), vocab, self.reach)
        return Prediction(bins.fill(spoken, horizon), done, torch.stack(sure, 1).mean(1).exp(), features=features)

    def _forced(self, prior: PriorChunk | None) -> Tensor:
        """int64[B, K]: the words of the committed actions among those that are said; none without a prior."""
        if prior is None:
            return torch.zeros((1, 0), dtype=torch.long)
        steps = [i for i in self.config.tokens.steps(self.interface.horizon) if i < prior.committed]
        return self.config.tokens.words(prior.actions[:, steps].float(), self.vocab, self.reach).flatten(1)

    def told(self, inputs: Inputs, words: Tensor) -> tuple[Tensor, Tensor, Prefix]:
        """What it would say in the place of each of `words` [B, N], told those before it: logits float32[B, N, bins]; and the
        hidden states [B, P, D] of pictures and question, with the prefix that they are of."""
        prefix = self.prefix(inputs, self.config.prompt)
        embeddings, there, _ = prefix
        start, more = embeddings.shape[1], words.shape[1] - 1
        whole = torch.cat([embeddings, self.vlm.embed(words[:, :-1]).to(embeddings.dtype)], 1)
        hidden, _ = self.vlm.run(whole, F.pad(there, (0, more), value=True), start)
        rows = self.config.tokens.rows(self.vocab)
        return self.vlm.logits(hidden[:, start - 1 :], rows).float(), hidden[:, :start], prefix

    def _finished(self, hidden: Tensor, there: Tensor) -> Tensor:
        return self.finished(mean_over(hidden, there))


def mean_over(hidden: Tensor, there: Tensor) -> Tensor:
    """[B, N, D] → [B, D], over the tokens that are there."""
    weight = there.to(hidden.dtype)[..., None]
    return (hidden * weight).sum(1) / weight.sum(1)
