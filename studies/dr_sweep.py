"""How does success in realities depend on the strength of domain randomisation?

    none       the plain simulator
    mild       every parameter drawn from half of its range
    strong     every parameter drawn from its range
    double     every parameter drawn from twice its range, as far as physics allows

The arms differ in the worlds that their demonstrations are made in and in nothing else. Every arm is trained several times, each
time on new demonstrations, and tried on the same tables: in plain simulation, and in realities within the ranges (near) and outside
them (far). Every table stands in a reality of its own, so that an interval over tables is one over realities too.
"""

from __future__ import annotations

from making import Lab, Plan
from study import Row, Rows, Size, Study, points, verdict

from palmar.eval import plots
from palmar.eval.crossed import gained, rate
from palmar.sim.params import NO_RANDOMIZATION, Randomization

STRENGTHS = {"none": 0.0, "mild": 0.5, "strong": 1.0, "double": 2.0}
TESTS = {
    "simulation": ("sim", NO_RANDOMIZATION),
    "near": ("near:0-999", NO_RANDOMIZATION),
    "far": ("far:0-999", NO_RANDOMIZATION),
}
PLAN = Plan(("reach",), demos=300)


def measure(lab: Lab, arm: str) -> Row:
    found = lab.several(arm, Randomization(STRENGTHS[arm]), TESTS, PLAN)
    return {f"_{test}": found[test] for test in TESTS}


def lines(rows: Rows) -> list[Row]:
    """Of the table: success in each kind of world, and what randomisation gained in the realities."""
    out = []
    for arm, row in rows.items():
        line: Row = {"randomisation": arm, "strength": f"{STRENGTHS[arm]:g}"}
        line |= {test: str(rate(row[f"_{test}"])) for test in TESTS}
        for test in ("near", "far"):
            against = "" if arm == "none" else points(gained(rows["none"][f"_{test}"], row[f"_{test}"]))
            line[f"{test}, against none"] = against
        out.append(line)
    return out


def answer(rows: Rows) -> str:
    told = []
    for test, where in (("near", "near realities"), ("far", "far realities"), ("simulation", "plain simulation")):
        changes = {arm: gained(rows["none"][f"_{test}"], rows[arm][f"_{test}"]) for arm in STRENGTHS if arm != "none"}
        said = "; ".join(f"{arm} {verdict(change)} none ({points(change)})" for arm, change in changes.items())
        told.append(f"In {where} {said}.")
    beyond = gained(rows["strong"]["_near"], rows["double"]["_near"])
    outside = gained(rows["strong"]["_far"], rows["double"]["_far"])
    told.append(
        f"Twice the ranges {verdict(beyond)} the ranges in near realities ({points(beyond)}) and {verdict(outside)} them in far "
        f"ones ({points(outside)})."
    )
    return " ".join(told)


def figure(rows: Rows) -> str:
    series = {test: [(STRENGTHS[arm], rate(row[f"_{test}"])) for arm, row in rows.items()] for test in TESTS}
    return plots.trend(
        series, "Success by strength of randomisation", "strength", {s: f"{s:g}" for s in STRENGTHS.values()}
    )


STUDY = Study(
    question="How does success in realities depend on the strength of domain randomisation?",
    arms=tuple(STRENGTHS),
    expectation="In near realities success rises up to the whole range and no further; far realities gain from twice the range; "
    "plain simulation loses a little with every step.",
    measure=measure,
    answer=answer,
    figure=figure,
    full=Size(trials=100, steps=1200),
    quick=Size(trials=2, steps=8, data=4 / 300),
    settings=PLAN.settings() | {"strengths": STRENGTHS, "tests": {k: world for k, (world, _) in TESTS.items()}},
    table=lines,
)
