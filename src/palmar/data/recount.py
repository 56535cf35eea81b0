"""Statistics of a data set counted anew, of an episode or of the whole, where those on disk are missing or wrong."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from palmar.data import format as fmt
from palmar.data import schema
from palmar.data import stats as st
from palmar.data.mending import Mend
from palmar.data.rebuild import name_in
from palmar.data.survey import survey
from palmar.errors import BadFile


def row_stats(root: Path, info: Mapping[str, Any], good: Sequence[Mend], why: list[str]) -> None:
    """Statistics of an episode that lacks them, or whose are wrong, where others of the set have them."""
    columns = {c: about for m in good for c in m.row if m.row[c] is not None and (about := st.stat_of(c)) is not None}
    if not columns:
        return
    for m in good:
        tables: dict[str, dict[str, Any]] = {}
        for column, (feature, name) in columns.items():
            if m.row.get(column) is not None:
                tables.setdefault(feature, {})[name] = m.row[column]
        features = {feature for feature, _ in columns.values()} & set(info["features"])
        for feature in sorted(features):
            one = {feature: tables.get(feature, {})}
            wrong = next(schema.stats_problems(one, info["features"]), None)
            names = {name for of, name in columns.values() if of == feature}
            counted = np.asarray(one[feature].get("count", 0)).reshape(-1)[:1]
            off = info["features"][feature]["dtype"] in schema.NUMBERS and (
                not len(counted) or counted[0] != m.row["length"]
            )
            shifted = feature in ("episode_index", "index") and m.row["episode_index"] != m.episode
            if wrong or off or shifted or (feature == "timestamp" and m.late) or set(one[feature]) != names:
                try:
                    fresh = _counted(root, info, m, feature)
                except BadFile as error:
                    fresh = {}
                    why.append(
                        f"meta/episodes: statistics of {feature} of episode {m.episode} cannot be counted: {error}"
                    )
                new = {f"stats/{feature}/{n}": fresh.get(n) for n in names}
                if any(m.row.get(column) != value for column, value in new.items()):
                    m.row |= new
                    why.append(f"meta/episodes: statistics of {feature} of episode {m.episode} are counted anew")


def _counted(root: Path, info: Mapping[str, Any], m: Mend, feature: str) -> dict[str, Any]:
    from palmar.data import video
    from palmar.data.columns import column_problem, to_numpy

    about, fps = info["features"][feature], float(info["fps"])
    if about["dtype"] in schema.NUMBERS and m.part is not None:
        import pyarrow as pa

        column = fmt.read_parquet(root / m.data, [feature]).take(pa.array(m.part.rows))[feature]
        if problem := column_problem(feature, column, about):
            raise problem.error(root / m.data)
        values = to_numpy(column, about, feature, root)
        if feature in ("episode_index", "index", "timestamp", "frame_index"):
            n = m.row["length"]
            values = {
                "episode_index": np.full(n, m.row["episode_index"]), "index": m.row["dataset_from_index"] + np.arange(n),
                "frame_index": np.arange(n), "timestamp": (np.arange(n) / fps).astype(np.float32),
            }[feature]  # fmt: skip
        return st.to_lists({feature: st.of_vectors(values)})[feature]
    if about["dtype"] == "video":
        name = name_in(info["video_path"], m.row, f"videos/{feature}", feature)
        at = float(m.row[f"videos/{feature}/from_timestamp"])
        frames = [f for _, f in video.decode(root / str(name), at, m.row["length"], fps)]
        return st.to_lists({feature: st.of_images(frames)})[feature]
    return {}


def fresh_stats(root: Path, rows: Sequence[fmt.Row], info: Mapping[str, Any]) -> dict[str, Any] | None:
    """stats.json from the episodes' own statistics, or from the columns where these are missing; None when the one that is there
    is right, or there is nothing to do."""
    columns = {c: about for r in rows for c in r if r[c] is not None and (about := st.stat_of(c)) is not None}
    partly = {f for c, (f, stat) in columns.items() if not all(_known(r.get(c), stat) for r in rows)}
    names = [c for c, (feature, _) in columns.items() if feature not in partly]
    fresh: dict[str, Any] = {}
    if names:
        try:
            fresh = st.to_lists(st.of_rows({c: [r[c] for r in rows] for c in names}))
        except (ValueError, TypeError, KeyError, IndexError):
            return None  # damaged ones, which `repair` counts anew first
    if partly:  # an episode in which none of a feature's rows is finite has no statistics of it
        fresh |= _stats_of_columns(root, info, partly)
    try:
        old = fmt.read_json(root / fmt.STATS)
        problem = next(schema.stats_problems(old, info["features"]), None)
        if problem is None and all(f in old and old[f].get("count") == fresh[f]["count"] for f in fresh):
            return None
    except BadFile:
        if not fresh and not (root / fmt.STATS).exists():
            return None
    return fresh or _stats_of_columns(root, info, info["features"])


def _known(value: Any, stat: str) -> bool:
    """Whether a statistic of an episode is there, and finite, which the mean tells of all of them."""
    if value is None or stat != "mean":
        return value is not None
    try:
        return bool(np.isfinite(np.asarray(value, np.float64)).all())
    except (ValueError, TypeError):
        return False


def _stats_of_columns(root: Path, info: Mapping[str, Any], wanted: Collection[str]) -> dict[str, Any]:
    """Statistics of those of the wanted features that are numbers, from the data files."""
    import pyarrow as pa

    from palmar.data.columns import to_numpy

    names = [k for k, f in info["features"].items() if f["dtype"] in schema.NUMBERS and k in wanted]
    out = {}
    files = [n for n, f in survey(root).data.items() if not f.why]
    for name in names:
        try:
            column = pa.chunked_array([c for n in files for c in fmt.read_parquet(root / n, [name])[name].chunks])
            if found := st.of_vectors(to_numpy(column, info["features"][name], name, root)):
                out[name] = found
        except (BadFile, KeyError, pa.ArrowException):
            continue  # the reader says so when the column is wanted
    return st.to_lists(out)
