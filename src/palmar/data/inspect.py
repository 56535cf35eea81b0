"""What is in a data set: as a dict, as tables in the terminal, as an HTML page."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from palmar.console import Screen, styled
from palmar.data.consistency import unit_changes
from palmar.data.findings import not_finite, stats_keys
from palmar.data.normalize import Normalizer
from palmar.data.reader import Dataset, EpisodeInfo
from palmar.data.stats import finite_rows
from palmar.types import STILL, Array

SIZES = (  # demonstrations the field uses
    (100, "proof of concept", "100–500"),
    (1_000, "one task", "1 000–5 000"),
    (10_000, "multi-task", "10 000–100 000"),
    (100_000, "foundation", "100 000+"),
)


def summary(dataset: Dataset) -> dict[str, Any]:
    """Everything below as plain numbers and strings, ready for JSON. Units are the data set's own; times in seconds.

    Stills (`data.stills`) are photographs: what is said of success, time, length and action is about the demonstrations, and
    None or empty where there are none of these.
    """
    moving = [e for e in dataset.episodes if e.source != STILL]
    stills, only = len(dataset.episodes) - len(moving), bool(dataset.episodes) and not moving
    lengths = np.array([e.length for e in moving] or [0])
    moved = np.concatenate([np.arange(e.start, e.stop) for e in moving] or [np.zeros(0, np.int64)])
    files = [p for p in dataset.root.rglob("*") if p.is_file() and ".cache" not in p.parts]
    sources: dict[str, int] = defaultdict(int)
    for e in dataset.episodes:
        sources[e.source or "unknown"] += 1
    return {
        "root": str(dataset.root),
        "version": dataset.version,
        "robot": dataset.robot_type,
        "fps": dataset.fps,
        "episodes": len(dataset.episodes),
        "frames": len(dataset),
        "stills": stills,
        "seconds": None if only else len(moved) / dataset.fps,
        "megabytes": round(sum(p.stat().st_size for p in files) / 1e6, 1),
        "cameras": {cam: list(dataset.recorded_sizes[cam]) for cam in dataset.cameras},
        "keys": {"state": dataset.roles.state, "action": dataset.roles.action, "images": dict(dataset.roles.images)},
        "notes": list(dataset.roles.notes),
        "ignored": dict(dataset.roles.ignored),
        "warnings": warnings(dataset),
        "success": _rate(moving),
        "sources": dict(sources),
        "length": None if only else {
            "min": int(lengths.min()), "median": float(np.median(lengths)), "mean": float(lengths.mean()),
            "max": int(lengths.max()),
        },
        "tasks": _tasks(dataset),
        "action": _dimensions(dataset.actions[moved], dataset.action_names),
        "state": _dimensions(dataset.states, dataset.state_names),
        "size": None if only else _size(len(moving)),
    }  # fmt: skip


def warnings(dataset: Dataset) -> list[str]:
    """What does not fit within the set, in sentences: irregular timestamps, units that change half-way, numbers that are not
    finite, statistics of no feature."""
    moving = [e for e in dataset.episodes if e.source != STILL]
    out = [] if dataset.irregular is None else [str(dataset.irregular)]
    for kind, values, names in (
        ("state", dataset.states, dataset.state_names), ("action", dataset.actions, dataset.action_names),
    ):  # fmt: skip
        out += [str(change) for change in unit_changes(kind, values, names, moving)]
    return out + [str(found) for found in (not_finite(dataset), stats_keys(dataset)) if found is not None]


def _rate(episodes: tuple[EpisodeInfo, ...] | list[EpisodeInfo]) -> float | None:
    """Share that succeeded, of those that say."""
    known = [e.success for e in episodes if e.success is not None]
    return sum(known) / len(known) if known else None


def _tasks(dataset: Dataset) -> list[dict[str, Any]]:
    groups: dict[str, list[EpisodeInfo]] = defaultdict(list)
    for e in dataset.episodes:
        groups[e.task].append(e)
    rows = [
        {
            "task": task, "episodes": len(group), "frames": sum(e.length for e in group),
            "success": _rate([e for e in group if e.source != STILL]),
            "instructions": sorted({e.instruction for e in group}),
        }
        for task, group in groups.items()
    ]  # fmt: skip
    return sorted(rows, key=lambda row: -int(row["episodes"]))


def _dimensions(values: Array, names: tuple[str, ...]) -> list[dict[str, Any]]:
    """Statistics per dimension, of the rows whose numbers are finite; `constant` where a normaliser would drop it."""
    values = values[finite_rows(values)]
    if not len(values):
        return []
    wide = values.astype(np.float64)
    low, high = np.quantile(wide, [0.01, 0.99], axis=0)
    columns = {
        "min": wide.min(0),
        "q01": low,
        "mean": wide.mean(0),
        "q99": high,
        "max": wide.max(0),
        "std": wide.std(0),
    }
    constant = Normalizer.fit(values).constant
    return [
        {"name": name} | {k: float(v[i]) for k, v in columns.items()} | {"constant": bool(constant[i])}
        for i, name in enumerate(names)
    ]


def _size(episodes: int) -> dict[str, Any]:
    """Where the set stands among the sizes the field uses."""
    reached = [name for least, name, _ in SIZES if episodes >= least]
    following = next(((least, name) for least, name, _ in SIZES if episodes < least), None)
    return {
        "stage": reached[-1] if reached else "below a proof of concept",
        "next": None if following is None else {"stage": following[1], "missing": following[0] - episodes},
        "guide": {name: span for _, name, span in SIZES},
    }


def print_summary(dataset: Dataset, console: Screen | None = None) -> None:
    """The summary as tables."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Column, Table

    console, s = console or Screen(), summary(dataset)
    cameras = ", ".join(f"{cam} {h}×{w} px" for cam, (h, w) in s["cameras"].items())
    only = s["length"] is None
    rate = "" if only else f"{s['fps']:g} Hz  "
    name, version = Path(s["root"]).resolve().name, s["version"]
    console.print(
        styled(
            "[bold]{}[/]  {}  {}cameras: {}  LeRobotDataset {}\n{}",
            name, s["robot"], rate, cameras or "none", version, _facts(s),
        )
    )  # fmt: skip
    for text in s["notes"]:
        console.print(text)
    if s["ignored"]:
        console.print("ignored: " + "; ".join(f"{key} ({why})" for key, why in s["ignored"].items()))
    for text in s["warnings"]:
        console.print(styled("[yellow]warning: {}", text))
    names = ("task", "tables", "photographs") if only else ("task", "episodes", "frames", "success")
    tasks = Table(*names, "wordings", title="tasks", title_justify="left", box=SIMPLE_HEAD)
    for row in s["tasks"]:
        counts = [str(row["episodes"]), str(row["frames"]), *([] if only else [_percent(row["success"])])]
        tasks.add_row(row["task"], *counts, str(len(row["instructions"])))
    console.print(tasks)
    for kind in ("state",) if only else ("action", "state"):
        if not s[kind]:
            continue
        longest = max(len(row["name"]) for row in s[kind])
        table = Table(
            Column(min_width=min(longest, 32), overflow="fold"), "min", "q01", "mean", "q99", "max", "std", "",
            title=kind, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0),
        )  # fmt: skip
        for row in s[kind]:
            numbers = [f"{row[k]:.3g}" for k in ("min", "q01", "mean", "q99", "max", "std")]
            table.add_row(row["name"], *numbers, styled("[yellow]constant" if row["constant"] else ""))
        console.print(table)
    console.print(size_text(s["size"]))


def _facts(s: dict[str, Any]) -> str:
    """What there is of it, in a line."""
    if s["length"] is None:
        return f"stills: {s['episodes']} tables · {s['frames']} photographs · {s['megabytes']} MB"
    beside = f", {s['stills']} of them stills" if s["stills"] else ""
    return (
        f"{s['episodes']} episodes{beside} · {s['frames']} frames · {s['seconds'] / 60:.1f} min · {s['megabytes']} MB · "
        f"success {_percent(s['success'])} · length {s['length']['min']}…{s['length']['max']} frames "
        f"(median {s['length']['median']:g}) · by {', '.join(f'{k} {v}' for k, v in s['sources'].items())}"
    )


def size_text(size: dict[str, Any] | None) -> str:
    if size is None:
        return "size: no demonstrations. Stills teach where to look; train on them beside demonstrations: --data DEMOS STILLS"
    guide = ", ".join(f"{name} {span}" for name, span in size["guide"].items())
    more = (
        ""
        if size["next"] is None
        else f"; {size['next']['missing']} more demonstrations make it {size['next']['stage']}"
    )
    return f"size: {size['stage']}{more} (guide: {guide})"


def _percent(rate: float | None) -> str:
    return "not recorded" if rate is None else f"{100 * rate:.0f} %"
