"""What lies where in a data set on disk, whichever version of LeRobotDataset wrote it: v2.0, v2.1 or v3.x.

`read_layout` is the only place that tells the versions apart; all that comes after reads `Layout`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from palmar.data import format as fmt
from palmar.data import schema
from palmar.data import stats as st
from palmar.data.paths import BadTemplate, inside, parse
from palmar.data.rows import load_rows
from palmar.errors import BadFile, regular_file

READ = "v2.0, v2.1 or v3.x"


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
        return read_v2(root, schema.check_info(root / fmt.INFO, info))
    if not version.startswith("v3."):
        raise BadFile(
            f"'{root / fmt.INFO}' says version {version or 'nothing'}; expected {READ}. "
            "Next: convert it with the lerobot of its time, to v2.1 or later"
        )
    return _read_v3(root, schema.check_info(root / fmt.INFO, info))


def _read_v3(root: Path, info: dict[str, Any]) -> Layout:
    rows = load_rows(root, info, stats=False)
    tasks = tuple(fmt.read_tasks(root)) if rows else ()
    videos, episodes = fmt.video_keys(info["features"]), []
    for i, row in enumerate(rows):
        films = {}
        for key in videos:
            place = {n: row.get(f"videos/{key}/{n}") for n in ("chunk_index", "file_index")}
            if None not in place.values():
                path = expand(root, info["video_path"], video_key=key, **place)
                films[key] = Film(path, float(row.get(f"videos/{key}/from_timestamp") or 0.0))
        data = expand(root, info["data_path"], chunk_index=row["data/chunk_index"], file_index=row["data/file_index"])
        texts = tuple(str(t) for t in row.get("tasks") or ())
        episodes.append(EpisodeFiles(i, int(row["length"]), texts, data, films))
    return Layout(
        root, str(info["codebase_version"]), info["fps"], str(info.get("robot_type") or ""), info["features"],
        tuple(episodes), tasks, info,
    )  # fmt: skip


def read_stats(layout: Layout) -> dict[str, st.Stats]:
    """What stats.json holds, {feature: {min, max, mean, std, …}}; empty where there is none (v2.1 keeps them by episode)."""
    path = layout.root / fmt.STATS
    if not path.exists():
        return {}
    found = fmt.read_json(path)
    for problem in schema.stats_problems(found, layout.features):
        raise problem.error(path)
    numbers = {k for k, f in layout.features.items() if f["dtype"] not in schema.TEXTS}
    return st.from_lists(
        {k: {n: v for n, v in table.items() if n in fmt.STAT_NAMES} for k, table in found.items() if k in numbers}
    )


def stray_stats(layout: Layout) -> tuple[str, ...]:
    """Names in stats.json that no feature has: what they say is read by nobody."""
    path = layout.root / fmt.STATS
    return tuple(k for k in fmt.read_json(path) if k not in layout.features) if path.exists() else ()


def expand(root: Path, template: str, **values: Any) -> Path:
    """A path from a template of info.json, inside the set as written and where links lead. Raises `BadFile`."""
    try:
        name = parse(template).name(values)
    except BadTemplate as why:
        raise BadFile(f"a path of '{root / fmt.INFO}' is {template!r:.200}: {why}. {fmt.NEXT}") from why
    return inside(root, name)


def check_films(layout: Layout, keys: Iterable[str]) -> None:
    """Every film of these video features is there. Raises `BadFile` with the camera and the episode."""
    root, there = layout.root, dict[Path, bool]()
    for key in keys:
        for episode in layout.episodes:
            film = episode.films.get(key)
            if film is not None and film.path not in there:
                there[film.path] = regular_file(film.path).is_file()
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


def check_sizes(layout: Layout, sizes: Mapping[str, tuple[int, int]]) -> None:
    """The first film of each video feature has the (height, width) of info.json, by its header. Raises `BadFile`.

    So no array is made of a size that only the metadata know.
    """
    from palmar.data import video

    for key, size in sizes.items():
        film = next((e.films[key] for e in layout.episodes if key in e.films), None)
        if film is None:
            continue
        found = video.size_of(film.path)
        if found != size:
            raise schema.Problem(
                f"features.{key}.shape", layout.features[key]["shape"],
                f"{found[0]}×{found[1]} px (height×width), as in '{film.path.relative_to(layout.root)}'",
            ).error(layout.root / fmt.INFO)  # fmt: skip


def _named(root: Path, name: str) -> Iterator[Path]:
    """Files of that name in the set."""
    yield from sorted(p for p in root.rglob(name) if ".cache" not in p.parts)
