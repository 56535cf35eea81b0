"""The two networks of a picture translation: what makes a picture, and what tells made ones from others.

Source: Zhu, Park, Isola, Efros 2017, "Unpaired image-to-image translation using cycle-consistent adversarial networks"; much
smaller, and without normalisation: a mean over the picture would let one object change the colour of all others.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from palmar.types import Array


class Generator(nn.Module):
    """Adds to a picture what a network at half its size says, through a skip at full size."""

    def __init__(self, width: int, blocks: int) -> None:
        super().__init__()
        self.enter = nn.Conv2d(5, width, 3, padding=1)
        self.down = nn.Conv2d(width, 2 * width, 3, 2, 1)
        pair = lambda: nn.Sequential(  # noqa: E731
            nn.Conv2d(2 * width, 2 * width, 3, padding=1), nn.ReLU(), nn.Conv2d(2 * width, 2 * width, 3, padding=1)
        )
        self.blocks = nn.ModuleList(pair() for _ in range(blocks))
        self.up = nn.Conv2d(2 * width, width, 3, padding=1)
        self.leave = nn.Conv2d(2 * width, 3, 3, padding=1)
        nn.init.zeros_(self.leave.weight)
        assert self.leave.bias is not None
        nn.init.zeros_(self.leave.bias)

    def forward(self, picture: Tensor, place: Tensor) -> Tensor:
        """float32[B, 3, H, W] of −1 … 1, and place float32[B, 2, H, W]."""
        near = F.relu(self.enter(torch.cat([picture, place], 1)))
        x = F.relu(self.down(near))
        for block in self.blocks:
            x = x + block(x)
        x = F.interpolate(F.relu(self.up(F.relu(x))), picture.shape[-2:], mode="nearest")
        return (picture + self.leave(torch.cat([near, x], 1))).clamp(-1.2, 1.2)


class Critic(nn.Module):
    """How much each patch of about 22 px looks like a picture of its own style: float32[B, 1, h, w]."""

    def __init__(self, width: int) -> None:
        super().__init__()
        steps = ((5, width, 2), (width, 2 * width, 2), (2 * width, 2 * width, 1))
        layers = [nn.Sequential(nn.Conv2d(a, b, 4, s, 1), nn.LeakyReLU(0.2)) for a, b, s in steps]
        self.net = nn.Sequential(*layers, nn.Conv2d(2 * width, 1, 3, padding=1))

    def forward(self, picture: Tensor, place: Tensor) -> Tensor:
        made: Tensor = self.net(torch.cat([picture, place], 1))
        return made


def places(count: int, height: int, width: int) -> Tensor:
    """float32[count, 2, H, W]: x and y of each pixel in the picture, −1 … 1."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
    return torch.stack([x, y])[None].expand(count, 2, height, width)


def signed(pictures: Array) -> Tensor:
    """uint8[B, H, W, 3] → float32[B, 3, H, W] of −1 … 1."""
    return torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1


def unsigned(pictures: Tensor) -> Array:
    """The inverse of `signed`, clipped."""
    return np.asarray(((pictures.clamp(-1, 1) + 1) * 127.5 + 0.5).byte().permute(0, 2, 3, 1).numpy())
