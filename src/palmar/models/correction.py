"""Residual correction: a small head that corrects every action of a running chunk from the newest observation.

    newest pictures (shrunk, small convolutions) ┐
    newest state                                 ├─ MLP → residual, added to the action
    the chunk's action for now, its position     ┘

It is trained on top of any frozen policy (`train.correct`) and needs no look into it: a chunk that is late, or old, is put right
while it runs. Source: Sendai et al. 2025, "Leave No Observation Behind" (A2C2), arXiv 2509.23224; unlike there, the features of
the policy are not an input. Words are not one either: what is wanted shows in the action that is corrected.

A checkpoint of its own: `correction.json` and `model.safetensors`, with the place and the fingerprint of the policy.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from palmar.errors import BadFile, BadValue, regular_file
from palmar.files import replace_file
from palmar.mapping import Interface, interface_from_dict, interface_to_dict
from palmar.models.base import pixels
from palmar.models.checkpoint import WEIGHTS, fingerprint, made
from palmar.models.config import from_dict, to_dict
from palmar.models.fits import check_interface
from palmar.models.layers import Residual
from palmar.models.tensors import read_tensors, write_tensors
from palmar.models.transformer import time_features
from palmar.policy import Policy, load_policy, split_robot
from palmar.types import ActionChunk, Array, Observation, Prefix

if TYPE_CHECKING:
    from palmar.data.normalize import Normalizer

FORMAT, FILE = "palmar-correction", "correction.json"
UNLIMITED = 1e6  # of a residual before `Correction.fit`; a file of weights holds no infinity


@dataclass(frozen=True)
class CorrectionConfig:
    """width, blocks: of the MLP. channels: of the convolutions with stride 2 over each picture, shrunk to `side` px."""

    width: int = 128
    blocks: int = 2
    channels: tuple[int, ...] = (8, 16, 16)
    side: int = 48

    def __post_init__(self) -> None:
        if min(self.width, self.blocks, self.side, *self.channels) < 1 or self.side >> len(self.channels) < 1:
            raise BadValue(
                f"{self}; expected numbers above 0, and a side that can be halved {len(self.channels)} times"
            )

    def build(self, interface: Interface) -> Correction:
        return Correction(self, interface)


class Correction(nn.Module):
    """See the module's head. Everything is normalised."""

    PLACE = 16

    def __init__(self, config: CorrectionConfig, interface: Interface) -> None:
        super().__init__()
        self.config, self.interface = config, interface
        self.least: Tensor
        self.most: Tensor
        actions, state = len(interface.action_names), len(interface.state_names)
        ends = zip((3, *config.channels), config.channels, strict=False)
        cells = (-(-config.side // 2 ** len(config.channels))) ** 2
        self.eyes = nn.ModuleDict()
        for camera in interface.cameras if config.channels else ():
            layers = [nn.Sequential(nn.Conv2d(a, b, 3, 2, 1), nn.ReLU()) for a, b in ends]
            self.eyes[camera] = nn.Sequential(*layers, nn.Flatten(), nn.Linear(config.channels[-1] * cells, 32))
            ends = zip((3, *config.channels), config.channels, strict=False)
        self.enter = nn.Linear(2 * state + actions + self.PLACE + 32 * len(self.eyes), config.width)
        self.blocks = nn.Sequential(*(Residual(config.width, 2 * config.width) for _ in range(config.blocks)))
        self.leave = nn.Linear(config.width, actions)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)
        self.register_buffer("least", torch.full((actions,), -UNLIMITED))
        self.register_buffer("most", torch.full((actions,), UNLIMITED))

    def forward(self, images: Mapping[str, Tensor], state: Tensor, action: Tensor, position: Tensor) -> Tensor:
        """Residual [B, A] of an action [B, A] at a position int64[B] of its chunk. images: {camera: [B, 3, H, W]} of
        `base.pixels`; state: [B, S]; a missing channel (NaN) is 0 and marked. Within what training asked for."""
        there = state.isfinite()
        seen = [net(self.shrunk(images[camera])) for camera, net in self.eyes.items()]
        place = time_features(position.float() / self.interface.horizon, self.PLACE)
        state = torch.where(there, state, torch.zeros_like(state))
        x = self.enter(torch.cat([state, (~there).to(state.dtype), action, place, *seen], -1))
        return self.leave(F.relu(self.blocks(x))).clamp(self.least, self.most)

    def shrunk(self, images: Tensor) -> Tensor:
        side = self.config.side
        return images if images.shape[-2:] == (side, side) else F.interpolate(images, (side, side), mode="area")

    @torch.no_grad()
    def fit(self, residuals: Tensor) -> None:
        """Residuals stay within those [n, A] that training asks for."""
        self.least.copy_(residuals.amin(0).clamp(max=0.0))
        self.most.copy_(residuals.amax(0).clamp(min=0.0))


class Corrected:
    """A policy whose actions are corrected while its chunks run: the loop calls `correct` at every policy step
    (`runtime.correcting`). What it answers to `act` is the inner policy's chunk as it is."""

    def __init__(self, inner: Policy, correction: Correction, state: Normalizer, action: Normalizer) -> None:
        self.inner, self.correction = inner, correction.eval()
        self.normalizers = {"state": state, "action": action}
        self.interface = inner.interface
        self.wants_images = bool(correction.eyes)
        self._pictures: dict[str, Tensor] = {}

    def reset(self) -> None:
        self._pictures = {}
        self.inner.reset()

    def act(self, obs: Observation, prefix: Prefix | None = None) -> ActionChunk:
        return self.inner.act(obs, prefix)

    @torch.no_grad()
    def correct(self, obs: Observation, action: Array, position: int) -> Array:
        """See `runtime.correcting.Corrector`. An observation without pictures is corrected by the newest that there were.
        Raises `BadValue` when there were none, or the result is not finite."""
        if self.wants_images and obs.images:
            seen = self.correction.interface.seen(obs)
            self._pictures = {c: pixels(torch.from_numpy(np.ascontiguousarray(x))[None]) for c, x in seen.items()}
        if lacking := [c for c in self.correction.eyes if c not in self._pictures]:
            raise BadValue(f"the correction has seen no picture of camera '{lacking[0]}'. Next: observe with images")
        state = torch.from_numpy(self.normalizers["state"].forward(obs.state[None]))
        scaled = torch.from_numpy(self.normalizers["action"].forward(action[None]))
        residual = self.correction(self._pictures, state, scaled, torch.tensor([position]))[0].numpy()
        out = (action + residual * self.normalizers["action"].scale).astype(np.float32)
        if not np.isfinite(out).all():
            raise BadValue(f"the corrected action is {out.tolist()}; expected finite numbers. Next: train it again")
        return out


# ------------------------------------------------------------------------------------------------ on disk


def is_correction(folder: str | Path) -> bool:
    """Whether a folder holds a correction and no policy."""
    return (Path(folder) / FILE).is_file()


def save(
    path: str | Path, correction: Correction, state: Normalizer, action: Normalizer, base: str, info: Mapping[str, Any]
) -> Path:
    """Write a correction of the policy at `base` (as `load_policy` takes it)."""
    folder = Path(path)
    folder.mkdir(parents=True, exist_ok=True)
    about = {
        "format": FORMAT,
        "version": 1,
        "config": to_dict(correction.config),
        "interface": interface_to_dict(correction.interface),
        "normalizers": {"state": state.to_dict(), "action": action.to_dict()},
        "base": _relative(base, folder),
        "base_fingerprint": fingerprint(base),
        "info": dict(info),
    }
    write_tensors(folder / WEIGHTS, correction.state_dict(), {"format": FORMAT})
    text = json.dumps(about, indent=1, allow_nan=False)
    replace_file(folder / FILE, lambda p: p.write_text(text))
    return folder


def _relative(base: str, folder: Path) -> str:
    """Where a policy lies, FOLDER or FOLDER@ROBOT, as seen from a correction's folder; what is no folder stays as it is."""
    where, robot = split_robot(base)
    return os.path.relpath(where, folder) + (f"@{robot}" if robot else "") if Path(where).exists() else base


def _from(base: str, folder: Path) -> str:
    """The other way round."""
    where, robot = split_robot(base)
    for there, end in ((base, ""), (where, f"@{robot}" if robot else "")):
        if (folder / there).exists():
            return f"{folder / there}{end}"
    return base


@dataclass(frozen=True)
class Stored:
    """What a correction's folder holds. base: where its policy lay; fingerprint: of that policy."""

    correction: Correction
    state: Normalizer
    action: Normalizer
    base: str
    fingerprint: str


def read(path: str | Path) -> Stored:
    """Without its policy. Raises `BadFile`."""
    file = Path(path) / FILE
    try:
        raw = json.loads(regular_file(file).read_text("utf-8"))
        if raw["format"] != FORMAT or raw["version"] != 1:
            raise BadValue(f"format {raw['format']!r:.40}, version {raw['version']!r:.40}; expected {FORMAT}, 1")
        config = from_dict(CorrectionConfig, raw["config"])
        interface = interface_from_dict(check_interface(raw["interface"]))
        weights, _ = read_tensors(file.parent / WEIGHTS)
        correction = config.build(interface)
        correction.load_state_dict(weights)
        scales = made(raw["normalizers"], interface, file)
        base = _from(str(raw["base"]), file.parent)
        return Stored(correction, scales["state"], scales["action"], base, str(raw["base_fingerprint"]))
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError, RecursionError, BadValue) as error:
        raise BadFile(f"'{file}' is damaged: {str(error).splitlines()[0]}. Next: copy the correction again") from error


def load(path: str | Path, base: str | None = None) -> Corrected:
    """The policy that a correction belongs to, corrected. base: where that policy lies now; not given: where it lay.

    Raises `BadFile` when the policy there is another than the one that the correction was trained on, or has other channels: a
    policy of another system has no fingerprint, and one checkpoint may hold several robots.
    """
    stored = read(path)
    base = stored.base if base is None else base
    policy = load_policy(base)
    if (found := fingerprint(base)) != stored.fingerprint:
        raise BadFile(
            f"the correction in '{path}' was trained on another policy than '{base}' (fingerprint {found}, expected "
            f"{stored.fingerprint}). Next: train it again (palmar train --correction {base})"
        )
    for what in ("state_names", "action_names"):
        here, own = (", ".join(getattr(i, what)) or "none" for i in (policy.interface, stored.correction.interface))
        if here != own:
            raise BadFile(
                f"the correction in '{path}' has {what} {own}; the policy '{base}' has {here}. Next: train it again (palmar "
                f"train --correction {base})"
            )
    return Corrected(policy, stored.correction, stored.state, stored.action)
