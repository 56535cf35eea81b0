"""Where things are and how they lie: a box in each picture, a pose and spatial relations of the target and the goal, learned
from simulator truth beside the actions, and passed to the policy as tokens.

words, state → a query for each object → heatmap over each camera's tokens → place and features → one token an object

Axis legend: B batch · C cameras · G things (`base.GROUNDED`) · R relations (`RELATIONS`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from palmar.models.base import DECIMETRE, GROUNDED, Batch, Labels
from palmar.models.fusion import GroundedAttention
from palmar.models.layers import gaussian_cells, mean_where
from palmar.models.transformer import Transformer, TransformerConfig, over_keys

RELATIONS = (
    "left of the goal",
    "right of the goal",
    "in front of the goal",
    "behind the goal",
    "on the goal",
    "in the gripper",
)
"""What may hold of the target, several at once; `related` decides. Sides are the robot's, whose left is +y: in front of a
thing is on the robot's side of it, behind it is beyond. On and in are one: a plate and a tray differ in nothing that a
position says. The goal is where the object should end (`sim.task.Task.goal`), on a thing or in the air."""
APART = 0.02  # how far to a side something has to be [m]
ON_ASIDE = 0.055  # on it: the centre this near to the goal as seen from above, as `sim.tasks.place` wants it placed [m]
ON_LOW, ON_HIGH = 0.01, 0.045  # … and so far over it [m]
GRIPPED = 0.028  # between the fingers, open or shut: the target's centre is so near to the TCP [m]


def related(positions: Tensor) -> Tensor:
    """bool[..., R] of positions [..., G, 3] in the base frame minus the TCP's [m]."""
    target, goal = positions.unbind(-2)
    x, y, z = (target - goal).unbind(-1)
    on = (torch.hypot(x, y) < ON_ASIDE) & (z > ON_LOW) & (z < ON_HIGH)
    return torch.stack([y > APART, y < -APART, x < -APART, x > APART, on, target.norm(dim=-1) < GRIPPED], -1)


@dataclass(frozen=True)
class ObjectsConfig:
    """Locate the target and the goal: a heatmap and a box in each picture, a pose, and how they lie to each other. A token of
    each enters the fusion. heat, box (L1 + GIoU), visible, relative (position [dm]), turn and relation: weights of the losses
    beside that of the actions, where the data have labels. transformer: of the decoder in which the objects' queries attend to
    words and state."""

    heat: float = 0.4
    box: float = 0.2
    visible: float = 0.05
    relative: float = 0.5
    turn: float = 0.1
    relation: float = 0.05
    transformer: TransformerConfig = field(default_factory=lambda: TransformerConfig(64, 1, 4, 128, dropout=0.0))


@dataclass(frozen=True)
class Found:
    """boxes: [B, C, G, 4] (u, v, w, h), middle and sides in 0 … 1 of each camera's picture. visible: logits [B, C, G].
    relative: [B, G, 3] in the base frame minus the TCP's [dm]. turns: [B, G, 2] towards (cos 4ψ, sin 4ψ). relations:
    logits [B, R]. heat: {camera: logits [B, G, h·w]}. tokens: [B, G, width], a projection of all this for the fusion."""

    boxes: Tensor
    visible: Tensor
    relative: Tensor
    turns: Tensor
    relations: Tensor
    heat: Mapping[str, Tensor]
    tokens: Tensor

    @property
    def positions(self) -> Tensor:
        """[B, G, 3] in the base frame minus the TCP's [m]."""
        return self.relative * DECIMETRE

    @property
    def yaws(self) -> Tensor:
        """[B, G] about the vertical, -π/4 … π/4 [rad]: what has four alike sides has no more. Noise for round things."""
        return torch.atan2(self.turns[..., 1], self.turns[..., 0]) / 4

    def holding(self, least: float = 0.5) -> list[tuple[str, ...]]:
        """In words, of each row: the relations that are likelier than `least`."""
        rows = (self.relations.sigmoid() > least).tolist()
        return [tuple(name for name, holds in zip(RELATIONS, row, strict=True) if holds) for row in rows]


class Objects(nn.Module):
    """A query for each object attends to words and state, then to each camera's tokens (`GroundedAttention`).

    context: width of words and state. cells: channels of a camera's tokens. width: of the tokens for the fusion."""

    def __init__(
        self, config: ObjectsConfig, context: int, cells: int, width: int, grids: Mapping[str, tuple[int, int]]
    ) -> None:
        super().__init__()
        slot = config.transformer.width
        self.config, self.grids = config, dict(grids)
        self.queries = nn.Parameter(torch.randn(len(GROUNDED), slot) * 0.02)
        self.decoder = Transformer(config.transformer, context)
        # in the order of the cameras, whose names may hold what no module's name does
        self.look = nn.ModuleList(GroundedAttention(slot, cells, grid) for grid in grids.values())

        def head(inputs: int, outputs: int = 5) -> nn.Module:
            return nn.Sequential(nn.Linear(inputs, 2 * slot), nn.ReLU(), nn.Linear(2 * slot, outputs))

        found = slot + len(grids) * (cells + 4)
        self.box = nn.ModuleList(head(slot + cells + 4) for _ in grids)
        self.pose = head(found)
        self.relate = head(len(GROUNDED) * (found + 3), len(RELATIONS))
        self.project = head(found + len(grids) + 3, width)

    def forward(self, context: Tensor, mask: Tensor | None, views: Mapping[str, Tensor]) -> Found:
        """context: [B, L, context] with bool[B, L], True where there is a token. views: {camera: [B, h·w, cells]}."""
        slots = self.queries.expand(len(context), -1, -1)
        slots = self.decoder(slots, memory=context, memory_mask=over_keys(mask))
        boxes, parts, heat = [], [slots], {}
        for i, (camera, grid) in enumerate(self.grids.items()):
            looked = self.look[i](slots, views[camera].transpose(1, 2).unflatten(-1, grid))
            parts += [looked.features, looked.points]
            said = self.box[i](torch.cat([slots, looked.features, looked.points], -1)).float()
            middle = looked.points[..., 2:].float() + said[..., :2]
            boxes.append(torch.cat([middle, said[..., 2:4].sigmoid(), said[..., 4:]], -1))
            heat[camera] = looked.logits.float()
        box, found = torch.stack(boxes, 1), torch.cat(parts, -1)
        pose = self.pose(found).float()
        relative = pose[..., :3]
        relations = self.relate(torch.cat([found, relative.to(found.dtype)], -1).flatten(1)).float()
        summary = torch.cat([found, box[..., 4].transpose(1, 2).to(found.dtype), relative.to(found.dtype)], -1)
        return Found(box[..., :4], box[..., 4], relative, pose[..., 3:], relations, heat, self.project(summary))

    def loss(self, said: Found, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Of a batch that has labels. What is known counts, the rest adds nothing. A box is asked for where the thing is seen."""
        assert batch.labels is not None
        config, labels, each = self.config, batch.labels, batch.each
        there = labels.visible > 0.5
        true, known = relation_labels(labels)
        both, target = each("both known"), each("target known")
        related_rows = None if both is None or target is None else both * (len(RELATIONS) - 1) + target
        parts = {
            "heat": torch.stack([
                mean_where(
                    -(gaussian_cells(labels.points[:, i], *grid) * said.heat[c].log_softmax(-1)).sum(-1), there[:, i],
                    each(f"seen.{i}"),
                )
                for i, (c, grid) in enumerate(self.grids.items())
            ]).mean(),
            "visible": mean_where(
                F.binary_cross_entropy_with_logits(said.visible, labels.visible, reduction="none"), labels.placed, each("placed")
            ),
            "relative": mean_where((said.relative - labels.relative).abs().mean(-1), labels.known, each("known")),
            "relation": mean_where(
                F.binary_cross_entropy_with_logits(said.relations, true.float(), reduction="none"), known, related_rows
            ),
        }  # fmt: skip
        if labels.boxes is not None and labels.boxed is not None:
            error = (said.boxes - labels.boxes).abs().mean(-1) + 1 - giou(said.boxes, labels.boxes)
            parts["box"] = mean_where(error, labels.boxed & there, each("boxed"))
        if labels.turns is not None and labels.turned is not None:
            error = (said.turns - labels.turns).square().mean(-1)
            parts["turn"] = mean_where(error, labels.turned, each("turned"))
        total = torch.stack([getattr(config, name) * value for name, value in parts.items()]).sum()
        return total, parts


def objects_loss(objects: Objects | None, found: Found | None, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
    """`Objects.loss`; 0 and no parts for a system without objects, and for a batch without labels."""
    if objects is None or found is None or batch.labels is None:
        return batch.actions.new_zeros(()), {}
    return objects.loss(found, batch)


def relation_labels(labels: Labels) -> tuple[Tensor, Tensor]:
    """bool[B, R] of what holds, and bool[B, R] of where that is known. The gripper needs no goal."""
    both = labels.known.all(-1, keepdim=True).expand(-1, len(RELATIONS) - 1)
    return related(labels.relative * DECIMETRE), torch.cat([both, labels.known[:, :1]], -1)


def giou(a: Tensor, b: Tensor) -> Tensor:
    """Generalised intersection over union of boxes [..., 4] (u, v, w, h), -1 … 1: IoU minus the share of the box around
    both that neither fills. Source: Rezatofighi et al. 2019, arXiv 1902.09630."""
    (a0, a1), (b0, b1) = (((x[..., :2] - x[..., 2:] / 2), (x[..., :2] + x[..., 2:] / 2)) for x in (a, b))
    both = (torch.minimum(a1, b1) - torch.maximum(a0, b0)).clamp(min=0).prod(-1)
    either = a[..., 2:].prod(-1) + b[..., 2:].prod(-1) - both
    around = (torch.maximum(a1, b1) - torch.minimum(a0, b0)).prod(-1)
    return both / either.clamp(min=1e-9) - (around - either) / around.clamp(min=1e-9)
