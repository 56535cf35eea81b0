"""What commands share: their answer, a configuration from their options, and a clean floor after a failure."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import fields
from pathlib import Path
from typing import Any, Protocol, TypeVar

from rich.console import Console

from palmar.errors import BadFile

Answer = tuple[int, dict[str, Any]]
"""Exit code, and every figure for `--json`."""
C = TypeVar("C")


class Command(Protocol):
    """A frozen dataclass: a field is an option, its docstring the help."""

    @property
    def json(self) -> bool: ...
    def run(self, console: Console) -> Answer: ...


def configured(kind: type[C], command: object, **more: Any) -> C:
    """A configuration from the command's options of the same names; `more` for the others."""
    names = [f.name for f in fields(kind) if f.name not in more and hasattr(command, f.name)]  # type: ignore[arg-type]
    return kind(**{n: getattr(command, n) for n in names}, **more)


def writable(path: Path | None) -> None:
    """Before any work: make the folder of a file to be written. Raises `BadFile` when the file cannot be."""
    if path is None:
        return
    if path.is_dir():
        raise BadFile(f"'{path}' is a folder; expected a file to write. Next: '{path / 'NAME'}'")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadFile(f"'{path}' cannot be written ({error.strerror}). Next: another place") from error


@contextmanager
def tidy(folder: Path) -> Iterator[None]:
    """When what is inside fails, remove the folders it made for `folder` and left empty."""
    made = [p for p in (folder, *folder.parents) if not p.exists()]
    try:
        yield
    except BaseException:
        for path in made:
            with suppress(OSError):
                path.rmdir()
        raise
