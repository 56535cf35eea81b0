"""Success in simulation against success in reality, a point a policy."""

from __future__ import annotations

import numpy as np

from palmar.eval.plots import INK, LINE, SERIES, _figure, _Svg
from palmar.eval.ranking import Ranking


def scatter(found: Ranking, title: str = "Success in simulation and in reality") -> str:
    """SVG text: each policy with its 95 % Wilson intervals, numbered as in the ranking; the diagonal is a perfect prediction."""
    with _figure(title, 3.6) as (figure, ax):
        ax.plot([0, 100], [0, 100], color=LINE, lw=1.2, zorder=1)
        for i, p in enumerate(found.policies):
            x, y = 100 * p.sim.value, 100 * p.real.value
            (a, b), (c, d) = (np.array(r.interval) * 100 for r in (p.sim, p.real))
            ax.hlines(y, a, b, SERIES[0], lw=1.6, alpha=0.35, zorder=2)
            ax.vlines(x, c, d, SERIES[0], lw=1.6, alpha=0.35, zorder=2)
            ax.plot(x, y, "o", color=SERIES[0], ms=5.5, zorder=3)
            ax.annotate(str(i + 1), (x, y), (4, 4), textcoords="offset points", fontsize=8.5, color=INK)
        marks = range(0, 101, 25)
        ax.set(xlim=(-3, 103), ylim=(-3, 103), xticks=marks, yticks=marks, aspect="equal")
        ax.set_xticklabels([f"{x} %" for x in marks])
        ax.set_yticklabels([f"{x} %" for x in marks])
        ax.set_xlabel("simulation")
        ax.set_ylabel("reality")
        svg = _Svg(figure)
    return svg.text(title)
