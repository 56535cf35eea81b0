"""Chunks made from noise: diffusion and flow matching."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from palmar.mapping import Interface
from palmar.models.base import Batch, PriorChunk
from palmar.models.generative import DenoiserConfig, Diffusion, ExpertConfig, Flow, MLPConfig
from palmar.models.guidance import Guidance
from palmar.models.heads.base import Head, Parts, over_chunk

if TYPE_CHECKING:
    from palmar.data.normalize import Normalizer
    from palmar.types import Array


@dataclass(frozen=True)
class DiffusionConfig:
    """A chunk cleaned from noise in a few steps. guidance: how it is made to fit a running chunk; None: as published."""

    denoiser: DenoiserConfig = field(default_factory=MLPConfig)
    diffusion: Diffusion = field(default_factory=Diffusion)
    guidance: Guidance | None = None

    def build(self, width: int, interface: Interface) -> Head:
        return GenerativeHead(self.denoiser, self.diffusion, width, interface, self.guidance)


@dataclass(frozen=True)
class FlowConfig:
    """A chunk carried from noise along a learned velocity. guidance: how it is made to fit a running chunk; None: as
    published."""

    denoiser: DenoiserConfig = field(default_factory=ExpertConfig)
    flow: Flow = field(default_factory=Flow)
    guidance: Guidance | None = None

    def build(self, width: int, interface: Interface) -> Head:
        return GenerativeHead(self.denoiser, self.flow, width, interface, self.guidance)


class GenerativeHead(Head):
    """Diffusion or flow matching over the whole chunk. The noise comes from torch's generator: seed it to repeat."""

    def __init__(
        self,
        denoiser: DenoiserConfig,
        way: Diffusion | Flow,
        width: int,
        interface: Interface,
        guidance: Guidance | None = None,
    ) -> None:
        super().__init__()
        self.guidance = guidance or Guidance()
        self.way, self.shape = way, (interface.horizon, actions := len(interface.action_names))
        self.net = denoiser.build(width, *self.shape)
        self.low: Tensor
        self.high: Tensor
        if isinstance(way, Diffusion):
            self.register_buffer("low", torch.full((actions,), -way.clip))
            self.register_buffer("high", torch.full((actions,), way.clip))

    @torch.no_grad()
    def fit(self, actions: Array, normalizer: Normalizer) -> None:
        """Diffusion samples within what the data reach, also rarely and far from the mean: a gripper that seldom closes."""
        if isinstance(self.way, Diffusion):
            low, high = self.way.limits(torch.from_numpy(normalizer.forward(actions)))
            self.low.copy_(low)
            self.high.copy_(high)

    def loss(self, context: Tensor, batch: Batch) -> tuple[Tensor, Parts]:
        if isinstance(self.way, Diffusion):
            wrong, action = self.way.guess(self.net, context, batch.actions, (self.low, self.high))
        else:
            wrong, action = self.way.guess(self.net, context, batch.actions)
        loss = over_chunk(wrong, batch)
        return loss, {"action": over_chunk(action, batch), "denoise": loss}

    def act(self, context: Tensor, prior: PriorChunk | None = None) -> Tensor:
        return self.from_noise(context, torch.randn(len(context), *self.shape, device=context.device), prior)

    def from_noise(self, context: Tensor, noise: Tensor, prior: PriorChunk | None = None) -> Tensor:
        """noise: [B, T, A], normal. The same noise gives the same actions."""
        if isinstance(self.way, Diffusion):
            return self.way.sample(self.net, context, noise, (self.low, self.high), prior, self.guidance)
        return self.way.sample(self.net, context, noise, prior, self.guidance)
