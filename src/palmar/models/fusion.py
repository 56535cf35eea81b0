"""Grounded attention: the slots of an instruction look for their objects in every camera, then all is one vector."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from palmar.models.layers import Residual, cell_centres, position_features


@dataclass(frozen=True)
class Looked:
    """What the slots found in one camera.

    logits: [B, K, N] heatmaps before softmax; heat: after it. points: [B, K, 4] expected (u, v) 0 … 1, under the heatmap and
    under its third power (which ignores distant crumbs of attention). features: [B, K, C]. facts: [B, K, 2] peak and entropy.
    """

    logits: Tensor
    heat: Tensor
    points: Tensor
    features: Tensor
    facts: Tensor


class GroundedAttention(nn.Module):
    """One softmax heatmap a slot over the cells of a feature map [B, C, h, w]."""

    def __init__(self, slot_width: int, channels: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.channels = channels
        self.position: Tensor
        self.centres: Tensor
        self.uniform: Tensor
        self.query = nn.Linear(slot_width, channels + 6)
        self.register_buffer("position", position_features(*size), persistent=False)
        self.register_buffer("centres", cell_centres(*size), persistent=False)
        # the entropy of a heatmap that is the same everywhere
        self.register_buffer("uniform", torch.tensor(float(size[0] * size[1])).log(), persistent=False)

    def forward(self, slots: Tensor, features: Tensor) -> Looked:
        cells = features.flatten(2).transpose(1, 2)  # [B, N, C], a view when the map is channels-last
        what, where = self.query(slots).split([self.channels, 6], -1)
        # in this order both gradients of `cells` have one memory layout, and adding them is ten times faster
        scores = (cells @ what.transpose(1, 2)).transpose(1, 2)
        logits = scores / self.channels**0.5 + where @ self.position.T
        heat, sharp = logits.softmax(-1), (3 * logits).softmax(-1)
        points = torch.cat([heat @ self.centres, sharp @ self.centres], -1)
        entropy = -(heat * (heat + 1e-9).log()).sum(-1) / self.uniform
        return Looked(logits, heat, points, heat @ cells, torch.stack([heat.amax(-1), entropy], -1))


@dataclass(frozen=True)
class FusionConfig:
    """One residual MLP over everything that was found. narrow: width each slot or view is reduced to first."""

    hidden: int = 320
    blocks: int = 2
    narrow: int = 32
    state: int = 64
    state_noise: float = 0.02


class StateEncoder(nn.Module):
    """Proprioception, normalised [B, S'] → [B, width]; small noise in training so that no digit is trusted too much."""

    def __init__(self, channels: int, config: FusionConfig) -> None:
        super().__init__()
        self.noise = config.state_noise
        self.layers = nn.Sequential(nn.Linear(channels, config.state), nn.ReLU(), nn.Linear(config.state, config.state))

    def forward(self, state: Tensor) -> Tensor:
        if self.training and self.noise > 0:
            state = state + self.noise * torch.randn_like(state)
        return self.layers(state)


class Fusion(nn.Module):
    """All inputs concatenated, then a residual MLP: [B, *] → [B, hidden]."""

    def __init__(self, inputs: int, config: FusionConfig) -> None:
        super().__init__()
        self.enter = nn.Linear(inputs, config.hidden)
        self.blocks = nn.Sequential(*(Residual(config.hidden, config.hidden) for _ in range(config.blocks)))
        self.norm = nn.LayerNorm(config.hidden)

    def forward(self, parts: list[Tensor]) -> Tensor:
        return self.norm(self.blocks(F.relu(self.enter(torch.cat(parts, -1)))))
