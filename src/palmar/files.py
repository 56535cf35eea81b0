"""Writing a file whole or not at all: a reader finds the old one or the new one, never half of one; and one process at a time."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO


def replace_file(path: str | Path, write: Callable[[Path], object]) -> Path:
    """Call write(a name beside `path`), flush that file to the disk, and rename it over `path`; the path.

    The folder is made where there is none. A link stays a link: what it leads to is replaced. A file keeps its permissions. What
    is there and no file, such as /dev/stdout, a file in a folder where no other can be made, and one that must not be written to
    is written to directly. When `write` fails, what was there stays. Raises `OSError` about `path`.
    """
    path = Path(path)
    target = Path(os.path.realpath(path))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        there = target.exists()
        if there and not (target.is_file() and os.access(target, os.W_OK) and os.access(target.parent, os.W_OK)):
            write(path)
            return path
        aside = target.with_name(f".{target.name[:100]}.{os.getpid()}-{threading.get_ident()}.tmp")
        try:
            write(aside)
            if there:
                with suppress(PermissionError):  # a file system that has none
                    shutil.copymode(target, aside)
            with aside.open("rb+") as file:
                os.fsync(file.fileno())
            aside.replace(target)
        except OSError as error:
            if error.filename == str(aside):
                error.filename = str(path)
            raise
        finally:
            aside.unlink(missing_ok=True)
    except OSError as error:
        error.filename = error.filename or str(path)
        raise
    return path


def write_text(path: str | Path, text: str, errors: str = "strict") -> Path:
    """The text in UTF-8, as `replace_file` writes. errors: of what UTF-8 has not, as of `str.encode`."""
    return write_bytes(path, text.encode("utf-8", errors))


def write_bytes(path: str | Path, data: bytes) -> Path:
    """As `replace_file` writes."""
    return replace_file(path, lambda aside: aside.write_bytes(data))


def hold(file: IO[str] | IO[bytes]) -> bool:
    """Whether this open file is ours alone, from now until it is closed: False where another process, or this one, holds it. On
    systems without flock (Windows) always True."""
    try:
        import fcntl
    except ImportError:  # pragma: no cover
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def locked(path: str | Path) -> Iterator[None]:
    """Wait until no other process holds this lock, a file that is there meanwhile. The kernel frees the lock of a process that
    dies. On systems without flock (Windows) nothing is waited for. Raises `OSError`."""
    try:
        import fcntl
    except ImportError:  # pragma: no cover
        yield
        return
    lock = Path(os.path.realpath(path))
    lock.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with lock.open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            try:
                removed = os.fstat(file.fileno()).st_ino != lock.stat().st_ino
            except FileNotFoundError:
                removed = True
            if removed:  # by the process that was waited for
                continue
            try:
                yield
            finally:
                lock.unlink(missing_ok=True)
            return
