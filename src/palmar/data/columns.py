"""The numbers of a data set: features of its data files as arrays, and the place in them of each frame's pictures."""

from __future__ import annotations

import io
import math
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from palmar.data import format as fmt
from palmar.data import schema
from palmar.data.layout import Layout
from palmar.data.paths import inside
from palmar.errors import BadFile
from palmar.types import Array

KEEP = 8  # row groups of pictures kept in memory


@dataclass(frozen=True, slots=True)
class Rows:
    """Where the frames are: `files[file[i]]` holds frame i of the data set in its row `row[i]`; both int64[frames]."""

    files: tuple[Path, ...]
    file: Array
    row: Array


def read_columns(layout: Layout, names: Sequence[str]) -> tuple[dict[str, Array], Rows]:
    """{feature: [frames] or [frames, …]} of the features named, in the order of the episodes, and where each frame is.

    Raises `BadFile` when a file is missing, damaged, lacks a column, or does not hold the frames the metadata promise.
    """
    import pyarrow as pa

    counters = [k for k in ("index", "frame_index", "episode_index") if k in layout.features]
    wanted = list(dict.fromkeys([*names, *counters]))
    files = tuple(dict.fromkeys(e.data for e in layout.episodes))
    if not files:
        empty = {k: np.empty((0, *_tail(layout.features[k])), layout.features[k]["dtype"]) for k in names}
        return empty, Rows((), np.empty(0, np.int64), np.empty(0, np.int64))
    tables = [_table(path, wanted, layout) for path in files]
    file = np.repeat(np.arange(len(files)), [len(t) for t in tables])
    row = np.concatenate([np.arange(len(t)) for t in tables])
    order = _order(layout, tables)
    table = pa.concat_tables(tables, promote_options="permissive")
    if not np.array_equal(order, np.arange(len(table))):
        table = table.take(pa.array(order))
    return {k: to_numpy(table[k], layout.features[k], k, layout.root) for k in names}, Rows(
        files, file[order], row[order]
    )


def _table(path: Path, wanted: list[str], layout: Layout) -> Any:
    table = fmt.read_parquet(path, wanted)
    if lacking := [k for k in wanted if k not in table.column_names]:
        raise BadFile(f"'{path}' lacks the columns {lacking}, which info.json names. {fmt.NEXT}")
    for name in wanted:
        if problem := column_problem(name, table[name], layout.features[name]):
            raise problem.error(path)
    return table


def column_problem(name: str, column: Any, feature: fmt.Feature) -> schema.Problem | None:
    """What keeps an arrow column from being the feature of info.json; None when it fits. Nothing is copied.

    Whole numbers and floats of another width than info.json says pass; rows that lack a value, or hold another number of
    them than the shape, do not.
    """
    import pyarrow as pa

    shape, dtype, kind = list(feature["shape"]), str(feature["dtype"]), column.type
    if dtype not in schema.NUMBERS:
        return schema.Problem(
            f"column {name}", schema.Words(f"of type {column.type}"), "numbers, not texts or pictures"
        )
    width = math.prod(shape)
    expected = f"{dtype}{shape}, as features.{name} of info.json says"
    values = column.chunks
    while True:
        if any(v.null_count for v in values):
            return schema.Problem(
                f"column {name}", schema.Words(f"empty in {sum(v.null_count for v in values)} places"), expected
            )
        if isinstance(kind, pa.BaseExtensionType):
            values, kind = [v.storage for v in values], kind.storage_type
        elif pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
            values, kind = [v.flatten() for v in values], kind.value_type
        else:
            break
    family = {"b": pa.types.is_boolean, "f": pa.types.is_floating}.get(np.dtype(dtype).kind, pa.types.is_integer)
    count = sum(len(v) for v in values)
    if not family(kind):
        return schema.Problem(f"column {name}", schema.Words(f"of type {column.type}"), expected)
    if count != len(column) * width or not _even(column, width):
        return schema.Problem(
            f"column {name}", schema.Words(f"{count} values in {len(column)} rows"), f"{width} a row: {expected}"
        )
    return None


def _even(column: Any, width: int) -> bool:
    """Every row holds `width` values, looking at the outermost list where it is of one level."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = column.type
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind)) or pa.types.is_nested(kind.value_type):
        return True
    return not len(column) or pc.min_max(pc.list_value_length(column)).as_py() == {"min": width, "max": width}


def _order(layout: Layout, tables: Sequence[Any]) -> Array:
    """Rows of the joined tables in the order of the frames. Raises `BadFile` when there are others than expected."""
    if all(e.alone for e in layout.episodes):
        orders, begin = [], 0
        for e, table in zip(layout.episodes, tables, strict=True):
            if len(table) != e.length:
                raise BadFile(
                    f"'{e.data}' holds {len(table)} frames; the metadata count {e.length} in episode {e.index}. {fmt.NEXT}"
                )
            frame = table["frame_index"].to_numpy() if "frame_index" in table.column_names else np.arange(e.length)
            orders.append(begin + np.argsort(frame, kind="stable"))
            begin += e.length
        return np.concatenate(orders)
    if any("index" not in t.column_names or "episode_index" not in t.column_names for t in tables):
        raise BadFile(f"the data files of '{layout.root}' lack the columns index and episode_index. {fmt.NEXT}")
    index, episode = (
        np.concatenate([t[k].to_numpy(zero_copy_only=False) for t in tables]) for k in ("index", "episode_index")
    )
    keep = np.isin(episode, np.arange(len(layout.episodes)))
    order = np.flatnonzero(keep)[np.argsort(index[keep], kind="stable")]
    total = layout.info["total_frames"]
    if total != layout.frames or not np.array_equal(index[order], np.arange(total)):
        raise BadFile(
            f"the data files of '{layout.root}' hold {len(order)} frames where info.json counts {total}, or in another "
            f"order. {fmt.NEXT}"
        )
    expected = np.repeat(np.arange(len(layout.episodes)), [e.length for e in layout.episodes])
    if (wrong := episode[order] != expected).any():
        i = int(wrong.argmax())
        raise BadFile(
            f"frame {i} of '{layout.root}' says episode_index {episode[order][i]}; expected {expected[i]}, as "
            f"meta/episodes says. {fmt.NEXT}"
        )
    return order


def _tail(feature: fmt.Feature) -> tuple[int, ...]:
    """Axes after the frame axis: shape [1] is a scalar column."""
    shape = tuple(feature["shape"])
    return () if shape == (1,) else shape


def read_rows(rows: Rows, start: int, stop: int, keys: Sequence[str]) -> Any:
    """Frames start … stop-1 as an arrow table of columns as they are in the files, the pictures among them. Raises `BadFile`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    parts = []
    for file in dict.fromkeys(rows.file[start:stop].tolist()):
        where, path = rows.row[start:stop][rows.file[start:stop] == file], rows.files[file]
        ends = _row_groups(path)
        first, last = (int(np.searchsorted(ends, r, side="right")) for r in (where.min(), where.max()))
        begin = int(ends[first - 1]) if first else 0
        with pq.ParquetFile(path) as opened:
            table = opened.read_row_groups(list(range(first, last + 1)), columns=list(keys))
        if lacking := [k for k in keys if k not in table.column_names]:
            raise BadFile(f"'{path}' lacks the columns {lacking}, which info.json names. {fmt.NEXT}")
        parts.append(table.take(pa.array(where - begin)))
    return pa.concat_tables(parts).replace_schema_metadata(None)


def to_numpy(column: Any, feature: fmt.Feature, name: str, root: Path) -> Array:
    """An arrow column (scalar, fixed-size or plain list, nested or not) as [n, …] of the feature's dtype."""
    chunks = column.combine_chunks()
    n = len(chunks)
    while hasattr(chunks, "storage"):
        chunks = chunks.storage
    while str(chunks.type).startswith(("list", "fixed_size_list", "large_list")):
        chunks = chunks.flatten()
    try:
        array = chunks.to_numpy(zero_copy_only=False).astype(feature["dtype"], copy=False)
        return np.ascontiguousarray(array.reshape(n, *_tail(feature)))
    except (ValueError, TypeError, OverflowError) as error:
        raise BadFile(
            f"column '{name}' of '{root}' holds {len(chunks)} values of {chunks.type} in {n} rows; info.json says "
            f"{feature['dtype']}{list(feature['shape'])} ({error}). {fmt.NEXT}"
        ) from error


class Stills:
    """Pictures kept as PNG or JPEG bytes in a column of the data files. Only the row groups last used are in memory."""

    def __init__(self, root: Path, rows: Rows) -> None:
        self.root, self.rows = root, rows
        self._kept: OrderedDict[tuple[int, int, str], tuple[int, Any]] = OrderedDict()
        self._ends: dict[int, Array] = {}
        self._turn = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return Stills, (self.root, self.rows)

    def read(self, key: str, i: int, size: tuple[int, int]) -> Array:
        """uint8[height, width, 3] of frame i of the data set. Raises `BadFile` for another size than (height, width)."""
        from PIL import Image

        path, where = self.rows.files[int(self.rows.file[i])], f"frame {i} of '{key}'"
        try:
            with Image.open(io.BytesIO(self.encoded(key, i))) as picture:
                if picture.size != (size[1], size[0]):
                    raise BadFile(
                        f"{where} in '{path}' is {picture.height}×{picture.width} px; info.json says {size[0]}×{size[1]}. "
                        "Next: correct the shape in meta/info.json"
                    )
                return np.asarray(picture.convert("RGB"))
        except (OSError, ValueError, Image.DecompressionBombError) as error:
            raise BadFile(f"{where} in '{path}' is no picture ({error}). {fmt.NEXT}") from error

    def encoded(self, key: str, i: int) -> bytes:
        """The bytes of that picture as they are stored, in the data file or in a file of its own. Raises `BadFile`."""
        cell = self._cell(key, i)
        try:
            data: bytes = cell["bytes"] if cell["bytes"] is not None else self._outside(cell["path"]).read_bytes()
        except (OSError, ValueError, TypeError, KeyError) as error:
            path = self.rows.files[int(self.rows.file[i])]
            raise BadFile(f"frame {i} of '{key}' in '{path}' is no picture ({error}). {fmt.NEXT}") from error
        return data

    def _outside(self, name: str) -> Path:
        return inside(self.root, name)

    def _cell(self, key: str, i: int) -> Any:
        file, row = int(self.rows.file[i]), int(self.rows.row[i])
        with self._turn:
            ends = self._ends.get(file)
            if ends is None:
                ends = self._ends[file] = _row_groups(self.rows.files[file])
            group = int(np.searchsorted(ends, row, side="right"))
            kept = self._kept.get((file, group, key))
            if kept is None:
                begin = int(ends[group - 1]) if group else 0
                kept = begin, _row_group(self.rows.files[file], group, key)
                self._kept[file, group, key] = kept
                while len(self._kept) > KEEP:
                    self._kept.popitem(last=False)
            self._kept.move_to_end((file, group, key))
        return kept[1][row - kept[0]].as_py()


def _row_groups(path: Path) -> Array:
    """int64: the row after the last of each row group."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        return np.cumsum([file.metadata.row_group(g).num_rows for g in range(file.num_row_groups)])


def _row_group(path: Path, group: int, key: str) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            return file.read_row_group(group, columns=[key])[key]
    except (pa.ArrowException, OSError, KeyError) as error:
        raise BadFile(
            f"'{path}' has no readable column '{key}' ({str(error).splitlines()[0][:200]}). {fmt.NEXT}"
        ) from error
