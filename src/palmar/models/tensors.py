"""Tensors on disk as safetensors, written whole or not at all. Never a pickle."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from palmar.errors import BadFile, regular_file
from palmar.files import replace_file

PICKLED = (".pt", ".pth", ".pkl", ".ckpt", ".bin")
"""How files are called that can run code when opened."""
LONGEST = 100_000_000  # bytes of a header, as the library that writes it allows
BYTES: Mapping[str | None, int] = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E5M2": 1, "F8_E4M3": 1, "U16": 2, "I16": 2, "F16": 2, "BF16": 2, "U32": 4, "I32": 4,
    "F32": 4, "U64": 8, "I64": 8, "F64": 8, "C64": 8,
}  # fmt: skip


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


@dataclass(frozen=True, slots=True)
class Header:
    """What a safetensors file says of itself. shapes: by tensor. meta: its texts."""

    shapes: Mapping[str, tuple[int, ...]]
    meta: Mapping[str, str]

    @property
    def numbers(self) -> int:
        return sum(math.prod(s) for s in self.shapes.values())


def read_header(path: Path) -> Header:
    """The header alone, every size and place in it compared with the length of the file. Raises `BadFile`."""

    def bad(why: str) -> BadFile:
        return BadFile(f"'{path}' is truncated or damaged ({size} bytes: {why}). Next: copy it again")

    if not path.exists():
        raise BadFile(f"'{path}' is missing. Next: copy the whole checkpoint folder")
    size = regular_file(path).stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or not 2 <= length <= min(LONGEST, size - 8):
            raise bad(f"its header says {length} bytes; expected 2 … {min(LONGEST, max(2, size - 8))}")
        text = file.read(length)
    try:
        table = json.loads(text)
    except (ValueError, RecursionError) as e:
        raise bad(f"its header is not JSON: {e}") from e
    if not isinstance(table, dict):
        raise bad("its header is no object")
    meta = table.pop("__metadata__", {})
    if not isinstance(meta, dict) or not all(isinstance(v, str) for v in meta.values()):
        raise bad("__metadata__ of its header holds other things than texts")
    spans: list[tuple[int, int]] = []
    shapes: dict[str, tuple[int, ...]] = {}
    for name, about in table.items():
        shape, span = (about.get(k) if isinstance(about, dict) else None for k in ("shape", "data_offsets"))
        width = BYTES.get(
            about.get("dtype") if isinstance(about, dict) and isinstance(about.get("dtype"), str) else None
        )
        if width is None:
            raise bad(f"tensor {name!r:.80} has another dtype than {', '.join(str(k) for k in BYTES if k)}")
        if not _wholes(shape) or len(shape) > 16 or not _wholes(span) or len(span) != 2:
            raise bad(f"tensor {name!r:.80} has shape {shape!r:.80} and offsets {span!r:.80}; expected whole numbers")
        if span[1] - span[0] != math.prod(shape) * width:
            raise bad(f"tensor {name!r:.80} of shape {shape!r:.80} takes {span[1] - span[0]} bytes")
        spans.append((span[0], span[1]))
        shapes[name] = tuple(shape)
    ends = [0, *(end for _, end in sorted(spans))]
    if [begin for begin, _ in sorted(spans)] != ends[:-1] or ends[-1] != size - 8 - length:
        raise bad(f"its tensors end at byte {ends[-1]} of {size - 8 - length}, or leave gaps")
    return Header(shapes, meta)


def _wholes(value: Any) -> TypeGuard[list[int]]:
    return isinstance(value, list) and all(type(n) is int and 0 <= n < 2**60 for n in value)


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a safetensors file, all finite. Raises `BadFile`."""
    read_header(path)
    try:
        with safe_open(str(path), framework="pt") as f:
            tensors, meta = {k: f.get_tensor(k) for k in f.keys()}, f.metadata() or {}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, RuntimeError, KeyError) as e:
        size = path.stat().st_size
        raise BadFile(f"'{path}' is truncated or damaged ({size} bytes: {e}). Next: copy it again") from e
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise BadFile(f"'{path}' holds NaN or infinity in {name}. Next: take an earlier checkpoint")
    return tensors, meta
