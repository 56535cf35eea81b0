"""Question: of all the systems palmar builds, which learns most from the same demonstrations in the same time?

Every preset at `tiny`, trained from nothing on the same data for the same minutes on the same machine, evaluated on the same new
tables. Each row is kept as soon as it is made; a run that was stopped goes on where it was.

    palmar collect --out runs/board/data --episodes 300 --tasks reach
    palmar collect --out runs/board/stills --episodes 1200 --tasks reach --seed 400000 --stills
    python studies/leaderboard.py --data runs/board/data runs/board/stills --out runs/board

Stills teach only models that use simulator truth about where to look; to the others they are pictures without actions, and
only cost time. So every system is trained on the demonstrations alone, and those that can use stills once more with them.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from rich.console import Console

from palmar.data.reader import Dataset
from palmar.eval import plots
from palmar.eval.results import Results
from palmar.eval.rows import read_rows
from palmar.eval.stats import Rate
from palmar.lab.suite import EvalConfig, evaluate
from palmar.models.catalogue import size_of
from palmar.models.presets import PRESETS, preset
from palmar.sim.instructions import paraphrases
from palmar.train.loop import TrainConfig, train
from palmar.train.track import METRICS

TIMEOUT = 8.0  # [s] of simulated time; the expert needs 2 to 5
LEARNS_FROM_STILLS = ("palmar-tiny",)


@dataclass(frozen=True)
class Row:
    """One system. held_out: mean absolute error of the actions of held-out demonstrations, in standard deviations.
    samples_per_s: of training. latency_ms: median of one answer on one thread."""

    preset: str
    stills: bool
    parameters: int
    successes: int
    n: int
    per_task: dict[str, float]
    approached: float
    held_out: float
    samples: int
    samples_per_s: float
    latency_ms: float


def measure(
    name: str, data: list[Path], out: Path, minutes: float, trials: int, tasks: tuple[str, ...], stills: bool
) -> Row:
    sets = [Dataset(d) for d in data]
    policy = train(
        preset(name), sets, out / "policy", TrainConfig(minutes=minutes, batch_size=64), embodiment="arm7",
        paraphrases=paraphrases, resume=True,
    )  # fmt: skip
    results: Results = evaluate(EvalConfig(str(policy), trials, tasks, seed=3000, timeout=TIMEOUT), note=name)
    rows = read_rows(policy / METRICS)
    speeds = [r["samples_per_s"] for r in rows if r.get("samples_per_s")]
    rate = results.rate()
    return Row(
        name, stills, size_of(name), rate.successes, rate.n,
        {k: results.rate(task=k).value for k in tasks}, results.approach().value,
        next(r["val_action"] for r in reversed(rows) if r.get("val_action") is not None),
        64 * int(max(r["step"] for r in rows)), float(np.median(speeds)),
        1000 * float(np.median([t.latency for t in results.trials])),
    )  # fmt: skip


def page(rows: list[Row], minutes: float, frames: str) -> str:
    """Markdown, the best first."""
    lines = [
        "# Leaderboard",
        "",
        f"Every preset at `tiny`, trained from nothing on the same data ({frames}) for {minutes:g} minutes on the same",
        "CPU and evaluated on the same new tables (`studies/leaderboard.py`, seed 3000). Success with its 95 % Wilson",
        "interval; approach: came closest to the object asked for; held-out: mean absolute error of the actions of held-out",
        "demonstrations, in standard deviations; samples: frames trained on; latency: of one answer on one thread, median.",
        "The row with stills has more data, photographed tables, and stands apart.",
        "",
        f"| preset | success | {' / '.join(rows[0].per_task)} | approach | held-out | parameters | samples | samples/s | latency |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for r in sorted(rows, key=lambda r: (r.stills, -r.successes / r.n)):  # more data stands apart
        tasks = " / ".join(f"{100 * v:.0f}" for v in r.per_task.values())
        lines.append(
            f"| `{r.preset}`{', and stills' if r.stills else ''} | {Rate(r.successes, r.n)} | {tasks} "
            f"| {100 * r.approached:.0f} % | {r.held_out:.3f} | {r.parameters / 1e6:.1f} M | {r.samples} "
            f"| {r.samples_per_s:.0f} | {r.latency_ms:.0f} ms |"
        )
    return "\n".join(lines) + "\n"


def picture(rows: list[Row]) -> str:
    ordered = sorted(rows, key=lambda r: (r.stills, -r.successes / r.n))
    rates = {r.preset + (" + stills" if r.stills else ""): Rate(r.successes, r.n) for r in ordered}
    return plots.success({"success": rates}, "Success after the same minutes of training")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="demonstrations, then stills")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--trials", type=int, default=100, help="per task")
    parser.add_argument("--tasks", nargs="+", default=["reach"])
    parser.add_argument("--only", nargs="*", help="these presets")
    given = parser.parse_args()
    console = Console()
    names = given.only or [n for n in PRESETS if n.endswith("-tiny")]
    wanted = [(n, False) for n in names]
    if len(given.data) > 1:
        wanted += [(n, True) for n in names if n in LEARNS_FROM_STILLS]
    rows = []
    for name, stills in wanted:
        where = given.out / (name + ("-stills" if stills else ""))
        kept = where / "row.json"
        if not kept.exists():
            console.rule(where.name)
            data = given.data if stills else given.data[:1]
            row = measure(name, data, where, given.minutes, given.trials, tuple(given.tasks), stills)
            kept.write_text(json.dumps(asdict(row), indent=1))
        rows.append(Row(**json.loads(kept.read_text())))
    demos = Dataset(given.data[0], cache=False)
    text = page(rows, given.minutes, f"{len(demos.episodes)} demonstrations, {len(demos)} frames")
    (given.out / "leaderboard.md").write_text(text)
    (given.out / "leaderboard.svg").write_text(picture(rows))
    console.print(text, markup=False)


if __name__ == "__main__":  # evaluation starts a process for each core
    main()
