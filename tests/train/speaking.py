"""The least model that acts and answers questions: one linear layer for each, on a few pixels and the letters of a text."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from palmar.mapping import Interface
from palmar.models.base import Batch, Inputs, Model, Prediction
from palmar.models.layers import mean_where


@dataclass(frozen=True)
class SpeakingConfig:
    preset: str = "speaking"
    max_tokens: int = 0
    offsets: tuple[int, ...] = (0,)

    def for_texts(self, texts) -> SpeakingConfig:
        return self

    def build(self, interface: Interface) -> Speaking:
        return Speaking(self, interface)


def letters(texts) -> torch.Tensor:
    """float32[B, 128]: how often each letter."""
    out = torch.zeros(len(texts), 128)
    for i, t in enumerate(texts):
        for c in t:
            out[i, ord(c) % 128] += 1
    return out


class Speaking(Model):
    def __init__(self, config: SpeakingConfig, interface: Interface) -> None:
        super().__init__()
        self.config, self.interface = config, interface
        self.body = nn.Linear(48 + len(interface.state_names) + 128, 64)
        self.head = nn.Linear(64, interface.horizon * len(interface.action_names))
        self.answer = nn.Linear(48 + 256, 64)
        self.score = nn.Linear(64, 1)

    def look(self, images) -> torch.Tensor:
        return F.adaptive_avg_pool2d(next(iter(images.values())), 4).flatten(1)

    def act(self, inputs: Inputs, prefix=None) -> Prediction:
        x = torch.cat([self.look(inputs.images), inputs.state, letters(inputs.texts)], -1)
        return Prediction(self.head(self.body(x).relu()).unflatten(-1, (self.interface.horizon, -1)))

    def loss(self, batch: Batch):
        error = (self.act(batch).actions - batch.actions).abs().mean(-1)
        loss = mean_where(error, ~batch.pad, batch.each("steps"))
        return loss, {"action": loss.detach(), "loss": loss.detach()}

    def language_loss(self, images, prompts, answers) -> torch.Tensor:
        x = torch.cat([self.look(images), letters(prompts), letters(answers)], -1)
        return F.softplus(self.score(self.answer(x).relu()).squeeze(-1))
