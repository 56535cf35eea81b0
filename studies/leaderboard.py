"""Of all the systems palmar builds, which learns most from the same demonstrations in the same time?

Every preset at `tiny`, trained from nothing on the same data for the same minutes on the same machine, evaluated on the same new
tables. Stills teach only models that use simulator truth about where to look; to the others they are pictures without actions,
and only cost time. So every system is trained on the demonstrations alone, and those that can use stills once more with them.
Minutes make the figures depend on the machine.
"""

from __future__ import annotations

import numpy as np
from making import Lab
from study import Row, Rows, Size, Study, compared, outcomes, slug, verdict

from palmar.data.reader import Dataset
from palmar.eval import plots
from palmar.eval.rows import read_rows
from palmar.lab.stills import StillsConfig, collect_stills
from palmar.lab.suite import EvalConfig, evaluated
from palmar.models.catalogue import size_of
from palmar.models.presets import PRESETS
from palmar.train.loop import TrainConfig
from palmar.train.track import METRICS

TIMEOUT = 8.0  # [s] of simulated time; the expert needs 2 to 5
STILLS = ", and stills"
LEARNS_FROM_STILLS = ("palmar-tiny",)
ARMS = (*(n for n in PRESETS if n.endswith("-tiny")), *(n + STILLS for n in LEARNS_FROM_STILLS))
TASKS = ("reach",)


def measure(lab: Lab, arm: str) -> Row:
    """held-out: mean absolute error of the actions of held-out demonstrations, in standard deviations. latency: median of one
    answer on one thread."""
    name, stills = arm.removesuffix(STILLS), arm.endswith(STILLS)
    sets = [lab.demos("board", 300, TASKS, 0)]
    if stills:
        tables = StillsConfig(max(4, round(lab.size.data * 1200)), seed=400_000)
        sets.append(Dataset(collect_stills(lab.shared / "board-stills", tables, lab.processes, resume=True).root))
    policy = lab.trained(slug(arm), sets, name, config=TrainConfig(minutes=lab.size.minutes, batch_size=64))
    results = evaluated(
        EvalConfig(str(policy), lab.size.trials, TASKS, seed=3000, timeout=TIMEOUT),
        policy / "results.json",
        arm,
        lab.processes,
    )
    rows = read_rows(policy / METRICS)
    speeds = [r["samples_per_s"] for r in rows if r.get("samples_per_s")]
    return {
        "success": results.rate(), "approach": results.approach(),
        "held-out": next(r["val_action"] for r in reversed(rows) if r.get("val_action") is not None),
        "parameters": size_of(name), "samples": 64 * int(max(r["step"] for r in rows)),
        "samples/s": float(np.median(speeds)), "latency, ms": 1000 * float(np.median([t.latency for t in results.trials])),
        "_outcomes": outcomes(results),
    }  # fmt: skip


def ordered(rows: Rows) -> list[str]:
    """The best first; what had more data stands apart."""
    return sorted(rows, key=lambda arm: (arm.endswith(STILLS), -rows[arm]["success"].value))


def lines(rows: Rows) -> list[Row]:
    out = []
    for arm in ordered(rows):
        row = dict(rows[arm])
        row |= {
            "approach": f"{100 * row['approach'].value:.0f} %", "parameters": f"{row['parameters'] / 1e6:.1f} M",
            "samples/s": f"{row['samples/s']:.0f}", "latency, ms": f"{row['latency, ms']:.0f}",
        }  # fmt: skip
        out.append(
            {"preset": f"`{arm}`" if not arm.endswith(STILLS) else f"`{arm.removesuffix(STILLS)}`{STILLS}"} | row
        )
    return out


def answer(rows: Rows) -> str:
    first, *rest = (arm for arm in ordered(rows) if not arm.endswith(STILLS))
    best = rows[first]["_outcomes"]
    equal = [f"`{a}`" for a in rest if verdict(compared(best, rows[a]["_outcomes"])) == "cannot be told from"]
    beside = f"; {', '.join(equal)} cannot be told apart from it" if equal else "; every other system is worse"
    return f"`{first}` leads with {rows[first]['success']}{beside}."


STUDY = Study(
    question="Which system learns most from the same demonstrations in the same time?",
    arms=ARMS,
    expectation="Small models with keypoints or grounded attention lead after minutes; large ones need days.",
    measure=measure,
    answer=answer,
    figure=lambda rows: plots.success(
        {"success": {a.replace(STILLS, " + stills"): rows[a]["success"] for a in ordered(rows)}},
        "Success after the same minutes of training",
    ),
    full=Size(trials=100, minutes=5.0),
    quick=Size(trials=2, minutes=0.1, data=0.05),
    settings={"tasks": TASKS, "demonstrations": 300, "stills": 1200, "tables": 3000, "timeout": TIMEOUT},
    table=lines,
    page="docs/leaderboard.md",
)
