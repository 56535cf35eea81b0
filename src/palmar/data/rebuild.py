"""info.json rebuilt from the files themselves: what is right stays as it is, what is damaged comes from the data and videos."""

from __future__ import annotations

import copy
import io
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from palmar.data import format as fmt
from palmar.data import paths, schema
from palmar.data.survey import Survey
from palmar.errors import BadFile

Rows = Mapping[int, fmt.Row]
SIZES = {"chunks_size": fmt.CHUNK, "data_files_size_in_mb": fmt.DATA_MB, "video_files_size_in_mb": fmt.VIDEO_MB}


def rebuild_info(root: Path, raw: Any, rows: Rows, found: Survey) -> tuple[dict[str, Any], list[str]]:
    """(info.json as the files say, what was changed and why). raw: what was read, None when it cannot be.

    The counts are those of `rows`, and not final. Raises `BadFile` when the frame rate or the features cannot be told.
    """
    notes: list[str] = []
    info: dict[str, Any] = copy.deepcopy(raw) if isinstance(raw, dict) else {}
    if not isinstance(raw, dict):
        notes.append("the whole of it: it cannot be read")
    wrong = {p.field for p in schema.info_problems(info)}
    version = info.get("codebase_version")
    if "codebase_version" in wrong or not str(version).startswith("v3."):
        info["codebase_version"] = fmt.VERSION
        notes.append(f"codebase_version was {schema.shown(version)}")
    for field, usual in SIZES.items():
        if field in wrong or field not in info:
            notes.append(f"{field} was {schema.shown(info.get(field))}")
            info[field] = usual
    if "robot_type" in wrong or "robot_type" not in info:
        notes.append(f"robot_type was {schema.shown(info.get('robot_type'))}: it is unknown now")
        info["robot_type"] = None
    features, films = _features(root, info.get("features"), rows, found, notes)
    info["features"] = features
    info["data_path"] = _data_path(info.get("data_path"), rows, found, notes)
    info["video_path"] = _video_path(info.get("video_path"), rows, films, found, notes)
    _complete_films(features, films, info["video_path"], rows, found, notes)
    info["fps"] = _fps(info.get("fps"), "fps" in wrong, found, notes)
    order = fmt.empty_info("", 0, features)
    return {k: info[k] for k in order if k in info} | {k: v for k, v in info.items() if k not in order}, notes


# ------------------------------------------------------------------------------------------------ features


def _features(
    root: Path, old: Any, rows: Rows, found: Survey, notes: list[str]
) -> tuple[dict[str, fmt.Feature], list[str]]:
    """Every column of the data files and every camera of meta/episodes, in the order info.json had; and which are cameras
    with videos, whose rows are as they were (`_complete_films`)."""
    old = old if isinstance(old, dict) else {}
    columns = _columns(old, found)
    films = {
        c.removeprefix("videos/").removesuffix("/file_index")
        for row in rows.values() for c in row if c.startswith("videos/") and c.endswith("/file_index") and row[c] is not None
    }  # fmt: skip
    if not rows:
        films = {k for k in {n.split("/")[1] for n in found.films if n.startswith("videos/")} if not paths.outside(k)}
    if not columns:
        raise BadFile(f"'{root}' has no data file that can be read: {_whys(found.data)}. {_ELSEWHERE}")
    there = {**dict.fromkeys(columns), **dict.fromkeys(sorted(films - set(columns)))}
    lost, spare = [k for k in there if k not in old], [k for k in old if k not in there and not _other(old[k])]
    renamed = {}
    for key in lost:
        like = [k for k in spare if _alike(old[k], key, columns)]
        if len(like) == 1:
            renamed[like[0]] = key
            spare.remove(like[0])
    out: dict[str, fmt.Feature] = {}
    for name, feature in [(renamed.get(k, k), f) for k, f in old.items()] + [(k, None) for k in lost]:
        if name in out:
            continue
        if name in columns:
            out[name] = _numeric(root, name, feature, columns[name], found, notes)
        elif name in films:
            out[name] = dict(feature) if isinstance(feature, dict) else {}
        elif _other(feature) and not any(schema.feature_problems(name, feature)):
            out[name] = feature  # texts that no data file holds
        else:
            notes.append(f"features had '{_plain(name)}', of which no file holds anything")
    notes += [f"features lacked '{k}'" for k in lost if k not in renamed.values()]
    notes += [f"features.{_plain(a)} is '{b}' in the files" for a, b in renamed.items()]
    return out, [k for k in out if k in films and k not in columns]


def _columns(old: Mapping[str, Any], found: Survey) -> dict[str, tuple[str, list[int]]]:
    """What the columns of the data files are, by the most rows. A file of which a column is missing, or is something else, is
    damaged where the others have it; one that only some have, and info.json does not name, is no feature."""
    files = {n: f for n, f in found.data.items() if not f.why and f.rows}
    total, votes = sum(f.rows for f in files.values()), dict[str, Counter[tuple[str, tuple[int, ...]]]]()
    for file in files.values():
        for name, (dtype, shape) in file.columns.items():
            votes.setdefault(name, Counter())[dtype, tuple(shape)] += file.rows
    out: dict[str, tuple[str, list[int]]] = {}
    for name, counts in votes.items():
        said = old.get(name) if not any(schema.feature_problems(name, old.get(name))) else None
        named = next((k for k in counts if said and k[0] == said["dtype"] and _same(said["shape"], list(k[1]))), None)
        kind, count = counts.most_common(1)[0]
        if named and 2 * count <= total:
            kind, count = named, total
        if 2 * count > total or said:
            out[name] = kind[0], list(kind[1])
    for path, file in files.items():
        for name, (dtype, shape) in out.items():
            if file.columns.get(name) != (dtype, shape):
                file.why = f"'{path}' has no column {name} of {dtype}{shape}, as the others have"
    return out


_ELSEWHERE = "Next: copy the data files again from their source"


def _plain(name: Any) -> str:
    return schema.shown(name).strip("'")


def _whys(files: Mapping[str, Any]) -> str:
    return next((f.why for f in files.values() if f.why), "there is none")


def _other(feature: Any) -> bool:
    return isinstance(feature, dict) and feature.get("dtype") in schema.TEXTS


def _alike(feature: Any, key: str, columns: Mapping[str, tuple[str, list[int]]]) -> bool:
    """Whether a row of features, of which there is nothing, may be that of the column or camera that has no row."""
    if not isinstance(feature, dict):
        return False
    if key not in columns:
        return feature.get("dtype") == "video"
    dtype, shape = columns[key]
    return feature.get("dtype") == dtype and (dtype == "image" or feature.get("shape") == shape)


def _numeric(
    root: Path, name: str, old: Any, found: tuple[str, list[int]], survey: Survey, notes: list[str]
) -> fmt.Feature:
    dtype, shape = found
    good = isinstance(old, dict) and not any(schema.feature_problems(name, old))
    if good and old["dtype"] == dtype:
        pictured = dtype == "image" and _still_size(root, name, survey) in (None, *_readings(old["shape"]))
        if pictured or dtype == "string" or (dtype != "image" and _same(old["shape"], shape)):
            return dict(old)
    if good and dtype == "string" and old["dtype"] in schema.TEXTS:
        return dict(old)
    if dtype == "image":
        size = _still_size(root, name, survey) or (0, 0)
        shape = [*size, 3]
    new: fmt.Feature = {**old} if isinstance(old, dict) else {}
    new |= {"dtype": dtype, "shape": shape, "names": None}
    names = old.get("names") if isinstance(old, dict) else None
    if not any(schema.feature_problems(name, new | {"names": names})) and _fitting(names, shape):
        new["names"] = names
    for about in ("info", "video_info"):
        if about in new and not isinstance(new[about] or {}, dict):
            del new[about]
    if "units" in new and any(schema.feature_problems(name, new)):
        del new["units"]
    if old is not None:
        said = (
            f"{schema.shown(old.get('dtype'))}{schema.shown(old.get('shape'))}" if isinstance(old, dict) else "damaged"
        )
        unnamed = "" if names is None or new["names"] is not None else "; its names do not fit and are numbers now"
        notes.append(f"features.{name} was {said}; the data files hold {dtype}{shape}{unnamed}")
    return new


def _same(a: Any, b: list[int]) -> bool:
    return (list(a) or [1]) == b


def _fitting(names: Any, shape: list[int]) -> bool:
    return names is None or len(fmt._flat(names)) in (math.prod(shape), len(shape))


def _readings(shape: Any) -> list[tuple[int, int]]:
    """(height, width) of a picture's shape, channel-last and channel-first."""
    n = [int(s) for s in shape]
    return [(n[0], n[1])] if len(n) == 2 else [(n[0], n[1]), (n[1], n[2])]


def _still_size(root: Path, name: str, found: Survey) -> tuple[int, int] | None:
    """(height, width) of the first picture of a column; None when there is none that can be opened."""
    import pyarrow.parquet as pq
    from PIL import Image

    for path, file in found.data.items():
        if name in file.columns and file.rows:
            try:
                with pq.ParquetFile(root / path) as parquet:
                    cell = parquet.read_row_group(0, columns=[name])[name][0].as_py()
                with Image.open(io.BytesIO(cell["bytes"])) as picture:
                    return picture.height, picture.width
            except Exception:  # no picture, or none inside the file: the reader says so when it is wanted
                return None
    return None


def _complete_films(
    features: dict[str, fmt.Feature], keys: list[str], template: str | None, rows: Rows, found: Survey, notes: list[str]
) -> None:
    """Size and kind of every camera from the header of its first video that can be read."""
    for key in keys:
        feature = features[key]
        names = _film_names(template, rows, key) if rows else [n for n in found.films if f"/{key}/" in n]
        film = next((found.films[n] for n in names if n in found.films and not found.films[n].why), None)
        good = not any(schema.feature_problems(key, feature)) and feature["dtype"] == "video"
        if film is None and not good:
            raise BadFile(f"features.{key} of info.json is damaged, and no video of it can be read. {_ELSEWHERE}")
        if film is None or (good and film.size in _readings(feature["shape"])):
            continue
        height, width = film.size
        if feature:
            said = f"{schema.shown(feature.get('dtype'))}{schema.shown(feature.get('shape'))}"
            notes.append(f"features.{key} was {said}; its video has {height}×{width} px (height×width)")
        features[key] = feature | {
            "dtype": "video", "shape": [height, width, 3], "names": ["height", "width", "channels"],
            "info": feature["info"] if isinstance(feature.get("info"), dict) else film.about,
        }  # fmt: skip
        if not isinstance(feature.get("video_info") or {}, dict):
            del features[key]["video_info"]


# ------------------------------------------------------------------------------------------------ templates


def _template(text: Any, fields: tuple[str, ...]) -> paths.Template | None:
    try:
        return paths.parse(text, fields)
    except paths.BadTemplate:
        return None


def guess(name: str, key: str = "") -> str:
    """The template of a file's name: its last number is the file's index, the one before that of its folder."""
    if key and f"/{key}/" in f"/{name}":
        name = f"/{name}".replace(f"/{key}/", "/{video_key}/", 1)[1:]
    found = list(re.finditer(r"\d{1,6}", re.sub(r"\{[^}]*\}", lambda m: "x" * len(m[0]), name)))[-2:]
    stem = name.rfind(".")
    found = [m for m in found if m.end() <= stem]
    for match, field in zip(reversed(found), ("file_index", "chunk_index"), strict=False):
        width = len(match[0])
        spec = f"{{{field}:0{width}d}}" if width > 1 else f"{{{field}}}"
        name = name[: match.start()] + spec + name[match.end() :]
    return name


def name_in(template: str, row: fmt.Row, prefix: str, key: str = "") -> str | None:
    """The file of a row; None when it names none."""
    values = {"chunk_index": row.get(f"{prefix}/chunk_index"), "file_index": row.get(f"{prefix}/file_index")}
    try:
        return paths.parse(template).name({k: v for k, v in values.items() if v is not None} | {"video_key": key})
    except paths.BadTemplate:
        return None


def _film_names(template: str | None, rows: Rows, key: str) -> Iterable[str]:
    names = (name_in(template, row, f"videos/{key}", key) for row in rows.values()) if template else ()
    return dict.fromkeys(n for n in names if n)


def _data_path(old: Any, rows: Rows, found: Survey, notes: list[str]) -> str:
    """The template under which most rows lie in a file that holds their episode."""

    def fits(template: str) -> int:
        count = 0
        for e, row in rows.items():
            file = found.data.get(name_in(template, row, "data") or "")
            count += file is not None and (e in file.parts or bool(file.why))
        return count

    first = old if _template(old, paths.DATA_FIELDS) else None
    candidates = [c for c in (first, fmt.DATA_PATH) if c]
    candidates += dict.fromkeys(guess(name) for name in found.data)
    best = max([c for c in candidates if _template(c, paths.DATA_FIELDS)], key=fits)
    if best != old:
        notes.append(f"data_path was {schema.shown(old)}; the data files lie at {best}")
    return best


def _video_path(old: Any, rows: Rows, keys: list[str], found: Survey, notes: list[str]) -> str | None:
    if not keys:
        return old if old is None or _template(old, paths.VIDEO_FIELDS) else None

    def fits(template: str) -> int:
        return sum(name_in(template, row, f"videos/{k}", k) in found.films for row in rows.values() for k in keys)

    first = old if _template(old, paths.VIDEO_FIELDS) else None
    candidates = [c for c in (first, fmt.VIDEO_PATH) if c]
    candidates += dict.fromkeys(guess(name, key) for name in found.films for key in keys if f"/{key}/" in f"/{name}")
    best = max([c for c in candidates if _template(c, paths.VIDEO_FIELDS)], key=fits)
    if best != old:
        notes.append(f"video_path was {schema.shown(old)}; the videos lie at {best}")
    return best


# ------------------------------------------------------------------------------------------------ rate


def _fps(old: Any, wrong: bool, found: Survey, notes: list[str]) -> float:
    """As info.json says, unless that is no rate, or timestamps and videos agree on another one."""
    from palmar.data.video import nice_rate

    times = [p.times for f in found.data.values() for p in f.parts.values() if len(p.times) > 1]
    longest = max(times, key=len, default=np.zeros(1))
    step = float(longest[-1] - longest[0]) / max(1, len(longest) - 1)
    with np.errstate(invalid="ignore"):
        regular = step > 1 / schema.FPS and bool((np.abs(np.diff(longest) - step) < 0.1 * step).all())
    stamped = nice_rate(1 / step) if regular else 0
    filmed = next((f.fps for f in found.films.values() if not f.why and f.even and f.frames > 1), 0)

    def agree(a: float, b: float) -> bool:
        return abs(a - b) < 3e-4 * max(a, b)

    if not wrong and (not stamped or agree(old, stamped) or (filmed and not agree(stamped, filmed))):
        return int(old) if old == int(old) else float(old)
    best = stamped or filmed
    if not best:
        raise BadFile(
            f"info.json has fps {schema.shown(old)}, and neither timestamps nor videos tell the rate. "
            "Next: write the rate of the recording into meta/info.json"
        )
    notes.append(
        f"fps was {schema.shown(old)}; the timestamps say {best:g}" if stamped else f"fps was {schema.shown(old)}"
    )
    return int(best) if best == int(best) else float(best)
