"""From one picture to tokens. A configuration builds its encoder; all encoders are called alike.

images float32[B, 3, H, W] from `base.pixels`, condition [B, D] or None → tokens [B, N, width], N = h·w of `grid(H, W)`,
row by row. Group normalisation takes the place of batch normalisation everywhere: its parameters are as many, and it
keeps nothing that averaged weights or a small robot batch would spoil (Diffusion Policy, arXiv 2303.04137, §III-D).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from palmar.errors import BadFile, BadValue, UnknownName, need, regular_files
from palmar.models.assets import FOLDER
from palmar.models.base import colours, wants_weights
from palmar.models.transformer import Transformer, TransformerConfig


class VisionEncoder(nn.Module):
    """width: of its tokens."""

    width: int

    def forward(self, images: Tensor, condition: Tensor | None = None) -> Tensor:
        raise NotImplementedError

    def grid(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of tokens for a picture of this size [px]."""
        raise NotImplementedError


class Film(nn.Module):
    """Scale and shift the channels of x [B, C, h, w] by a condition [B, D]; the identity at the start of training.

    Source: Perez et al. 2018, arXiv 1709.07871; the identity start: RT-1, arXiv 2212.06817.
    """

    def __init__(self, channels: int, condition: int) -> None:
        super().__init__()
        self.affine = nn.Linear(condition, 2 * channels)
        nn.init.zeros_(self.affine.weight)
        nn.init.zeros_(self.affine.bias)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        scale, shift = self.affine(condition)[:, :, None, None].chunk(2, 1)
        return torch.addcmul(x + shift, x, scale)


class GroupNorm(nn.GroupNorm):
    """In float32 whatever comes in: in bfloat16 it is less exact, and on a CPU its backward pass takes four times as long."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.float()).to(x.dtype)


def norm(channels: int) -> nn.GroupNorm:
    return GroupNorm(math.gcd(channels, 8), channels)


def halved(size: int, times: int) -> int:
    """What a size becomes after `times` convolutions of stride 2 with padding: half, rounded up."""
    for _ in range(times):
        size = (size + 1) // 2
    return size


# ------------------------------------------------------------------------------------------------ small convolutions


@dataclass(frozen=True)
class SmallConvConfig:
    """channels: of each 3×3 convolution with stride 2. out: channels of the tokens. The stem of Octo, arXiv 2405.12213."""

    channels: tuple[int, ...] = (16, 32, 64)
    out: int = 64

    @property
    def film(self) -> bool:
        return False

    def build(self, condition: int) -> VisionEncoder:
        return SmallConv(self)


class SmallConv(VisionEncoder):
    """Convolutions with stride 2 until a cell is 2ⁿ pixels wide, and one 1×1."""

    def __init__(self, config: SmallConvConfig) -> None:
        super().__init__()
        self.width, self.times = config.out, len(config.channels)
        steps = zip((3, *config.channels), config.channels, strict=False)
        self.layers = nn.Sequential(
            *(nn.Sequential(nn.Conv2d(a, b, 3, 2, 1), norm(b), nn.ReLU()) for a, b in steps),
            nn.Conv2d(config.channels[-1], config.out, 1),
        )

    def grid(self, height: int, width: int) -> tuple[int, int]:
        return halved(height, self.times), halved(width, self.times)

    def forward(self, images: Tensor, condition: Tensor | None = None) -> Tensor:
        return self.layers(images).flatten(2).transpose(1, 2)


# ------------------------------------------------------------------------------------------------ ViT


@dataclass(frozen=True)
class ViTConfig:
    """transformer: of no layers for patches alone. cls_only: answer with the CLS token alone, one a picture."""

    transformer: TransformerConfig = field(default_factory=TransformerConfig)
    patch: int = 16
    cls_only: bool = False

    @property
    def film(self) -> bool:
        return False

    def build(self, condition: int) -> VisionEncoder:
        return ViT(self)


class ViT(VisionEncoder):
    """Patches, a CLS token and learned positions. Source: Dosovitskiy et al. 2020, arXiv 2010.11929.

    Positions are learned for 14×14 patches (224 px at 16) and interpolated to the picture at hand. CLS is not among the
    tokens it answers with (they lie on the grid) unless `cls_only`.
    """

    SIDE = 14

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        self.config, self.width = config, config.transformer.width
        self.patches = nn.Conv2d(3, self.width, config.patch, config.patch)
        self.cls = nn.Parameter(torch.randn(1, 1, self.width) * 0.02)
        self.positions = nn.Parameter(torch.randn(1, self.width, self.SIDE, self.SIDE) * 0.02)
        self.encoder = Transformer(config.transformer)

    def grid(self, height: int, width: int) -> tuple[int, int]:
        patch = self.config.patch
        if height % patch or width % patch:
            raise BadValue(f"a picture of {height}×{width} px; expected multiples of the patch, {patch} px")
        return (1, 1) if self.config.cls_only else (height // patch, width // patch)

    def forward(self, images: Tensor, condition: Tensor | None = None) -> Tensor:
        x = self.patches(images)
        where: Tensor = self.positions
        if x.shape[-2:] != where.shape[-2:]:
            where = F.interpolate(where, x.shape[-2:], mode="bicubic", align_corners=False)
        x = (x + where).flatten(2).transpose(1, 2)
        x = self.encoder(torch.cat([self.cls.expand(len(x), -1, -1), x], 1))
        return x[:, :1] if self.config.cls_only else x[:, 1:]


# ------------------------------------------------------------------------------------------------ EfficientNet with FiLM


# expansion, channels, repeats, stride, kernel of EfficientNet-B0. Source: Tan and Le 2019, arXiv 1905.11946, table 1
_STAGES = (
    (1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 40, 2, 2, 5), (6, 80, 3, 2, 3),
    (6, 112, 3, 1, 5), (6, 192, 4, 2, 5), (6, 320, 1, 1, 3),
)  # fmt: skip


@dataclass(frozen=True)
class EfficientNetConfig:
    """wide, deep: multipliers of channels and repeats; 1.2 and 1.4 are B3. out: channels of the tokens. film: whether
    every block is conditioned on language. stages: the first few only, for small pictures (all seven: a cell is 32 px).
    stem: its stride, 2 or 4."""

    wide: float = 1.2
    deep: float = 1.4
    out: int = 512
    stages: int = 7
    stem: int = 2
    film: bool = True

    def build(self, condition: int) -> VisionEncoder:
        return EfficientNet(self, condition)


def rounded(channels: float) -> int:
    """To a multiple of 8, never below nine tenths (the paper's rule)."""
    near = max(8, int(channels + 4) // 8 * 8)
    return near + 8 if near < 0.9 * channels else near


class InvertedBlock(nn.Module):
    """1×1 to more channels, depthwise, squeeze-and-excitation, 1×1 back, FiLM; a shortcut where the shape is kept."""

    def __init__(self, inside: int, out: int, expand: int, stride: int, kernel: int, condition: int) -> None:
        super().__init__()
        hidden, squeezed = inside * expand, max(1, inside // 4)
        self.widen = (
            nn.Sequential(nn.Conv2d(inside, hidden, 1, bias=False), norm(hidden), nn.SiLU()) if expand > 1 else None
        )
        self.spread = nn.Sequential(
            nn.Conv2d(hidden, hidden, kernel, stride, kernel // 2, groups=hidden, bias=False), norm(hidden), nn.SiLU()
        )
        self.excite = nn.Sequential(
            nn.Conv2d(hidden, squeezed, 1), nn.SiLU(), nn.Conv2d(squeezed, hidden, 1), nn.Sigmoid()
        )
        self.narrow = nn.Sequential(nn.Conv2d(hidden, out, 1, bias=False), norm(out))
        self.film = Film(out, condition) if condition else None
        self.shortcut = stride == 1 and inside == out

    def forward(self, x: Tensor, condition: Tensor | None) -> Tensor:
        h = self.spread(x if self.widen is None else self.widen(x))
        h = self.narrow(h * self.excite(h.mean((2, 3), keepdim=True)))
        h = x + h if self.shortcut else h
        return h if self.film is None or condition is None else self.film(h, condition)


class EfficientNet(VisionEncoder):
    """The family by width and depth, with FiLM after every block as in RT-1 (arXiv 2212.06817)."""

    def __init__(self, config: EfficientNetConfig, condition: int) -> None:
        super().__init__()
        if not 1 <= config.stages <= len(_STAGES):
            raise BadValue(f"EfficientNet of {config.stages} stages; expected 1 … {len(_STAGES)}")
        if config.stem not in (2, 4):
            raise BadValue(f"the stem of an EfficientNet has stride {config.stem}; expected 2 or 4")
        self.width, inside, step = config.out, rounded(32 * config.wide), config.stem
        self.stem = nn.Sequential(nn.Conv2d(3, inside, step + 1, step, step // 2, bias=False), norm(inside), nn.SiLU())
        self.blocks = nn.ModuleList()
        self.times = 1 if step == 2 else 2
        for expand, channels, repeats, stride, kernel in _STAGES[: config.stages]:
            out = rounded(channels * config.wide)
            self.times += stride == 2
            for i in range(math.ceil(repeats * config.deep)):
                step = stride if i == 0 else 1
                language = condition if config.film else 0
                self.blocks.append(InvertedBlock(inside, out, expand, step, kernel, language))
                inside = out
        top = rounded(1280 * config.wide) if config.stages == len(_STAGES) else inside
        self.top = nn.Sequential(nn.Conv2d(inside, top, 1, bias=False), norm(top), nn.SiLU()) if top != inside else None
        self.last = nn.Conv2d(top, config.out, 1)

    def grid(self, height: int, width: int) -> tuple[int, int]:
        return halved(height, self.times), halved(width, self.times)

    def forward(self, images: Tensor, condition: Tensor | None = None) -> Tensor:
        x = self.stem(images)
        for block in self.blocks:
            x = block(x, condition)
        return self.last(x if self.top is None else self.top(x)).flatten(2).transpose(1, 2)


# ------------------------------------------------------------------------------------------------ ResNet with FiLM


@dataclass(frozen=True)
class ResNetConfig:
    """widths, blocks: of each stage; these are ResNet-18. film: condition every block on language (BC-Z). The stem halves
    twice and every stage but the first once. most: tokens of a picture; a larger map is averaged over 2×2 cells until it has
    no more, since attention costs their square; 0 for no limit."""

    widths: tuple[int, ...] = (64, 128, 256, 512)
    blocks: tuple[int, ...] = (2, 2, 2, 2)
    film: bool = False
    most: int = 0

    def __post_init__(self) -> None:
        if self.most < 0:
            raise BadValue(f"most is {self.most} tokens; expected 0 or more. Next: 0 for no limit")

    def build(self, condition: int) -> VisionEncoder:
        return ResNet(self, condition)


class BasicBlock(nn.Module):
    """Two 3×3 convolutions and a shortcut; FiLM on the branch, before the sum. Source: He et al. 2015; BC-Z, 2202.02005."""

    def __init__(self, inside: int, out: int, stride: int, condition: int) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(inside, out, 3, stride, 1, bias=False), norm(out), nn.ReLU())
        self.second = nn.Sequential(nn.Conv2d(out, out, 3, 1, 1, bias=False), norm(out))
        self.film = Film(out, condition) if condition else None
        self.shortcut = (
            nn.Sequential(nn.Conv2d(inside, out, 1, stride, bias=False), norm(out))
            if stride > 1 or inside != out
            else nn.Identity()
        )

    def forward(self, x: Tensor, condition: Tensor | None) -> Tensor:
        h = self.second(self.first(x))
        if self.film is not None and condition is not None:
            h = self.film(h, condition)
        return F.relu(h + self.shortcut(x))


class ResNet(VisionEncoder):
    """ResNet of basic blocks, without the classifier."""

    def __init__(self, config: ResNetConfig, condition: int) -> None:
        super().__init__()
        if len(config.widths) != len(config.blocks) or not config.widths:
            raise BadValue(f"ResNet has widths {config.widths} and blocks {config.blocks}; expected one each a stage")
        inside = config.widths[0]
        self.width, self.times, self.most = config.widths[-1], len(config.widths) + 1, config.most
        self.stem = nn.Sequential(
            nn.Conv2d(3, inside, 7, 2, 3, bias=False), norm(inside), nn.ReLU(), nn.MaxPool2d(3, 2, 1)
        )
        self.blocks = nn.ModuleList()
        for stage, (out, count) in enumerate(zip(config.widths, config.blocks, strict=True)):
            for i in range(count):
                stride = 2 if stage and i == 0 else 1
                self.blocks.append(BasicBlock(inside, out, stride, condition if config.film else 0))
                inside = out

    def grid(self, height: int, width: int) -> tuple[int, int]:
        rows, columns = halved(height, self.times), halved(width, self.times)
        while self.most and rows * columns > self.most:
            rows, columns = halved(rows, 1), halved(columns, 1)
        return rows, columns

    def forward(self, images: Tensor, condition: Tensor | None = None) -> Tensor:
        x = self.stem(images)
        for block in self.blocks:
            x = block(x, condition)
        while self.most and x.shape[-2] * x.shape[-1] > self.most:
            x = F.avg_pool2d(x, 2, ceil_mode=True, count_include_pad=False)
        return x.flatten(2).transpose(1, 2)


# ------------------------------------------------------------------------------------------------ pretrained


Family = Literal["vit", "clip", "siglip", "dinov2"]
# mean and standard deviation of the pixels (0 … 1) each family was trained with
_SCALES = {
    "vit": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "siglip": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "dinov2": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "clip": ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
}


@dataclass(frozen=True)
class PretrainedVisionConfig:
    """A vision tower of `transformers`. path: a local folder in the Hugging Face layout; empty for random weights of the
    sizes given here. The pictures are scaled to the size that the tower was trained on. frozen: keep its weights."""

    family: Family = "siglip"
    path: str = field(default="", metadata=FOLDER)
    frozen: bool = True
    size: int = 224
    patch: int = 16
    width: int = 768
    layers: int = 12
    heads: int = 12

    @property
    def film(self) -> bool:
        return False

    def build(self, condition: int) -> VisionEncoder:
        return PretrainedVision(self)


class PretrainedVision(VisionEncoder):
    """The patch tokens of the tower's last layer."""

    def __init__(self, config: PretrainedVisionConfig) -> None:
        super().__init__()
        self.mean: Tensor
        self.std: Tensor
        self.frozen, self.tower = config.frozen, vision_tower(config)
        if config.frozen:
            self.tower.requires_grad_(False)
        mean, std = (torch.tensor(x).view(3, 1, 1) for x in _SCALES[config.family])
        self.register_buffer("mean", mean, persistent=False)
        self.register_buffer("std", std, persistent=False)
        made = self.tower.config
        self.width, self.size, self.side = made.hidden_size, made.image_size, made.image_size // made.patch_size

    def grid(self, height: int, width: int) -> tuple[int, int]:
        return self.side, self.side

    def forward(self, images: Tensor, condition: Tensor | None = None) -> Tensor:
        x = colours(images)
        if x.shape[-2:] != (self.size, self.size):
            x = F.interpolate(x, (self.size, self.size), mode="bilinear", antialias=True, align_corners=False)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            tokens = self.tower(pixel_values=(x - self.mean) / self.std).last_hidden_state
        return tokens[:, -(self.side**2) :]  # what comes before them is CLS

    def train(self, mode: bool = True) -> PretrainedVision:
        """A frozen tower stays as it is: no dropout."""
        super().train(mode)
        if self.frozen:
            self.tower.eval()
        return self


def vision_tower(config: PretrainedVisionConfig) -> Any:
    """The `transformers` module, with weights from `path` when there is one. Raises `BadFile`, `UnknownName`."""
    need("transformers", "learn")
    import transformers as hf

    kinds: dict[str, tuple[Any, Any, dict[str, Any]]] = {
        "vit": (hf.ViTConfig, hf.ViTModel, {"add_pooling_layer": False}),
        "clip": (hf.CLIPVisionConfig, hf.CLIPVisionModel, {}),
        "siglip": (hf.SiglipVisionConfig, hf.SiglipVisionModel, {}),
        "dinov2": (hf.Dinov2Config, hf.Dinov2Model, {}),
    }
    if config.family not in kinds:
        raise UnknownName("vision family", config.family, kinds)
    form, kind, options = kinds[config.family]
    if not config.path:
        made = form(
            hidden_size=config.width, num_hidden_layers=config.layers, num_attention_heads=config.heads,
            intermediate_size=4 * config.width, image_size=config.size, patch_size=config.patch,
        )  # fmt: skip
        return kind(made, **options)
    regular_files(config.path)
    try:
        if not wants_weights():
            return kind(form.from_pretrained(config.path, local_files_only=True), **options)
        return kind.from_pretrained(config.path, local_files_only=True, use_safetensors=True, **options)
    except (OSError, ValueError) as e:
        raise BadFile(
            f"no {config.family} tower at '{config.path}': {str(e).splitlines()[0]}. Next: give the local folder that "
            "holds its config.json and model.safetensors"
        ) from e
