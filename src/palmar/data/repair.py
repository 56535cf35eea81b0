"""Mend what a crash left.

Of its own accord nothing that was durable is removed: only temporary files, and files that no episode refers to. With
`repair(drop=True)` the episodes from the first that cannot be read on no longer count, and the files only they refer to are
removed.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from palmar.data import format as fmt
from palmar.data import stats as st
from palmar.data.durable import NEW, OLD, STAGING, Staging, WriterLock, swap_in
from palmar.errors import BadFile

PATTERNS = ("data/*/*.parquet", "meta/episodes/*/*.parquet", "videos/*/*/*.mp4")


@dataclass(slots=True)
class Mended:
    """What was found and done. dropped: episodes that cannot be read (by `repair`, never by `mend`)."""

    removed: list[str] = field(default_factory=list)
    rebuilt: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    episodes: int = 0


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


def mend(root: Path) -> Mended:
    """Finish a killed swap, remove temporary and orphan files, rebuild statistics. The caller holds the lock."""
    out = Mended()
    if finish_swap(root):
        out.rebuilt.append("a consolidation that was cut short")
    for name in (STAGING, NEW + ".tmp"):
        if (root / name).exists():
            shutil.rmtree(root / name)
            out.removed.append(name)
    for stray in root.glob("meta/**/.*.tmp"):
        stray.unlink()
        out.removed.append(str(stray.relative_to(root)))
    info = fmt.read_json(root / fmt.INFO)
    rows = load_rows(root, info)
    for name in unclaimed(root, rows, info):
        (root / name).unlink()
        out.removed.append(name)
    out.episodes = len(rows)
    if rows and _rebuild_stats(root, rows):
        out.rebuilt.append(fmt.STATS)
    return out


def unclaimed(root: Path, rows: Sequence[fmt.Row], info: dict[str, Any]) -> list[str]:
    """Files of episodes that no row refers to, relative to the root."""
    used = {str(p) for row in rows for p in paths_of(row, info)}
    found = (p for pattern in PATTERNS for p in root.glob(pattern))
    return [name for p in found if (name := str(p.relative_to(root))) not in used]


def repair(root: str | Path, drop: bool = False) -> Mended:
    """Mend a data set that cannot be read: `mend`, then rebuild info.json; with `drop` do without what cannot be read.

    Indices must stay contiguous, so every episode from the first broken one on is dropped. Raises `BadFile` when a writer is
    at work, there is nothing to rebuild from, or an episode would have to go and `drop` is not given.
    """
    root = Path(root)
    if not root.is_dir():
        raise BadFile(f"'{root}' is not a folder. Next: give the folder that holds meta/info.json")
    fmt.check_there(root)
    with WriterLock(root):
        finish_swap(root)
        info = _rebuild_info(root)
        fmt.check_version(root, info)
        rows = load_rows(root, info, strict=False)
        good: list[fmt.Row] = []
        dropped: list[str] = []
        for row in rows:
            why = None if row["episode_index"] == len(good) else "an earlier episode is missing"
            if why := why or broken(root, row, info):
                dropped = [f"episode {r['episode_index']}: {why}" for r in rows[len(good) :]]
                break
            good.append(row)
        total = max(len(rows), int(info["total_episodes"]))
        if total > len(rows) and not dropped:  # no crash leaves that: info.json comes last
            left = unclaimed(root, rows, info)  # nothing where episodes share their files
            sign = f"'{left[0]}' is there" if left else f"{fmt.INFO} counts {total} episodes"
            dropped = [f"episode {len(rows)}: its row of meta/episodes is lost, and {sign}"]
        if dropped and not good:
            raise BadFile(
                f"'{root}' cannot be read from {dropped[0]}; nothing would be left, so nothing was touched. "
                "Next: copy that file again from its source, or collect anew"
            )
        if dropped and not drop:
            raise BadFile(
                f"'{root}' cannot be read from {dropped[0]}; mending drops {total - len(good)} of {total} episodes. "
                "Next: copy that file again from its source, or --drop (in Python drop=True) to do without them"
            )
        tasks = fmt.read_tasks(root) if (root / fmt.TASKS).exists() else []
        new = info | {
            "total_episodes": len(good), "total_frames": sum(int(r["length"]) for r in good), "total_tasks": len(tasks),
            "splits": {"train": f"0:{len(good)}"} if good else {},
        }  # fmt: skip
        changed = new != info or not (root / fmt.INFO).exists()
        if changed:
            staging = Staging(root)
            staging.put(fmt.INFO, fmt.json_bytes(new))
            staging.commit()
        out = mend(root)
        out.dropped = dropped
        if changed:
            out.rebuilt.append(fmt.INFO)
    return out


def load_rows(root: Path, info: dict[str, Any], strict: bool = True, stats: bool = True) -> list[fmt.Row]:
    """Rows of meta/episodes that count (index below total_episodes), in order. Raises `BadFile` when one is missing."""
    found: dict[int, fmt.Row] = {}
    damaged: BadFile | None = None  # no harm if it belongs to an episode that never counted
    for path in sorted(root.glob("meta/episodes/*/*.parquet")):
        try:
            import pyarrow.parquet as pq

            columns = None if stats else [c for c in pq.read_schema(path).names if not c.startswith("stats/")]
        except Exception:
            columns = None
        try:
            rows = fmt.read_parquet(path, columns).to_pylist()
        except BadFile as error:
            damaged = error
            continue
        found |= {int(row["episode_index"]): row for row in rows}
    total = int(info["total_episodes"]) if strict else max(found, default=-1) + 1
    missing = [i for i in range(total) if i not in found]
    if strict and missing:
        raise damaged or BadFile(f"'{root}/meta/episodes' lacks episode {missing[0]} of {total}. {fmt.NEXT}")
    return [found[i] for i in range(total) if i in found]


def paths_of(row: fmt.Row, info: dict[str, Any]) -> list[Path]:
    """Files an episode lives in, relative to the root."""

    def name(template: str, prefix: str, key: str = "") -> Path:
        return Path(
            template.format(
                video_key=key, chunk_index=row[f"{prefix}/chunk_index"], file_index=row[f"{prefix}/file_index"]
            )
        )

    out = [name(info["data_path"], "data")]
    out += [name(info["video_path"], f"videos/{key}", key) for key in fmt.video_keys(info["features"])]
    if "meta/episodes/file_index" in row:
        out.append(name(fmt.EPISODES_PATH, "meta/episodes"))
    return out


def broken(root: Path, row: fmt.Row, info: dict[str, Any]) -> str | None:
    """Why an episode cannot be read, or None. Files are opened, not decoded."""
    from palmar.data import video

    for path in paths_of(row, info):
        try:
            if path.suffix == ".mp4":
                key = path.parts[1]
                if video.count_frames(root / path) < round(row[f"videos/{key}/to_timestamp"] * info["fps"]):
                    return f"'{path}' is too short"
            elif path.parts[0] == "data":
                episode = fmt.read_parquet(root / path, ["episode_index"])["episode_index"].to_numpy()
                if (episode == row["episode_index"]).sum() != row["length"]:
                    return f"'{path}' does not hold its {row['length']} frames"
        except BadFile as error:
            return str(error).split(" Next:")[0]
    return None


def _rebuild_info(root: Path) -> dict[str, Any]:
    """info.json, or, when it is lost, the newest copy that a crash left in staging."""
    for place in (root, root / STAGING, root / NEW):
        try:
            info: dict[str, Any] = fmt.read_json(place / fmt.INFO)
            return info
        except BadFile:
            continue
    raise BadFile(
        f"'{root / fmt.INFO}' is lost and the schema cannot be guessed. Next: copy info.json from a set of the same "
        "robot and set its total_episodes to 0 (counts will be rebuilt), then repair again"
    )


def _rebuild_stats(root: Path, rows: Sequence[fmt.Row]) -> bool:
    """Write stats.json anew from the episodes' own statistics when its count is not theirs. False when it was right."""
    names = [c for c in rows[0] if c.startswith("stats/") and all(r.get(c) is not None for r in rows)]
    columns = {c: [r[c] for r in rows] for c in names}
    if not columns:
        return False
    fresh = st.to_lists(st.of_rows(columns))
    try:
        old = fmt.read_json(root / fmt.STATS)
        if all(f in old and old[f]["count"] == fresh[f]["count"] for f in fresh):
            return False
    except (BadFile, KeyError, TypeError):
        pass
    staging = Staging(root)
    staging.put(fmt.STATS, fmt.json_bytes(fresh))
    staging.commit()
    return True
