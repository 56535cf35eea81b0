"""Names, paths and schemas of LeRobotDataset v3.0. Source: `datasets/utils.py` of lerobot 0.4.4 and 0.6.1."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from palmar.data import schema
from palmar.data import stats as st
from palmar.data.durable import NEW, OLD, STAGING
from palmar.data.paths import NEXT
from palmar.embodiments import Embodiment
from palmar.errors import BadFile, regular_file, unusable
from palmar.types import Array

VERSION = "v3.0"
CHUNK = 1000  # files in a chunk folder
DATA_MB, VIDEO_MB = 100, 200  # a shared file is closed at this size
INFO, STATS, TASKS = "meta/info.json", "meta/stats.json", "meta/tasks.parquet"
EXTRA = "meta/palmar_episodes.jsonl"  # no place for it in the format; own columns would break lerobot's resume
DATA_PATH = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
EPISODES_PATH = "meta/episodes/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO_PATH = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
STATE, ACTION, IMAGES = "observation.state", "action", "observation.images."
PRIVILEGED = "observation.environment_state"
REWARD, DONE, SUCCESS = "next.reward", "next.done", "next.success"
INTERVENTION = "intervention"  # LeRobot's name for frames during which a person drove
DEFAULTS = {"timestamp": "float32"} | dict.fromkeys(("frame_index", "episode_index", "index", "task_index"), "int64")
STAT_NAMES = ("min", "max", "mean", "std", "count", "q01", "q10", "q50", "q90", "q99")

Feature = dict[str, Any]
Row = dict[str, Any]


def features_of(
    robot: Embodiment,
    fps: float,
    privileged_names: Sequence[str] = (),
    codec: str = "h264",
    pix_fmt: str = "yuv420p",
    interventions: bool = False,
) -> dict[str, Feature]:
    """The `features` table of info.json for what `robot` records. State and action have a row that LeRobot does not know and
    does not read: `units`, one of `units.UNITS` for each number. interventions: with a column of who drove."""
    features = {
        STATE: _vector(robot.state_names) | {"units": [m.unit for m in robot.state]},
        ACTION: _vector(robot.action_names) | {"units": list(robot.action_units)},
    }
    if privileged_names:
        features[PRIVILEGED] = _vector(privileged_names)
    for cam in robot.cameras:
        features[IMAGES + cam.name] = {
            "dtype": "video",
            "shape": [cam.height, cam.width, 3],
            "names": ["height", "width", "channels"],
            "info": {
                "video.height": cam.height, "video.width": cam.width, "video.codec": codec, "video.pix_fmt": pix_fmt,
                "video.is_depth_map": False, "video.fps": fps, "video.channels": 3, "has_audio": False,
                "is_depth_map": False,
            },
        }  # fmt: skip
    marks = {REWARD: "float32", DONE: "bool", SUCCESS: "bool"} | ({INTERVENTION: "bool"} if interventions else {})
    for name, dtype in {**marks, **DEFAULTS}.items():
        features[name] = {"dtype": dtype, "shape": [1], "names": None}
    return features


def _vector(names: Sequence[str]) -> Feature:
    return {"dtype": "float32", "shape": [len(names)], "names": list(names)}


def empty_info(robot: str, fps: float, features: dict[str, Feature]) -> dict[str, Any]:
    """info.json of a data set with no episode yet."""
    video = any(f["dtype"] == "video" for f in features.values())
    return {
        "codebase_version": VERSION, "robot_type": robot, "total_episodes": 0, "total_frames": 0, "total_tasks": 0,
        "chunks_size": CHUNK, "data_files_size_in_mb": DATA_MB, "video_files_size_in_mb": VIDEO_MB, "fps": fps,
        "splits": {}, "data_path": DATA_PATH, "video_path": VIDEO_PATH if video else None, "features": features,
    }  # fmt: skip


def video_keys(features: dict[str, Feature]) -> list[str]:
    return [k for k, f in features.items() if f["dtype"] == "video"]


def names_of(feature: Feature) -> tuple[str, ...]:
    """Names of a vector's dimensions, from any of lerobot's shapes: list, lists in it, {group: list}, {name: index}, null."""
    names = _flat(feature.get("names"))
    width = int(np.prod(feature["shape"]))
    return names if len(names) == width else tuple(f"{i}" for i in range(width))


def units_of(feature: Feature) -> tuple[str, ...]:
    """The unit of each of a vector's dimensions, as palmar writes them; none where the feature states none."""
    return tuple(feature.get("units") or ())


def _flat(names: Any) -> tuple[str, ...]:
    if isinstance(names, dict):
        places = list(names.values())
        if all(type(i) is int for i in places):
            return tuple(str(n) for n in sorted(names, key=lambda n: names[n]))
        return tuple(n for group in places for n in _flat(group))
    if isinstance(names, list | tuple):
        return tuple(n for name in names for n in _flat(name))
    return () if names is None else (str(names),)


def following(chunk: int, file: int) -> tuple[int, int]:
    """The chunk and file index after this one."""
    return (chunk, file + 1) if file < CHUNK - 1 else (chunk + 1, 0)


def camera_name(key: str) -> str:
    return key.removeprefix(IMAGES) if key.startswith(IMAGES) else key.removeprefix("observation.")


# ------------------------------------------------------------------------------------------------ arrow tables


def data_table(columns: dict[str, Array], features: dict[str, Feature]) -> Any:
    """One episode's frames as an arrow table. columns: {feature: [n] or [n, width]}; video features have no column.

    No `huggingface` schema metadata: lerobot passes its own features, and older `datasets` cannot parse newer metadata.
    """
    import pyarrow as pa

    arrays, fields = [], []
    for name, feature in features.items():
        if feature["dtype"] in ("video", "image"):
            continue
        kind = pa.from_numpy_dtype(np.dtype(feature["dtype"]))
        value = np.ascontiguousarray(columns[name], dtype=feature["dtype"])
        width = int(np.prod(feature["shape"]))
        if width == 1:
            arrays.append(pa.array(value.reshape(-1), kind))
        else:
            arrays.append(pa.FixedSizeListArray.from_arrays(pa.array(value.reshape(-1), kind), width))
        fields.append(pa.field(name, arrays[-1].type))
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))


def tasks_table(tasks: Sequence[str]) -> Any:
    """tasks.parquet: the text must be the pandas index, or lerobot silently answers with integers."""
    import pyarrow as pa

    def column(name: str, pandas: str, kind: str) -> Row:
        return {"name": name, "field_name": name, "pandas_type": pandas, "numpy_type": kind, "metadata": None}

    pandas = {
        "index_columns": ["task"],
        "column_indexes": [{"name": None, "field_name": None, "pandas_type": "unicode", "numpy_type": "object",
                            "metadata": {"encoding": "UTF-8"}}],
        "columns": [column("task_index", "int64", "int64"), column("task", "unicode", "object")],
        "creator": {"library": "pyarrow", "version": pa.__version__},
        "pandas_version": "2.2.0",
    }  # fmt: skip
    table = pa.table({"task_index": pa.array(range(len(tasks)), pa.int64()), "task": pa.array(tasks, pa.string())})
    return table.replace_schema_metadata({"pandas": json.dumps(pandas)})


def episodes_table(rows: Sequence[Row], features: dict[str, Feature]) -> Any:
    """Rows of meta/episodes, every column typed even when there is nothing to guess the type from."""
    import pyarrow as pa

    def kind(column: str) -> Any:
        if column == "tasks":
            return pa.list_(pa.string())
        if column.endswith("_timestamp"):
            return pa.float64()
        if (about := st.stat_of(column)) is None:
            return pa.int64() if column.endswith("index") or column == "length" else None
        feature, stat = about
        if feature not in features:
            return None
        dtype = features[feature]["dtype"]
        if stat == "count":
            return pa.list_(pa.int64())
        if dtype in ("video", "image"):
            return pa.list_(pa.list_(pa.list_(pa.float64())))
        typed = stat in ("min", "max") and dtype in ("int64", "bool")
        return pa.list_(pa.from_numpy_dtype(np.dtype(dtype)) if typed else pa.float64())

    arrays = {}
    for column in dict.fromkeys(c for row in rows for c in row):
        try:
            arrays[column] = pa.array([row.get(column) for row in rows], kind(column))
        except (pa.ArrowException, ValueError, TypeError, OverflowError) as error:
            raise BadFile(
                f"meta/episodes: column {column} is no {kind(column)}: {first_line(error)}. {NEXT}"
            ) from error
    return pa.table(arrays)


def parquet_bytes(*tables: Any) -> bytes:
    """A parquet file with one row group a table."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, tables[0].schema, compression="snappy") as writer:
        for table in tables:
            writer.write_table(table, row_group_size=max(1, len(table)))
    return sink.getvalue().to_pybytes()


def read_parquet(path: Path, columns: Sequence[str] | None = None) -> Any:
    """A parquet file as an arrow table. Raises `BadFile` naming the file when it is missing or damaged."""
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(regular_file(path)) as file:
            return file.read(columns=None if columns is None else list(columns))
    except BadFile:
        raise
    except FileNotFoundError:
        raise BadFile(f"'{path}' is missing. {NEXT}") from None
    except Exception as error:  # arrow has many classes for "this is not parquet"
        raise BadFile(f"'{path}' is damaged: {first_line(error)}. {NEXT}") from error


def first_line(error: BaseException) -> str:
    """What another library says, in one line of at most 200 characters."""
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


HOLDS = "meta/info.json, data/chunk-000/file-000.parquet and so on, and videos/"


def check_there(root: Path) -> None:
    """Raise `BadFile` for a folder that is no data set at all, and so nothing that could be mended."""
    places = (root, root / NEW, root / OLD, root / STAGING)  # where a crash may have left all there is
    if any((place / INFO).exists() for place in places):
        return
    if any(next((place / part).glob("chunk-*/*"), None) for place in places for part in ("data", "meta/episodes")):
        return
    inside = sorted(str(p.parent.parent) for p in root.glob(f"*/{INFO}"))
    above = [str(root.parent)] if (root.parent / INFO).exists() else []
    guess = f" Did you mean '{(inside + above)[0]}'?" if inside + above else ""
    raise BadFile(
        f"'{root}' is no data set; a LeRobot v3 data set holds {HOLDS}.{guess} Next: give the folder that holds meta/, or "
        "record one: palmar collect --out FOLDER"
    )


def json_bytes(value: Any) -> bytes:
    """UTF-8; half of a surrogate pair, which UTF-8 cannot hold, as JSON's own escape."""
    return json.dumps(value, indent=4, ensure_ascii=False).encode("utf-8", "backslashreplace")


def check_version(root: Path, info: dict[str, Any]) -> None:
    """Raise `BadFile` for another version of the format, which this one's rules do not fit."""
    if not str(info.get("codebase_version", "")).startswith("v3."):
        raise BadFile(
            f"'{root / INFO}' says version {info.get('codebase_version')}; expected {VERSION}. "
            f"Next: palmar import {root} --out FOLDER, which makes a {VERSION} set of a v2 one"
        )


def read_json(path: Path, most: int = 256 << 20) -> Any:
    """A parsed JSON file of at most `most` bytes. Raises `BadFile`."""
    try:
        size = regular_file(path).stat().st_size
        if size > most:
            raise BadFile(f"'{path}' has {size} bytes; expected at most {most}. {NEXT}")
        return json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise BadFile(f"'{path}' is missing. {NEXT}") from None
    except (ValueError, RecursionError) as error:
        raise BadFile(f"'{path}' is not JSON: {first_line(error)}. {NEXT}") from error
    except OSError as error:
        raise unusable(error, path) from error


def read_tasks(root: Path) -> list[str]:
    """Task texts in the order of task_index, whichever column pandas kept the text in. Raises `BadFile`."""
    table = read_parquet(root / TASKS)
    name = next((c for c in ("task", "__index_level_0__") if c in table.column_names), None)
    if name is None or "task_index" not in table.column_names:
        raise BadFile(f"'{root / TASKS}' has columns {table.column_names}; expected task_index and task. {NEXT}")
    indices, texts = python_values(table["task_index"], root / TASKS), python_values(table[name], root / TASKS)
    for problem in schema.task_problems(indices, texts):
        raise problem.error(root / TASKS)
    return [text for _, text in sorted(zip(indices, texts, strict=True))]


def python_values(column: Any, path: Path) -> list[Any]:
    """An arrow column (or table) as Python values. Raises `BadFile` for what Python has no value for."""
    try:
        return list(column.to_pylist())
    except Exception as error:  # a time beyond the year 9999, text that is no UTF-8
        raise BadFile(f"'{path}' holds a value that cannot be read: {first_line(error)}. {NEXT}") from error


def read_extras(root: Path) -> dict[int, Row]:
    """What palmar keeps of episodes beside the format, by index; an episode's last line counts, half lines do not."""
    path, found = root / EXTRA, dict[int, Row]()
    for line in regular_file(path).read_text("utf-8", errors="replace").split("\n") if path.exists() else []:
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(row, dict) and schema.whole(row.get("episode_index")):
            row["seed"] = (
                row.get("seed") if schema.whole(row.get("seed"), -(schema.LARGEST**2), schema.LARGEST**2) else None
            )
            found[row["episode_index"]] = row
    return found
