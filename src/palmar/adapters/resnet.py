"""ResNet feature maps whose tensors are named as torchvision's, with batch normalisation that is frozen.

For published checkpoints, which carry these names. Source: He et al. 2016, arXiv 1512.03385.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from palmar.errors import UnknownName

DEPTHS = {"resnet18": (2, 2, 2, 2), "resnet34": (3, 4, 6, 3), "resnet50": (3, 4, 6, 3), "resnet101": (3, 4, 23, 3)}


class FrozenBatchNorm(nn.Module):
    """An affine map of channels from statistics that are no longer updated."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight: Tensor
        self.bias: Tensor
        self.running_mean: Tensor
        self.running_var: Tensor
        for name, value in (("weight", 1.0), ("bias", 0.0), ("running_mean", 0.0), ("running_var", 1.0)):
            self.register_buffer(name, torch.full((channels,), value))

    def forward(self, x: Tensor) -> Tensor:
        scale = self.weight * (self.running_var + 1e-5).rsqrt()
        return x * scale[:, None, None] + (self.bias - self.running_mean * scale)[:, None, None]


class Block(nn.Module):
    """Two 3×3 layers, or, deep, 1×1, 3×3 and 1×1 with four times the channels; plus the input."""

    def __init__(self, inputs: int, channels: int, stride: int, deep: bool) -> None:
        super().__init__()
        out = 4 * channels if deep else channels
        sizes = [(inputs, channels, 1, 1), (channels, channels, 3, stride), (channels, out, 1, 1)]
        if not deep:
            sizes = [(inputs, channels, 3, stride), (channels, channels, 3, 1)]
        self.count = len(sizes)
        for i, (a, b, kernel, step) in enumerate(sizes, 1):
            self.add_module(f"conv{i}", nn.Conv2d(a, b, kernel, step, kernel // 2, bias=False))
            self.add_module(f"bn{i}", FrozenBatchNorm(b))
        self.downsample = None
        if stride != 1 or inputs != out:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, out, 1, stride, bias=False), FrozenBatchNorm(out))

    def forward(self, x: Tensor) -> Tensor:
        h = x
        for i in range(1, self.count + 1):
            h = getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(h))
            h = F.relu(h) if i < self.count else h
        return F.relu(h + (x if self.downsample is None else self.downsample(x)))


class ResNet(nn.Module):
    """float32[B, 3, H, W] → [B, channels, H/32, W/32]."""

    def __init__(self, name: str) -> None:
        super().__init__()
        if name not in DEPTHS:
            raise UnknownName("ResNet", name, DEPTHS)
        deep = name in ("resnet50", "resnet101")
        self.conv1, self.bn1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False), FrozenBatchNorm(64)
        inputs = 64
        for i, depth in enumerate(DEPTHS[name]):
            channels = 64 * 2**i
            blocks = []
            for j in range(depth):
                blocks.append(Block(inputs, channels, 2 if i and not j else 1, deep))
                inputs = 4 * channels if deep else channels
            self.add_module(f"layer{i + 1}", nn.Sequential(*blocks))
        self.channels = inputs

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        for i in range(1, 5):
            x = getattr(self, f"layer{i}")(x)
        return x
