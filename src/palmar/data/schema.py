"""What metadata of a data set may hold, checked once where it is read. Every message names file, field, value and bound.

Nothing here allocates by a number of the metadata: counts are compared with what the files hold first.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

from palmar.data import paths
from palmar.errors import BadFile
from palmar.units import UNITS, UNKNOWN

LARGEST = 2**40  # of a count
SIDE = 16_384  # px of a picture
WIDTH = 1_000_000  # numbers of a feature in one frame
FPS = 10_000  # frames a second
FEATURES = 1_000
LONG = 100_000  # characters of a text
NUMBERS = (
    "float16", "float32", "float64", "bool",
    "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
)  # fmt: skip
PICTURES = ("video", "image")
TEXTS = ("string", "language", "str")
KNOWN = (*UNITS, UNKNOWN)
COUNTERS = ("frame_index", "episode_index", "index", "task_index")


@dataclass(frozen=True, slots=True)
class Problem:
    """One value that is not as expected. field: such as 'features.action.shape'; root of the path is the file's."""

    field: str
    found: Any
    expected: str

    def error(self, file: Path) -> BadFile:
        found = "missing" if self.found is MISSING else shown(self.found)
        return BadFile(f"'{file}': {self.field} is {found}; expected {self.expected}. {paths.NEXT}")


class Words(str):
    """What was found where it is no value but said in words."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


class _Missing:
    def __repr__(self) -> str:
        return "missing"


MISSING = _Missing()


def shown(value: Any, most: int = 80) -> str:
    """A value in a message: at most `most` characters, and none that cannot be printed."""
    try:
        text = repr(value)
    except Exception as error:  # a value too deep or too long to be written
        text = f"a {type(value).__name__} ({type(error).__name__})"
    text = text.encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= most else f"{text[:most]}…"


# ------------------------------------------------------------------------------------------------ info.json


def whole(value: Any, least: int = 0, most: int = LARGEST) -> TypeGuard[int]:
    return type(value) is int and least <= value <= most


def number(value: Any) -> TypeGuard[float]:
    """A finite number; True and False are none, nor is an integer beyond what a float holds."""
    return type(value) in (int, float) and abs(value) < 1e300 and math.isfinite(value)


def text(value: Any, most: int = LONG) -> TypeGuard[str]:
    """A text that can be written as UTF-8."""
    return isinstance(value, str) and len(value) <= most and not any(0xD800 <= ord(c) < 0xE000 for c in value)


@dataclass(frozen=True, slots=True)
class Rule:
    """needed: the field must be there. others may be missing."""

    expected: str
    holds: Callable[[Any], bool]
    needed: bool = False


RULES: Mapping[str, Rule] = {
    "codebase_version": Rule("a version such as 'v3.0'", lambda v: text(v, 20), needed=True),
    "fps": Rule(f"a number of frames a second, above 0 and at most {FPS}", lambda v: number(v) and 1e-3 <= v <= FPS, True),
    "total_episodes": Rule(f"a whole number, 0 … {LARGEST}", whole, True),
    "total_frames": Rule(f"a whole number, 0 … {LARGEST}", whole, True),
    "total_tasks": Rule(f"a whole number, 0 … {LARGEST}", whole),
    "chunks_size": Rule("a whole number, 1 … 1000000", lambda v: whole(v, 1, 1_000_000)),
    "data_files_size_in_mb": Rule("a number above 0", lambda v: number(v) and 0 < v <= LARGEST),
    "video_files_size_in_mb": Rule("a number above 0", lambda v: number(v) and 0 < v <= LARGEST),
    "robot_type": Rule("a text of at most 200 characters, or null", lambda v: v is None or text(v, 200)),
    "splits": Rule(
        "a table of texts, such as {'train': '0:10'}",
        lambda v: v is None or (isinstance(v, dict) and all(text(k, 200) and text(s, 200) for k, s in v.items())),
    ),
}  # fmt: skip


def info_problems(info: Any) -> Iterator[Problem]:
    """All that is wrong with a parsed info.json by itself, field by field."""
    if not isinstance(info, dict):
        yield Problem("the whole", info, "an object with fps, features, total_episodes and so on")
        return
    for field, rule in RULES.items():
        value = info.get(field, MISSING)
        if value is MISSING if rule.needed else False:
            yield Problem(field, MISSING, rule.expected)
        elif value is not MISSING and not rule.holds(value):
            yield Problem(field, value, rule.expected)
    features = info.get("features", MISSING)
    good = isinstance(features, dict) and 0 < len(features) <= FEATURES
    if not good:
        yield Problem("features", features, f"a table of 1 … {FEATURES} features")
    table: dict[str, Any] = features if isinstance(features, dict) and good else {}
    for name, feature in table.items():
        yield from feature_problems(name, feature)
    films = [k for k, f in table.items() if isinstance(f, dict) and f.get("dtype") == "video"]
    for field, placeholders, needed in (
        ("data_path", paths.DATA_FIELDS, True), ("video_path", paths.VIDEO_FIELDS, bool(films)),
    ):  # fmt: skip
        value = info.get(field, MISSING)
        if needed or value not in (None, MISSING):
            yield from _template_problems(field, value, placeholders, len(films) if field == "video_path" else 0)


def feature_problems(name: Any, feature: Any) -> Iterator[Problem]:
    """What is wrong with one row of `features`."""
    field = f"features.{name if text(name, 200) else shown(name)}"
    if not text(name, 200) or paths.outside(name):
        yield Problem(field, name, "a name of at most 200 characters that can be part of a path")
        return
    if not isinstance(feature, dict):
        yield Problem(field, feature, "an object with dtype, shape and names")
        return
    dtype, shape = feature.get("dtype", MISSING), feature.get("shape", MISSING)
    known = isinstance(dtype, str) and dtype in (*NUMBERS, *PICTURES, *TEXTS)
    if not known:
        yield Problem(f"{field}.dtype", dtype, f"one of {', '.join((*NUMBERS, *PICTURES, *TEXTS[:2]))}")
    if not isinstance(shape, list | tuple) or len(shape) > 5 or not all(whole(n, 0, WIDTH) for n in shape):
        yield Problem(f"{field}.shape", shape, f"a list of at most 5 whole numbers, 0 … {WIDTH}")
    elif known and dtype in PICTURES and not (2 <= len(shape) <= 3 and all(1 <= n <= SIDE for n in shape)):
        yield Problem(f"{field}.shape", shape, f"height, width and channels of a picture, each 1 … {SIDE}")
    elif known and dtype in NUMBERS and not 1 <= math.prod(shape) <= WIDTH:
        yield Problem(f"{field}.shape", shape, f"1 … {WIDTH} numbers in all")
    elif name in COUNTERS and not (str(dtype).startswith(("int", "uint")) and list(shape) in ([], [1])):
        yield Problem(field, Words(f"{dtype}{list(shape)}"), "int64[1]: LeRobot's own counters are whole numbers")
    elif name == "timestamp" and not (str(dtype).startswith("float") and list(shape) in ([], [1])):
        yield Problem(field, Words(f"{dtype}{list(shape)}"), "float32[1], the time within the episode")
    if not _names(feature.get("names")):
        yield Problem(f"{field}.names", feature.get("names"), "null, a list of names, or a table of such lists")
    units = feature.get("units")
    if units is not None and not (isinstance(units, list) and all(isinstance(u, str) and u in KNOWN for u in units)):
        yield Problem(f"{field}.units", units, f"null, or a list of units: {', '.join(UNITS)}, or '' where not known")
    elif units and isinstance(shape, list | tuple) and len(units) != (count := _size(shape)) and count is not None:
        yield Problem(f"{field}.units", units, f"a unit for each of its {count} numbers")
    for about in ("info", "video_info"):
        if not isinstance(feature.get(about) or {}, dict):
            yield Problem(f"{field}.{about}", feature[about], "an object, or nothing")


def _size(shape: Sequence[Any]) -> int | None:
    """How many numbers a feature of this shape has; None for a shape that is none."""
    return math.prod(shape) if all(whole(n, 0, WIDTH) for n in shape) else None


def _names(names: Any, depth: int = 0) -> bool:
    if names is None or (depth and (text(names, 200) or whole(names, -LARGEST))):
        return True
    if isinstance(names, dict):
        return depth < 4 and all(text(k, 200) and _names(v, depth + 1) for k, v in names.items())
    return isinstance(names, list | tuple) and depth < 4 and all(_names(n, depth + 1) for n in names)


def _template_problems(field: str, value: Any, placeholders: tuple[str, ...], films: int) -> Iterator[Problem]:
    try:
        template = paths.parse(None if value is MISSING else value, placeholders)
        if films > 1 and "video_key" not in template.fields:
            yield Problem(field, value, f"the placeholder {{video_key}}, for there are {films} cameras")
    except paths.BadTemplate as why:
        yield Problem(field, value, f"a template of a path inside the set ({why})")


def check_info(file: Path, info: Any) -> dict[str, Any]:
    """The parsed info.json with its `fps` as written (29.97 stays so, 30.0 becomes 30). Raises `BadFile` for its first fault."""
    for problem in info_problems(info):
        raise problem.error(file)
    return {**info, "fps": int(info["fps"]) if info["fps"] == int(info["fps"]) else float(info["fps"])}


# ------------------------------------------------------------------------------------------------ meta/episodes


def row_problems(row: Mapping[str, Any], films: Sequence[str], fps: float) -> Iterator[Problem]:
    """What is wrong with one row of meta/episodes by itself. films: keys of the video features."""
    episode = row.get("episode_index", MISSING)
    if not whole(episode):
        yield Problem("episode_index", episode, "a whole number, 0 or more")
        return
    where = f"episode {episode}: "
    length, start, stop = (row.get(k, MISSING) for k in ("length", "dataset_from_index", "dataset_to_index"))
    for field, value, least in (
        ("length", length, 1), ("dataset_from_index", start, 0), ("dataset_to_index", stop, 1),
        ("data/chunk_index", row.get("data/chunk_index", MISSING), 0),
        ("data/file_index", row.get("data/file_index", MISSING), 0),
    ):  # fmt: skip
        if not whole(value, least, paths.LARGEST):
            yield Problem(where + field, value, f"a whole number, {least} or more")
            return
    if stop - start != length:
        yield Problem(where + "length", length, f"{stop} - {start} = {stop - start}, as its indices say")
    tasks = row.get("tasks")
    if tasks is not None and not (isinstance(tasks, list) and all(text(t) for t in tasks)):
        yield Problem(where + "tasks", tasks, "a list of texts")
    for key in films:
        place = [row.get(f"videos/{key}/{n}") for n in ("chunk_index", "file_index")]
        if place == [None, None]:
            continue  # this camera has no film of the episode, which the reader says where it matters
        for name, value in zip(("chunk_index", "file_index"), place, strict=True):
            if not whole(value, 0, paths.LARGEST):
                yield Problem(f"{where}videos/{key}/{name}", value, "a whole number, 0 or more")
        at, end = (row.get(f"videos/{key}/{n}") for n in ("from_timestamp", "to_timestamp"))
        if not number(at) or not 0 <= at < paths.LARGEST:
            yield Problem(f"{where}videos/{key}/from_timestamp", at, "a time in seconds, 0 or more")
        elif abs(at * fps - round(at * fps)) > 0.25:
            yield Problem(f"{where}videos/{key}/from_timestamp", at, f"a multiple of 1/fps = {1 / fps:.6g} s")
        if end is not None and not (number(end) and end < paths.LARGEST):
            yield Problem(f"{where}videos/{key}/to_timestamp", end, "a time in seconds")


def rows_problems(
    rows: Sequence[Mapping[str, Any]], info: Mapping[str, Any], films: Sequence[str]
) -> Iterator[Problem]:
    """What is wrong with all rows that count, in order, each by itself and together."""
    begin, fps = 0, float(info["fps"])
    ends: dict[tuple[Any, ...], tuple[float, int]] = {}
    for row in rows:
        bad = False
        for problem in row_problems(row, films, fps):
            bad = True
            yield problem
        if bad:
            return
        where = f"episode {row['episode_index']}: "
        if row["dataset_from_index"] != begin:
            yield Problem(
                where + "dataset_from_index", row["dataset_from_index"], f"{begin}, where the one before ends"
            )
            return
        begin = row["dataset_to_index"]
        for key in films:
            place = (key, row.get(f"videos/{key}/chunk_index"), row.get(f"videos/{key}/file_index"))
            if place[1] is None:
                continue
            at = float(row[f"videos/{key}/from_timestamp"])
            end, before = ends.get(place, (0.0, -1))
            if at < end - 0.5 / fps:
                yield Problem(
                    f"{where}videos/{key}/from_timestamp", at,
                    f"at least {end:.6g} s, where episode {before} ends in the same file",
                )  # fmt: skip
                return
            ends[place] = (at + row["length"] / fps, row["episode_index"])
    if begin != info["total_frames"]:
        yield Problem("total_frames", info["total_frames"], f"{begin}, the frames of the {len(rows)} episodes")


# ------------------------------------------------------------------------------------------------ stats and tasks


def stats_problems(stats: Any, features: Mapping[str, Any]) -> Iterator[Problem]:
    """What is wrong with a parsed stats.json. Features that info.json does not name are not looked at."""
    if not isinstance(stats, dict):
        yield Problem("the whole", stats, "an object, {feature: {min, max, mean, std, count, …}}")
        return
    for name, table in stats.items():
        if name not in features or features[name]["dtype"] in TEXTS:
            continue
        if not isinstance(table, dict):
            yield Problem(name, table, "an object with min, max, mean and std")
            continue
        shape = features[name]["shape"]
        sizes = {math.prod(shape)} if features[name]["dtype"] in NUMBERS else {1, 3, 4, *shape}
        yield from _stat_problems(name, table, sizes)


def _stat_problems(name: str, table: Mapping[str, Any], sizes: set[int]) -> Iterator[Problem]:
    flat: dict[str, list[float]] = {}
    for stat in ("min", "max", "mean", "std"):
        if stat not in table:
            yield Problem(f"{name}.{stat}", MISSING, "a list of numbers")
            return
    for stat, value in table.items():
        if stat not in ("min", "max", "mean", "std", "count", "q01", "q10", "q50", "q90", "q99"):
            continue
        numbers = list(_numbers(value, 0))
        wanted = {1} if stat == "count" else sizes
        if None in numbers or len(numbers) not in wanted or not _regular(value):
            yield Problem(f"{name}.{stat}", value, f"{' or '.join(map(str, sorted(wanted)))} finite numbers")
            return
        flat[stat] = [float(n) for n in numbers if n is not None]
    if len({len(v) for k, v in flat.items() if k != "count"}) > 1:
        yield Problem(name, {k: len(v) for k, v in flat.items()}, "as many numbers in every statistic")
        return
    if flat.get("count", [1.0])[0] < 1:
        yield Problem(f"{name}.count", table["count"], "1 or more frames")
    for low, mean, high, std in zip(flat["min"], flat["mean"], flat["max"], flat["std"], strict=True):
        slack = 1e-3 * max(1.0, abs(low), abs(high))
        if not low - slack <= mean <= high + slack or low > high:
            yield Problem(f"{name}.mean", mean, f"a number within min and max, {low} … {high}")
            return
        if not 0 <= std <= high - low + slack:
            yield Problem(f"{name}.std", std, f"0 … {high - low}, the distance of min and max")
            return


def _regular(value: Any) -> bool:
    """Whether nested lists are those of an array."""
    while isinstance(value, list):
        inner = [v if isinstance(v, list) else [] for v in value]
        if len({(isinstance(v, list), len(i)) for v, i in zip(value, inner, strict=True)}) > 1:
            return False
        value = [x for i in inner for x in i] or None
    return True


def _numbers(value: Any, depth: int) -> Iterator[float | None]:
    """The numbers of nested lists; None for what is none."""
    if isinstance(value, list) and depth < 5 and len(value) <= WIDTH:
        for one in value:
            yield from _numbers(one, depth + 1)
    elif isinstance(value, bool):
        yield float(value)
    else:
        yield value if number(value) else None


def task_problems(indices: Sequence[Any], texts: Sequence[Any]) -> Iterator[Problem]:
    """What is wrong with the columns of tasks.parquet."""
    for i, words in zip(indices, texts, strict=True):
        if not whole(i):
            yield Problem("task_index", i, "a whole number, 0 or more")
            return
        if not text(words):
            yield Problem(f"task {i}", words, f"a text of at most {LONG} characters")
    if sorted(indices) != list(range(len(indices))):
        yield Problem("task_index", sorted(indices)[:10], f"each of 0 … {len(indices) - 1} once")
