"""What is learned beside the actions: the pictures to come, and a latent style of the demonstration. (Where things are is
learned in `objects`.)"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from palmar.errors import BadValue
from palmar.models.sequence import Fused
from palmar.models.transformer import Transformer, TransformerConfig, grid_features, over_keys


@dataclass(frozen=True)
class VideoConfig:
    """Predict the pictures at `offsets` policy steps from now, each > 0. weight: of their squared error beside the actions.
    patch [px]. transformer: of the decoder, which reads what was fused."""

    offsets: tuple[int, ...] = (4,)
    weight: float = 0.1
    patch: int = 16
    transformer: TransformerConfig = field(default_factory=lambda: TransformerConfig(64, 1, 4, 128))


class Video(nn.Module):
    """Fused tokens and the pictures of now → future pictures {camera: [B, F, 3, H, W]}, in the units of `base.pixels`.

    It says what changes, so that it starts as good as a copy of now. Learned on any video with an instruction: a batch
    whose actions are all padding trains it alone (GR-1, arXiv 2312.13139; GR-2, arXiv 2410.06158).
    """

    def __init__(self, config: VideoConfig, memory: int, cameras: Mapping[str, tuple[int, int]]) -> None:
        super().__init__()
        patch, width = config.patch, config.transformer.width
        for name, (h, w) in cameras.items():
            if h % patch or w % patch:
                raise BadValue(f"camera '{name}' is {h}×{w} px; video needs multiples of its patch, {patch} px")
        self.config, self.cameras = config, dict(cameras)
        self.where = nn.Linear(width, width)
        self.times = nn.Parameter(torch.randn(len(config.offsets), 1, width) * 0.02)
        self.views = nn.Parameter(torch.randn(len(cameras), width) * 0.02)
        self.now = nn.Linear(3 * patch * patch, width)
        self.decoder = Transformer(config.transformer, memory)
        self.change = nn.Linear(width, 3 * patch * patch)
        nn.init.zeros_(self.change.weight)
        nn.init.zeros_(self.change.bias)

    def forward(self, seen: Fused, now: Mapping[str, Tensor]) -> dict[str, Tensor]:
        out, patch, frames = {}, self.config.patch, len(self.config.offsets)
        mask = over_keys(seen.mask)
        for view, (camera, (h, w)) in zip(self.views, self.cameras.items(), strict=True):
            rows, columns = h // patch, w // patch
            place = self.where(grid_features(rows, columns, view.shape[-1]).to(view))
            patches = F.pixel_unshuffle(now[camera], patch).flatten(2).transpose(1, 2)
            asked = (self.now(patches) + place + view)[:, None] + self.times
            said = self.change(self.decoder(asked.flatten(1, 2), memory=seen.memory, memory_mask=mask)).float()
            said = said.unflatten(1, (frames * rows, columns)).movedim(-1, 1)  # [B, 3·p·p, F·rows, columns]
            moved = F.pixel_shuffle(said, patch).unflatten(2, (frames, h)).movedim(2, 1)
            out[camera] = now[camera][:, None] + moved
        return out

    def loss(self, seen: Fused, now: Mapping[str, Tensor], future: Mapping[str, Tensor]) -> Tensor:
        """Mean squared error over cameras, pictures and pixels; 1 is about 64 grey levels, squared."""
        said = self(seen, now)
        return torch.stack([F.mse_loss(said[c], future[c].float()) for c in self.cameras]).mean()


@dataclass(frozen=True)
class LatentConfig:
    """A conditional variational autoencoder over the demonstrated chunk: people do the same thing in several ways, and the
    latent takes up which. size: of the latent. weight: of the Kullback-Leibler term. Source: ACT, arXiv 2304.13705."""

    size: int = 32
    weight: float = 10.0
    transformer: TransformerConfig = field(default_factory=TransformerConfig)


class Latent(nn.Module):
    """Training: the latent that the demonstrated actions and the state suggest. Acting: the mean of the prior, zero."""

    def __init__(self, config: LatentConfig, width: int, horizon: int, actions: int) -> None:
        super().__init__()
        inner = config.transformer.width
        self.config = config
        self.enter, self.state = nn.Linear(actions, inner), nn.Linear(width, inner)
        self.cls = nn.Parameter(torch.randn(1, 1, inner) * 0.02)
        self.positions = nn.Parameter(torch.randn(horizon + 2, inner) * 0.02)
        self.encoder = Transformer(config.transformer)
        self.stats = nn.Linear(inner, 2 * config.size)
        self.leave = nn.Linear(config.size, width)

    def forward(self, state: Tensor, actions: Tensor, pad: Tensor) -> tuple[Tensor, Tensor]:
        """state [B, D], actions [B, T, A], pad bool[B, T] → token [B, 1, D], and the divergence from the prior."""
        x = torch.cat([self.cls.expand(len(state), -1, -1), self.state(state)[:, None], self.enter(actions)], 1)
        there = F.pad(~pad, (2, 0), value=True)
        mean, log = self.stats(self.encoder(x + self.positions, over_keys(there))[:, 0]).float().chunk(2, -1)
        divergence = 0.5 * (mean.square() + log.exp() - 1 - log).sum(-1).mean()
        return self.leave(mean + torch.randn_like(mean) * (log / 2).exp())[:, None], divergence

    def prior(self, count: int) -> Tensor:
        """The token for no demonstration: [count, 1, D]."""
        return self.leave(self.leave.weight.new_zeros(count, self.config.size))[:, None]
