"""What is learned beside the actions: the pictures to come, a latent style of the demonstration, and where things are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from palmar.errors import BadValue
from palmar.models.base import DECIMETRE, GROUNDED, Labels
from palmar.models.fusion import GroundedAttention
from palmar.models.layers import gaussian_cells, mean_where
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


@dataclass(frozen=True)
class ObjectsConfig:
    """Say where the target and the goal are: a box in each picture, and a pose. heat (where a slot looks), box (L1 + GIoU),
    visible, position [dm] and turn: what each error weighs beside the actions. transformer: of the decoder that reads
    from what was fused what to look for."""

    heat: float = 0.4
    box: float = 0.2
    visible: float = 0.05
    position: float = 0.5
    turn: float = 0.1
    transformer: TransformerConfig = field(default_factory=lambda: TransformerConfig(64, 1, 4, 128))


@dataclass(frozen=True)
class Found:
    """Of the things G (`base.GROUNDED`). boxes: [B, C, G, 4] (u, v, w, h), middle and sides in 0 … 1 of each camera's
    picture. visible: logits [B, C, G]. relative: [B, G, 3] in the base frame minus the TCP's [dm]. turns: [B, G, 2]
    towards (cos 4ψ, sin 4ψ). heat: {camera: logits [B, G, h·w]}, where each was looked for."""

    boxes: Tensor
    visible: Tensor
    relative: Tensor
    turns: Tensor
    heat: Mapping[str, Tensor]

    @property
    def positions(self) -> Tensor:
        """[B, G, 3] in the base frame minus the TCP's [m]."""
        return self.relative * DECIMETRE

    @property
    def yaws(self) -> Tensor:
        """[B, G] about the vertical, -π/4 … π/4 [rad]: what has four alike sides has no more. Noise for round things."""
        return torch.atan2(self.turns[..., 1], self.turns[..., 0]) / 4


class Objects(nn.Module):
    """A slot for each thing reads from the fused tokens what to look for, and looks over each camera's own tokens."""

    def __init__(self, config: ObjectsConfig, width: int, grids: Mapping[str, tuple[int, int]]) -> None:
        super().__init__()
        slot = config.transformer.width
        self.config, self.grids = config, dict(grids)
        self.asked = nn.Parameter(torch.randn(len(GROUNDED), slot) * 0.02)
        self.decoder = Transformer(config.transformer, width)
        self.look = nn.ModuleDict({c: GroundedAttention(slot, width, grid) for c, grid in grids.items()})

        def head(inputs: int) -> nn.Module:
            return nn.Sequential(nn.Linear(inputs, 2 * slot), nn.ReLU(), nn.Linear(2 * slot, 5))

        self.box = nn.ModuleDict({c: head(slot + width + 4) for c in grids})
        self.pose = head(slot + len(grids) * (width + 4))

    def forward(self, seen: Fused) -> Found:
        slots = self.asked.expand(len(seen.memory), -1, -1)
        slots = self.decoder(slots, memory=seen.memory, memory_mask=over_keys(seen.mask))
        views, found, heat = [], [slots], {}
        for camera, grid in self.grids.items():
            looked = self.look[camera](slots, seen.views[camera].transpose(1, 2).unflatten(-1, grid))
            found += [looked.features, looked.points]
            said = self.box[camera](torch.cat([slots, looked.features, looked.points], -1)).float()
            middle = looked.points[..., 2:].float() + said[..., :2]
            views.append(torch.cat([middle, said[..., 2:4].sigmoid(), said[..., 4:]], -1))
            heat[camera] = looked.logits.float()
        boxes, pose = torch.stack(views, 1), self.pose(torch.cat(found, -1)).float()
        return Found(boxes[..., :4], boxes[..., 4], pose[..., :3], pose[..., 3:], heat)

    def loss(self, seen: Fused, labels: Labels) -> tuple[Tensor, dict[str, Tensor]]:
        """What is known counts, the rest adds nothing. A box is asked for where the thing is seen."""
        said, config, there = self(seen), self.config, labels.visible > 0.5
        parts = {
            "heat": torch.stack([
                mean_where(-(gaussian_cells(labels.points[:, i], *grid) * said.heat[c].log_softmax(-1)).sum(-1), there[:, i])
                for i, (c, grid) in enumerate(self.grids.items())
            ]).mean(),
            "visible": mean_where(
                F.binary_cross_entropy_with_logits(said.visible, labels.visible, reduction="none"), labels.placed
            ),
            "position": mean_where((said.relative - labels.relative).abs().mean(-1), labels.known),
        }  # fmt: skip
        if labels.boxes is not None and labels.boxed is not None:
            error = (said.boxes - labels.boxes).abs().mean(-1) + 1 - giou(said.boxes, labels.boxes)
            parts["box"] = mean_where(error, labels.boxed & there)
        if labels.turns is not None and labels.turned is not None:
            parts["turn"] = mean_where((said.turns - labels.turns).square().mean(-1), labels.turned)
        total = torch.stack([getattr(config, name) * value for name, value in parts.items()]).sum()
        return total, parts


def giou(a: Tensor, b: Tensor) -> Tensor:
    """Generalised intersection over union of boxes [..., 4] (u, v, w, h), -1 … 1: IoU minus the share of the box around
    both that neither fills. Source: Rezatofighi et al. 2019, arXiv 1902.09630."""
    (a0, a1), (b0, b1) = (((x[..., :2] - x[..., 2:] / 2), (x[..., :2] + x[..., 2:] / 2)) for x in (a, b))
    both = (torch.minimum(a1, b1) - torch.maximum(a0, b0)).clamp(min=0).prod(-1)
    either = a[..., 2:].prod(-1) + b[..., 2:].prod(-1) - both
    around = (torch.maximum(a1, b1) - torch.minimum(a0, b0)).prod(-1)
    return both / either.clamp(min=1e-9) - (around - either) / around.clamp(min=1e-9)
