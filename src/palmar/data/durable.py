"""Files that survive a kill: written aside, flushed to the disk, then renamed into place in a chosen order.

A rename within one file system is atomic, so a reader sees the old file or the new one. Crash windows are closed by
renaming the file that makes the others count (info.json) last.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from palmar.errors import BadFile

STAGING, NEW, OLD, LOCK, KEPT = ".staging", ".new", ".old", ".lock", ".palmar"
HIDDEN = (STAGING, NEW, NEW + ".tmp", OLD, LOCK, KEPT, ".cache")
PARTS = ("data", "videos", "meta")


def write_bytes(path: Path, data: bytes) -> None:
    """Write and flush to the disk. Raises OSError (ENOSPC when the disk is full)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Flush a folder's names: without it a rename may be forgotten by a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class Staging:
    """Files written aside, then moved into place in the order they were put. Nothing is visible before `commit`."""

    def __init__(self, root: Path) -> None:
        self.root, self.aside = root, root / STAGING
        self._names: list[str] = []
        shutil.rmtree(self.aside, ignore_errors=True)

    def put(self, name: str, data: bytes) -> None:
        write_bytes(self.aside / name, data)
        self._names.append(name)

    def commit(self) -> None:
        """Rename all; the last one put is the one that makes the others count."""
        folders = dict.fromkeys((self.root / name).parent for name in self._names[:-1])
        for folder in folders:
            folder.mkdir(parents=True, exist_ok=True)
        for name in self._names[:-1]:
            (self.aside / name).replace(self.root / name)
        for folder in folders:
            sync_folder(folder)
        last = self.root / self._names[-1]
        last.parent.mkdir(parents=True, exist_ok=True)
        (self.aside / self._names[-1]).replace(last)
        sync_folder(last.parent)
        self.discard()

    def discard(self) -> None:
        shutil.rmtree(self.aside, ignore_errors=True)
        self._names.clear()


def swap_in(root: Path) -> None:
    """Put the finished tree `.new` in place of data, videos and meta. Every step may be cut short and done again."""
    for part in PARTS:
        fresh = root / NEW / part
        if not fresh.exists():
            continue  # already moved
        if (root / part).exists():
            (root / OLD).mkdir(exist_ok=True)
            shutil.rmtree(root / OLD / part, ignore_errors=True)
            (root / part).rename(root / OLD / part)
        fresh.rename(root / part)
    sync_folder(root)
    shutil.rmtree(root / NEW, ignore_errors=True)
    shutil.rmtree(root / OLD, ignore_errors=True)


class WriterLock:
    """One writer a data set, held by the process: the kernel frees it when the process dies, however it dies."""

    def __init__(self, root: Path) -> None:
        self.path = root / LOCK
        self._handle: int | None = None

    def take(self) -> bool:
        """True when nobody else writes. On systems without flock (Windows) always True."""
        try:
            import fcntl
        except ImportError:  # pragma: no cover
            return True
        while True:
            handle = os.open(self.path, os.O_CREAT | os.O_RDWR)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(handle)
                return False
            if self.path.exists() and os.fstat(handle).st_ino == self.path.stat().st_ino:
                self._handle = handle
                return True
            os.close(handle)  # the last holder removed the file between our open and our lock

    def release(self) -> None:
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None
            self.path.unlink(missing_ok=True)

    def __enter__(self) -> WriterLock:
        if not self.take():
            raise BadFile(f"'{self.path.parent}' is being written by another process. Next: wait for it, or end it")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.release()


@contextmanager
def explain_full_disk(root: Path, kept: str) -> Iterator[None]:
    """Turn "no space left" from any library into a `BadFile` that says what is safe and what to do."""
    try:
        yield
    except Exception as error:
        if getattr(error, "errno", None) not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        free = shutil.disk_usage(root).free / 1e6
        raise BadFile(
            f"the disk of '{root}' is full ({free:.1f} MB free). {kept} Next: free space, then go on with --resume "
            "(in Python resume=True)"
        ) from error
