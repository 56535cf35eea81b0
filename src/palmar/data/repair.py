"""Mend what a crash, a full disk or a damaged file left of a data set. No good file is ever deleted.

Metadata are rebuilt from the data files and videos; a damaged file costs the episodes it held; what is replaced, and what no
episode refers to, is moved to `.palmar/removed-N/` inside the set, from where `undo` puts it back.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from palmar.data import format as fmt
from palmar.data import journal, schema
from palmar.data.durable import NEW, OLD, STAGING, WriterLock, swap_in
from palmar.data.journal import Changes
from palmar.data.mending import Mend, mended, tasks_of
from palmar.data.rebuild import name_in, rebuild_info
from palmar.data.recount import fresh_stats, row_stats
from palmar.data.rewrite import data_files, episode_files, extras
from palmar.data.rows import PATTERN, find_rows, load_rows
from palmar.data.survey import Survey, survey
from palmar.errors import BadFile

PATTERNS = ("data/*/*.parquet", PATTERN, "videos/*/*/*.mp4")


@dataclass(slots=True)
class Mended:
    """What was done, or with dry_run would be. moved: files put aside, into `kept`. rebuilt: files written anew. dropped:
    episodes that cannot be read, each with its reason (by `repair`, never by `mend`). why: what was wrong, in sentences.
    left: what is still wrong, empty when the set can be read. not_finite: features that hold NaN or infinity, each with how many
    rows: a set can be read with them, and is not trained on where they are states or actions."""

    moved: list[str] = field(default_factory=list)
    rebuilt: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    why: list[str] = field(default_factory=list)
    episodes: int = 0
    kept: str = ""
    left: str = ""
    not_finite: list[str] = field(default_factory=list)


def finish_swap(root: Path) -> bool:
    """Complete a consolidation that was killed after its point of no return. True when there was one.

    A folder that only happens to hold a `.new` or `.old` is left alone.
    """
    if not (root / NEW).exists() and not (root / OLD).exists():
        return False
    if not any((place / fmt.INFO).exists() for place in (root, root / NEW, root / OLD)):
        return False
    swap_in(root)
    return True


def unclaimed(root: Path, rows: Sequence[fmt.Row], info: Mapping[str, Any]) -> list[str]:
    """Files of episodes that no row refers to, relative to the root."""
    used = {str(n) for row in rows for n in names_of(row, info)}
    found = (p for pattern in PATTERNS for p in root.glob(pattern))
    return sorted(name for p in found if p.is_file() and (name := str(p.relative_to(root))) not in used)


def names_of(row: fmt.Row, info: Mapping[str, Any]) -> list[str | None]:
    """Files an episode lives in, relative to the root; None for one that the row does not name."""
    out = [name_in(info["data_path"], row, "data")]
    out += [name_in(info["video_path"], row, f"videos/{key}", key) for key in fmt.video_keys(info["features"])]
    return [*out, name_in(fmt.EPISODES_PATH, row, "meta/episodes")]


def mend(root: Path) -> Mended:
    """Before recording goes on: finish what was cut short, move files of half an episode aside, count statistics anew.

    The caller holds the lock. Raises `BadFile` where the metadata are damaged, which `repair` mends.
    """
    out = Mended()
    if journal.recover(root):
        out.rebuilt.append("a repair that was cut short, taken back")
    if finish_swap(root):
        out.rebuilt.append("a consolidation that was cut short")
    _clear(root)
    info = schema.check_info(root / fmt.INFO, fmt.read_json(root / fmt.INFO))
    fmt.check_version(root, info)
    rows = load_rows(root, info)
    changes = Changes(moves=unclaimed(root, rows, info) if _places(rows) else [])
    if rows and (fresh := fresh_stats(root, rows, info)) is not None:
        changes.writes[fmt.STATS] = fmt.json_bytes(fresh)
    _do(root, changes, ["before recording went on"], out)
    out.episodes = len(rows)
    return out


def _places(rows: Sequence[fmt.Row]) -> bool:
    """Whether the rows say which file of meta/episodes they are in; without that none of these can be told to be spare."""
    return all(name_in(fmt.EPISODES_PATH, row, "meta/episodes") for row in rows)


def _clear(root: Path) -> None:
    """Remove what a writer put aside and never finished: no part of the set."""
    for name in (STAGING, NEW + ".tmp"):
        if (root / name).is_dir() and not (root / name).is_symlink():
            shutil.rmtree(root / name)
    for stray in root.glob("meta/**/.*.tmp"):
        if stray.is_file() and not stray.is_symlink():
            stray.unlink()


def undo(root: str | Path) -> list[str]:
    """Take back the last change that `repair` made. Returns the files it was about. Raises `BadFile`."""
    root = Path(root)
    _check_folder(root)
    with WriterLock(root):
        return journal.undo(root)


def repair(root: str | Path, drop: bool = False, dry_run: bool = False) -> Mended:
    """Mend a data set that cannot be read.

    drop: do without the episodes that cannot be read; later ones move up, for indices are contiguous. dry_run: only say what
    would be done. Raises `BadFile` when a writer is at work, nothing would be left, or an episode would have to go and `drop`
    is not given; nothing was touched then.
    """
    root = Path(root)
    _check_folder(root)
    fmt.check_there(root)
    if dry_run:
        if (root / NEW).exists() or (root / OLD).exists():
            return Mended(
                why=["a consolidation was cut short; a repair finishes it first"], rebuilt=["data", "videos", "meta"]
            )
        out, changes = _planned(root, drop)
        out.moved, out.rebuilt = changes.moves, list(changes.writes)
        return out
    with WriterLock(root):
        journal.recover(root)
        finish_swap(root)
        out, changes = _planned(root, drop)
        _do(root, changes, [*out.why, *out.dropped], out)
        _clear(root)
    _read_back(root, out)
    return out


def _check_folder(root: Path) -> None:
    if not root.is_dir():
        raise BadFile(f"'{root}' is not a folder. Next: give the folder that holds meta/info.json")


def _do(root: Path, changes: Changes, why: list[str], out: Mended) -> None:
    out.moved, out.rebuilt = out.moved + changes.moves, out.rebuilt + list(changes.writes)
    if changes:
        out.kept = str(journal.apply(root, changes, why))


def _read_back(root: Path, out: Mended) -> None:
    """What a reader says of the set as it is now."""
    from palmar.data.columns import read_columns
    from palmar.data.layout import check_films, read_layout, read_stats

    try:
        layout = read_layout(root)
        read_stats(layout)
        check_films(layout, fmt.video_keys(dict(layout.features)))
        numbers = [k for k, f in layout.features.items() if f["dtype"] in schema.NUMBERS]
        columns, _ = read_columns(layout, numbers)
    except BadFile as error:
        out.left = str(error)
        return
    for name, values in columns.items():
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            strange = ~np.isfinite(values).all(axis=tuple(range(1, values.ndim)))
            out.not_finite.append(f"{name} holds NaN or infinity in {int(strange.sum())} of {len(values)} rows")


# ------------------------------------------------------------------------------------------------ the plan


def _planned(root: Path, drop: bool) -> tuple[Mended, Changes]:
    """What a repair does, and the files it moves and writes. Reads only."""
    raw = _read_info(root)
    there, found = find_rows(root), survey(root)
    version = raw.get("codebase_version") if isinstance(raw, dict) else None
    if isinstance(version, str) and version.startswith(("v1.", "v2.")) and not there.rows:
        fmt.check_version(root, raw)
    if not any(f.parts for f in found.data.values()):
        said = next((f"{f.why}" for f in found.data.values() if f.why), "no data file is there")
        raise BadFile(
            f"'{root}' has no data that can be read ({said}); nothing would be left, so nothing was touched. "
            "Next: copy the data files again from their source, or collect anew"
        )
    info, why = rebuild_info(root, raw, there.rows, found)
    out = Mended(why=[f"{fmt.INFO}: {w}" for w in why] + list(there.damaged.values()))
    total = raw["total_episodes"] if isinstance(raw, dict) and schema.whole(raw.get("total_episodes")) else None
    mends = mended(info, there.rows, total, found)
    good = [m for m in mends if not m.lost]
    out.dropped = [f"episode {m.episode}: {m.lost}" for m in mends if m.lost]
    _check_losses(root, out.dropped, len(good), len(mends), drop)
    for m in good:
        if m.part is not None and m.part.flaw:
            out.why.append(f"'{m.data}': episode {m.episode}: {m.part.flaw}")
    changes = Changes()
    before = {m.episode: dict(there.rows.get(m.episode, {})) for m in good}
    _films(root, info, good, found, changes, out)
    _number(good)
    tasks = _tasks(root, good, changes, out)
    data_files(root, info, good, found, changes, out.why)
    row_stats(root, info, good, out.why)
    rows = [m.row for m in good]
    spare = set(there.rows) - {m.episode for m in good}
    placed = all(schema.whole(r.get(f"meta/episodes/{n}_index")) for r in rows for n in ("chunk", "file"))
    if not placed:
        out.why.append("meta/episodes: which file an episode's row lies in is missing or no whole number")
    if any(m.row != before[m.episode] for m in good) or spare or there.damaged or not placed:
        episode_files(root, info, rows, changes)
    if any(m.row["episode_index"] != m.episode for m in good) or out.dropped:
        extras(root, {m.episode: m.row["episode_index"] for m in good}, changes)
    if (fresh := fresh_stats(root, rows, info)) is not None:
        changes.writes[fmt.STATS] = fmt.json_bytes(fresh)
        out.why.append(f"{fmt.STATS} is missing, damaged or of other frames")
    info |= {
        "total_episodes": len(good), "total_frames": sum(r["length"] for r in rows), "total_tasks": len(tasks),
        "splits": {"train": f"0:{len(good)}"} if good else {},
    }  # fmt: skip
    _splits(raw, info)
    if info != raw or not (root / fmt.INFO).exists():
        changes.writes[fmt.INFO] = fmt.json_bytes(info)
    written = set(changes.writes)
    claimed = {n for row in rows for n in names_of(row, info)}
    stray = unclaimed(root, rows, info) if _places(rows) else []
    spare_files = [*found.data, *found.films] if good else []
    roots = {info["data_path"].split("/")[0], (info["video_path"] or "videos/").split("/")[0], "data", "videos"}
    stray += [n for n in spare_files if n.split("/")[0] in roots and n not in claimed]
    changes.moves = sorted({*stray, *changes.moves} - written)
    out.episodes = len(good)
    return out, changes


def _splits(raw: Any, new: dict[str, Any]) -> None:
    """Splits of another kind than ours stay, as long as no episode went."""
    old = raw.get("splits") if isinstance(raw, dict) else None
    same = isinstance(raw, dict) and raw.get("total_episodes") == new["total_episodes"]
    if same and isinstance(old, dict) and schema.RULES["splits"].holds(old) and old:
        new["splits"] = old


def _read_info(root: Path) -> Any:
    """info.json as it is; where it cannot be read the newest copy that a crash left; None when there is none."""
    for place in (root, root / STAGING, root / NEW):
        try:
            return fmt.read_json(place / fmt.INFO)
        except BadFile:
            continue
    return None


def _check_losses(root: Path, dropped: list[str], good: int, total: int, drop: bool) -> None:
    if not dropped:
        return
    more = f" (and {len(dropped) - 1} more)" if len(dropped) > 1 else ""
    if not good:
        raise BadFile(
            f"'{root}' cannot be read: {dropped[0]}{more}; nothing would be left, so nothing was touched. "
            "Next: copy that file again from its source, or collect anew"
        )
    if not drop:
        raise BadFile(
            f"'{root}' cannot be read: {dropped[0]}{more}; mending drops {len(dropped)} of {total} episodes. "
            "Next: copy that file again from its source, or --drop (in Python drop=True) to do without them"
        )


def _number(good: Sequence[Mend]) -> None:
    """Indices from 0 on, without a gap."""
    begin = 0
    for i, m in enumerate(good):
        m.row |= {"episode_index": i, "dataset_from_index": begin, "dataset_to_index": begin + m.row["length"]}
        begin += m.row["length"]


def _films(
    root: Path, info: Mapping[str, Any], good: Sequence[Mend], found: Survey, changes: Changes, out: Mended
) -> None:
    """Videos with irregular times are copied with regular ones; their episodes begin at the same frames."""
    from palmar.data import video

    fps = float(info["fps"])
    for key in fmt.video_keys(info["features"]):
        prefix = f"videos/{key}"
        names = {m.episode: name_in(info["video_path"], m.row, prefix, key) or "" for m in good}
        for name in dict.fromkeys(names.values()):
            film = found.films.get(name)
            if film is None or film.why or not film.frames or (film.even and abs(film.fps - fps) < 0.01 * fps):
                continue
            for m in good:
                if names[m.episode] == name:
                    first = film.first(m.row[f"{prefix}/from_timestamp"])
                    m.row |= {
                        f"{prefix}/from_timestamp": first / fps,
                        f"{prefix}/to_timestamp": (first + m.row["length"]) / fps,
                    }
            what = f"at {film.fps:g} frames a second" if film.even else "at irregular times"
            out.why.append(
                f"'{name}' shows its {film.frames} frames {what}; it is copied with frame i at i / {fps:g} s"
            )
            changes.writes[name] = partial(video.retime, root / name, fps=fps)


def _tasks(root: Path, good: Sequence[Mend], changes: Changes, out: Mended) -> list[str]:
    """Texts by task_index. Writes tasks.parquet anew where it is damaged. Raises `BadFile` for a text that is lost."""
    table: dict[int, str] = {}
    damaged = ""
    try:
        old = fmt.read_tasks(root)
        table = dict(enumerate(old))
    except BadFile as error:
        damaged, table = str(error).split(" Next:")[0], _task_rows(root)
    tasks, lost = tasks_of(table, good)
    if lost:
        raise BadFile(
            f"'{root / fmt.TASKS}' lacks the text of task {', '.join(map(str, lost[:10]))}, which frames name"
            f"{f': {damaged}' if damaged else ''}. Next: copy that file again from its source"
        )
    for m in good:
        texts = [tasks[i] for i in m.part.tasks] if m.part is not None else []
        if m.row.get("tasks") != texts and not (
            isinstance(m.row.get("tasks"), list) and sorted(m.row["tasks"]) == sorted(texts)
        ):
            m.row["tasks"] = texts
    if damaged or len(tasks) > len(table):
        out.why.append(damaged or f"{fmt.TASKS} lacked a task that an episode names")
        changes.writes[fmt.TASKS] = fmt.parquet_bytes(fmt.tasks_table(tasks))
    return tasks


def _task_rows(root: Path) -> dict[int, str]:
    """What can be read of a damaged table of tasks; the first text of an index that is there twice."""
    try:
        table = fmt.read_parquet(root / fmt.TASKS)
        name = next(c for c in ("task", "__index_level_0__") if c in table.column_names)
        pairs = zip(fmt.python_values(table["task_index"], root), fmt.python_values(table[name], root), strict=True)
    except (BadFile, StopIteration, KeyError):
        return {}
    out: dict[int, str] = {}
    for i, text in pairs:
        if schema.whole(i, 0, 10**6) and schema.text(text):
            out.setdefault(i, text)
    return out
