"""Instructions that people wrote, as TOML files of [[instruction]] entries."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from palmar.errors import BadFile

Made = TypeVar("Made")


def read_written(file: Path, make: Callable[[dict[str, Any]], Made], fields: str, example: str) -> tuple[Made, ...]:
    """What `make` makes of each entry, in the file's order. fields: that an entry has, in words. example: name of a file of palmar
    that is such a list. Raises `BadFile` naming the entry of which `make` raises KeyError, TypeError or ValueError."""
    try:
        entries = tomllib.loads(file.read_text(encoding="utf-8"))["instruction"]
    except (OSError, ValueError, KeyError) as error:
        raise BadFile(f"{file}: {error}. Next: [[instruction]] entries, as in {example} of palmar") from error
    out = []
    for number, entry in enumerate(entries, 1):
        try:
            out.append(make(entry))
        except (KeyError, ValueError, TypeError) as error:
            why = str(error).partition(". Next: ")[0]
            raise BadFile(f"{file}, instruction {number}: {why}. Next: {fields}") from error
    return tuple(out)
