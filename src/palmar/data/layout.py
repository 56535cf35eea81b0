"""What lies where in a data set on disk, whichever version of LeRobotDataset wrote it: v2.0, v2.1 or v3.x.

`read_layout` is the only place that tells the versions apart; all that comes after reads `Layout`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from palmar.data import format as fmt
from palmar.data import stats as st
from palmar.data.repair import load_rows
from palmar.errors import BadFile

READ = "v2.0, v2.1 or v3.x"
FIELD = re.compile(r"\{(\w+)(?::0?(\d{1,2})d)?\}")


@dataclass(frozen=True, slots=True)
class Film:
    """One camera of one episode: a file, and when the episode begins in it [s]."""

    path: Path
    at: float = 0.0


@dataclass(frozen=True, slots=True)
class EpisodeFiles:
    """One episode: `length` frames in a data file (which holds others too, where `alone` is False) and a film a camera.

    films: {key of a video feature: Film}. tasks: the instructions the metadata names.
    """

    index: int
    length: int
    tasks: tuple[str, ...]
    data: Path
    films: Mapping[str, Film]
    alone: bool = False


@dataclass(frozen=True, slots=True)
class Layout:
    """A data set without its numbers and pictures. fps: frames a second, a whole number or not. tasks: by task_index."""

    root: Path
    version: str
    fps: float
    robot_type: str
    features: Mapping[str, fmt.Feature]
    episodes: tuple[EpisodeFiles, ...]
    tasks: tuple[str, ...]
    info: Mapping[str, Any]

    @property
    def frames(self) -> int:
        return sum(e.length for e in self.episodes)


def read_layout(root: Path) -> Layout:
    """Read the metadata of a data set. Raises `BadFile` with the file, what was found and the next step."""
    from palmar.data.layout_v2 import read_v2

    info = fmt.read_json(root / fmt.INFO)
    version = str(info.get("codebase_version", "")) if isinstance(info, dict) else ""
    if version in ("v2.0", "v2.1"):
        return read_v2(root, check_info(root, info))
    if not version.startswith("v3."):
        raise BadFile(
            f"'{root / fmt.INFO}' says version {version or 'nothing'}; expected {READ}. "
            "Next: convert it with the lerobot of its time, to v2.1 or later"
        )
    return _read_v3(root, check_info(root, info))


def _read_v3(root: Path, info: dict[str, Any]) -> Layout:
    rows = load_rows(root, info, stats=False)
    tasks = tuple(fmt.read_tasks(root)) if rows else ()
    videos, episodes, begin = fmt.video_keys(info["features"]), [], 0
    for i, row in enumerate(rows):
        films = {}
        for key in videos:
            place = {n: row.get(f"videos/{key}/{n}") for n in ("chunk_index", "file_index")}
            if None not in place.values():
                path = expand(root, info["video_path"], video_key=key, **place)
                films[key] = Film(path, float(row.get(f"videos/{key}/from_timestamp") or 0.0))
        data = expand(root, info["data_path"], chunk_index=row["data/chunk_index"], file_index=row["data/file_index"])
        start, stop = int(row["dataset_from_index"]), int(row["dataset_to_index"])
        if start != begin or stop <= start:
            raise BadFile(
                f"'{root}/meta/episodes' says that episode {i} is frames {start} … {stop - 1}; expected it to begin at "
                f"{begin}, where the one before ends. {fmt.NEXT}"
            )
        begin = stop
        texts = tuple(str(t) for t in row.get("tasks") or ())
        episodes.append(EpisodeFiles(i, stop - start, texts, data, films))
    return Layout(
        root, str(info["codebase_version"]), fps_of(root, info), str(info.get("robot_type") or ""), info["features"],
        tuple(episodes), tasks, info,
    )  # fmt: skip


def read_stats(layout: Layout) -> dict[str, st.Stats]:
    """What stats.json holds, {feature: {min, max, mean, std, …}}; empty where there is none (v2.1 keeps them by episode)."""
    path = layout.root / fmt.STATS
    return st.from_lists(fmt.read_json(path)) if path.exists() else {}


def check_info(root: Path, info: dict[str, Any]) -> dict[str, Any]:
    """The fields that reading needs are there and of their kind. Raises `BadFile`."""

    def bad(field: str, found: object, expected: str) -> BadFile:
        return BadFile(f"'{root / fmt.INFO}' has {field} {found!r:.100}; expected {expected}. {fmt.NEXT}")

    for field in ("total_episodes", "total_frames"):
        value = info.get(field)
        if type(value) is not int or not 0 <= value < 2**40:
            raise bad(field, value, "a whole number, 0 or more")
    features = info.get("features")
    if not isinstance(features, dict) or not features:
        raise bad("features", features, "a table of features")
    for key, feature in features.items():
        if not isinstance(feature, dict) or not isinstance(feature.get("dtype"), str):
            raise bad(f"feature '{key}'", feature, "a dtype and a shape")
        shape = feature.get("shape")
        if not isinstance(shape, list | tuple) or not all(type(n) is int and 0 <= n < 2**31 for n in shape):
            raise bad(f"shape of '{key}'", shape, "a list of whole numbers")
    for field in ("data_path", *(["video_path"] if fmt.video_keys(features) else [])):
        if not isinstance(info.get(field), str):
            raise bad(field, info.get(field), "a template of a path")
    fps_of(root, info)
    return info


def fps_of(root: Path, info: Mapping[str, Any]) -> float:
    """Frames a second as written: 30 stays whole, 29.97 stays 29.97. Raises `BadFile`."""
    fps = info.get("fps")
    if isinstance(fps, bool) or not isinstance(fps, int | float) or not 0 < fps < 100_000 or not math.isfinite(fps):
        raise BadFile(f"'{root / fmt.INFO}' has fps {fps!r:.100}; expected a number above 0. {fmt.NEXT}")
    return int(fps) if fps == int(fps) else float(fps)


def expand(root: Path, template: str, **values: Any) -> Path:
    """A path from a template of info.json, such as 'data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet'.

    Only these fields, with at most two digits of width, and only inside the set (as written: a link in the set may lead out).
    Raises `BadFile`.
    """

    def one(found: re.Match[str]) -> str:
        name, width = found[1], found[2]
        if name not in values:
            raise BadFile(_template(root, template, f"it names '{name}'; expected {', '.join(values)}"))
        return str(values[name]).rjust(int(width), "0") if width else str(values[name])

    text = FIELD.sub(one, template)
    parts = PurePosixPath(text.replace("\\", "/"))
    if "{" in text or "}" in text or "\0" in text:
        raise BadFile(_template(root, template, f"expected fields such as {{{next(iter(values))}}} or {{…:03d}}"))
    if not text or parts.is_absolute() or ".." in parts.parts or parts.drive:
        raise BadFile(_template(root, template, f"it leads to '{text}'; expected a path inside the set"))
    return root / parts


def _template(root: Path, template: str, why: str) -> str:
    return f"a path of '{root / fmt.INFO}' is {template!r:.200}: {why}. {fmt.NEXT}"


def check_films(layout: Layout, keys: Iterable[str]) -> None:
    """Every film of these video features is there. Raises `BadFile` with the camera and the episode."""
    root, there = layout.root, dict[Path, bool]()
    for key in keys:
        for episode in layout.episodes:
            film = episode.films.get(key)
            if film is not None and film.path not in there:
                there[film.path] = film.path.is_file()
            if film is not None and there[film.path]:
                continue
            why = "meta/episodes names no file" if film is None else f"'{film.path.relative_to(root)}' is missing"
            other = None if film is None else next((p for p in _named(root, film.path.name) if key in p.parts), None)
            raise BadFile(
                f"'{root}': camera '{key}' has no video of episode {episode.index}: {why}"
                f"{f'; {str(other.relative_to(root))!r} is there' if other else ''}. Next: copy the file to its place, "
                "correct video_path in meta/info.json, or leave the camera out by naming the others: --keys "
                "images.CAMERA=FEATURE"
            )


def _named(root: Path, name: str) -> Iterator[Path]:
    """Files of that name in the set."""
    yield from sorted(p for p in root.rglob(name) if ".cache" not in p.parts)
