"""An offline evaluation as one self-contained page: findings, errors beside baselines, curves, and an episode open loop."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np

from palmar.eval import plots
from palmar.eval.bootstrap import Estimate
from palmar.eval.offline_results import BASELINES, MOMENTS, POLICY, OfflineResults
from palmar.eval.pages import table, whole

PANELS, DRAWN = 16, 20  # channels and chunks of the open-loop plot at most


def page(r: OfflineResults) -> str:
    """The HTML text; needs nothing else to be shown."""
    when = f"at {r.config['later_seconds']:.2g} s"
    title = f"{r.config['policy'] or 'policy'} on {Path(r.config['data']).name or 'a data set'}"
    figures = {w: r.overall[w] for w in (POLICY, *BASELINES)}
    parts = [
        f"<h1>{escape(title)}</h1><p>{escape(r.split['text'])}. {len(r.episodes)} episodes and {r.config['frames_seen']} frames "
        "were looked at, open loop: each chunk answers a recorded observation. Brackets are 95 % intervals over episodes.</p>",
        "<ul>" + "".join(f"<li>{escape(n)}</li>" for n in r.notes) + "</ul>" if r.notes else "",
        f"<h2>Errors over all channels that move</h2><p>Mean absolute error in standard deviations of the recorded actions, over "
        f"{escape(', '.join(r.moving))}.</p>",
        table(
            ("", "first action", when, "whole chunk"),
            [[escape(w), *(_cell(by[m]) for m in MOMENTS)] for w, by in figures.items()]
            + [[f"policy less {w}", *(_cell(r.versus[w][m], signed=True) for m in MOMENTS)] for w in BASELINES],
        ),
        _ablations(r),
        f"<h2>Errors by channel</h2><p>In the unit of the channel, as recorded; σ is the standard deviation of its recorded "
        f"actions. Greyed channels hardly move. "
        f"The last three columns compare {when} in σ; the difference is paired by episode.</p>",
        _channels(r, when),
        "<h2>How much of a chunk to carry out</h2><p>" + escape(execution_text(r)) + "</p>",
        plots.error_by_step(
            {w: [(e.value, e.low, e.high) for e in r.execution.by_step[w]] for w in (POLICY, *BASELINES)},
            r.config["fps"], r.execution.recommended,
        ),
        _trace(r),
    ]  # fmt: skip
    return whole(title, "".join(parts))


def execution_text(r: OfflineResults) -> str:
    """Seams, and what a shorter or longer `execute` would have done, in sentences."""
    x = r.execution

    def error(k: int) -> str:
        value = x.by_execute[min(k, x.horizon) - 1].value
        return "–" if value is None else f"{value:.3g} σ"

    tried = sorted({1, min(x.execute, x.horizon), x.recommended, x.horizon})
    errors = ", ".join(f"{k}: {error(k)}" for k in tried)
    seam = (
        "not measured"
        if x.seam.value is None
        else f"{x.seam} times the step from one recorded action to the next, with {x.execute} carried out"
    )
    return (
        f"Mean error of the actions carried out, by how many of the {x.horizon} are: {errors}. Recommended: execute "
        f"{x.recommended} (the most within a quarter of the first action's error, up to half the chunk). Jump where one chunk "
        f"follows another: {seam}."
    )


def _ablations(r: OfflineResults) -> str:
    if not r.ablations:
        return ""
    rows = [
        [
            escape(a.name), "–" if a.change.value is None else _cell(a.change.scaled(100), " %", signed=True),
            "–" if a.moved is None else f"{a.moved:.2f} σ", f'<td class="text">{escape(a.verdict)}</td>',
        ]
        for a in r.ablations
    ]  # fmt: skip
    return (
        "<h2>Without its cameras, and with other words</h2><p>The same policy on the same frames with one input exchanged: how "
        "much its error over the chunk rises, and how far its actions move.</p>"
        + table(("", "error rises by", "actions move", ""), rows)
    )


def _channels(r: OfflineResults, when: str) -> str:
    rows = []
    for c in r.channels:
        mine = c.errors[POLICY]
        cells = [
            escape(c.name), f"{c.sd:.3g}", *(_cell(mine[m]) for m in MOMENTS), _cell(c.in_sd(POLICY, "later")),
            _cell(c.in_sd("hold still", "later")), _cell(c.less_hold.scaled(1 / c.sd), signed=True) if c.sd > 0 else "–",
        ]  # fmt: skip
        rows.append(cells)
    head = ("channel", "σ", "first action", when, "whole chunk", "policy [σ]", "hold still [σ]", "difference [σ]")
    return table(head, rows, still=[not c.moving for c in r.channels])


def _trace(r: OfflineResults) -> str:
    t = r.trace
    if t is None:
        return ""
    order = sorted(range(len(r.channels)), key=lambda i: (not r.channels[i].moving, -r.channels[i].sd, i))
    order = [i for i in order if r.channels[i].sd > 0][:PANELS] or order[:1]
    left = (
        f" {len(r.channels) - len(order)} channels that move less are left out." if len(order) < len(r.channels) else ""
    )
    chunks = t.chunks[:: -(-len(t.chunks) // DRAWN)]
    svg = plots.open_loop(
        t.fps, np.array(t.recorded)[:, order], [(i, np.array(c)[:, order]) for i, c in chunks],
        [r.channels[i].name for i in order], f"Episode {t.episode}, open loop",
    )  # fmt: skip
    return (
        f"<h2>Episode {t.episode}, open loop</h2><p>The episode with the median error; a chunk every {_spacing(chunks)} frames is "
        f"shown.{left}</p>{svg}"
    )


def _spacing(chunks: Sequence[tuple[int, object]]) -> int:
    return chunks[1][0] - chunks[0][0] if len(chunks) > 1 else 1


def _cell(e: Estimate, unit: str = "", signed: bool = False) -> str:
    if e.value is None:
        return "–"
    value = f"{e.value:+.3g}" if signed else f"{e.value:.3g}"
    return f"{value}{unit}" + ("" if e.low is None else f"<small>{e.low:.3g} … {e.high:.3g}</small>")
