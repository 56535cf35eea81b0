"""A data set as one self-contained HTML page: contact sheet, histograms, traces. Light and dark, no scripts."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import Any

import numpy as np

from palmar.data.inspect import size_text, summary
from palmar.data.reader import Dataset, EpisodeInfo
from palmar.files import write_text
from palmar.types import STILL, Array

MOMENTS = 6  # frames shown of an episode
BINS = 40
TEMPLATE = Path(__file__).with_name("page.html")


def write_html(dataset: Dataset, path: str | Path, episodes: int = 6, seed: int = 0) -> Path:
    """Write the page to `path` and return it. episodes: how many are drawn for the contact sheet with `seed`."""
    s = summary(dataset)
    picked = sorted(np.random.default_rng(seed).permutation(len(dataset.episodes))[:episodes].tolist())
    shown = [dataset.episodes[i] for i in picked]
    page = Template(TEMPLATE.read_text("utf-8")).substitute(
        title=escape(dataset.root.resolve().name),
        robot=_subtitle(s),
        facts=_facts(s),
        notes=_notes(s),
        tasks=_tasks(s["tasks"]),
        sheet="".join(_strip(dataset, e) for e in shown) if dataset.cameras else "<p>No cameras.</p>",
        counted="tables" if s["length"] is None else "episodes, filled where they succeeded",
        motion=_motion(dataset, s),
        traces=_traces(dataset, shown[0]) if shown else "",
        traced=f"episode {shown[0].index}" if shown else "no episode",
        size=escape(size_text(s["size"])),
        root=escape(str(dataset.root)),
    )
    return write_text(path, page, "backslashreplace")  # the folder above may have a name that is no UTF-8


def _facts(s: dict[str, Any]) -> str:
    rate = "–" if s["success"] is None else f"{100 * s['success']:.0f} %"
    facts = [
        (f"{s['episodes']:,}", "tables"), (f"{s['frames']:,}", "photographs"), (f"{s['megabytes']} MB", "on disk"),
    ] if s["length"] is None else [
        (f"{s['episodes']:,}", "episodes"), (f"{s['frames']:,}", f"frames at {s['fps']:g} Hz"),
        (f"{s['seconds'] / 60:.1f} min", "recorded"), (rate, "success"),
        (f"{s['length']['median'] / s['fps']:.1f} s", "median episode"), (f"{s['megabytes']} MB", "on disk"),
    ]  # fmt: skip
    return "".join(f"<div><b>{value.replace(',', '&thinsp;')}</b><span>{label}</span></div>" for value, label in facts)


def _subtitle(s: dict[str, Any]) -> str:
    cameras = [f"{escape(cam)} {h}×{w} px" for cam, (h, w) in s["cameras"].items()]
    return " · ".join([escape(s["robot"] or "unknown robot"), *cameras])


def _notes(s: dict[str, Any]) -> str:
    """What deserves a look before training."""
    out = [escape(text) for text in (*s["notes"], *s["warnings"])]
    if s["ignored"]:
        out.append("Ignored: " + escape("; ".join(f"{key} ({why})" for key, why in s["ignored"].items())))
    for kind in ("action", "state"):
        still = [row["name"] for row in s[kind] if row["constant"]]
        if still:
            out.append(
                f"{kind} dimensions that never move, and will be normalised to 0: <b>{escape(', '.join(still))}</b>"
            )
    if s["length"] is None:
        out.append("These are stills: nobody moves, so there is no success, no duration and no action to look at.")
    elif s["success"] is None:
        out.append("The data set does not record success.")
    elif s["success"] < 1:
        out.append(f"{100 * (1 - s['success']):.0f} % of the episodes failed: decide whether to train on them.")
    return f"<ul class=notes>{''.join(f'<li>{note}</li>' for note in out)}</ul>" if out else ""


def _tasks(rows: Sequence[dict[str, Any]]) -> str:
    most = max((row["episodes"] for row in rows), default=1)
    out = []
    for row in rows:
        won = 1.0 if row["success"] is None else row["success"]
        wide = 100 * row["episodes"] / most
        rate = "–" if row["success"] is None else f"{100 * won:.0f} %"
        says = escape(row["instructions"][0]) + (
            f" <i>+{len(row['instructions']) - 1}</i>" if row["instructions"][1:] else ""
        )
        bar = f'<div class=bar style="width:{wide:.1f}%"><div style="width:{100 * won:.1f}%"></div></div>'
        out.append(
            f"<tr><th>{escape(row['task'])}<small>{says}</small></th><td class=wide>{bar}</td>"
            f"<td>{row['episodes']}</td><td>{rate}</td></tr>"
        )
    return "".join(out)


def _strip(dataset: Dataset, e: EpisodeInfo) -> str:
    """One episode: evenly spaced frames, a row a camera."""
    at = np.unique(np.linspace(e.start, e.stop - 1, MOMENTS).round().astype(np.int64))
    images = dataset.batch(at, 1)["images"]
    rows = "".join(
        f"<div class=row><span>{escape(cam)}</span>{''.join(_picture(f) for f in frames)}</div>"
        for cam, frames in images.items()
    )
    mark = {True: "<em class=good>success</em>", False: "<em class=bad>failed</em>", None: ""}[e.success]
    about = "" if e.source == STILL else f" <i>{e.length / dataset.fps:.1f} s</i>{mark}"
    caption = f"<b>{e.index}</b> {escape(e.instruction)}{about}"
    return f"<figure><figcaption>{caption}</figcaption>{rows}</figure>"


def _picture(frame: Array, limit: int = 192) -> str:
    from PIL import Image

    image = Image.fromarray(frame)
    image.thumbnail((limit, limit))
    sink = io.BytesIO()
    image.save(sink, "JPEG", quality=85)
    return f'<img alt="" src="data:image/jpeg;base64,{base64.b64encode(sink.getvalue()).decode()}">'


def _histogram(values: Array, bins: int = BINS, power: float = 0.5, width: int = 220, height: int = 56) -> str:
    """Inline SVG; counts on a square-root scale, so that rare values stay visible."""
    counts, edges = np.histogram(values, bins) if len(values) else (np.zeros(bins), np.linspace(0, 1, bins + 1))
    tall = (counts / max(1, counts.max())) ** power * height
    step = width / bins
    bars = "".join(
        f'<rect x="{i * step + 0.5:.1f}" y="{height - h:.1f}" width="{step - 1:.1f}" height="{h:.1f}"/>'
        for i, h in enumerate(tall)
        if h > 0
    )
    ends = f"<div class=ends><span>{edges[0]:.3g}</span><span>{edges[-1]:.3g}</span></div>"
    return f'<svg viewBox="0 0 {width} {height}" class=hist preserveAspectRatio=none>{bars}</svg>{ends}'


def _motion(dataset: Dataset, s: dict[str, Any]) -> str:
    """Lengths and actions of the demonstrations; nothing where all are stills."""
    if s["length"] is None:
        return ""
    moving = [e for e in dataset.episodes if e.source != STILL]
    moved = np.concatenate([dataset.actions[e.start : e.stop] for e in moving] or [dataset.actions[:0]])
    actions = "".join(_dimension(row, moved[:, i]) for i, row in enumerate(s["action"]))
    return (
        "<h2>Episode lengths <small>seconds</small></h2>\n"
        f"<section class=lengths>{_lengths(moving, dataset.fps)}</section>\n"
        "<h2>Actions <small>every frame; mean ± standard deviation; square-root heights</small></h2>\n"
        f"<section class=grid>{actions}</section>"
    )


def _lengths(episodes: Sequence[EpisodeInfo], fps: float) -> str:
    seconds = np.array([e.length for e in episodes]) / fps
    bins = int(np.clip(2 * np.sqrt(len(seconds)), 5, BINS))
    return _histogram(seconds, bins, 1.0, 1040, 120)


def _dimension(row: dict[str, Any], values: Array) -> str:
    if row["constant"]:
        return f"<div class=dim><h3>{escape(row['name'])} <em>constant {row['mean']:.3g}</em></h3></div>"
    about = f"{row['mean']:.3g} ± {row['std']:.2g}"
    return f"<div class=dim><h3>{escape(row['name'])} <i>{about}</i></h3>{_histogram(values)}</div>"


def _traces(dataset: Dataset, e: EpisodeInfo, width: int = 220, height: int = 56) -> str:
    """Each state dimension over one episode, on the range it has in the whole set."""
    out = []
    low, high = dataset.states.min(0), dataset.states.max(0)
    x = np.linspace(0, width, e.length) if e.length > 1 else np.array([0.0])
    for i, name in enumerate(dataset.state_names):
        span = max(float(high[i] - low[i]), 1e-9)
        y = height - 2 - (dataset.states[e.start : e.stop, i] - low[i]) / span * (height - 4)
        points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
        box = f'viewBox="0 0 {width} {height}" class=trace preserveAspectRatio=none'
        line = f'<svg {box}><polyline points="{points}"/></svg>'
        ends = f"<i>{low[i]:.3g} … {high[i]:.3g}</i>"
        out.append(f"<div class=dim><h3>{escape(name)} {ends}</h3>{line}</div>")
    return "".join(out)
