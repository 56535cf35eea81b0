"""What was read of the files under one path, kept on disk between conversations: passages, and the vectors of their texts.

One file a path that was named: a sum of what follows, and an .npz of plain arrays, no pickle. It is trusted for a file while size
and time of change are the same, and the content's SHA-256 decides where they are not. A damaged one is made again.
Only its owner may read it: it holds what the files say.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from palmar.agent.passages import SIZE, Passage
from palmar.files import replace_file
from palmar.types import Array

FORMAT = 2
SETTLED = 2_000_000_000  # ns after its last change from which a file's time of change can be trusted
SUM = 16  # bytes
LARGEST = 500_000_000  # bytes of a kept file that is read


@dataclass(frozen=True, slots=True)
class IndexedFile:
    """size [bytes], changed and looked: times of change and of reading [ns]. left_out: passages beyond the most of its kind. why:
    it is no text, "" where it is; a file that could not be opened has size, changed and looked 0, and is tried again."""

    size: int
    changed: int
    looked: int
    digest: str
    passages: tuple[Passage, ...] = ()
    left_out: int = 0
    why: str = ""

    def is_as(self, stat: os.stat_result) -> bool:
        """Whether the file is surely unchanged."""
        same = (self.size, self.changed) == (stat.st_size, stat.st_mtime_ns)
        return same and self.looked - self.changed > SETTLED


@dataclass
class KeptPassages:
    """files by path. vectors: float16[D] by `key` of a passage, all by the encoder of this name (`meaning.name_of`), "" without
    vectors."""

    files: dict[str, IndexedFile] = field(default_factory=dict)
    vectors: dict[str, Array] = field(default_factory=dict)
    encoder: str = ""

    @property
    def width(self) -> int:
        """D; 0 without vectors."""
        return width(self.vectors)


def width(vectors: Mapping[str, Array]) -> int:
    """How many numbers each has; 0 where there are none."""
    return next((v.size for v in vectors.values()), 0)


def said(passage: Passage) -> str:
    """What of a passage is compared with a question: the name of its file, its headings, its text."""
    return f"{Path(passage.path).stem}: {passage.heading}\n{passage.text}"


def key(passage: Passage) -> str:
    return hashlib.blake2b(said(passage).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def cache_folder() -> Path:
    """`$XDG_CACHE_HOME/palmar/passages`, by default `~/.cache/palmar/passages`."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    base = Path(given) if given and Path(given).is_absolute() else Path.home() / ".cache"
    return base / "palmar" / "passages"


def kept_file(folder: Path, root: Path) -> Path:
    """Where what was read under `root` is kept."""
    name = hashlib.blake2b(os.fsencode(os.path.abspath(root)), digest_size=12).hexdigest()  # noqa: PTH100
    return folder / f"{name}.passages"


def save(path: Path, kept: KeptPassages) -> None:
    """Whole or not at all, for its owner alone. Raises `OSError`."""
    names = list(kept.files)
    keys = list(kept.vectors)
    about = {
        "format": FORMAT, "size": SIZE, "encoder": kept.encoder, "keys": keys,
        "files": [[n, f.size, f.changed, f.looked, f.digest, f.left_out, f.why] for n, f in kept.files.items()],
        "passages": [
            [i, p.first, p.last, p.heading, p.text] for i, n in enumerate(names) for p in kept.files[n].passages
        ],
    }  # fmt: skip
    text = json.dumps(about).encode()
    vectors = np.stack([kept.vectors[k] for k in keys]) if keys else np.zeros((0, 0), np.float16)
    file = io.BytesIO()
    np.savez(file, about=np.frombuffer(text, np.uint8), vectors=vectors)
    data = _sum(file.getvalue()) + file.getvalue()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with suppress(OSError):  # none is there yet; an earlier palmar let everybody read it
        path.chmod(0o600)
    replace_file(path, lambda aside: _write_private(aside, data))


def _write_private(path: Path, data: bytes) -> None:
    """To a file that is made readable for its owner alone."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(data)


def load(path: Path) -> tuple[KeptPassages, str]:
    """What is kept there, and why it is not used: "" where it is, or where nothing was kept yet."""
    try:
        if not path.exists():
            return KeptPassages(), ""
        if path.stat().st_size > LARGEST:
            return KeptPassages(), f"it is larger than {LARGEST / 1e6:.0f} MB"
        data = path.read_bytes()
        if _sum(data[SUM:]) != data[:SUM]:
            return KeptPassages(), "it is damaged"
        with np.load(io.BytesIO(data[SUM:]), allow_pickle=False) as arrays:
            text, vectors = arrays["about"].tobytes(), arrays["vectors"]
        about = json.loads(text)
        if (about["format"], about["size"]) != (FORMAT, SIZE):
            return KeptPassages(), ""  # of another palmar
        return _read(about, vectors), ""
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        IndexError,
        EOFError,
        RuntimeError,  # also nested too deeply, or an archive of a kind that is not written here
        zipfile.BadZipFile,
    ) as error:
        return KeptPassages(), f"{type(error).__name__}: {error}".splitlines()[0][:160]


def _read(about: dict[str, Any], vectors: Array) -> KeptPassages:
    inside: list[list[Passage]] = [[] for _ in about["files"]]
    for i, first, last, heading, text in about["passages"]:
        inside[i].append(Passage(about["files"][i][0], int(first), int(last), str(heading), str(text)))
    files = {
        name: IndexedFile(size, changed, looked, digest, tuple(found), left_out, why)
        for (name, size, changed, looked, digest, left_out, why), found in zip(about["files"], inside, strict=True)
    }
    return KeptPassages(files, dict(zip(about["keys"], vectors, strict=True)), str(about["encoder"]))


def _sum(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=SUM).digest()
