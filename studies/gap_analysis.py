"""What does a known gap cost a policy of plain simulation, and how much of it does domain randomisation win back?

The gap is exact: simulation has friction 1.0, mass 1.0 and no noise; reality friction 0.8, mass 1.1 and camera noise 0.03.

    plain          trained in simulation
    whole DR       trained with every parameter drawn from its range; noise of 0.03 lies outside of its range
    narrow DR      trained with only these three drawn, from ranges that hold reality's
    exact          trained in reality's own numbers, the control: what knowing them is worth

The plain arm is also tried in worlds with one difference each, which tells what the loss is made of.
"""

from __future__ import annotations

from dataclasses import replace

from making import Lab, Plan
from study import Row, Rows, Size, Study, points, verdict

from palmar.eval import plots
from palmar.eval.crossed import gained, rate
from palmar.sim.params import NO_RANDOMIZATION, Randomization, WorldParams

REALITY = {"friction": 0.8, "mass": 1.1, "image_noise": 0.03}
RANGES = {"friction": (0.5, 1.5), "mass": (0.8, 1.2), "image_noise": (0.0, 0.04)}
PLAIN, WHOLE, NARROW, EXACT = "plain", "whole DR", "narrow DR", "exact"
PLAN = Plan(("slide",), demos=400)


def exactly(**values: float) -> Randomization:
    """The world that differs from plain simulation in these numbers."""
    return replace(NO_RANDOMIZATION, centre=WorldParams(values))


ARMS = {
    PLAIN: NO_RANDOMIZATION,
    WHOLE: Randomization(1.0),
    NARROW: Randomization(0.0, ranges=RANGES),
    EXACT: exactly(**REALITY),
}
TESTS = {"simulation": NO_RANDOMIZATION, "reality": exactly(**REALITY)}
PARTS = {name: exactly(**{name: value}) for name, value in REALITY.items()}


def measure(lab: Lab, arm: str) -> Row:
    tests = TESTS | (PARTS if arm == PLAIN else {})
    found = lab.several(arm, ARMS[arm], {name: ("sim", worlds) for name, worlds in tests.items()}, PLAN)
    return {f"_{name}": outcomes for name, outcomes in found.items()}


def lines(rows: Rows) -> list[Row]:
    """Of the table: success in both, and what was won in reality."""
    return [
        {"trained": arm}
        | {name: str(rate(row[f"_{name}"])) for name in TESTS}
        | {"reality, against plain": "" if arm == PLAIN else points(gained(rows[PLAIN]["_reality"], row["_reality"]))}
        for arm, row in rows.items()
    ]


def answer(rows: Rows) -> str:
    plain = rows[PLAIN]
    drop = gained(plain["_simulation"], plain["_reality"])
    parts = ", ".join(
        f"{name.replace('_', ' ')} {value:g} {points(gained(plain['_simulation'], plain[f'_{name}']))}"
        for name, value in REALITY.items()
    )
    said = [
        f"The gap costs the plain policy {points(drop)} ({verdict(drop).replace('is ', '')} simulation); alone, {parts}."
    ]
    for arm in (WHOLE, NARROW, EXACT):
        won = gained(plain["_reality"], rows[arm]["_reality"])
        left = gained(plain["_simulation"], rows[arm]["_reality"])
        said.append(
            f"In reality '{arm}' {verdict(won)} plain ({points(won)}): {points(left)} against plain in simulation."
        )
    return " ".join(said)


def figure(rows: Rows) -> str:
    series = {name: {arm: rate(row[f"_{name}"]) for arm, row in rows.items()} for name in TESTS}
    return plots.success(series, "Success in simulation and in a reality of known numbers")


STUDY = Study(
    question="What does a gap of known size cost, and how much of it does domain randomisation win back?",
    arms=tuple(ARMS),
    expectation="Reality costs the plain policy 20 points or more, nearly all by friction; randomising wins back half of it, and "
    "less than training in reality's numbers, since a policy cannot see friction before it strikes.",
    measure=measure,
    answer=answer,
    figure=figure,
    full=Size(trials=100, steps=3000),
    quick=Size(trials=2, steps=8, data=4 / 400),
    settings=PLAN.settings() | {"reality": REALITY, "ranges": RANGES},
    table=lines,
)
