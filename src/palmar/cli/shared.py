"""What commands share: their answer, a configuration from their options, and a clean floor after a failure."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import fields
from pathlib import Path
from typing import Any, Protocol, TypeVar

from rich.console import Console

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
