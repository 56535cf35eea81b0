"""Changes of pictures, and of what must change with them. Colours and warps run on the training device, in batches.

Convention of warps: a picture turns by `angle` from its right axis towards its down axis (clockwise as seen) and grows by
`scale` about its middle. A vector in the picture plane, (right, down), then turns by the same angle and grows by the same
factor: `moves` names the two actions that are such a vector, right first; `turns` a rotation vector in the same plane, which
turns and does not grow. A minus before a name reverses the axis: for a camera that looks down with the robot's x up and y
left in the picture, moves = ("-dy", "-dx") and turns = ("-dry", "-drx").
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from palmar.errors import BadValue, UnknownName
from palmar.types import Array

if TYPE_CHECKING:
    from torch import Tensor

GREY = 64.0  # grey levels in a unit of `models.base.pixels`
Pair = tuple[str, str]


@dataclass(frozen=True)
class Augment:
    """The first five must not change the answer. shift [px]; brightness, contrast and colour (a channel) as shares; noise in
    grey levels. The shift is small on purpose: it also moves what the actions aim at.

    The rest are off unless asked for. rotate [deg], scale (share): needs `moves`, see above. blur: largest standard
    deviation [px]. holes, hole: cut-out squares and their side as a share of the picture (8 of 32 px at 224 px: 8, 0.143).
    mixup: parameter of the Beta distribution (Zhang et al. 2018, arXiv 1710.09412). action_noise: standard deviation in
    units of each normalised action.
    """

    shift: int = 2
    brightness: float = 0.2
    contrast: float = 0.2
    colour: float = 0.1
    noise: float = 3.0
    rotate: float = 0.0
    scale: float = 0.0
    moves: Pair | None = None
    turns: Pair | None = None
    blur: float = 0.0
    holes: int = 0
    hole: float = 0.143
    mixup: float = 0.0
    action_noise: float = 0.0

    def __post_init__(self) -> None:
        numbers = {k: v for k, v in asdict(self).items() if isinstance(v, int | float)}
        if bad := [f"{k}={v}" for k, v in numbers.items() if not 0 <= v < 1e6]:
            raise BadValue(
                f"augmentation {', '.join(bad)}; expected numbers ≥ 0. Next: leave them out for the defaults"
            )
        if self.scale >= 1 or self.hole > 1:
            raise BadValue(f"scale={self.scale}, hole={self.hole}; expected shares below 1. Next: smaller shares")
        if self.warps and self.moves is None:
            raise BadValue(
                "rotate and scale turn what the camera sees, so the actions in the picture plane must turn with it. Next: "
                "moves=(RIGHT, DOWN), the names of those two actions (a minus reverses one), or () when there are none"
            )

    @property
    def warps(self) -> bool:
        return self.rotate > 0 or self.scale > 0

    def settings(self) -> dict[str, Any]:
        """What distinguishes it: the first five always, the others where they are on."""
        new = ("rotate", "scale", "moves", "turns", "blur", "holes", "hole", "mixup", "action_noise")
        return {k: v for k, v in asdict(self).items() if k not in new or (v and (k != "hole" or self.holes))}


def strong(moves: Pair | None = None) -> Augment:
    """Everything the field uses, at its usual strength; rotation and scale where `moves` says what goes with them."""
    return Augment(
        shift=4, brightness=0.2, contrast=0.2, colour=0.2, noise=5.0, rotate=10.0 if moves is not None else 0.0,
        scale=0.1 if moves is not None else 0.0, moves=moves, blur=1.0, holes=8, mixup=0.2, action_noise=0.01,
    )  # fmt: skip


def shifted(
    images: Mapping[str, Array], labels: dict[str, Array] | None, most: int, rng: np.random.Generator
) -> tuple[dict[str, Array], dict[str, Array] | None]:
    """Move every picture [B, (K,) H, W, 3] by up to `most` pixels (edges repeat), and the labelled points with it."""
    out, moves = {}, []
    for camera, x in images.items():
        h, w = x.shape[-3:-1]
        move = rng.integers(-most, most + 1, (len(x), 2))  # (right, down)
        around = [(0, 0)] * (x.ndim - 3) + [(most, most), (most, most), (0, 0)]
        wide = np.pad(x, around, mode="edge")
        moved = np.empty_like(x)
        for i, (right, down) in enumerate(move.tolist()):
            moved[i] = wide[i, ..., most - down : most - down + h, most - right : most - right + w, :]
        out[camera] = moved
        moves.append(move / [w, h])
    if labels is None:
        return out, None
    move = np.stack(moves, 1)[:, :, None].astype(np.float32)
    after = labels | _seen(labels, labels["points"] + move)
    if "boxes" in labels:
        after["boxes"] = np.concatenate([labels["boxes"][..., :2] + move, labels["boxes"][..., 2:]], -1)
    return out, after


def _seen(labels: Mapping[str, Array], points: Array) -> dict[str, Array]:
    inside = ((points > 0) & (points < 1)).all(-1)
    return {"points": points.astype(np.float32), "visible": labels["visible"] * inside}


def draw_warp(a: Augment, count: int, rng: np.random.Generator) -> Array:
    """float32[B, 2]: angle [rad] and scale of each picture."""
    angle = np.deg2rad(a.rotate) * rng.uniform(-1, 1, count)
    return np.stack([angle, 1 + a.scale * rng.uniform(-1, 1, count)], -1).astype(np.float32)


def warp_actions(actions: Array, warp: Array, names: Sequence[str], a: Augment) -> Array:
    """Actions [B, T, A] in natural units, with the vectors in the picture plane turned and stretched."""
    out = actions.copy()
    for pair, stretch in ((a.moves, warp[:, 1]), (a.turns, np.ones(len(warp), np.float32))):
        if not pair:
            continue
        plain = [n.lstrip("+-") for n in pair]
        for n in plain:
            if n not in names:
                raise UnknownName("action", n, names)
        sign = np.array([-1.0 if n.startswith("-") else 1.0 for n in pair], np.float32)
        at = [list(names).index(n) for n in plain]
        right, down = (actions[..., i] * s for i, s in zip(at, sign, strict=True))
        cos, sin = (f(warp[:, 0])[:, None] * stretch[:, None] for f in (np.cos, np.sin))
        out[..., at[0]] = sign[0] * (cos * right - sin * down)
        out[..., at[1]] = sign[1] * (sin * right + cos * down)
    return out


def warp_labels(labels: dict[str, Array], warp: Array, sizes: Sequence[tuple[int, int]]) -> dict[str, Array]:
    """Labelled points [B, C, G, 2] where the warped picture shows them. sizes: (height, width) of each camera.

    Relative positions and turns are in the robot's frame, which no longer is the picture's, and a box stands no longer
    upright: they become unknown.
    """
    size = np.array([(w, h) for h, w in sizes], np.float32)[None, :, None]
    off = (labels["points"] - 0.5) * size
    cos, sin = (f(warp[:, 0])[:, None, None] * warp[:, 1, None, None] for f in (np.cos, np.sin))
    turned = np.stack([cos * off[..., 0] - sin * off[..., 1], sin * off[..., 0] + cos * off[..., 1]], -1)
    unknown = {k: np.zeros_like(labels[k]) for k in ("known", "boxed", "turned") if k in labels}
    return labels | _seen(labels, turned / size + 0.5) | unknown


def warped(x: Tensor, warp: Tensor) -> Tensor:
    """Pictures float32[B, (K,) 3, H, W] turned and scaled by warp [B, 2]; edges repeat."""
    import torch
    import torch.nn.functional as F

    flat = x.flatten(0, -4)
    each = warp.repeat_interleave(len(flat) // len(warp), 0)
    height, width = flat.shape[-2:]
    cos, sin = torch.cos(each[:, 0]) / each[:, 1], torch.sin(each[:, 0]) / each[:, 1]
    # where each output pixel comes from: the inverse of the warp, in the -1 … 1 coordinates of grid_sample
    rows = torch.stack([cos, sin * height / width, -sin * width / height, cos], -1).unflatten(-1, (2, 2))
    grid = F.affine_grid(torch.cat([rows, torch.zeros_like(rows[..., :1])], -1), list(flat.shape), align_corners=False)
    out = F.grid_sample(flat, grid, padding_mode="border", align_corners=False)
    return out.contiguous(memory_format=torch.channels_last).view(x.shape)


def recoloured(x: Tensor, a: Augment) -> Tensor:
    """Brightness, contrast, tint and noise on pictures from `pixels`, one draw a picture. Uses torch's generator."""
    import torch

    one, three = ((len(x), *[1] * (x.ndim - 4), n, 1, 1) for n in (1, 3))
    at = x.device
    gain = 1 + a.contrast * (2 * torch.rand(one, device=at) - 1) + a.colour * (2 * torch.rand(three, device=at) - 1)
    offset = 1.5 * a.brightness * (2 * torch.rand(one, device=at) - 1)
    x = torch.addcmul(offset, x, gain)
    if a.noise > 0:  # one field for all: drawing a normal for each pixel would cost as much as the network's stem
        field = torch.randn(1, *x.shape[-3:], device=at).contiguous(memory_format=torch.channels_last) * (
            a.noise / GREY
        )
        x.add_(field.roll((int(torch.randint(0, x.shape[-2], ())), int(torch.randint(0, x.shape[-1], ()))), (2, 3)))
    if a.blur > 0:
        x = blurred(x, float(torch.rand(())) * a.blur)
    return punched(x, a.holes, a.hole) if a.holes else x


def blurred(x: Tensor, sigma: float) -> Tensor:
    """A Gaussian of `sigma` pixels over [..., 3, H, W]; edges repeat."""
    import torch
    import torch.nn.functional as F

    reach = int(np.ceil(2 * sigma))
    if reach < 1:
        return x
    weight = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, device=x.device) / sigma) ** 2)
    weight = (weight / weight.sum()).to(x.dtype)
    flat = F.pad(x.flatten(0, -4), (reach,) * 4, mode="replicate")
    flat = F.conv2d(flat, weight.view(1, 1, -1, 1).expand(3, 1, -1, 1), groups=3)
    return F.conv2d(flat, weight.view(1, 1, 1, -1).expand(3, 1, 1, -1), groups=3).view(x.shape)


def punched(x: Tensor, holes: int, size: float) -> Tensor:
    """Up to `holes` grey squares of side `size` × height in every picture (cut-out, DeVries & Taylor 2017, arXiv 1708.04552)."""
    import torch

    flat = x.flatten(0, -4)
    height, width = flat.shape[-2:]
    half = size * height / 2
    rows, columns = torch.arange(height, device=x.device), torch.arange(width, device=x.device)
    keep = torch.ones(len(flat), height, width, dtype=torch.bool, device=x.device)
    count = torch.randint(0, holes + 1, (len(flat),), device=x.device)
    for i in range(holes):
        v, u = (torch.rand(len(flat), 1, device=x.device) * s for s in (height, width))
        inside = ((rows - v).abs() < half)[:, :, None] & ((columns - u).abs() < half)[:, None, :]
        keep &= ~(inside & (i < count)[:, None, None])
    return (flat * keep[:, None]).view(x.shape)
