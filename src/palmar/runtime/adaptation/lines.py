"""Files of one JSON object a line that a crash may cut off anywhere."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from palmar.errors import regular_file


def append(path: Path, row: Mapping[str, object]) -> None:
    """Add a line durably. Half a line that a crash left at the end stays one of its own."""
    with path.open("ab+") as file:
        cut = file.seek(0, os.SEEK_END) > 0 and file.seek(-1, os.SEEK_END) >= 0 and file.read(1) != b"\n"
        file.write(b"\n" * cut + json.dumps(row).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def whole(path: Path) -> list[str]:
    """The lines that are there to their end."""
    return [x for x in regular_file(path).read_text("utf-8", "replace").split("\n") if x.endswith("}")]


def finite(value: Any) -> Any:
    """None for a number that JSON does not know."""
    if isinstance(value, dict):
        return {str(k): finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
