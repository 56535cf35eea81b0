"""Decoded frames beside the data set: one raw uint8 file a camera, mapped, named after the content they are of."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from palmar.errors import regular_file
from palmar.types import Array

FOLDER = ".cache"
ENDS = 64 * 1024


@dataclass(frozen=True, slots=True)
class Clip:
    """Frames start … stop-1 of the data set are consecutive in `path` from time `at` on [s]."""

    path: Path
    at: float
    start: int
    stop: int


Decoder = Callable[[Clip], Iterator[tuple[int, Array]]]


def content_key(clips: Sequence[Clip], shape: tuple[int, ...]) -> str:
    """Changes with any source file (its size, first and last 64 kB) and with where the frames lie in it."""
    digest = hashlib.blake2b(repr(shape).encode(), digest_size=12)
    seen: set[Path] = set()
    for clip in clips:
        digest.update(f"{clip.path.name} {clip.at:.6f} {clip.start} {clip.stop}".encode())
        if clip.path not in seen and clip.path.exists():
            seen.add(clip.path)
            with regular_file(clip.path).open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                digest.update(str(size).encode() + file.read(ENDS))
                file.seek(max(0, size - ENDS))
                digest.update(file.read(ENDS))
    return digest.hexdigest()


def frames(root: Path, cameras: dict[str, tuple[list[Clip], tuple[int, ...]]], decode: Decoder) -> dict[str, Array]:
    """uint8[frames, H, W, 3] by camera, read-only: mapped from `.cache/` and decoded into it the first time.

    cameras: {name: (clips, (H, W, 3))}. A read-only data set is cached in the system's temporary folder.
    Half-made files never count: they get their name when complete. Raises OSError (ENOSPC) when there is no room.
    """
    folder = _folder(root)
    wanted = {
        cam: (folder / f"{cam}-{content_key(clips, shape)}.u8", (max(c.stop for c in clips), *shape))
        for cam, (clips, shape) in cameras.items()
    }
    todo = {cam: where for cam, where in wanted.items() if not _complete(*where)}
    need = sum(int(np.prod(shape)) for _, shape in todo.values())
    if need > 0.9 * shutil.disk_usage(folder).free:
        raise OSError(28, f"decoded frames need {need / 1e9:.1f} GB in {folder}")
    if todo:
        _fill({cam: (cameras[cam][0], *todo[cam]) for cam in todo}, decode)
    for cam, (path, _) in wanted.items():
        for stale in folder.glob(f"{cam}-{'?' * 24}.u8"):
            if stale != path:
                stale.unlink(missing_ok=True)  # those who still map it keep it
    return {cam: np.memmap(path, np.uint8, "r", shape=shape) for cam, (path, shape) in wanted.items()}


def _complete(path: Path, shape: tuple[int, ...]) -> bool:
    return path.exists() and path.stat().st_size == int(np.prod(shape))


def _folder(root: Path) -> Path:
    user = os.getuid() if hasattr(os, "getuid") else 0
    for folder in (root / FOLDER, Path(tempfile.gettempdir()) / f"palmar-cache-{user}"):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / ".gitignore").write_text("*\n")
            return folder
        except OSError:
            continue
    raise OSError(30, f"neither {root / FOLDER} nor the temporary folder can be written")


def _fill(todo: dict[str, tuple[list[Clip], Path, tuple[int, ...]]], decode: Decoder) -> None:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    halves = {cam: path.with_name(f"{path.name}.{os.getpid()}.tmp") for cam, (_, path, _) in todo.items()}
    maps = {cam: np.memmap(halves[cam], np.uint8, "w+", shape=shape) for cam, (_, _, shape) in todo.items()}

    def one(cam: str, clip: Clip) -> int:
        for i, frame in decode(clip):
            maps[cam][clip.start + i] = frame
        return clip.stop - clip.start

    total = sum(clip.stop - clip.start for clips, _, _ in todo.values() for clip in clips)
    columns = TextColumn("decoding frames"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    bar = Progress(*columns, transient=True, disable=total < 2000)
    pool = ThreadPoolExecutor(os.cpu_count() or 1)  # the decoder lets go of the interpreter lock
    try:
        with bar:
            task = bar.add_task("", total=total)
            jobs = [pool.submit(one, cam, clip) for cam, (clips, _, _) in todo.items() for clip in clips]
            for job in as_completed(jobs):
                bar.advance(task, job.result())
        for cam, (_, path, _) in todo.items():
            maps[cam].flush()
            halves[cam].replace(path)
    finally:
        pool.shutdown(cancel_futures=True)
        for half in halves.values():
            half.unlink(missing_ok=True)
