"""Pictures of one place in the style of another, and a policy that sees them so.

Two kinds: `ColourMap`, an affine map of RGB that gives pictures the mean and covariance of others, and `PictureNet`, a small
convolutional network (trained in `transfer.cycle`). `Translated` wraps any policy: reality's picture becomes simulation's before
the policy looks at it.

A translated policy is a folder: `translation.json` with the place of the policy, and for networks `model.safetensors`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from palmar.errors import BadFile, BadValue, regular_file
from palmar.files import write_text
from palmar.policy import Policy, load_policy, split_robot
from palmar.types import ActionChunk, Array, Observation, Prefix

FORMAT, FILE = "palmar-translation", "translation.json"
MOST_BYTES = 2**20


class Translator(Protocol):
    """uint8[H, W, 3] → uint8[H, W, 3]."""

    def __call__(self, picture: Array) -> Array: ...


@dataclass(frozen=True)
class ColourMap:
    """rgb' = matrix · rgb + offset, on values 0 … 1. matrix: float64[3, 3]; offset: float64[3]."""

    matrix: Array
    offset: Array

    def __post_init__(self) -> None:
        M, b = np.asarray(self.matrix, float), np.asarray(self.offset, float)
        if M.shape != (3, 3) or b.shape != (3,) or not np.isfinite(M).all() or not np.isfinite(b).all():
            raise BadValue(
                f"colour map has matrix {list(M.shape)} and offset {list(b.shape)}; expected finite [3, 3] and [3]. Next: fit "
                "it again"
            )
        object.__setattr__(self, "matrix", M)
        object.__setattr__(self, "offset", b)

    def __call__(self, picture: Array) -> Array:
        seen = picture.astype(np.float32) / 255.0
        out = seen @ self.matrix.T.astype(np.float32) + self.offset.astype(np.float32)
        return np.asarray((np.clip(out, 0, 1) * 255 + 0.5).astype(np.uint8))


@dataclass(frozen=True)
class PictureNetConfig:
    """width: channels at full size, twice as many at half. blocks: residual ones at half size."""

    width: int = 16
    blocks: int = 3

    def __post_init__(self) -> None:
        if not (1 <= self.width <= 64 and 0 <= self.blocks <= 12):
            raise BadValue(f"{self}; expected width 1 … 64 and blocks 0 … 12. Next: the usual ones, 16 and 3")

    def build(self) -> PictureNet:
        return PictureNet(self)


class PictureNet:
    """A network from pictures to pictures, as a callable on uint8[H, W, 3]; `net` is its `torch.nn.Module`, on float32[B, 3, H,
    W] of −1 … 1 and places float32[B, 2, H, W] in the picture: a lens darkens corners. What it adds to the picture begins at 0.

    colours: what is done to a picture before the network sees it, None for nothing."""

    def __init__(self, config: PictureNetConfig, colours: ColourMap | None = None) -> None:
        from palmar.models.picture_net import Generator

        self.config, self.net, self.colours = config, Generator(config.width, config.blocks), colours

    def __call__(self, picture: Array) -> Array:
        import torch

        from palmar.models.picture_net import places, signed, unsigned

        with torch.no_grad():
            seen = signed((picture if self.colours is None else self.colours(picture))[None])
            return np.asarray(unsigned(self.net(seen, places(1, *picture.shape[:2])))[0])


class Translated:
    """A policy that sees each camera's picture through its translator; a camera without one as it is."""

    def __init__(self, inner: Policy, translators: Mapping[str, Translator]) -> None:
        self.inner, self.translators, self.interface = inner, dict(translators), inner.interface

    def reset(self) -> None:
        self.inner.reset()

    def act(self, obs: Observation, prefix: Prefix | None = None) -> ActionChunk:
        seen = {c: self.translators[c](x) if c in self.translators else x for c, x in obs.images.items()}
        return self.inner.act(replace(obs, images=seen), prefix)


# ------------------------------------------------------------------------------------------------ on disk


def is_translated(folder: str | Path) -> bool:
    """Whether a folder holds a translated policy."""
    return (Path(folder) / FILE).is_file()


def save(
    path: str | Path, translators: Mapping[str, ColourMap | PictureNet], base: str, info: Mapping[str, Any]
) -> Path:
    """Write a translation in front of the policy at `base` (as `load_policy` takes it), one kind for all cameras."""
    folder = Path(path)
    folder.mkdir(parents=True, exist_ok=True)
    cameras: dict[str, Any] = {}
    nets: dict[str, PictureNet] = {}
    for camera, t in translators.items():
        colours = t if isinstance(t, ColourMap) else t.colours
        told = {} if colours is None else {"matrix": colours.matrix.tolist(), "offset": colours.offset.tolist()}
        if isinstance(t, ColourMap):
            cameras[camera] = {"kind": "colour", **told}
        else:
            cameras[camera], nets[camera] = {"kind": "network", **asdict(t.config), **told}, t
    if nets:
        from palmar.models.checkpoint import WEIGHTS
        from palmar.models.tensors import write_tensors

        weights = {f"{c}.{k}": v for c, n in nets.items() for k, v in n.net.state_dict().items()}
        write_tensors(folder / WEIGHTS, weights, {"format": FORMAT})
    where, robot = split_robot(base)
    if Path(where).exists():
        base = os.path.relpath(where, folder) + (f"@{robot}" if robot else "")
    about = {"format": FORMAT, "version": 1, "policy": base, "cameras": cameras, "info": dict(info)}
    text = json.dumps(about, indent=1, allow_nan=False)
    write_text(folder / FILE, text)
    return folder


def read(path: str | Path) -> tuple[str, dict[str, ColourMap | PictureNet]]:
    """(where its policy is, {camera: translator}). Raises `BadFile`."""
    file = Path(path) / FILE
    try:
        if regular_file(file).exists() and file.stat().st_size > MOST_BYTES:
            raise ValueError(f"{file.stat().st_size} bytes; at most {MOST_BYTES} are one")
        raw = json.loads(file.read_text("utf-8"))
        if raw["format"] != FORMAT or raw["version"] != 1:
            raise ValueError(f"format {raw['format']!r:.40}, version {raw['version']!r:.40}; expected {FORMAT}, 1")
        translators: dict[str, ColourMap | PictureNet] = {}
        weights: Mapping[str, Any] = {}
        if any(about["kind"] != "colour" for about in raw["cameras"].values()):
            from palmar.models.checkpoint import WEIGHTS
            from palmar.models.tensors import read_tensors

            weights, _ = read_tensors(file.parent / WEIGHTS)
        for camera, about in raw["cameras"].items():
            colours = ColourMap(np.array(about["matrix"]), np.array(about["offset"])) if "matrix" in about else None
            if about["kind"] == "colour":
                if colours is None:
                    raise ValueError(f"camera '{camera}' has no matrix")
                translators[str(camera)] = colours
            else:
                net = PictureNet(PictureNetConfig(int(about["width"]), int(about["blocks"])), colours)
                net.net.load_state_dict(
                    {k.removeprefix(f"{camera}."): v for k, v in weights.items() if k.startswith(f"{camera}.")}
                )
                net.net.eval()
                translators[str(camera)] = net
        base = str(raw["policy"])
        where, robot = split_robot(base)
        if (file.parent / where).exists():
            base = f"{file.parent / where}" + (f"@{robot}" if robot else "")
        return base, translators
    except FileNotFoundError:
        raise BadFile(f"there is no translation in '{path}'. Next: palmar translate --out {path}") from None
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError, RecursionError) as error:
        said = (str(error).splitlines() or ["no message"])[0]
        raise BadFile(f"'{file}' is damaged: {said}. Next: palmar translate, which writes it anew") from error


def load(path: str | Path) -> Translated:
    """The policy behind its translation. Raises `BadFile`, and what `load_policy` does."""
    base, translators = read(path)
    policy = load_policy(base)
    known = policy.interface.cameras
    if lost := [c for c in translators if c not in known]:
        raise BadFile(
            f"the translation in '{path}' is for camera '{lost[0]}'; the policy '{base}' has {', '.join(known) or 'none'}. Next: "
            "palmar translate with the pictures of its cameras"
        )
    return Translated(policy, translators)
