"""Files of a data set that `repair` writes anew: data files with other counters or rows, meta/episodes, and what is beside."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from palmar.data import format as fmt
from palmar.data.journal import Changes
from palmar.data.mending import Mend
from palmar.data.rebuild import name_in
from palmar.data.rows import PATTERN
from palmar.data.survey import Survey
from palmar.errors import regular_file

PER_EPISODE = 25_000  # bytes of a row of meta/episodes, the most seen


def data_files(
    root: Path, info: Mapping[str, Any], good: Sequence[Mend], found: Survey, changes: Changes, why: list[str]
) -> None:
    """Data files whose counters or timestamps change, or which hold rows of no episode that counts."""
    fps = float(info["fps"])
    for name in dict.fromkeys(m.data for m in good):
        mine = [m for m in good if m.data == name and m.part is not None]
        file = found.data[name]
        late = [m.episode for m in mine if m.late]
        spare = file.rows - sum(m.row["length"] for m in mine)
        moved = any(
            m.part is not None
            and (m.row["episode_index"] != m.episode or m.part.index != m.row["dataset_from_index"] or m.part.flaw)
            for m in mine
        )
        if late:
            why.append(f"'{name}': timestamps of episode {late[0]} are not frame_index / {fps:g}; they are written so")
        if spare:
            why.append(f"'{name}' holds {spare} frames of no episode that counts")
        if late or spare or moved:
            changes.writes[name] = partial(_write_data, root / name, mine, fps)


def _write_data(source: Path, mends: Sequence[Mend], fps: float, target: Path) -> None:
    """The rows of these episodes, one row group each, with counters and timestamps as they ought to be."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetFile(regular_file(source)) as file:
        table = file.read()
        target.parent.mkdir(parents=True, exist_ok=True)
        with pq.ParquetWriter(target, table.schema, compression="snappy") as writer:
            for m in mends:
                if m.part is None:
                    continue
                n = len(m.part.rows)
                part = table.take(pa.array(m.part.rows))
                columns = {
                    "episode_index": np.full(n, m.row["episode_index"]), "frame_index": np.arange(n),
                    "index": m.row["dataset_from_index"] + np.arange(n), "timestamp": np.arange(n) / fps,
                }  # fmt: skip
                for column, values in columns.items():
                    if column in part.column_names:
                        at = part.column_names.index(column)
                        kind = part.schema.field(column)
                        part = part.set_column(at, kind, pa.array(values).cast(kind.type))
                writer.write_table(part, row_group_size=n)


def episode_files(root: Path, info: Mapping[str, Any], rows: Sequence[fmt.Row], changes: Changes) -> None:
    place, size = (0, 0), info.get("data_files_size_in_mb", fmt.DATA_MB)
    per_file = max(1, int(size * 1024**2 / PER_EPISODE))
    for begin in range(0, len(rows), per_file):
        part = rows[begin : begin + per_file]
        for row in part:
            row["meta/episodes/chunk_index"], row["meta/episodes/file_index"] = place
        name = name_in(fmt.EPISODES_PATH, part[0], "meta/episodes")
        changes.writes[str(name)] = fmt.parquet_bytes(fmt.episodes_table(part, dict(info["features"])))
        place = fmt.following(*place)
    old = (str(p.relative_to(root)) for p in root.glob(PATTERN) if p.is_file())
    changes.moves += [n for n in old if n not in changes.writes]


def extras(root: Path, index: Mapping[int, int], changes: Changes) -> None:
    """What palmar keeps of episodes beside the format, under their new indices."""
    found = fmt.read_extras(root)
    rows = [found[old] | {"episode_index": new} for old, new in index.items() if old in found]
    if rows:
        changes.writes[fmt.EXTRA] = b"".join(json.dumps(r, ensure_ascii=False).encode() + b"\n" for r in rows)
