"""The ten statistics LeRobot keeps of every feature: min max mean std count q01 q10 q50 q90 q99."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from palmar.types import Array

Stats = dict[str, Array]
QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}


def finite_rows(*values: Array) -> Array:
    """bool[n]: the rows of all of these, [n] or [n, width] each, whose numbers are finite. At least one is given."""
    return np.logical_and.reduce([np.isfinite(v).all(axis=tuple(range(1, v.ndim))) for v in values])


def of_vectors(values: Array) -> Stats:
    """Statistics over axis 0 of [n] or [n, width]; each [width] float64, min and max of the values' type, count [1].

    Of the rows whose numbers are all finite; empty where there is none. A NaN would make every statistic one, which no JSON has.
    """
    values = values.reshape(len(values), -1)
    wide = values.astype(np.float64)
    if not (sound := finite_rows(wide)).all():
        values, wide = values[sound], wide[sound]
    if not len(values):
        return {}
    quantiles = np.quantile(wide, list(QUANTILES.values()), axis=0)
    out = {"min": values.min(0), "max": values.max(0), "mean": wide.mean(0), "std": wide.std(0)}
    return out | {"count": np.array([len(values)])} | dict(zip(QUANTILES, quantiles, strict=True))


def of_images(frames: Sequence[Array]) -> Stats:
    """Statistics of sampled uint8[H, W, 3] frames per channel, scaled to 0 … 1: float64[3, 1, 1]; count int64[1].

    From a histogram of the 256 levels, so quantiles are exact for the sample. Like LeRobot, about n^0.75 frames are
    looked at (at least 100), and large pictures are thinned to about 150 pixels a side.
    """
    n = len(frames)
    picked = np.unique(np.linspace(0, n - 1, min(n, max(100, int(n**0.75)))).round().astype(int))
    step = max(1, max(frames[0].shape[:2]) // 150)
    counts = np.zeros((3, 256))
    for i in picked:
        pixels = frames[i][::step, ::step].reshape(-1, 3)
        counts += np.stack([np.bincount(pixels[:, c], minlength=256) for c in range(3)])
    level = np.arange(256) / 255.0
    total = counts.sum(1, keepdims=True)
    mean = (counts * level).sum(1) / total[:, 0]
    std = np.sqrt((counts * (level - mean[:, None]) ** 2).sum(1) / total[:, 0])
    cumulated = counts.cumsum(1) / total
    lowest, highest = (counts > 0).argmax(1), 255 - (counts[:, ::-1] > 0).argmax(1)
    out = {"min": level[lowest], "max": level[highest], "mean": mean, "std": std}
    out |= {name: level[(cumulated >= q - 1e-12).argmax(1)] for name, q in QUANTILES.items()}
    shaped = {name: value.reshape(3, 1, 1) for name, value in out.items()}
    return shaped | {"count": np.array([len(picked)])}


def merge(parts: Sequence[Mapping[str, Array]]) -> Stats:
    """One set of statistics from several. Mean and std are exact; quantiles are the weighted means of the parts', as in
    LeRobot 0.6 (true quantiles cannot be had from summaries)."""
    counts = np.array([float(np.asarray(p["count"]).reshape(-1)[0]) for p in parts])
    weights = counts / counts.sum()

    def mean(name: str) -> Array:
        return sum(w * np.asarray(p[name], float) for w, p in zip(weights, parts, strict=True))

    centre = mean("mean")
    spread = sum(
        w * (np.asarray(p["std"], float) ** 2 + (np.asarray(p["mean"], float) - centre) ** 2)
        for w, p in zip(weights, parts, strict=True)
    )
    out: Stats = {
        "min": np.min([p["min"] for p in parts], axis=0),
        "max": np.max([p["max"] for p in parts], axis=0),
        "mean": centre,
        "std": np.sqrt(spread),
        "count": np.array([int(counts.sum())]),
    }
    return out | {q: mean(q) for q in QUANTILES if all(q in p for p in parts)}


def merge_all(sets: Sequence[Mapping[str, Mapping[str, Array]]]) -> dict[str, Stats]:
    """`merge`, feature by feature, of what every set has; a set in which a feature has no finite row adds nothing to it."""
    shared = [feature for feature in sets[0] if all(feature in s for s in sets)]
    known = {feature: [s[feature] for s in sets if s[feature]] for feature in shared}
    return {feature: merge(parts) for feature, parts in known.items() if parts}


def to_lists(stats: Mapping[str, Mapping[str, Array]]) -> dict[str, dict[str, Any]]:
    """For JSON."""
    return {f: {name: np.asarray(v).tolist() for name, v in s.items()} for f, s in stats.items()}


def from_lists(stats: Mapping[str, Mapping[str, Any]]) -> dict[str, Stats]:
    return {f: {name: np.asarray(v) for name, v in s.items()} for f, s in stats.items()}


def stat_of(column: str) -> tuple[str, str] | None:
    """(feature, statistic) of a column `stats/FEATURE/STATISTIC` of meta/episodes; None for any other column."""
    feature, _, stat = column.removeprefix("stats/").rpartition("/")
    return (feature, stat) if column.startswith("stats/") and feature and stat else None


def of_rows(rows: Mapping[str, Sequence[Any]]) -> dict[str, Stats]:
    """Whole-set statistics from the `stats/FEATURE/STAT` columns of meta/episodes."""
    features: dict[str, list[dict[str, Array]]] = {}
    for column, values in rows.items():
        if (about := stat_of(column)) is not None:
            feature, name = about
            parts = features.setdefault(feature, [{} for _ in values])
            for part, value in zip(parts, values, strict=True):
                part[name] = np.asarray(value)
    return {feature: merge(parts) for feature, parts in features.items()}
