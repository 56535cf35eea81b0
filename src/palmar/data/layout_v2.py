"""LeRobotDataset v2.0 and v2.1: an episode is a parquet file and an MP4 file a camera; the metadata are JSON lines.

`meta/info.json`, `meta/episodes.jsonl`, `meta/tasks.jsonl`; statistics in `meta/stats.json` (v2.0) or by episode in
`meta/episodes_stats.jsonl` (v2.1), which reading does not need.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from palmar.data import format as fmt
from palmar.data.layout import EpisodeFiles, Film, Layout, expand
from palmar.errors import BadFile, regular_file

EPISODES, TASKS = "meta/episodes.jsonl", "meta/tasks.jsonl"
NEXT = "Next: copy the file again from its source"


def read_v2(root: Path, info: dict[str, Any]) -> Layout:
    """The layout of a v2.0 or v2.1 set. Raises `BadFile`."""
    found = {_whole(root / EPISODES, row, "episode_index"): row for row in _lines(root / EPISODES)}
    total, per_chunk = info["total_episodes"], info.get("chunks_size", fmt.CHUNK)
    if type(per_chunk) is not int or per_chunk < 1:
        raise BadFile(f"'{root / fmt.INFO}' has chunks_size {per_chunk!r:.100}; expected 1 or more. {NEXT}")
    if len(found) != total or (lacking := next((i for i in range(total) if i not in found), None)) is not None:
        what = f"{len(found)} episodes" if len(found) != total else f"no episode {lacking}"
        raise BadFile(f"'{root / EPISODES}' has {what}; info.json counts {total}. {NEXT}")
    videos, episodes = fmt.video_keys(info["features"]), []
    for i in range(total):
        place = {"episode_chunk": i // per_chunk, "episode_index": i}
        films = {k: Film(expand(root, info["video_path"], video_key=k, **place)) for k in videos}
        length = _whole(root / EPISODES, found[i], "length")
        if length < 1:
            raise BadFile(f"'{root / EPISODES}' says that episode {i} has {length} frames; expected 1 or more. {NEXT}")
        texts = found[i].get("tasks") or ()
        texts = tuple(str(t) for t in texts) if isinstance(texts, list | tuple) else (str(texts),)
        episodes.append(EpisodeFiles(i, length, texts, expand(root, info["data_path"], **place), films, alone=True))
    return Layout(
        root, info["codebase_version"], info["fps"], str(info.get("robot_type") or ""), info["features"],
        tuple(episodes), _tasks(root, episodes), info,
    )  # fmt: skip


def _tasks(root: Path, episodes: list[EpisodeFiles]) -> tuple[str, ...]:
    """Texts by task_index; where there is no tasks.jsonl, those of the episodes in the order they appear."""
    if not (root / TASKS).exists():
        return tuple(dict.fromkeys(t for e in episodes for t in e.tasks))
    found = {_whole(root / TASKS, row, "task_index"): str(row.get("task", "")) for row in _lines(root / TASKS)}
    if sorted(found) != list(range(len(found))):
        raise BadFile(f"'{root / TASKS}' numbers its tasks {sorted(found)[:10]}; expected 0 … {len(found) - 1}. {NEXT}")
    return tuple(found[i] for i in range(len(found)))


def _lines(path: Path) -> list[fmt.Row]:
    """The objects of a file of JSON lines."""
    rows = []
    try:
        text = regular_file(path).read_text("utf-8")
    except FileNotFoundError:
        raise BadFile(f"'{path}' is missing. {NEXT}") from None
    except UnicodeDecodeError as error:
        raise BadFile(f"'{path}' is not text: {error}. {NEXT}") from error
    for n, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise BadFile(f"line {n} of '{path}' is not JSON: {error}. {NEXT}") from error
        if not isinstance(row, dict):
            raise BadFile(f"line {n} of '{path}' is {row!r:.100}; expected an object. {NEXT}")
        rows.append(row)
    return rows


def _whole(path: Path, row: fmt.Row, field: str) -> int:
    value = row.get(field)
    if type(value) is not int or not 0 <= value < 2**40:
        raise BadFile(f"'{path}' has {field} {value!r:.100}; expected a whole number, 0 or more. {NEXT}")
    return value
