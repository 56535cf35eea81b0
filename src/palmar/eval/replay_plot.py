"""A replayed episode over time: what was recorded, what would be sent, and where the guards changed it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from palmar.embodiments import Embodiment
from palmar.errors import need
from palmar.files import replace_file
from palmar.runtime.records.replay import Replayed

MOST = 12  # channels drawn: those changed most


LABELS = ("recorded, without guards", "sent", "changed")


def plot_replay(
    robot: Embodiment, replayed: Replayed, path: Path, title: str = "", labels: tuple[str, str, str] = LABELS
) -> None:
    """Write a PNG with one axis a channel. labels: of `asked`, `sent` and `changed`.

    Raises `MissingPackage` without matplotlib, OSError when it cannot be written."""
    need("matplotlib", "report")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    chosen = sorted(np.argsort(-replayed.largest / robot.widths, kind="stable")[:MOST])
    figure = Figure(figsize=(9, 1.2 + 1.4 * len(chosen)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(chosen), 1, sharex=True, squeeze=False)[:, 0]
    for axis, i in zip(axes, chosen, strict=True):
        c = robot.channels[i]
        axis.plot(replayed.time, replayed.asked[:, i], color="#b9b5ae", linewidth=3.0, label=labels[0])
        axis.plot(replayed.time, replayed.sent[:, i], color="#5b82c4", linewidth=1.2, label=labels[1])
        low, high = axis.get_ylim()
        axis.fill_between(
            replayed.time,
            low,
            high,
            where=replayed.changed[:, i],
            color="#c4622f",
            alpha=0.25,
            linewidth=0,
            label=labels[2],
        )
        if replayed.stopped is not None:
            axis.axvline(replayed.stopped[0], color="#c4622f", linewidth=1.2, linestyle="--", label="would stop")
        axis.set_ylim(low, high)
        axis.set_ylabel(f"{c.name}\n[{c.unit or 'no unit'}]", fontsize=8)
        axis.tick_params(labelsize=8)
    axes[-1].set_xlabel("time [s]", fontsize=8)
    axes[0].legend(fontsize=7, ncols=4, loc="lower right", bbox_to_anchor=(1, 1), frameon=False)
    axes[0].set_title(title, fontsize=9, loc="left")
    replace_file(path, lambda aside: figure.savefig(aside, format="png", dpi=110))
