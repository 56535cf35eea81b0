"""Weights for a model of one robot from a checkpoint of another: what has the same name and size is taken.

Eyes and words are worth keeping where the arm is another; what depends on its channels begins anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from palmar.errors import BadFile, BadValue
from palmar.models import checkpoint
from palmar.models.base import Model


def is_checkpoint(folder: str | Path) -> bool:
    """Whether a folder holds a checkpoint that palmar wrote."""
    try:
        checkpoint.read_config(folder)
    except (BadFile, BadValue):
        return False
    return True


def transplant(model: Model, folder: str | Path) -> list[str]:
    """Copy every weight of the checkpoint that has the same name and size in `model`; what was taken, in words.

    A camera that the checkpoint does not have begins as the one whose name its own contains (left_wrist as wrist), else as
    the checkpoint's first. Raises `BadValue` when nothing fits.
    """
    policy = checkpoint.load(folder)
    theirs, ours = policy.model.state_dict(), model.state_dict()
    cameras = namesakes(model.interface.cameras, policy.interface.cameras)
    taken = {}
    for name, tensor in ours.items():
        parts = name.split(".")
        source = ".".join(cameras.get(p, p) for p in parts)
        if source in theirs and theirs[source].shape == tensor.shape:
            taken[name] = theirs[source]
    if not taken:
        raise BadValue(f"no weight of checkpoint '{folder}' fits this model. Next: a checkpoint of the same system")
    with torch.no_grad():
        model.load_state_dict(ours | taken)
    share = sum(t.numel() for t in taken.values()) / sum(t.numel() for t in ours.values())
    robot = policy.interface.embodiment or "another robot"
    return [f"{len(taken)} of {len(ours)} weights ({share:.0%} of the numbers) of a checkpoint for {robot}"]


def namesakes(ours: Mapping[str, object], theirs: Mapping[str, object]) -> dict[str, str]:
    """{camera of ours: the camera of theirs it begins as}."""
    names = list(theirs)
    return {c: next((t for t in names if t == c), next((t for t in names if t in c), names[0])) for c in ours if names}
