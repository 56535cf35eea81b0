"""What of a folder goes to a hub, and what may come from one: weights as safetensors, JSON, Parquet, mp4, texts. No pickle."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from palmar.errors import BadFile, regular_file
from palmar.hub.connection import Kind

TAKEN = (".safetensors", ".json", ".jsonl", ".parquet", ".mp4", ".md", ".txt")
PICKLES = (".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".bin", ".npy", ".npz", ".joblib", ".dill", ".msgpack", ".h5")
"""How files are called that can run code when they are opened, or that palmar has no reader for."""
OWN = ("train.safetensors", "train_config.json", "metrics.jsonl")
"""Of a run, and not of a policy: its state, and paths of the machine it ran on."""
CARD = "README.md"
TREES = ("meta/", "data/", "videos/")
"""Of a data set: what is replaced as a whole."""


@dataclass(frozen=True)
class Contents:
    """files: names relative to the folder, with "/". left_out: what stays here."""

    folder: Path
    kind: Kind
    files: tuple[str, ...]
    left_out: tuple[str, ...]

    @property
    def has_card(self) -> bool:
        return CARD in self.files


def look(folder: str | Path) -> Contents:
    """What of a checkpoint, a policy folder of LeRobot or a data set is pushed. Raises `BadFile` for another folder."""
    root = Path(folder)
    if not root.is_dir():
        raise BadFile(
            f"no folder '{root}'. Next: the folder of a checkpoint (palmar train) or of a data set (palmar collect)"
        )
    if (root / "meta" / "info.json").is_file():
        kind: Kind = "dataset"
    elif (root / "config.json").is_file() and (root / "model.safetensors").is_file():
        kind = "model"
    else:
        raise BadFile(
            f"'{root}' is no checkpoint (config.json, model.safetensors) and no data set (meta/info.json). Next: the folder that "
            "palmar train or palmar collect wrote"
        )
    files: list[str] = []
    left_out: list[str] = []
    for path in sorted(root.rglob("*")):
        if path.is_dir() and not path.is_symlink():
            continue
        name = path.relative_to(root).as_posix()
        regular_file(path)
        own = path.resolve().is_relative_to(root.resolve())
        wanted = own and inside(name) and not hidden(name) and path.suffix in TAKEN and name not in OWN
        if kind == "dataset" and not name.startswith(TREES) and name != CARD:
            wanted = False
        (files if wanted else left_out).append(name)
    return Contents(root, kind, tuple(files), tuple(left_out))


def inside(name: str) -> bool:
    """Whether a name from elsewhere stays inside the folder it is written to."""
    parts = PurePosixPath(name).parts
    plain = name.isprintable() and "\\" not in name and ":" not in name and not name.startswith("/")
    return bool(parts) and plain and name == "/".join(parts) and ".." not in parts


def hidden(name: str) -> bool:
    """Whether a file or a folder above it begins with a dot: such are left."""
    return any(part.startswith(".") for part in PurePosixPath(name).parts)
