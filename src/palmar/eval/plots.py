"""Figures of a report as SVG text: transparent, in the colours of the page they stand in, light or dark.

Every function is pure: values in, one `<svg>` out, the same text for the same values. Inside a page the colours follow its
custom properties (`--ink`, `--soft`, `--line`, `--c0` … `--c4`, `--good`, `--bad`); alone they fall back to tones that
read on white and on black. Figures are 360 units wide, so that their words stay legible on a phone.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import numpy as np

from palmar.errors import BadValue, need
from palmar.eval.crossed import Crossed
from palmar.eval.stats import Rate
from palmar.types import Array

WIDTH = 5.0  # inches of 72 units
# Placeholders that become custom properties: {placeholder: (property, fallback)}.
THEME = {
    "#010101": ("ink", "#7a766f"), "#020202": ("soft", "#86827b"), "#030303": ("line", "#b9b5ae"),
    "#040404": ("good", "#3a8f80"), "#050505": ("bad", "#c4622f"), "#060606": ("card", "#888888"),
    "#101010": ("c0", "#3a8f80"), "#111111": ("c1", "#c47a2c"), "#121212": ("c2", "#5b82c4"),
    "#131313": ("c3", "#b45a86"), "#141414": ("c4", "#8b8f3a"),
}  # fmt: skip
INK, SOFT, LINE, GOOD, BAD = "#010101", "#020202", "#030303", "#040404", "#050505"
SERIES = ("#101010", "#111111", "#121212", "#131313", "#141414")
MARKS = ("o", "s", "D", "^", "v")


@dataclass(frozen=True)
class Identified:
    """One parameter of a world as measured: estimate with a 95 % interval, beside what the simulator believed.

    nominal, range: the simulator's own value, and where reality may lie. identified: False when the motions could not tell
    it. truth: the twin's hidden value, when it may be shown.
    """

    name: str
    value: float
    low: float
    high: float
    unit: str = ""
    identified: bool = True
    truth: float | None = None
    nominal: float | None = None
    range: tuple[float, float] | None = None
    note: str = ""

    @property
    def hit(self) -> bool | None:
        """The interval holds the truth; None when either is missing."""
        return self.low <= self.truth <= self.high if self.identified and self.truth is not None else None


def success(groups: Mapping[str, Mapping[str, Rate | Crossed]], title: str = "Success by task") -> str:
    """Rates with their 95 % intervals. groups: {series, such as "twin, before": {task: rate}}; a series may lack tasks."""
    names = list(dict.fromkeys(t for rates in groups.values() for t in rates))
    n = len(groups)
    with _figure(title, 0.55 + len(names) * (0.16 + 0.17 * n) + 0.22 * n) as (figure, ax):
        for j, (series, rates) in enumerate(groups.items()):
            rows = [i for i, t in enumerate(names) if t in rates and rates[t].n]
            at = np.array(rows, float) + (j - (n - 1) / 2) * min(0.24, 0.8 / max(n, 1))
            value = np.array([100 * rates[names[i]].value for i in rows])
            ends = np.array([rates[names[i]].interval for i in rows]).reshape(-1, 2) * 100
            ax.hlines(at, ends[:, 0], ends[:, 1], SERIES[j % 5], lw=2.2, alpha=0.5, capstyle="round")
            ax.plot(value, at, MARKS[j % 5], color=SERIES[j % 5], ms=5.5, label=series)
        _rows(ax, names)
        ax.set(xlim=(-2, 102), xticks=range(0, 101, 25), xticklabels=[f"{x} %" for x in range(0, 101, 25)])
        if n > 1:
            _legend(ax, 1 if max(map(len, groups)) > 22 else 2)
        svg = _Svg(figure)
    return svg.text(title)


def trend(
    groups: Mapping[str, Sequence[tuple[float, Rate | Crossed]]],
    title: str,
    unit: str,
    ticks: Mapping[float, str] | None = None,
) -> str:
    """Rates with their 95 % intervals over a number. groups: {series: [(number, rate)]}. ticks: {number: its name}; numbers that
    are no distances, such as infinity, are given places this way. Raises `BadValue` when there is nothing to draw."""
    if not any(groups.values()):
        raise BadValue(f"'{title}' has no rates to draw")
    with _figure(title, 2.6) as (figure, ax):
        for j, (series, points) in enumerate(groups.items()):
            at = np.array([x for x, _ in points], float)
            value = np.array([100 * r.value for _, r in points])
            ends = np.array([r.interval for _, r in points]).reshape(-1, 2) * 100
            ax.fill_between(at, ends[:, 0], ends[:, 1], color=SERIES[j % 5], alpha=0.16, lw=0)
            ax.plot(at, value, marker=MARKS[j % 5], color=SERIES[j % 5], ms=5, lw=1.6, label=series)
        if ticks:
            ax.set_xticks(list(ticks), list(ticks.values()))
        ax.set(ylim=(-2, 102), yticks=range(0, 101, 25), yticklabels=[f"{y} %" for y in range(0, 101, 25)])
        ax.set_xlabel(unit)
        _legend(ax, 3)
        svg = _Svg(figure)
    return svg.text(title)


CURVES = {
    "action": ("Action error", "normalised L1", (("action", "training"), ("val_action", "held out"))),
    "pixel": ("Where it looks", "pixels from the target", (("pixel", "training"), ("val_pixel", "held out"))),
    "done": ("Knows when it is done", "balanced accuracy", (("val_done", "held out"),)),
    "lr": ("Learning rate", "", (("lr", "learning rate"),)),
    "speed": ("Speed", "samples a second", (("samples_per_s", "samples a second"),)),
}


def curves(rows: Sequence[Mapping[str, float | None]]) -> dict[str, str]:
    """{curve: SVG} of those in `CURVES` that the rows of a training run can draw, over minutes."""
    out = {}
    for name, (title, unit, series) in CURVES.items():
        drawn = [(label, *_series(rows, key)) for key, label in series]
        drawn = [d for d in drawn if len(d[1])]
        if not drawn:
            continue
        with _figure(title, 2.1) as (figure, ax):
            for j, (label, x, y) in enumerate(drawn):
                held = label == "held out"
                colour, mark = SERIES[1 if held else 0], "o" if held or len(x) == 1 else ""
                ax.plot(x, y, color=colour, marker=mark, ms=4, lw=1.6, label=label, zorder=3 + j)
            ax.set_xlabel("minutes")
            ax.set_ylabel(unit)
            if name != "lr" and min(d[2].min() for d in drawn) >= 0:
                ax.set_ylim(bottom=0)
            if name == "done":
                ax.set_ylim(0.4, 1.02)
            if len(drawn) > 1:
                _legend(ax, 2)
            svg = _Svg(figure)
        out[name] = svg.text(f"{title} over {_number(max(d[1][-1] for d in drawn))} minutes of training")
    return out


def identified(rows: Sequence[Identified], title: str = "Identified parameters") -> str:
    """Each parameter on its own range (grey): nominal (line), estimate with interval (dot), truth (diamond)."""
    if not rows:
        raise BadValue("no parameters to draw; expected at least one")
    with _figure(title, 0.75 + 0.3 * len(rows)) as (figure, ax):
        for i, r in enumerate(rows):
            low, high = r.range or _around(r)
            scale = lambda x, low=low, high=high: (x - low) / max(high - low, 1e-12)  # noqa: E731
            ax.hlines(i, 0, 1, LINE, lw=7, alpha=0.45, capstyle="round")
            if r.nominal is not None:
                ax.plot(
                    [scale(r.nominal)] * 2,
                    [i - 0.3, i + 0.3],
                    color=SOFT,
                    lw=1.4,
                    label="simulator's own" if i == 0 else "",
                )
            if r.identified:
                ends = np.clip([scale(r.low), scale(r.high)], -0.06, 1.06)
                ax.hlines(i, *ends, SERIES[0], lw=2.4, capstyle="round")
                ax.plot(np.clip(scale(r.value), -0.06, 1.06), i, "o", color=SERIES[0], ms=6)
            if r.truth is not None:
                ax.plot(scale(r.truth), i, "D", mec=SERIES[1], mfc="none", mew=1.6, ms=8)
        for label, style in (
            ("estimate, 95 %", {"marker": "o", "color": SERIES[0], "lw": 2.4}),
            ("truth", {"marker": "D", "mec": SERIES[1], "mfc": "none", "mew": 1.6, "lw": 0}),
        ):
            if label != "truth" or any(r.truth is not None for r in rows):
                ax.plot([], [], label=label, **style)
        _rows(ax, [r.name.replace("_", " ") + ("" if r.identified else " (not seen)") for r in rows])
        ax.set(xlim=(-0.08, 1.08), xticks=[0, 1], xticklabels=["lowest", "highest in reality"])
        _legend(ax, 3)
        svg = _Svg(figure)
    return svg.text(title)


def histogram(values: Array, title: str, unit: str, bins: int = 40) -> str:
    """How often each value came, with the median and the 99th percentile marked. For latencies and jitter [ms]."""
    values = np.asarray(values, float)
    values = values[np.isfinite(values)]
    if not len(values):
        raise BadValue("no values to draw; expected at least one finite number")
    p50, p99 = np.percentile(values, [50, 99], method="inverted_cdf")  # values that came
    with _figure(title, 1.9) as (figure, ax):
        ax.hist(values, bins, color=SERIES[0], alpha=0.75)
        for x, label in ((p50, "p50"), (p99, "p99")):
            ax.axvline(x, color=INK, lw=1.2, ls=":" if label == "p99" else "-", label=f"{label} {_number(x)} {unit}")
        ax.set_xlabel(unit)
        ax.set_yticks([])
        _legend(ax, 2)
        svg = _Svg(figure)
    return svg.text(f"{title}: median {_number(p50)} {unit}, 99th percentile {_number(p99)} {unit}")


def timing(report: Mapping[str, float], budget: float | None = None, title: str = "Keeping time") -> str:
    """Median, 99th percentile and worst of a `runtime.timing.Timing.report` [ms], on a logarithmic axis.

    budget: a control period [ms], drawn as a line.
    """
    kinds = (("latency", "policy"), ("took", "work of a tick"), ("jitter", "jitter of a tick"))
    rows = [
        (label, [max(report[f"{k}_{p}"], 1e-3) for p in ("p50", "p99", "max")])
        for k, label in kinds
        if f"{k}_p50" in report
    ]
    if not rows:
        raise BadValue(
            f"no timings among {', '.join(report) or 'nothing'}; expected latency_p50, jitter_p99 and their like"
        )
    with _figure(title, 0.85 + 0.36 * len(rows)) as (figure, ax):
        for i, (_, (p50, p99, worst)) in enumerate(rows):
            ax.hlines(i, p50, worst, SERIES[0], lw=2, alpha=0.4)
            for x, mark, filled in ((p50, "o", True), (p99, "s", True), (worst, "o", False)):
                ax.plot(x, i, mark, ms=6, mec=SERIES[0], mfc=SERIES[0] if filled else "none", mew=1.5)
        for mark, filled, label in (("o", True, "median"), ("s", True, "99 %"), ("o", False, "worst")):
            ax.plot([], [], mark, mec=SERIES[0], mfc=SERIES[0] if filled else "none", mew=1.5, label=label)
        if budget:
            ax.axvline(budget, color=SERIES[1], lw=1.3, ls="--", label=f"control period {_number(budget)} ms")
        _rows(ax, [label for label, _ in rows])
        ax.set_xscale("log")
        every = [x for _, xs in rows for x in xs] + ([budget] if budget else [])
        ticks = [10.0**e for e in range(int(np.floor(np.log10(min(every)))), int(np.ceil(np.log10(max(every)))) + 1)]
        ax.set_xlim(ticks[0] * 0.8, ticks[-1] * 1.25)
        ax.set_xticks(ticks, [f"{t:g} ms" for t in ticks])
        ax.minorticks_off()
        _legend(ax, 2)
        svg = _Svg(figure)
    return svg.text(title)


def guards(counts: Mapping[str, int], checked: int | None = None, title: str = "What the safety layer changed") -> str:
    """How many commands each guard changed, the busiest first. checked: all commands, for the share."""
    rows = sorted(((k, v) for k, v in counts.items() if v), key=lambda kv: -kv[1])
    if not rows:
        raise BadValue("no guard changed anything; there is nothing to draw")
    with _figure(title, 0.35 + 0.27 * len(rows)) as (figure, ax):
        ax.barh(range(len(rows)), [v for _, v in rows], 0.55, color=SERIES[0], alpha=0.8)
        for i, (_, v) in enumerate(rows):
            share = f"{v} ({100 * v / checked:.1f} %)" if checked else f"{v}"
            ax.annotate(share, (v, i), (5, 0), textcoords="offset points", va="center", color=INK, fontsize=9)
        _rows(ax, [k.replace("_", " ") for k, _ in rows])
        ax.set(xlim=(0, rows[0][1] * (1.35 if checked else 1.15)), xticks=[])
        svg = _Svg(figure)
    return svg.text(title)


def trajectories(paths: Iterable[tuple[Array, bool | None]], title: str = "Paths of the gripper") -> str:
    """float32[N, 3] paths of the tool centre point, base frame [m], each with its success: from above and from the side."""
    drawn = [(p, ok) for p, ok in paths if len(p)]
    if not drawn:
        raise BadValue("no paths to draw; expected at least one of length ≥ 1")
    with _figure(title, 2.6, panels=2) as (figure, (above, side)):
        for path, ok in drawn:
            colour, style = (BAD, "--") if ok is False else (GOOD, "-")
            for ax, i, j in ((above, 1, 0), (side, 0, 2)):
                ax.plot(path[:, i], path[:, j], color=colour, ls=style, lw=1.2, alpha=0.75)
                ax.plot(path[-1, i], path[-1, j], "x" if ok is False else "o", color=colour, ms=4)
        above.set(xlabel="left  ←  y [m]", ylabel="x, away from the robot [m]", aspect="equal")
        above.invert_xaxis()  # the robot's left is on the left
        side.set(xlabel="x [m]", ylabel="z, up [m]", aspect="equal", ylim=(0, None))
        for ok, label in ((True, "success"), (False, "failed")):
            if any((o is not False) == ok for _, o in drawn):
                above.plot([], [], color=GOOD if ok else BAD, ls="-" if ok else "--", label=label)
        _legend(above, 2)
        svg = _Svg(figure)
    return svg.text(f"{title}: from above, and from the side")


def open_loop(
    fps: float,
    recorded: Array,
    chunks: Sequence[tuple[int, Array]],
    names: Sequence[str],
    title: str = "Recorded and predicted actions",
) -> str:
    """One panel a channel: float[N, A] recorded actions (line), and predicted chunks (first frame, float[T, A]) as short lines
    that begin with a dot, over seconds. Raises `BadValue` when there is nothing to draw."""
    recorded = np.asarray(recorded, float)
    if not len(recorded) or not len(names):
        raise BadValue("no actions to draw; expected at least one frame and one channel")
    columns = 1 if len(names) < 3 else 2
    rows = -(-len(names) // columns)
    with _figure(title, 0.35 + 0.95 * rows, columns, rows) as (figure, axes):
        for k, ax in enumerate(np.atleast_1d(axes).ravel()):
            if k >= len(names):
                ax.set_axis_off()
                continue
            ax.plot(np.arange(len(recorded)) / fps, recorded[:, k], color=INK, lw=1.3, alpha=0.75, zorder=2)
            for i, chunk in chunks:
                kept = np.asarray(chunk, float)[: len(recorded) - i]
                at = (i + np.arange(len(kept))) / fps
                ax.plot(at, kept[:, k], color=SERIES[1], lw=0.9, alpha=0.8, zorder=3)
                ax.plot(at[:1], kept[:1, k], ".", color=SERIES[1], ms=4, zorder=4)
            ax.set_title(names[k], fontsize=8.5, color=INK, loc="left", pad=2)
            ax.tick_params(labelsize=7.5)
            ax.locator_params(axis="y", nbins=4)
            if k < len(names) - columns:
                ax.set_xticklabels([])
            else:
                ax.set_xlabel("seconds", fontsize=8)
        for label, style in (
            ("recorded", {"color": INK, "lw": 1.3}), ("predicted chunks", {"color": SERIES[1], "lw": 0.9, "marker": "."}),
        ):  # fmt: skip
            figure.axes[0].plot([], [], label=label, **style)
        figure.legend(
            *figure.axes[0].get_legend_handles_labels(),
            loc="outside upper left",
            ncols=2,
            fontsize=8.5,
            handlelength=1.2,
        )
        svg = _Svg(figure)
    return svg.text(title)


def error_by_step(
    series: Mapping[str, Sequence[tuple[float | None, float | None, float | None]]],
    fps: float,
    recommended: int | None = None,
    title: str = "Error by step of the chunk",
) -> str:
    """Errors [standard deviations] over the step of the chunk [s] as (value, low, high); None is left out. recommended: how many
    steps to carry out, as a line."""
    with _figure(title, 2.4) as (figure, ax):
        for j, (name, points) in enumerate(series.items()):
            kept = [(i / fps, *p) for i, p in enumerate(points) if p[0] is not None]
            if not kept:
                continue
            at, value = (np.array([k[n] for k in kept], float) for n in (0, 1))
            if all(k[2] is not None for k in kept):
                ends = np.array([k[2:4] for k in kept], float)
                ax.fill_between(at, ends[:, 0], ends[:, 1], color=SERIES[j % 5], alpha=0.15, lw=0)
            ax.plot(at, value, color=SERIES[j % 5], lw=1.6, marker=MARKS[j % 5], ms=3.5, label=name)
        if recommended:
            ax.axvline((recommended - 0.5) / fps, color=INK, lw=1, ls="--", label=f"carry out {recommended}")
        ax.set(ylim=(0, None), xlabel="seconds after the picture", ylabel="error [σ]")
        _legend(ax, 3)
        svg = _Svg(figure)
    return svg.text(title)


class _Svg:
    """Draws when made, while the style holds; `text` makes it fit into a page."""

    def __init__(self, figure: Any) -> None:
        sink = io.StringIO()
        figure.savefig(sink, format="svg", transparent=True, metadata={"Date": None})
        self._raw = sink.getvalue()

    def text(self, title: str) -> str:
        svg = self._raw[self._raw.index("<svg") :]
        svg = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", svg, flags=re.S)
        svg = re.sub(r' (width|height)="[\d.]+pt"', "", svg, count=2)
        used = set(re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', svg))
        used = {a or b for a, b in used}
        svg = re.sub(r' id="([^"]+)"', lambda m: m[0] if m[1] in used else "", svg)
        mark = sha256((title + svg).encode()).hexdigest()[:6]  # several figures share a page
        for name in used:
            svg = svg.replace(f'id="{name}"', f'id="{mark}-{name}"').replace(f"#{name})", f"#{mark}-{name})")
            svg = svg.replace(f'href="#{name}"', f'href="#{mark}-{name}"')
        for placeholder, (name, fallback) in THEME.items():
            svg = svg.replace(placeholder, f"var(--{name}, {fallback})")
        says = title.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
        return re.sub(r"\n\s*", "\n", svg.replace("<svg ", f'<svg role="img" aria-label="{says}" ', 1)).strip()


@contextmanager
def _figure(title: str, height: float, panels: int = 1, rows: int = 1) -> Iterator[tuple[Any, Any]]:
    """A figure in the house's style, closed after."""
    need("matplotlib", "report")
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    style: Any = {
        "svg.fonttype": "none", "svg.hashsalt": "palmar", "font.size": 9.5, "text.color": INK, "axes.edgecolor": LINE,
        "axes.labelcolor": SOFT, "xtick.color": SOFT, "ytick.color": SOFT, "axes.spines.top": False,
        "axes.spines.right": False, "axes.linewidth": 0.8, "axes.grid": True, "grid.color": LINE, "grid.linewidth": 0.5,
        "grid.alpha": 0.6, "xtick.major.size": 0, "ytick.major.size": 0, "legend.frameon": False, "axes.axisbelow": True,
    }  # fmt: skip
    with rc_context(style):
        figure = Figure(figsize=(WIDTH, height), dpi=80, layout="constrained")
        FigureCanvasAgg(figure)
        yield figure, figure.subplots(rows, panels)


def _rows(ax: Any, names: Sequence[str]) -> None:
    """Names down the left side, the first on top; only vertical grid lines."""
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.45, -0.55)
    ax.grid(axis="y", visible=False)
    ax.spines["left"].set_visible(False)
    ax.tick_params(axis="y", labelcolor=INK)


def _legend(ax: Any, columns: int) -> None:
    ax.legend(
        loc="lower left", bbox_to_anchor=(0, 1.0), ncols=columns, fontsize=9, handlelength=1.2, columnspacing=1.4,
        borderpad=0.2, borderaxespad=0.1, handletextpad=0.5,
    )  # fmt: skip


def _series(rows: Sequence[Mapping[str, float | None]], key: str) -> tuple[Array, Array]:
    """(minutes, values) of the rows that have both, finite."""
    pairs = [(r.get("minutes"), r.get(key)) for r in rows]
    kept = [(x, y) for x, y in pairs if x is not None and y is not None and np.isfinite(x) and np.isfinite(y)]
    return np.array([x for x, _ in kept], float), np.array([y for _, y in kept], float)


def _around(r: Identified) -> tuple[float, float]:
    """A range for a parameter that has none: everything known about it, and some air."""
    known = [x for x in (r.value, r.low, r.high, r.truth, r.nominal) if x is not None and np.isfinite(x)] or [0.0, 1.0]
    air = 0.15 * (max(known) - min(known)) or 1.0
    return min(known) - air, max(known) + air


def _number(x: float) -> str:
    return f"{x:.3g}" if abs(x) < 1000 else f"{x:.0f}"
