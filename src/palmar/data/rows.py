"""Rows of meta/episodes: one an episode, from however many files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from palmar.data import format as fmt
from palmar.data import schema
from palmar.data.paths import NEXT
from palmar.errors import BadFile

PATTERN = "meta/episodes/*/*.parquet"


@dataclass(slots=True)
class Found:
    """rows: by episode_index, of two with one index that of the later file. damaged: {file: why}, relative to the set."""

    rows: dict[int, fmt.Row] = field(default_factory=dict)
    damaged: dict[str, str] = field(default_factory=dict)


def find_rows(root: Path, stats: bool = True) -> Found:
    """All rows there are, unchecked but for a whole episode_index. stats: also the columns of statistics."""
    out = Found()
    for path in sorted(root.glob(PATTERN)):
        name = str(path.relative_to(root))
        try:
            rows = _read(path, stats)
        except BadFile as error:
            out.damaged[name] = str(error)
            continue
        for row in rows:
            if schema.whole(index := row.get("episode_index")):
                out.rows[index] = row
            else:
                out.damaged.setdefault(
                    name, str(schema.Problem("episode_index", index, "a whole number, 0 or more").error(path))
                )
    return out


def _read(path: Path, stats: bool) -> list[fmt.Row]:
    import pyarrow.parquet as pq

    columns = None
    if not stats:
        try:
            columns = [c for c in pq.read_schema(fmt.regular_file(path)).names if not c.startswith("stats/")]
        except BadFile:
            raise
        except Exception:  # arrow has many classes for "this is not parquet"; `read_parquet` says which
            columns = None
    rows: list[fmt.Row] = fmt.python_values(fmt.read_parquet(path, columns), path)
    return rows


def load_rows(root: Path, info: Mapping[str, Any], stats: bool = True) -> list[fmt.Row]:
    """Rows of meta/episodes that count (index below total_episodes), in order. Raises `BadFile` when one is missing or wrong.

    info: checked by `schema.check_info`.
    """
    found = find_rows(root, stats)
    total, where = int(info["total_episodes"]), root / "meta/episodes"
    lacking = next((i for i in range(min(total, len(found.rows) + 1)) if i not in found.rows), None)
    if lacking is not None:
        why = next(iter(found.damaged.values()), None)  # no harm if it belongs to an episode that never counted
        raise BadFile(why or f"'{where}' lacks episode {lacking} of {total}. {NEXT}")
    rows = [found.rows[i] for i in range(total)]
    for problem in schema.rows_problems(rows, info, fmt.video_keys(info["features"])):
        raise problem.error(root / fmt.INFO if problem.field == "total_frames" else where)
    return rows
