"""Folders that a configuration names (a tokenizer, a pretrained tower): a checkpoint takes along what they say, so it can move.

The weights of such a tower are in the checkpoint anyway; its description and its words are a few small files beside them.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from palmar.errors import BadFile
from palmar.files import replace_file
from palmar.models.config import to_dict

C = TypeVar("C")

FOLDER = MappingProxyType({"folder": True})
"""Metadata of a configuration's field that names a folder, or is empty."""
ASSETS = "assets"
TAKEN = (".json", ".txt", ".model", ".jinja")
LARGEST = 100 << 20  # of a file taken along [bytes]; the largest published tokenizer has 33 MB


def carry(config: C, checkpoint: Path) -> C:
    """Copy what the named folders hold beside weights into CHECKPOINT/assets, and name them from there."""
    taken: dict[str, str] = {}

    def move(name: str) -> str:
        source = Path(name)
        if not source.is_dir():
            return name  # whoever builds the model will say so
        if name not in taken:
            taken[name] = f"{ASSETS}/{len(taken)}"
            target = checkpoint / taken[name]
            target.mkdir(parents=True, exist_ok=True)
            for path in sorted(p for p in source.iterdir() if p.is_file() and _wanted(p)):
                copy = target / path.name
                if not copy.exists() or copy.stat().st_size != path.stat().st_size:
                    replace_file(copy, partial(shutil.copyfile, path))
        return taken[name]

    return _renamed(config, move)


def find(config: C, checkpoint: Path) -> C:
    """The names that `carry` gave, as folders that can be opened. Raises `BadFile` for one outside the checkpoint: it may come
    from a stranger, and what it names is read, and copied on saving."""

    def place(name: str) -> str:
        if re.fullmatch(rf"{ASSETS}/\d+", name):
            return str(checkpoint / name)
        if name.startswith(f"{ASSETS}/") or Path(name).is_absolute() or ".." in Path(name).parts:
            raise BadFile(
                f"'{checkpoint}' names the folder '{name}', outside itself. Next: take it from who made it, anew"
            )
        return name

    return _renamed(config, place)


def without_names(config: Any) -> dict[str, Any]:
    """For comparing: as `config.to_dict`, without the names of folders, which differ from machine to machine."""
    return to_dict(_renamed(config, lambda name: ""))


def _wanted(path: Path) -> bool:
    return path.suffix in TAKEN and ".index." not in path.name and path.stat().st_size <= LARGEST


def _renamed(config: Any, change: Callable[[str], str]) -> Any:
    if isinstance(config, tuple):
        return tuple(_renamed(c, change) for c in config)
    if not is_dataclass(config) or isinstance(config, type):
        return config
    changed = {}
    for f in fields(config):
        value = getattr(config, f.name)
        new = change(value) if f.metadata.get("folder") and value else _renamed(value, change)
        if new != value:
            changed[f.name] = new
    return replace(config, **changed) if changed else config
