"""A waterfall of success: what is lost between simulation and reality, and what each step wins back."""

from __future__ import annotations

import numpy as np

from palmar.eval.plots import BAD, GOOD, INK, LINE, SERIES, SOFT, _figure, _rows, _Svg
from palmar.eval.recovery import Change, Recovery
from palmar.eval.stats import points

WRAPPED = 26  # letters of a line of a name


def waterfall(found: Recovery, title: str = "What is lost, and what each step wins back") -> str:
    """SVG text. A row a step: a bar from the rate before it to the rate after it, filled where the trials tell the two apart,
    hollow where they do not; the line is the 95 % interval of the difference, begun at the rate before."""
    changes: tuple[Change, ...] = (found.lost, *found.steps)
    with _figure(title, 0.75 + 0.46 * (len(changes) + 1)) as (figure, ax):
        start = 100 * found.lost.before.value
        ax.barh(0, start, 0.46, color=SERIES[2], alpha=0.8)
        ax.annotate(
            f"{start:.0f} %", (start, 0), (5, 0), textcoords="offset points", va="center", color=INK, fontsize=9
        )
        for i, c in enumerate(changes, 1):
            a, b = 100 * c.before.value, 100 * c.after.value
            colour = (GOOD if c.difference.difference > 0 else BAD) if c.told else SOFT
            ax.barh(i, b - a, 0.46, a, color=colour if c.told else "none", alpha=0.8, ec=colour, lw=1.2)
            low, high = (float(np.clip(a + 100 * x, -2, 102)) for x in (c.difference.low, c.difference.high))
            ax.hlines(i, low, high, INK, lw=1.3, zorder=3)
            ax.vlines([low, high], i - 0.09, i + 0.09, INK, lw=1.3, zorder=3)
            ax.vlines(a, i - 0.77, i + 0.23, LINE, lw=1, zorder=1)
            says = points(c.difference.difference) + ("" if c.told else " ?")
            ax.annotate(
                f"{says} → {b:.0f} %",
                (max(high, a, b), i),
                (6, 0),
                textcoords="offset points",
                va="center",
                color=INK,
                fontsize=9,
            )
        _rows(ax, ["plain policy, simulation", *(_wrapped(c.step) for c in changes)])
        ax.set(xlim=(0, 132), xticks=range(0, 101, 25), xticklabels=[f"{x} %" for x in range(0, 101, 25)])
        svg = _Svg(figure)
    return svg.text(title)


def _wrapped(name: str) -> str:
    from textwrap import wrap

    return "\n".join(wrap(name, WRAPPED))
