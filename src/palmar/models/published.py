"""What is on disk in a published checkpoint: JSON and safetensors, in one file or in shards. Pickles are refused."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from palmar.errors import BadFile, regular_file, regular_files
from palmar.models.tensors import PICKLED, read_tensors

if TYPE_CHECKING:
    from torch import Tensor

CONVERT = (
    "which can run code when opened; palmar reads safetensors only. Next: palmar convert FILE model.safetensors, which "
    "reads its tensors without running it"
)


def checkpoint_folder(path: str | Path, what: str, wanted: Sequence[str] = ("config.json",)) -> Path:
    """The folder, which must hold the files `wanted` and weights that are not pickled. Raises `BadFile`."""
    folder = Path(path)
    if folder.suffix in PICKLED:
        raise BadFile(f"'{folder}' is a pickle, {CONVERT}")
    if not folder.is_dir():
        raise BadFile(
            f"no {what} at '{folder}'. Next: download the repository to a folder (huggingface-cli download NAME "
            "--local-dir FOLDER) and give that folder"
        )
    if not any(folder.glob("*.safetensors")):
        pickled = sorted(p.name for p in folder.iterdir() if p.suffix in PICKLED)
        if pickled:
            raise BadFile(f"'{folder / pickled[0]}' is a pickle, {CONVERT}")
    for name in wanted:
        if not (folder / name).exists():
            raise BadFile(f"'{folder}' has no {name}; expected a {what}. Next: copy the whole folder")
    return regular_files(folder)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object. Raises `BadFile`."""
    try:
        value = json.loads(regular_file(path).read_text("utf-8"))
    except OSError as e:
        raise BadFile(f"'{path}' cannot be read: {e.strerror}. Next: copy the whole folder") from e
    except (json.JSONDecodeError, UnicodeDecodeError) as e:
        raise BadFile(f"'{path}' is damaged: {e}. Next: copy the checkpoint again") from e
    if not isinstance(value, dict):
        raise BadFile(
            f"'{path}' holds a {type(value).__name__}; expected an object. Next: copy the file again from its source"
        )
    return value


def read_weights(folder: Path) -> dict[str, Tensor]:
    """All tensors of `model.safetensors`, or of the shards that `model.safetensors.index.json` names."""
    index = folder / "model.safetensors.index.json"
    names = ["model.safetensors"]
    if index.exists():
        named = read_json(index).get("weight_map")
        if not isinstance(named, dict) or not all(isinstance(n, str) and Path(n).name == n for n in named.values()):
            raise BadFile(f"'{index}' has no weight_map of file names. Next: copy the checkpoint again")
        names = sorted(set(named.values()))
    out: dict[str, Tensor] = {}
    for name in names:
        out |= read_tensors(folder / name)[0]
    return out
