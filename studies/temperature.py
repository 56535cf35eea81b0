"""Which sampling temperature suits tasks of unlike sizes?

A batch draws tasks by p(task) ∝ frames^(1/T): T = 1 as they are, infinity each alike. One policy for 240 reaches, 60 picks and
20 pushes; held-out errors are of 20 episodes of each task that no arm trains on.
"""

from __future__ import annotations

from making import NANO, Lab, error
from study import Row, Rows, Size, Study, compared, outcomes, points

from palmar.data.mixture import Mixture
from palmar.eval import plots
from palmar.train.recipe import Recipe, Stage

SIZES = {"reach": 240, "pick": 60, "push": 20}
TEMPERATURES = {"T = 0.5": 0.5, "T = 1": 1.0, "T = 2": 2.0, "T = 5": 5.0, "T = ∞ (each alike)": float("inf")}


def measure(lab: Lab, arm: str) -> Row:
    t = TEMPERATURES[arm]
    data = [lab.demos(f"t-{task}", n, (task,), 730_000 + 5000 * i) for i, (task, n) in enumerate(SIZES.items())]
    held = {task: lab.demos(f"held-{task}", 20, (task,), 760_000 + 5000 * i) for i, task in enumerate(SIZES)}
    plan = Recipe("temperature", (Stage("all", data=Mixture(temperature=t)),))
    policy = lab.trained(f"temperature-{t:g}", data, recipe=plan)
    results = lab.tested(policy, tuple(SIZES))
    succeeded = {task: results.rate(task=task) for task in SIZES}
    return succeeded | {f"{k} held-out": error(policy, d) for k, d in held.items()} | {"_outcomes": outcomes(results)}


def of_task(row: Row, task: str) -> dict[str, bool]:
    return {k: v for k, v in row["_outcomes"].items() if k.startswith(f"{task}/")}


def answer(rows: Rows) -> str:
    said = []
    for task in SIZES:
        best = max(rows, key=lambda arm: rows[arm][task].value)
        said.append(f"*{task}* does best at {best} ({rows[best][task]})")
        if best != "T = 1":
            said[-1] += f", {points(compared(of_task(rows['T = 1'], task), of_task(rows[best], task)))} against T = 1"
    return "; ".join(said) + "."


def figure(rows: Rows) -> str:
    series = {task: [(float(i), row[task]) for i, row in enumerate(rows.values())] for task in SIZES}
    ticks = {float(i): arm.removeprefix("T = ").split()[0] for i, arm in enumerate(rows)}
    return plots.trend(series, "Success by sampling temperature", "temperature T of p ∝ n^(1/T)", ticks)


STUDY = Study(
    question="Which sampling temperature suits tasks of unlike sizes?",
    arms=tuple(TEMPERATURES),
    expectation="T = 2 or more helps the small tasks at a small cost to the large one.",
    measure=measure,
    answer=answer,
    figure=figure,
    full=Size(trials=100, steps=800),
    quick=Size(trials=2, steps=24, data=0.05),
    settings={"preset": NANO, "episodes": SIZES, "seeds": [730_000, 760_000], "tables": 4000},
)
