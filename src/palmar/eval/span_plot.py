"""Ranges of parameters over the iterations of automatic domain randomisation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from palmar.errors import BadValue
from palmar.eval.plots import INK, LINE, SERIES, _figure, _Svg

COLUMNS = 3


def spans(
    rows: Mapping[str, Sequence[tuple[float, float]]],
    ordinary: Mapping[str, tuple[float, float]],
    title: str = "Ranges",
) -> str:
    """SVG text, a panel a parameter. rows: {parameter: (low, high) after each iteration, the start first}. ordinary: the
    hand-tuned ranges, dashed. Raises `BadValue` when there is nothing to draw."""
    if not rows:
        raise BadValue("no ranges to draw; expected at least one parameter. Next: name one")
    columns = min(COLUMNS, len(rows))
    lines = -(-len(rows) // columns)
    with _figure(title, 0.3 + 1.05 * lines, columns, lines) as (figure, axes):
        for i, ax in enumerate(np.atleast_1d(axes).ravel()):
            if i >= len(rows):
                ax.set_axis_off()
                continue
            name = list(rows)[i]
            span = np.array(rows[name], float)
            at = np.arange(len(span))
            ax.fill_between(at, span[:, 0], span[:, 1], color=SERIES[0], alpha=0.3, lw=0)
            ax.plot(at, span, color=SERIES[0], lw=1.2)
            for end in ordinary.get(name, ()):
                ax.axhline(end, color=LINE, lw=1, ls="--")
            ax.set_title(name.replace("_", " "), fontsize=8, color=INK, loc="left", pad=2)
            ax.tick_params(labelsize=7)
            ax.locator_params(axis="both", nbins=4)
            if i < len(rows) - columns:
                ax.set_xticklabels([])
        svg = _Svg(figure)
    return svg.text(title)
