"""Tensors on disk as safetensors, written whole or not at all. Never a pickle."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from palmar.errors import BadFile, regular_file

PICKLED = (".pt", ".pth", ".pkl", ".ckpt", ".bin")
"""How files are called that can run code when opened."""


def write_tensors(path: Path, tensors: Mapping[str, Tensor], meta: Mapping[str, str]) -> None:
    """Atomic safetensors file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    plain = {k: v.detach().cpu().contiguous() for k, v in tensors.items()}

    def write(temporary: Path) -> None:
        save_file(plain, str(temporary), metadata=dict(meta))
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)  # safetensors makes it readable by its owner alone

    replace_file(path, write)


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a safetensors file, all finite. Raises `BadFile`."""
    if not regular_file(path).exists():
        raise BadFile(f"'{path}' is missing. Next: copy the whole checkpoint folder")
    try:
        with safe_open(str(path), framework="pt") as f:
            tensors, meta = {k: f.get_tensor(k) for k in f.keys()}, f.metadata() or {}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as e:
        size = path.stat().st_size
        raise BadFile(f"'{path}' is truncated or damaged ({size} bytes: {e}). Next: copy it again") from e
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise BadFile(f"'{path}' holds NaN or infinity in {name}. Next: take an earlier checkpoint")
    return tensors, meta


def replace_file(path: Path, write: Any) -> None:
    """Call write(temporary path), flush it to disk, and rename it over `path`."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write(temporary)
        with temporary.open("rb+") as f:
            os.fsync(f.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
