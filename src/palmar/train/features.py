"""What a frozen vision tower sees of every frame, computed once: training then costs what the rest of the model costs.

A tower that does not learn gives the same features for a picture in every epoch. They are kept beside the set (`.cache/`, half
precision, mapped, safe to delete), and stand in a batch where the pictures were: float16[B, C, h, w] instead of uint8[B, H, W, 3].
Pictures are not changed any more, so there is no augmentation.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from palmar.data.cache import FOLDER
from palmar.data.mapped import interface_of
from palmar.data.progress import counting
from palmar.errors import BadValue
from palmar.models.base import ModelConfig, pixels
from palmar.models.vla import VLAConfig
from palmar.train.feed import Source
from palmar.train.request import TrainRequest
from palmar.types import Array

AT_ONCE = 32  # pictures
SEEN = 64  # pictures that tell a set without files from another


class FeatureData:
    """A data set whose pictures are what `encoder` makes of them, [B, N, C] of a (h, w) grid. source: the set inside.

    Raises `BadValue` for more pictures than those of the present.
    """

    cameras: Sequence[str]
    state_names: Sequence[str]
    action_names: Sequence[str]
    privileged_names: Sequence[str]
    tasks: Sequence[str]
    episodes: Sequence[Any]

    def __init__(self, source: Any, encoder: Any) -> None:
        self.source = source
        self.image_sizes = dict(interface_of(source).cameras)
        for name in (
            "cameras", "state_names", "action_names", "privileged_names", "tasks", "episodes", "fps", "robot_type", "state_units",
            "action_units", "recorded_sizes",
        ):  # fmt: skip
            if hasattr(source, name):
                setattr(self, name, getattr(source, name))
        self._features = {c: self._of(c, encoder.eval()) for c in source.cameras}

    def __len__(self) -> int:
        return len(self.source)

    @property
    def states(self) -> Array:
        """As of the set."""
        states: Array = self.source.states
        return states

    @property
    def actions(self) -> Array:
        """As of the set."""
        actions: Array = self.source.actions
        return actions

    def batch(
        self, indices: Array, horizon: int, images: bool = True, offsets: tuple[int, ...] = (0,)
    ) -> dict[str, Any]:
        """As `Dataset.batch`; images: {camera: float16[B, C, h, w]}."""
        if offsets != (0,):
            raise BadValue(
                f"features are kept of single pictures, and the model looks at steps {offsets}. Next: without --frozen-features"
            )
        raw = dict(self.source.batch(indices, horizon, images=False))
        at = np.asarray(indices, np.int64)
        return raw | {"images": {c: np.array(x[at]) for c, x in self._features.items()} if images else {}}

    def _of(self, camera: str, encoder: Any) -> Array:
        height, width = self.image_sizes[camera]
        h, w = encoder.grid(height, width)
        shape = (len(self.source), encoder.width, h, w)
        root = getattr(self.source, "root", None)
        if root is None:
            return self._computed(camera, encoder, np.empty(shape, np.float16))
        file = Path(root) / FOLDER / f"features-{camera}-{self._key(camera, encoder, shape)}.npy"
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            half = file.with_name(f"{file.name}.{os.getpid()}.tmp")
            try:
                made = np.lib.format.open_memmap(half, "w+", np.float16, shape)
                self._computed(camera, encoder, made)
                made.flush()
                half.replace(file)
            finally:
                half.unlink(missing_ok=True)
        kept: Array = np.load(file, "r", allow_pickle=False)
        return kept

    def _key(self, camera: str, encoder: Any, shape: tuple[int, ...]) -> str:
        """Changes with the tower's weights, the size of the pictures, the numbers of the frames, and their pictures."""
        digest = hashlib.blake2b(repr((shape, self.image_sizes)).encode(), digest_size=12)
        for name, tensor in encoder.state_dict().items():
            digest.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
        for values in (self.source.states, self.source.actions):
            digest.update(np.ascontiguousarray(values).tobytes())
        digest.update(self._pictured(camera))
        return digest.hexdigest()

    def _pictured(self, camera: str) -> bytes:
        """Of the files that the pictures are in; of `SEEN` pictures over the set where a source names no files."""
        inner: Any = self.source
        while not hasattr(inner, "pictures_key") and hasattr(inner, "source"):
            inner = inner.source
        if hasattr(inner, "pictures_key") and len(inner) == len(self.source):
            key: str = inner.pictures_key(camera)
            return key.encode()
        rows = np.unique(np.linspace(0, len(self.source) - 1, min(SEEN, len(self.source))).round().astype(np.int64))
        return np.ascontiguousarray(self.source.batch(rows, 1)["images"][camera]).tobytes()

    @torch.no_grad()
    def _computed(self, camera: str, encoder: Any, out: Array) -> Array:
        h, w = out.shape[-2:]
        with counting(f"features of camera {camera}", len(out), quiet=len(out) < 2000) as count:
            for start in range(0, len(out), AT_ONCE):
                rows = np.arange(start, min(start + AT_ONCE, len(out)))
                pictures = np.ascontiguousarray(self.source.batch(rows, 1)["images"][camera])
                seen = encoder(pixels(torch.from_numpy(pictures)))
                out[rows] = seen.transpose(1, 2).unflatten(-1, (h, w)).numpy().astype(np.float16)
                count(len(rows))
        return out


def frozen_tower(config: ModelConfig) -> Any:
    """The configuration of the vision tower, when it is frozen and sees nothing but the picture. Raises `BadValue`."""
    vision = config.vision if isinstance(config, VLAConfig) else None
    if vision is None or vision.film or not getattr(vision, "frozen", False):
        raise BadValue(
            f"preset '{config.preset}' has no frozen vision tower, so its features change with every step. Next: imagenet-tiny, or "
            "without --frozen-features"
        )
    return vision


def with_features(request: TrainRequest) -> TrainRequest:
    """The same training on features that are computed once. Raises `BadValue` for a model without a frozen tower, for one whose
    weights are not its own, and for one that looks at more pictures than that of the present."""
    vision = frozen_tower(request.model)
    if request.model.offsets != (0,) or request.others:
        raise BadValue(
            f"preset '{request.model.preset}' looks at steps {request.model.offsets}, of {1 + len(request.others)} robots; "
            "features are kept of single pictures of one. Next: without --frozen-features"
        )
    if (
        getattr(vision, "path", "published") == "" or request.pretrained is not None
    ):  # one built here would be another one
        raise BadValue(
            f"the vision tower of '{request.model.preset}' has random weights, or takes them from --pretrained; expected one that "
            "brings its own. Next: imagenet-tiny, a preset with the path of a tower, or without --frozen-features"
        )
    encoder = vision.build(0)
    sets: Sequence[Source] = [FeatureData(s, encoder) for s in request.sets]
    return replace(request, data=sets, config=replace(request.config, augment=None))
