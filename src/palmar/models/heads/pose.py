"""End-effector poses: position, unit quaternion, gripper."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from palmar.errors import BadValue
from palmar.mapping import Interface
from palmar.models import conventions as c
from palmar.models.base import Batch, PriorChunk
from palmar.models.guidance import blended, padded
from palmar.models.heads.base import Head, Parts, over_chunk

if TYPE_CHECKING:
    pass


@dataclass(frozen=True)
class PoseConfig:
    """rotation, gripper: how much they count beside the L1 of the position."""

    rotation: float = 0.5
    gripper: float = 0.1
    hidden: int = 256

    def build(self, width: int, interface: Interface) -> Head:
        return PoseHead(self, width, interface)


class PoseHead(Head):
    """End-effector poses: 8 actions x, y, z, qw, qx, qy, qz, gripper 0 … 1. The quaternion and the gripper must come as
    they are (their normaliser the identity); the position may be normalised. Padding counts for nothing."""

    def __init__(self, config: PoseConfig, width: int, interface: Interface) -> None:
        super().__init__()
        if (n := len(interface.action_names)) != 8:
            raise BadValue(f"a pose head for {n} actions; expected 8: x, y, z, qw, qx, qy, qz, gripper")
        self.config, self.shape = config, (interface.horizon, 8)
        self.out = nn.Sequential(
            nn.Linear(width, config.hidden), nn.ReLU(), nn.Linear(config.hidden, interface.horizon * 8)
        )

    def raw(self, context: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        position, turn, grip = self.out(context.mean(1)).unflatten(-1, self.shape).float().split([3, 4, 1], -1)
        return position, c.unit_quaternion(turn + turn.new_tensor([1.0, 0, 0, 0])), grip

    def loss(self, context: Tensor, batch: Batch) -> tuple[Tensor, Parts]:
        position, turn, grip = self.raw(context)
        where, how, opening = batch.actions.split([3, 4, 1], -1)
        lengths = how.norm(dim=-1)[~batch.pad]
        if len(lengths) and not torch.allclose(lengths, torch.ones_like(lengths), atol=1e-2):
            raise BadValue(
                f"quaternions of length {float(lengths.min()):.3f} … {float(lengths.max()):.3f}; expected 1. Next: keep "
                "the normaliser off qw, qx, qy, qz and the gripper"
            )
        grips = opening[~batch.pad]
        if len(grips) and not (grips.min() >= -1e-3 and grips.max() <= 1 + 1e-3):
            raise BadValue(
                f"gripper openings of {float(grips.min()):.3g} … {float(grips.max()):.3g}; expected 0 … 1. Next: keep the "
                "normaliser off the gripper, and give it in the unit 'opening' (palmar.data.mapped.MappedData converts)"
            )
        angle = c.rotation_between(turn, c.unit_quaternion(how))[..., None]
        shut = F.binary_cross_entropy_with_logits(grip, opening.clamp(0, 1), reduction="none")
        parts = [
            over_chunk(e, batch, torch.ones(e.shape[-1], device=e.device))
            for e in ((position - where).abs(), angle, shut)
        ]
        loss = parts[0] + self.config.rotation * parts[1] + self.config.gripper * parts[2]
        said = torch.cat([position, turn, grip.sigmoid()], -1)
        close = torch.cat([where, c.unit_quaternion(how), opening], -1)
        action = over_chunk((said - close).abs(), batch)
        return loss, {"action": action, "position": parts[0], "rotation": parts[1], "gripper": parts[2]}

    def act(self, context: Tensor, prior: PriorChunk | None = None) -> Tensor:
        """Blended quaternions are made unit again; those of the running chunk may have either sign."""
        position, turn, grip = self.raw(context)
        if prior is not None:
            running = padded(prior.actions, turn.shape[1])[..., 3:7].to(turn)
            turn = torch.where((turn * running).sum(-1, keepdim=True) < 0, -turn, turn)
        position, turn, grip = blended(torch.cat([position, turn, grip.sigmoid()], -1), prior).split([3, 4, 1], -1)
        return torch.cat([position, c.unit_quaternion(turn), grip], -1)
