"""What the files of a data set hold, whatever its metadata say: the ground on which metadata are rebuilt."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from palmar.data import format as fmt
from palmar.data import paths, schema
from palmar.data.durable import HIDDEN
from palmar.errors import BadFile
from palmar.types import Array

COUNTERS = ("episode_index", "frame_index", "index", "task_index", "timestamp")


@dataclass(frozen=True, slots=True)
class Part:
    """An episode within a data file. rows: int64[n], where its frames are in the file, in order. index: of its first frame.
    tasks: task indices in order of appearance. times: float64[n], its timestamps [s]. flaw: why its counters are not right."""

    rows: Array
    index: int
    tasks: tuple[int, ...]
    times: Array
    flaw: str


@dataclass(slots=True)
class DataFile:
    """episode: int64[rows], its column episode_index. columns: {name: (dtype, shape)} as info.json would say it.
    parts: by episode_index. why: it cannot be read, or empty."""

    rows: int = 0
    episode: Array = field(default_factory=lambda: np.empty(0, np.int64))
    columns: dict[str, tuple[str, list[int]]] = field(default_factory=dict)
    counters: dict[str, Array] = field(default_factory=dict)
    parts: dict[int, Part] = field(default_factory=dict)
    why: str = ""


@dataclass(slots=True)
class FilmFile:
    """frames: packets. times: int64[frames], when they are shown, in ticks of `tick` [s]; even: at a constant rate `fps`."""

    frames: int = 0
    size: tuple[int, int] = (0, 0)
    fps: float = 0.0
    even: bool = True
    tick: float = 0.0
    times: Array = field(default_factory=lambda: np.empty(0, np.int64))
    about: dict[str, Any] = field(default_factory=dict)
    why: str = ""

    def first(self, at: float) -> int:
        """Number of the frame shown at `at` [s]."""
        if self.even:
            return round(at * self.fps) if self.fps else 0
        return int(np.abs(self.times * self.tick - at).argmin()) if len(self.times) else 0


@dataclass(slots=True)
class Survey:
    """data, films: by name relative to the set, in the order of their names."""

    data: dict[str, DataFile]
    films: dict[str, FilmFile]

    @property
    def episodes(self) -> list[int]:
        return sorted({e for f in self.data.values() for e in f.parts})


def survey(root: Path) -> Survey:
    """Open every data file and every video. Nothing is written. Names that lead outside the set are not opened."""
    data = {name: _data(root / name, name) for name in _names(root, ".parquet") if not name.startswith("meta/")}
    return Survey(data, {name: _film(root / name, name) for name in _names(root, ".mp4")})


def _names(root: Path, suffix: str) -> Iterator[str]:
    for path in sorted(root.rglob(f"*{suffix}")):
        name = path.relative_to(root).as_posix()
        if name.split("/")[0] in HIDDEN or paths.outside(name):
            continue
        try:
            if paths.inside(root, name).is_file():
                yield name
        except BadFile:
            continue  # a link that leads out, a pipe: no file of the set


def _data(path: Path, name: str) -> DataFile:
    import pyarrow.parquet as pq

    out = DataFile()
    try:
        with pq.ParquetFile(path) as file:
            out.rows = file.metadata.num_rows
            kept = []
            for group in range(file.num_row_groups):
                table = file.read_row_group(group)  # all of it: a page may be damaged
                table.validate(full=True)
                kept.append(table.select([c for c in COUNTERS if c in table.column_names]))
                if group == 0:
                    out.columns = {c: found for c in table.column_names if (found := feature_of(table[c]))}
    except Exception as error:  # arrow has many classes for "this is not parquet"
        out.why = f"'{name}' is damaged: {fmt.first_line(error)}"
        return out
    try:
        counters = {c: np.concatenate([_numbers(t[c]) for t in kept]) for c in kept[0].column_names} if kept else {}
        out.episode = counters.get("episode_index", out.episode).astype(np.int64)
        out.parts = {e: _part(counters, np.flatnonzero(out.episode == e)) for e in np.unique(out.episode).tolist()}
        out.counters = counters
    except (ValueError, TypeError, OverflowError) as error:
        out.why = f"the counters of '{name}' are no numbers: {fmt.first_line(error)}"
    return out


def _numbers(column: Any) -> Array:
    if column.null_count:
        raise ValueError("some are missing")
    array = column.to_numpy(zero_copy_only=False)
    if array.dtype.kind not in "fiu":
        raise TypeError(f"{column.type}")
    return np.asarray(array)


def _part(columns: dict[str, Array], rows: Array) -> Part:
    """The frames of one episode, in order of `index`; in that of the file where only `frame_index` counts up one by one."""
    n, flaw = len(rows), ""
    index, frame = (columns[k][rows] if k in columns else np.arange(n) for k in ("index", "frame_index"))
    order = np.argsort(index, kind="stable")
    if not np.array_equal(index[order], index[order[0]] + np.arange(n)):
        order, flaw = np.arange(n), "its column index does not count up one by one"
    if not np.array_equal(frame[order], np.arange(n)):
        wrong = int((frame[order] != np.arange(n)).argmax())
        flaw = ("" if not flaw else f"{flaw}, and ") + f"its frame_index is {frame[order][wrong]}; expected {wrong}"
    rows = rows[order]
    tasks = columns["task_index"][rows] if "task_index" in columns else np.zeros(n, np.int64)
    times = columns["timestamp"][rows].astype(np.float64) if "timestamp" in columns else np.full(n, np.nan)
    return Part(rows, int(index[order[0]]), tuple(dict.fromkeys(int(t) for t in tasks)), times, flaw)


def in_order(file: DataFile, episodes: Sequence[tuple[int, int]]) -> dict[int, Part]:
    """The parts of a file by its rows in order, when its counters are damaged: episodes (index, length) one after another.

    Empty unless they fill the file and most rows of each say that they are of it.
    """
    if sum(n for _, n in episodes) != file.rows or len(file.episode) != file.rows:
        return {}
    out, begin = dict[int, Part](), 0
    for e, n in episodes:
        rows = np.arange(begin, begin + n)
        if 2 * (file.episode[rows] == e).sum() <= n:
            return {}
        found = _part(file.counters, rows)
        out[e] = replace(
            found, rows=rows, times=found.times[np.argsort(found.rows)], flaw=found.flaw or "a row was elsewhere"
        )
        begin += n
    return out


def feature_of(column: Any) -> tuple[str, list[int]] | None:
    """(dtype, shape) of an arrow column, in the words of info.json; None for what it has no word for."""
    import pyarrow as pa

    shape: list[int] = []
    kind: Any = column.type
    values: Any = column.chunk(0) if column.num_chunks else None
    while True:
        if isinstance(kind, pa.BaseExtensionType):
            kind, values = kind.storage_type, values.storage if values is not None else None
        elif pa.types.is_fixed_size_list(kind) or pa.types.is_list(kind) or pa.types.is_large_list(kind):
            inner = values.flatten() if values is not None else None
            if inner is None or not len(values) or len(inner) % len(values):
                return None
            shape.append(len(inner) // len(values))
            kind, values = kind.value_type, inner
        else:
            break
    if pa.types.is_struct(kind):
        names = {kind.field(i).name for i in range(kind.num_fields)}
        return ("image", []) if not shape and names == {"bytes", "path"} else None
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return "string", shape or [1]
    name = {"bool": "bool", "halffloat": "float16", "float": "float32", "double": "float64"}.get(str(kind), str(kind))
    return (name, shape or [1]) if name in schema.NUMBERS and 0 not in shape else None


def _film(path: Path, name: str) -> FilmFile:
    from palmar.data import video

    try:
        return FilmFile(**video.about(path))
    except BadFile:
        return FilmFile(why=f"'{name}' is damaged or not a video")
