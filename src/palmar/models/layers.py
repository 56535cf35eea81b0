"""Small blocks shared by encoders, fusion and heads.

Axis legend: B batch · K slots · C channels · N = h·w cells · L tokens.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from palmar.errors import BadValue


def mean_where(values: Tensor, mask: Tensor, each: float | None = None) -> Tensor:
    """Mean of values [B, ...] over the true entries of a mask of the same shape, 0 when there are none. each: see `divided`."""
    weight = mask.to(values.dtype)
    return divided((values * weight).sum(), weight.sum(), len(values), each)


def divided(total: Tensor, count: Tensor, rows: int, each: float | None = None) -> Tensor:
    """A sum over `count` entries of `rows` rows as their mean, 0 when there are none.

    each: entries a row, averaged over the whole optimiser step of which these rows are a part (`Batch.each`); None when
    they are all of it. The sum is divided by each · rows, so that the results of the parts, averaged with their rows as
    weights, are the mean over all entries of the step.
    """
    return total / (count.clamp(min=1) if each is None else max(each * rows, 1e-9))


class Residual(nn.Module):
    """x + W₂ relu(W₁ LayerNorm(x)), the identity at the start of training."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.norm, self.up, self.down = nn.LayerNorm(width), nn.Linear(width, hidden), nn.Linear(hidden, width)
        nn.init.zeros_(self.down.weight)
        nn.init.zeros_(self.down.bias)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.down(F.relu(self.up(self.norm(x))))


class CrossAttention(nn.Module):
    """Queries [B, K, D] read memory [B, L, D]; mask bool[B, L] is True where there is something to read."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        if heads < 1 or width % heads:
            raise BadValue(f"an attention of width {width} has {heads} heads; expected a divisor of the width")
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.query, self.out = nn.Linear(width, width), nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)

    def forward(self, x: Tensor, memory: Tensor, mask: Tensor) -> Tensor:
        def split(t: Tensor) -> Tensor:
            return t.unflatten(-1, (self.heads, -1)).transpose(1, 2)

        key, value = self.key_value(memory).chunk(2, -1)
        query = split(self.query(self.norm(x)))
        read = F.scaled_dot_product_attention(query, split(key), split(value), attn_mask=mask[:, None, None, :])
        return x + self.out(read.transpose(1, 2).flatten(2))


class FilmBlock(nn.Module):
    """Depthwise 3×3, then two 1×1 layers whose hidden channels the language scales and shifts.

    Without normalisation: the branch starts at a tenth of its size instead, which is cheaper on a CPU and as stable at
    this depth. Source of the conditioning: FiLM, Perez et al. 2018, arXiv 1709.07871.
    """

    def __init__(self, channels: int, condition: int, expand: int = 1) -> None:
        super().__init__()
        hidden = channels * expand
        self.spread = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.up, self.down = nn.Conv2d(channels, hidden, 1), nn.Conv2d(hidden, channels, 1)
        self.film = nn.Linear(condition, 2 * hidden)
        self.size = nn.Parameter(torch.full((channels, 1, 1), 0.1))
        nn.init.zeros_(self.film.weight)
        nn.init.zeros_(self.film.bias)

    def forward(self, x: Tensor, film: Tensor) -> Tensor:
        """film: [B, 2 · hidden], what `self.film` makes of the condition."""
        scale, shift = film[:, :, None, None].chunk(2, 1)
        h = self.up(F.relu(self.spread(x)))
        h = F.relu(torch.addcmul(h + shift, h, scale))
        return x + self.size * self.down(h)


class ConvBlock(nn.Module):
    """x + 3×3 relu(1×1 x) through half the channels; the identity at the start of training. Tells fine shapes apart."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.narrow = nn.Conv2d(channels, channels // 2, 1)
        self.spread = nn.Conv2d(channels // 2, channels, 3, padding=1)
        nn.init.zeros_(self.spread.weight)
        nn.init.zeros_(self.spread.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.spread(F.relu(self.narrow(x))))


def cell_centres(height: int, width: int) -> Tensor:
    """float32[N, 2]: (u, v) of the middle of each cell, 0 … 1, u to the right and v down, row by row."""
    v, u = torch.meshgrid((torch.arange(height) + 0.5) / height, (torch.arange(width) + 0.5) / width, indexing="ij")
    return torch.stack([u.flatten(), v.flatten()], -1)


def position_features(height: int, width: int) -> Tensor:
    """float32[N, 6]: u, v and their second-order products, centred on 0: enough for a query to prefer a region."""
    u, v = (2 * cell_centres(height, width) - 1).unbind(-1)
    return torch.stack([u, v, u * u - 0.33, v * v - 0.33, u * v, torch.ones_like(u)], -1)


def gaussian_cells(points: Tensor, height: int, width: int, sigma: float = 0.7) -> Tensor:
    """Targets for a heatmap: float32[..., N] summing to 1, a Gaussian of `sigma` cells about points[..., 2] (u, v)."""
    centres = cell_centres(height, width).to(points)
    size = points.new_tensor([width, height])
    squared = ((points[..., None, :] - centres) * size).square().sum(-1)
    return torch.softmax(-squared / (2 * sigma * sigma), -1)
