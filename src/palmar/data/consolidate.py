"""Join the small files of a recording into the few large ones the format is made for, without a moment of risk.

A complete new tree is built beside the old one, unchanged files as hard links, and flushed to the disk. One rename
(`.new.tmp` → `.new`) is the point of no return; from there on any reader or writer finishes the swap. Before it, the
old tree counts.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from palmar.data import format as fmt
from palmar.data import video
from palmar.data.durable import NEW, sync_folder, write_bytes
from palmar.data.layout import expand
from palmar.data.repair import finish_swap
from palmar.data.rows import load_rows
from palmar.data.schema import check_info
from palmar.errors import BadFile

MB = 1024**2


def consolidate(root: str | Path) -> None:
    """Rewrite a data set with files as large as info.json allows. The caller holds the writer's lock.

    Raises `BadFile` when a file cannot be read, OSError when the disk is full; the data set is as it was then.
    """
    root = Path(root)
    finish_swap(root)
    info = check_info(root / fmt.INFO, fmt.read_json(root / fmt.INFO))
    rows = load_rows(root, info)
    fresh = root / (NEW + ".tmp")
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        for key in fmt.video_keys(info["features"]):
            _join_videos(root, fresh, rows, key, info)
        _join_data(root, fresh, rows, info)
        write_episodes(fresh, rows, info)
        for path in (root / "meta").iterdir():
            if path.is_file():
                _link(path, fresh / "meta" / path.name)
        for folder in [fresh, *(p for p in fresh.rglob("*") if p.is_dir())]:
            sync_folder(folder)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    fresh.rename(root / NEW)
    sync_folder(root)
    finish_swap(root)


def _groups(
    root: Path, rows: Sequence[fmt.Row], prefix: str, template: str, key: str, limit: float
) -> list[list[Path]]:
    """The files in use, in order, in runs that together stay below `limit` [bytes]."""
    where = dict.fromkeys((int(r[f"{prefix}/chunk_index"]), int(r[f"{prefix}/file_index"])) for r in rows)
    groups: list[list[Path]] = []
    size = 0
    for chunk, file in where:
        path = _place(root, template, (chunk, file), key)
        if not path.exists():
            raise BadFile(f"'{path}' is missing. {fmt.NEXT}")
        if not groups or size + path.stat().st_size > limit:
            groups.append([])
            size = 0
        groups[-1].append(path)
        size += path.stat().st_size
    return groups


def _join_videos(root: Path, fresh: Path, rows: Sequence[fmt.Row], key: str, info: dict[str, Any]) -> None:
    prefix, place = f"videos/{key}", (0, 0)
    moved: dict[Path, tuple[tuple[int, int], float]] = {}  # old file → new place, and the time it starts there
    for group in _groups(
        root, rows, prefix, info["video_path"], key, info.get("video_files_size_in_mb", fmt.VIDEO_MB) * MB
    ):
        for run in _same_kind(group):
            target = _place(fresh, info["video_path"], place, key)
            if len(run) == 1:
                _link(run[0], target)
                moved[run[0]] = (place, 0.0)
            else:
                spans = video.join(run, target, info["fps"])
                with target.open("rb") as file:
                    os.fsync(file.fileno())
                if video.count_frames(target) != round(spans[-1][1] * info["fps"]):
                    raise BadFile(f"'{target}' came out short. Next: check that the disk has room, then close again")
                moved |= {path: (place, start) for path, (start, _) in zip(run, spans, strict=True)}
            place = fmt.following(*place)
    for row in rows:
        old = _place(root, info["video_path"], (row[f"{prefix}/chunk_index"], row[f"{prefix}/file_index"]), key)
        (row[f"{prefix}/chunk_index"], row[f"{prefix}/file_index"]), shift = moved[old]
        frame = round((row[f"{prefix}/from_timestamp"] + shift) * info["fps"])  # whole frames: no drift
        row[f"{prefix}/from_timestamp"] = frame / info["fps"]
        row[f"{prefix}/to_timestamp"] = (frame + row["length"]) / info["fps"]


def _place(root: Path, template: str, place: tuple[int, int], key: str = "") -> Path:
    """Raises `BadFile` for a template or a place that makes no path inside the set."""
    return expand(root, template, video_key=key, chunk_index=place[0], file_index=place[1])


def _same_kind(group: Sequence[Path]) -> list[list[Path]]:
    """Split a run of videos where the codec or its header changes: those cannot share a file."""
    runs: list[list[Path]] = []
    last = None
    for path in group:
        with video.opened(path) as container:
            kind = video.kind_of(container.streams.video[0])
        if kind != last:
            runs.append([])
        runs[-1].append(path)
        last = kind
    return runs


def _join_data(root: Path, fresh: Path, rows: Sequence[fmt.Row], info: dict[str, Any]) -> None:
    import pyarrow as pa

    moved: dict[Path, tuple[int, int]] = {}
    place = (0, 0)
    for group in _groups(
        root, rows, "data", info["data_path"], "", info.get("data_files_size_in_mb", fmt.DATA_MB) * MB
    ):
        target = _place(fresh, info["data_path"], place)
        if len(group) == 1:
            _link(group[0], target)
        else:
            tables = [table for path in group for table in _row_groups(path)]
            schema = tables[0].schema
            try:
                fitting = [t.select(schema.names).cast(schema) for t in tables]
            except (KeyError, ValueError, pa.ArrowException) as error:
                raise BadFile(
                    f"'{group[0]}' and those after it do not have the same columns: {fmt.first_line(error)}. {fmt.NEXT}"
                ) from error
            write_bytes(target, fmt.parquet_bytes(*fitting))
        moved |= dict.fromkeys(group, place)
        place = fmt.following(*place)
    for row in rows:
        old = _place(root, info["data_path"], (row["data/chunk_index"], row["data/file_index"]))
        row["data/chunk_index"], row["data/file_index"] = moved[old]


def _row_groups(path: Path) -> list[Any]:
    """Raises `BadFile`."""
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            return [file.read_row_group(i) for i in range(file.num_row_groups)]
    except Exception as error:  # arrow has many classes for "this is not parquet"
        raise BadFile(f"'{path}' is damaged: {fmt.first_line(error)}. {fmt.NEXT}") from error


def write_episodes(fresh: Path, rows: Sequence[fmt.Row], info: dict[str, Any]) -> None:
    """Write meta/episodes of `rows` into the tree `fresh`, each file below the limit: some 20 kB an episode is the most seen,
    so 4 000 rows stay below 100 MB."""
    place, per_file = (0, 0), max(1, int(info.get("data_files_size_in_mb", fmt.DATA_MB) * MB / 25_000))
    for begin in range(0, len(rows), per_file):
        part = rows[begin : begin + per_file]
        for row in part:
            row["meta/episodes/chunk_index"], row["meta/episodes/file_index"] = place
        target = fresh / fmt.EPISODES_PATH.format(chunk_index=place[0], file_index=place[1])
        write_bytes(target, fmt.parquet_bytes(fmt.episodes_table(part, info["features"])))
        place = fmt.following(*place)


def _link(source: Path, target: Path) -> None:
    """A hard link, or a copy where the file system has none."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
        with target.open("rb") as file:
            os.fsync(file.fileno())
