"""Decoded frames beside the data set: one file a camera, mapped, named after the content it is of.

Pictures are resized while they are decoded, once (`palmar.pictures`), and kept compressed without loss (zstd) where that
saves anything. A cache is made where it is worth its disk: at most `TIMES` the bytes of the set's own pictures, or `SMALL`.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from palmar.choices import FIT
from palmar.console import warn
from palmar.data.progress import counting
from palmar.pictures import Resizer
from palmar.types import Array

FOLDER = ".cache"
ENDS = 64 * 1024
TIMES = 10  # a cache larger than this many times the set is not made …
WORTH = 0.8  # of its size a frame must shrink to, to be kept compressed: then reading it costs tens of µs
SMALL = 500_000_000  # … unless it is no larger than this [bytes]
QUIET = 2000  # pictures up to which decoding is over before anybody would read about it


@dataclass(frozen=True, slots=True)
class Clip:
    """Frames start … stop-1 of the data set are consecutive in `path` from time `at` on [s]."""

    path: Path
    at: float
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Footage:
    """What one camera recorded, in pictures of `recorded` (height, width), and the size they are wanted in."""

    clips: Sequence[Clip]
    recorded: tuple[int, int]
    size: tuple[int, int]

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Of the decoded frames: (n, height, width, 3)."""
        return (max(c.stop for c in self.clips), *self.size, 3)

    @property
    def bytes(self) -> int:
        """Of the decoded frames, before they are compressed."""
        return int(np.prod(self.shape))

    def key(self) -> str:
        """Changes with any source file (its size, first and last 64 kB), where the frames lie in it, and their size."""
        digest = hashlib.blake2b(repr((self.recorded, self.size, FIT)).encode(), digest_size=12)
        for path in dict.fromkeys(c.path for c in self.clips if c.path.exists()):
            with path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                digest.update(f"{path.name} {size}".encode() + file.read(ENDS))
                file.seek(max(0, size - ENDS))
                digest.update(file.read(ENDS))
        for clip in self.clips:
            digest.update(f"{clip.path.name} {clip.at:.6f} {clip.start} {clip.stop}".encode())
        return digest.hexdigest()


Decoder = Callable[[str, Clip], Iterator[tuple[int, Array]]]
"""(camera, clip) → (i, uint8[H, W, 3] as recorded) for each frame of the clip."""


class NoCache(OSError):
    """Why the frames are not kept decoded, in words."""


class Stored:
    """The decoded frames in a file of the cache. `stored[indices]`, indices int64[n], is uint8[n, height, width, 3]."""

    def __init__(self, path: Path, shape: tuple[int, int, int, int]) -> None:
        self.shape, self._codec = shape, codec()
        self._bytes = np.memmap(path, np.uint8, "r")
        rows = 16 * shape[0]
        self._where = self._bytes[len(self._bytes) - rows :].view(np.int64).reshape(shape[0], 2)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, indices: Array) -> Array:
        out = np.empty((len(indices), *self.shape[1:]), np.uint8)
        size = out[0].size if len(out) else 0
        for row, i in zip(out, indices, strict=True):
            at, length = (int(x) for x in self._where[i])
            kept: Any = self._bytes[at : at + length]
            if length < size:
                kept = np.frombuffer(self._codec.decompress(kept, size), np.uint8)
            row[:] = kept.reshape(row.shape)
        return out


class Filling:
    """A file of the cache while it is written, by several threads: frames in any order, and at the end where each is."""

    def __init__(self, path: Path, shape: tuple[int, int, int, int]) -> None:
        self.size, self.count, self._codec, self._lock = 0, 0, codec(), threading.Lock()
        self._file = path.open("wb")
        self._where = np.zeros((shape[0], 2), np.int64)

    def put(self, i: int, frame: Array) -> None:
        raw = frame.tobytes()
        small = self._codec.compress(raw, asbytes=True)
        kept = small if len(small) < WORTH * len(raw) else raw
        with self._lock:
            self._where[i] = self.size, len(kept)
            self.size += len(kept)
            self.count += 1
            self._file.write(kept)

    def end(self) -> None:
        """Write where the frames are, and close."""
        self._file.write(b"\0" * (-self.size % 16) + self._where.tobytes())
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()

    def drop(self) -> None:
        self._file.close()


def codec() -> Any:
    import pyarrow as pa

    return pa.Codec("zstd", compression_level=1)


def frames(root: Path, cameras: Mapping[str, Footage], decode: Decoder) -> dict[str, Stored]:
    """The decoded frames by camera: mapped from `.cache/` and decoded into it the first time.

    A read-only data set is cached in the system's temporary folder. Half-made files never count: they get their name when
    complete. Before it starts it says how much disk it takes at most; the decoding is shown on stderr. Raises `NoCache` with
    the need and what there is when there is no room, or when the cache would be out of proportion to the set.
    """
    folder = _folder(root)
    paths = {cam: folder / f"{cam}-{footage.key()}.frames" for cam, footage in cameras.items()}
    todo = [cam for cam in cameras if not paths[cam].exists()]
    if todo:
        _check_room(folder, [cameras[cam] for cam in todo])
        _fill({cam: (cameras[cam], paths[cam]) for cam in todo}, decode)
    for cam, path in paths.items():
        for stale in (*folder.glob(f"{cam}-{'?' * 24}.frames"), *folder.glob(f"{cam}-{'?' * 24}.u8")):
            if stale != path:
                stale.unlink(missing_ok=True)  # those who still map it keep it
    return {cam: Stored(path, cameras[cam].shape) for cam, path in paths.items()}


def source_bytes(cameras: Iterable[Footage]) -> int:
    """What the files that hold the pictures take on the disk."""
    files = {c.path for footage in cameras for c in footage.clips}
    return sum(p.stat().st_size for p in files if p.exists())


def _check_room(folder: Path, todo: Sequence[Footage]) -> None:
    """Say what is needed. Raises `NoCache`."""
    need, free = min(sum(f.bytes for f in todo), _most(todo)), shutil.disk_usage(folder).free
    if need > 0.9 * free:
        raise NoCache(f"decoded pictures need up to {amount(need)} in {folder}, where {amount(free)} are free")
    if sum(f.shape[0] for f in todo) >= QUIET:
        warn(
            "decoding once, at {} px: up to {} on disk in {} ({} free); in memory only what the system can take back (mapped)",
            _sizes(todo), amount(need), folder, amount(free),
        )  # fmt: skip


def _most(todo: Sequence[Footage]) -> int:
    """Bytes that a cache of these may take."""
    return max(TIMES * source_bytes(todo), SMALL)


def _sizes(todo: Sequence[Footage]) -> str:
    return " and ".join(dict.fromkeys(f"{f.size[0]}×{f.size[1]}" for f in todo))


def amount(size: float) -> str:
    """'110 MB', '5.3 GB'."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{max(size / 1e6, 0.1):.{0 if size >= 1e7 else 1}f} MB"


def _folder(root: Path) -> Path:
    user = os.getuid() if hasattr(os, "getuid") else 0
    for folder in (root / FOLDER, Path(tempfile.gettempdir()) / f"palmar-cache-{user}"):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / ".gitignore").write_text("*\n")
            return folder
        except OSError:
            continue
    raise NoCache(f"neither {root / FOLDER} nor the temporary folder can be written")


def _fill(todo: Mapping[str, tuple[Footage, Path]], decode: Decoder) -> None:
    """Raises `NoCache` as soon as it is clear that the files would be too large."""
    footage = [f for f, _ in todo.values()]
    total, most = sum(c.stop - c.start for f in footage for c in f.clips), _most(footage)
    halves = {cam: path.with_name(f"{path.name}.{os.getpid()}.tmp") for cam, (_, path) in todo.items()}
    files = {cam: Filling(halves[cam], f.shape) for cam, (f, _) in todo.items()}
    fit = {cam: Resizer(*f.recorded, *f.size) for cam, (f, _) in todo.items()}
    enough = threading.Event()

    def one(cam: str, clip: Clip) -> int:
        for i, frame in decode(cam, clip):
            if enough.is_set():
                break
            files[cam].put(clip.start + i, fit[cam](frame))
        return clip.stop - clip.start

    pool = ThreadPoolExecutor(os.cpu_count() or 1)  # the decoder lets go of the interpreter lock
    try:
        with counting("decoding frames", total, quiet=total < QUIET) as count:
            jobs = [pool.submit(one, cam, clip) for cam, (f, _) in todo.items() for clip in f.clips]
            for job in as_completed(jobs):
                count(job.result())
                written, done = sum(f.size for f in files.values()), sum(f.count for f in files.values())
                if done and (foreseen := written * total / done) > most:  # also of the clips that are half done
                    source = source_bytes(footage)
                    raise NoCache(
                        f"decoded at {_sizes(footage)} px the pictures would take {amount(foreseen)}, "
                        f"{foreseen / max(1, source):.0f} times the {amount(source)} they take encoded, and at most {TIMES} "
                        "times is kept"
                    )
        for cam, (_, path) in todo.items():
            files[cam].end()
            halves[cam].replace(path)
    finally:
        enough.set()
        pool.shutdown(cancel_futures=True)
        for cam, half in halves.items():
            files[cam].drop()
            half.unlink(missing_ok=True)
