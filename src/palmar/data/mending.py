"""Which episodes of a damaged data set can be read, and their rows as the files say. Nothing is written here."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import numpy as np

from palmar.data import format as fmt
from palmar.data import paths, schema
from palmar.data.consistency import LATE
from palmar.data.rebuild import name_in
from palmar.data.survey import Part, Survey, in_order


@dataclass(slots=True)
class Mend:
    """One episode. row: of meta/episodes, right but for its index. data: the file and the rows of it. lost: why it cannot be
    read. late: its timestamps are not frame / fps."""

    episode: int
    row: fmt.Row
    data: str = ""
    part: Part | None = None
    lost: str = ""
    late: bool = False
    doubtful: list[str] = field(default_factory=list)  # cameras whose place in a video is not right


def mended(info: Mapping[str, Any], rows: Mapping[int, fmt.Row], total: int | None, found: Survey) -> list[Mend]:
    """Every episode there is or was, in order. total: of info.json, None where that is damaged.

    An episode with data, no row and an index of `total` or more is what a crash left, and does not count.
    """
    in_files = [e for e in found.episodes if e >= 0 and (total is None or e < total)]
    there = sorted({*rows, *in_files})
    if total is not None and total <= 2 * len(there) + 1000:
        there = sorted({*there, *range(total)})
    out = [Mend(e, dict(rows.get(e, {}))) for e in there]
    _recount(info, out, found)
    for mend in out:
        _data(info, mend, found)
    out = [
        m for m in out if m.data or total is None or m.episode < total
    ]  # a row with neither a count nor data is none
    for key in fmt.video_keys(info["features"]):
        _films(info, key, [m for m in out if not m.lost], found)
    for mend in out:
        if mend.doubtful and not mend.lost:
            mend.lost = mend.doubtful[0]
    return out


# ------------------------------------------------------------------------------------------------ data files


def _recount(info: Mapping[str, Any], mends: Sequence[Mend], found: Survey) -> None:
    """Where the counters in a data file are damaged, its episodes are told apart by the rows of meta/episodes."""
    by_file: dict[str, list[tuple[int, int]]] = {}
    for m in mends:
        name, length = name_in(info["data_path"], m.row, "data"), m.row.get("length")
        if name in found.data and schema.whole(length, 1):
            by_file.setdefault(str(name), []).append((m.episode, length))
    for name, episodes in by_file.items():
        file = found.data[name]
        parts = {e: file.parts.get(e) for e, _ in episodes}
        right = all(
            p is not None and not p.flaw and len(p.rows) == n
            for p, (_, n) in zip(parts.values(), episodes, strict=True)
        )
        if not right and (ordered := in_order(file, episodes)):
            file.parts = ordered


def _data(info: Mapping[str, Any], m: Mend, found: Survey) -> None:
    """Its frames, and the columns of its row that they tell."""
    named = name_in(info["data_path"], m.row, "data")
    holders = {n: f.parts[m.episode] for n, f in found.data.items() if m.episode in f.parts and not f.why}
    if not holders:
        file = found.data.get(named or "")
        m.lost = (
            file.why
            if file is not None and file.why
            else f"no data file holds it{f' ({named!r} is missing)' if file is None and named else ''}"
        )
        return
    length = m.row.get("length")

    def worth(name: str) -> tuple[bool, bool, str]:
        return len(holders[name].rows) == length and name == named, not holders[name].flaw, name

    m.data = max(holders, key=worth)
    m.part = part = holders[m.data]
    n, fps = len(part.rows), float(info["fps"])
    if schema.whole(length, 1) and n < length and not _spans(m.row, n):
        m.lost = f"'{m.data}' holds {n} of its {length} frames"
        return
    if m.data != named:
        place = place_of(info["data_path"], m.data)
        if place is None:
            m.lost = f"its frames are in '{m.data}', where {info['data_path']} does not lead"
            return
        m.row |= {"data/chunk_index": place[0], "data/file_index": place[1]}
    m.row |= {"episode_index": m.episode, "length": n}
    with np.errstate(invalid="ignore"):
        m.late = "timestamp" in info["features"] and not bool(
            (np.abs(part.times - np.arange(n) / fps) <= LATE / fps).all()
        )


def _spans(row: fmt.Row, n: int) -> bool:
    """Whether its other columns say that it has n frames, and only `length` is damaged."""
    start, stop = row.get("dataset_from_index"), row.get("dataset_to_index")
    return schema.whole(start) and schema.whole(stop) and stop - start == n


def place_of(template: str, name: str, key: str = "") -> tuple[int, int] | None:
    """(chunk_index, file_index) of a file's name; None where the template does not lead to it."""
    parsed, pattern = paths.parse(template), ""
    seen: set[str] = set()
    for part in parsed.parts:
        if isinstance(part, str):
            pattern += re.escape(part)
        elif part[0] == "video_key":
            pattern += re.escape(key)
        else:
            pattern += f"(?P={part[0]})" if part[0] in seen else f"(?P<{part[0]}>\\d+)"
            seen.add(part[0])
    match = re.fullmatch(pattern, name)
    if match is None:
        return None
    values = {k: int(v) for k, v in match.groupdict().items()}
    place = values.get("chunk_index", 0), values.get("file_index", 0)
    row = {"x/chunk_index": place[0], "x/file_index": place[1]}
    return place if name_in(template, row, "x", key) == name else None


# ------------------------------------------------------------------------------------------------ videos


def _films(info: Mapping[str, Any], key: str, mends: Sequence[Mend], found: Survey) -> None:
    """The columns of a camera: where each episode begins in which video, in whole frames of the file."""
    prefix, fps = f"videos/{key}", float(info["fps"])
    taken: dict[str, list[tuple[int, int]]] = {}
    why: dict[int, str] = {}
    _line_up(info, key, mends, found)
    for m in mends:
        name = name_in(info["video_path"], m.row, prefix, key) or ""
        film, at, n = found.films.get(name), m.row.get(f"{prefix}/from_timestamp"), m.row["length"]
        if film is None or film.why:
            known = name and schema.whole(m.row.get(f"{prefix}/file_index"))
            why[m.episode] = film.why if film else f"'{name}' is missing" if known else f"it names no video of {key}"
        elif not schema.number(at) or at < 0 or at >= paths.LARGEST or _off_grid(film, at, fps):
            why[m.episode] = f"{prefix}/from_timestamp is {schema.shown(at)}"
        elif (first := _first(film, at, fps)) + n > film.frames:
            why[m.episode] = f"'{name}' is too short: {film.frames} frames, where it wants {first} … {first + n - 1}"
        else:
            _claim(m, key, name, first, fps, why, taken)
    _fill(info, key, mends, found, taken, why)
    for m in mends:
        if m.episode in why:
            m.doubtful.append(why[m.episode])


def _line_up(info: Mapping[str, Any], key: str, mends: Sequence[Mend], found: Survey) -> None:
    """In a video whose episodes fill it exactly, and half of them begin where the one before ends, all do."""
    prefix, fps = f"videos/{key}", float(info["fps"])
    by_file: dict[str, list[Mend]] = {}
    for m in mends:
        by_file.setdefault(name_in(info["video_path"], m.row, prefix, key) or "", []).append(m)
    for name, group in by_file.items():
        film = found.films.get(name)
        if film is None or film.why or sum(m.row["length"] for m in group) != film.frames:
            continue
        firsts = np.cumsum([0, *(m.row["length"] for m in group[:-1])]).tolist()
        ats = [m.row.get(f"{prefix}/from_timestamp") for m in group]
        right = [
            schema.number(at) and 0 <= at < paths.LARGEST and _first(film, at, fps) == f
            for at, f in zip(ats, firsts, strict=True)
        ]
        if len(group) // 2 <= sum(right) < len(group):
            for m, first in zip(group, firsts, strict=True):
                m.row[f"{prefix}/from_timestamp"] = first / fps if film.even else float(film.times[first] * film.tick)


def _first(film: Any, at: float, fps: float) -> int:
    return round(at * fps) if film.even else film.first(at)


def _off_grid(film: Any, at: float, fps: float) -> bool:
    return film.even and abs(at * fps - round(at * fps)) > 0.25


def _claim(
    m: Mend, key: str, name: str, first: int, fps: float, why: dict[int, str], taken: dict[str, list[tuple[int, int]]]
) -> None:
    """Write its place, unless another episode has these frames."""
    n, prefix = m.row["length"], f"videos/{key}"
    for a, b in taken.get(name, []):
        if first < b and a < first + n:
            why[m.episode] = (
                f"{prefix}/from_timestamp is {m.row[f'{prefix}/from_timestamp']}, inside another episode's frames"
            )
            return
    taken.setdefault(name, []).append((first, first + n))
    at, end = m.row.get(f"{prefix}/from_timestamp"), m.row.get(f"{prefix}/to_timestamp")
    if not schema.number(at) or abs(at * fps - first) > 0.25:
        m.row[f"{prefix}/from_timestamp"] = first / fps
    if not schema.number(end) or abs(end * fps - first - n) > 1.5:
        m.row[f"{prefix}/to_timestamp"] = (first + n) / fps


def _fill(
    info: Mapping[str, Any], key: str, mends: Sequence[Mend], found: Survey,
    taken: dict[str, list[tuple[int, int]]], why: dict[int, str],
) -> None:  # fmt: skip
    """Places for episodes that have none, where they are certain: a run of episodes that fills the frames which are left
    between its neighbours exactly, or as many unused files of exactly their lengths."""
    prefix, template, fps = f"videos/{key}", str(info["video_path"]), float(info["fps"])
    mine = [n for n, f in found.films.items() if not f.why and place_of(template, n, key) is not None]
    for bad, group in groupby(list(mends), key=lambda m: m.episode in why):
        run = list(group)
        if not bad:
            continue
        lengths = [m.row["length"] for m in run]
        before = [m for m in mends if m.episode < run[0].episode and m.episode not in why]
        after = [m for m in mends if m.episode > run[-1].episode and m.episode not in why]
        sides = [name_in(template, m.row, prefix, key) for m in (*before[-1:], *after[:1])]
        places: list[tuple[str, int]] = []
        for name in dict.fromkeys([s for s in sides if s] + mine):
            gaps = _gaps(found.films[name].frames, taken.get(name, []))
            begin = next((a for a, b in gaps if b - a == sum(lengths)), None)
            if begin is not None:
                places = [(name, begin + sum(lengths[:i])) for i in range(len(run))]
                break
        unused = [n for n in mine if n not in taken]
        if not places and [found.films[n].frames for n in unused] == lengths:
            places = [(n, 0) for n in unused]
        for m, (name, first) in zip(run, places, strict=False):
            chunk, file = place_of(template, name, key) or (0, 0)
            m.row |= {
                f"{prefix}/chunk_index": chunk, f"{prefix}/file_index": file,
                f"{prefix}/from_timestamp": first / fps, f"{prefix}/to_timestamp": (first + m.row["length"]) / fps,
            }  # fmt: skip
            taken.setdefault(name, []).append((first, first + m.row["length"]))
            del why[m.episode]


def _gaps(frames: int, spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    edges = [0, *(x for span in sorted(spans) for x in span), frames]
    return [(a, b) for a, b in zip(edges[::2], edges[1::2], strict=True) if b > a]


# ------------------------------------------------------------------------------------------------ tasks


def tasks_of(table: Mapping[int, str], mends: Sequence[Mend]) -> tuple[list[str], list[int]]:
    """(texts by task_index, indices whose text is lost). table: what tasks.parquet says, as far as it can be read."""
    known = dict(table)
    for m in mends:
        texts = m.row.get("tasks")
        if m.part is not None and isinstance(texts, list) and len(texts) == len(m.part.tasks):
            for i, text in zip(m.part.tasks, texts, strict=True):
                if schema.text(text):
                    known.setdefault(i, text)
    used = {i for m in mends if m.part is not None and not m.lost for i in m.part.tasks}
    furthest = 10 * (len(known) + len(used)) + 1000  # an index beyond it is damage: of no use, or lost with its frames
    if far := [i for i in used if i > furthest]:
        return [], sorted({*far, *(i for i in used if i not in known)})
    most = max([*used, *(i for i in table if i <= furthest)], default=-1)
    lost = [i for i in range(most + 1) if i not in known]
    return [known.get(i, "") for i in range(most + 1)], [i for i in lost if i in used]
