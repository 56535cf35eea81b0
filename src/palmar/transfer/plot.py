"""A picture of an identification: measured, nominal and identified motions over each other."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from palmar.errors import MissingPackage
from palmar.files import replace_file
from palmar.robots.arm7 import arm7
from palmar.transfer.diagnose import Recordings
from palmar.transfer.identification import Identification
from palmar.transfer.slides import slide_way


def plot(identification: Identification, recordings: Recordings, path: str | Path, joint: int = 1) -> None:
    """Measured, nominal and identified: one joint of the held-out motion, and a slide. Writes a picture file."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingPackage("'matplotlib' is not installed. Next: pip install 'palmar[report]'") from None
    from palmar.transfer.replay import simulate_arm, simulate_slide

    robot, motion, dt = arm7(), recordings.held_out, recordings.dt
    values = {n: e.value for n, e in identification.estimates.items() if e.identified} | identification.nuisance
    q, _ = simulate_arm(robot, [{}, values], motion.command, motion.start)
    t = np.arange(1, len(motion.position) + 1) * dt
    figure = Figure(figsize=(10, 6), layout="constrained")
    FigureCanvasAgg(figure)
    top, low, slide = figure.subplot_mosaic([["top", "slide"], ["low", "slide"]], width_ratios=[2, 1]).values()
    top.plot(t, motion.position[:, joint], ".", ms=2, color="0.5", label="measured")
    for k, (name, colour) in enumerate((("nominal", "tab:orange"), ("identified", "tab:blue"))):
        top.plot(t, q[k, 0, :, joint], color=colour, lw=1, label=name)
        low.plot(t, 1e3 * (motion.position - q[k, 0])[:, joint], color=colour, lw=0.8, label=name)
    top.set(ylabel=f"{robot.frame().joints[joint]} [rad]", title="held-out motion")
    low.set(ylabel="error [mrad]", xlabel="time [s]")
    ways = [w for s in recordings.slides if (w := slide_way(s, dt)) is not None]
    if ways:
        w = ways[0]
        slide.plot(np.arange(len(w)) * dt * 1e3, w * 1e3, "o", ms=4, color="0.5", label="measured")
        for name, colour, mu in (
            ("nominal", "tab:orange", 1.0), ("identified", "tab:blue", values.get("friction", 1.0)),
        ):  # fmt: skip
            speeds = np.linspace(0.05, 1.5, 59)  # each friction with the speed that suits it best
            ways_k = simulate_slide(np.full(59, mu), speeds, len(w), dt)
            best = ways_k[int(np.argmin(((ways_k - w) - (ways_k - w).mean(1, keepdims=True)).std(1)))]
            slide.plot(np.arange(len(w)) * dt * 1e3, (best + (w - best).mean()) * 1e3, color=colour, label=name)
    slide.set(xlabel="time [ms]", ylabel="way [mm]", title="cube after release")
    top.legend(loc="upper right", fontsize=8)
    kind = Path(path).suffix.lstrip(".") or "png"
    replace_file(path, lambda aside: figure.savefig(aside, format=kind, dpi=120))
