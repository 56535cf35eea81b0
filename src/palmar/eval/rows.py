"""The rows of figures that a training run logs (metrics.jsonl), as whoever draws, judges or compares them reads them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from palmar.errors import BadFile, regular_file


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Rows of a metrics file; a last line that was cut (the run is being written, or was killed) is left out.

    Raises `BadFile` when there is no such file, or another line is none of palmar train's.
    """
    return _read(path)[0]


def cut_short(path: Path) -> bool:
    """Whether `read_rows` left out a last line that was cut. Raises as it does."""
    return _read(path)[1]


def _read(path: Path) -> tuple[list[dict[str, Any]], bool]:
    if not path.exists():
        raise BadFile(f"no {path.name} in '{path.parent}'. Next: give the folder that palmar train wrote (--out)")
    rows: list[dict[str, Any]] = []
    lines = regular_file(path).read_text("utf-8", errors="replace").splitlines(keepends=True)
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
            row["step"] + 0.0
        except (ValueError, TypeError, KeyError, IndexError) as error:
            torn = isinstance(error, ValueError) and (line.startswith("{") or not line.strip("\0\n"))
            if torn and number == len(lines):  # a power cut leaves zeros
                return rows, True
            raise BadFile(
                f"'{path}' is damaged: line {number} is no row of figures. Next: remove that line, or copy the file again"
            ) from error
        rows.append(row)
    return rows, False
