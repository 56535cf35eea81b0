"""What is monitored as one self-contained page: alarms, success over time, latency, interventions and causes."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

import numpy as np

from palmar.eval import plots
from palmar.eval.monitoring import Monitored, Version, bound_words, success_words
from palmar.eval.pages import table, whole
from palmar.eval.stats import Rate

DRAWN = 2000
"""Values that a histogram is drawn of at most."""


def page(m: Monitored) -> str:
    """The HTML text."""
    title = f"Operations of {m.log.path.name}"
    alarms = "".join(f"<li>{escape(name)}: {escape(str(a))}</li>" for name, a in m.alarms)
    damaged = f" {m.log.damaged} damaged lines were left out." if m.log.damaged else ""
    versions = "one version" if len(m.versions) == 1 else f"{len(m.versions)} versions"
    parts = [
        f"<h1>{escape(title)}</h1><p>{len(m.log.runs)} runs of {versions}.{damaged} Brackets are 95 % Wilson "
        f"intervals. {bound_words(m.config).capitalize()}.</p>",
        f"<ul>{alarms}</ul>" if alarms else "<p><b>No alarm.</b></p>",
        *(_version(v, m) for v in m.versions),
    ]
    return whole(title, "".join(parts))


def _version(v: Version, m: Monitored) -> str:
    c = m.config
    windows = [
        [f"{a + 1} … {b + 1}", f"{at:%Y-%m-%d %H:%M}", escape(str(rate))] for a, b, at, rate in v.windows
    ]  # fmt: skip
    kept = [(float(b + 1), rate) for _, b, _, rate in v.windows]
    out = [
        f"<h2>{escape(v.name)}</h2><p>{escape(success_words(v))}</p>",
        "".join(f"<p>{escape(n)}.</p>" for n in v.notes),
    ]
    if len(kept) > 1:
        out.append(plots.trend({"success": kept}, f"Success of {c.block} runs each, by run", "run"))
    if kept:
        out.append(table(("runs", "from", "success"), windows[-12:]))
    out.append("<h2>Time</h2>" + _time(v, m))
    out.append(
        f"<h2>People</h2><p>A person took over in {escape(str(v.taken))} of the runs: {v.takeovers} times, {v.driven:.0f} s of "
        f"{v.hours * 3600:.0f} s.</p>"
    )
    if v.causes:
        rows = [[escape(k), str(n), escape(str(Rate(n, v.runs)))] for k, n in _most(v.causes)]
        out.append("<h2>Why runs did not succeed</h2>" + table(("cause", "runs", "share of runs"), rows))
    if v.guards:
        out.append("<h2>What the safety layer changed</h2>" + plots.guards(v.guards))
    if v.shifts:
        out.append("<h2>Actions</h2>" + _shift(v))
    return "".join(out)


def _most(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda kv: (-kv[1], kv[0]))


def _time(v: Version, m: Monitored) -> str:
    if not v.chunks.n:
        return "<p>No chunk has come.</p>"
    values, counts = np.array(v.latency.values()).T
    share = np.minimum(1.0, DRAWN / counts.sum())
    drawn = np.repeat(1e3 * values, np.ceil(counts * share).astype(int))
    rows = [
        [what, str(x.n), f"{x.over} ({100 * x.over / max(x.n, 1):.2f} %)", f"{1e3 * x.p50:.3g}", f"{1e3 * x.p99:.3g}"]
        for what, x in (("chunks", v.chunks), ("ticks", v.ticks))
    ]
    return (
        f"<p>Budget of a chunk: {1e3 * m.config.budget:g} ms; allowed over it: {100 * m.config.share:g} %.</p>"
        + table(("", "n", "late", "p50 [ms]", "p99 [ms]"), rows)
        + plots.histogram(drawn, "Latency of the policy", "ms")
    )


def _shift(v: Version) -> str:
    rows = [
        [f"{s.first + 1} … {s.last + 1}", f"{s.moved[0].what} of {escape(s.moved[0].channel)}", f"{s.moved[0].before:.3g}",
         f"{s.moved[0].after:.3g}", f"{s.p:.2g}", f"{s.level:.2g}", "<b>alarm</b>" if s.alarm else ""]
        for s in v.shifts[-12:]
    ]  # fmt: skip
    head = ("runs", "moved most", "reference", "these runs", "p", "level", "")
    return "<p>p is of all channels together; the level of each block is its part of alpha.</p>" + table(head, rows)
