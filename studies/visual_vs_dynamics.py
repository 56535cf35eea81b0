"""Which gap is harder to close by domain randomisation: what looks otherwise, or what moves otherwise?

Two kinds of realities. In one only the visual parameters differ from plain simulation, in the other only those of dynamics; each by
40 … 80 % of the way to an end of its range, as in near realities. Every table stands in a reality of its own.

    plain          trained in plain simulation
    visual DR      trained with the visual parameters drawn from their ranges
    dynamics DR    trained with those of dynamics drawn from their ranges

Each arm is tried in both kinds: randomising the other group is the control of each.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from making import Lab, Plan
from study import Row, Rows, Size, Study, points, verdict

from palmar.eval import plots
from palmar.eval.crossed import gained, rate
from palmar.sim.params import NO_RANDOMIZATION, SPACE, Group, Randomization, WorldParams
from palmar.sim.reality import near

VISUAL, DYNAMICS = "visual", "dynamics"
PLAN = Plan(("slide",), demos=400)


@dataclass(frozen=True)
class OneGroup:
    """Realities that are near in one group of parameters and plain simulation in all others."""

    group: Group

    def sample(self, rng: np.random.Generator) -> WorldParams:
        """One of them, at random."""
        hidden = near(int(rng.integers(2**31))).hidden or WorldParams()
        return WorldParams({name: x for name, x in hidden.values.items() if SPACE[name].group == self.group})


ARMS = {
    "plain": NO_RANDOMIZATION,
    "visual DR": Randomization(1.0, groups=(VISUAL,)),
    "dynamics DR": Randomization(1.0, groups=(DYNAMICS,)),
}
TESTS = {"simulation": NO_RANDOMIZATION, VISUAL: OneGroup(VISUAL), DYNAMICS: OneGroup(DYNAMICS)}


def measure(lab: Lab, arm: str) -> Row:
    found = lab.several(arm, ARMS[arm], {name: ("sim", worlds) for name, worlds in TESTS.items()}, PLAN)
    return {f"_{name}": outcomes for name, outcomes in found.items()}


def lines(rows: Rows) -> list[Row]:
    """Of the table: success in each kind of world, and what was won in the two kinds of realities."""
    out = []
    for arm, row in rows.items():
        line: Row = {"trained": arm} | {name: str(rate(row[f"_{name}"])) for name in TESTS}
        for kind in (VISUAL, DYNAMICS):
            won = "" if arm == "plain" else points(gained(rows["plain"][f"_{kind}"], row[f"_{kind}"]))
            line[f"{kind}, against plain"] = won
        out.append(line)
    return out


def answer(rows: Rows) -> str:
    plain, told = rows["plain"], []
    for kind, other in ((VISUAL, DYNAMICS), (DYNAMICS, VISUAL)):
        lost = gained(plain["_simulation"], plain[f"_{kind}"])
        won = gained(plain[f"_{kind}"], rows[f"{kind} DR"][f"_{kind}"])
        control = gained(plain[f"_{kind}"], rows[f"{other} DR"][f"_{kind}"])
        left = gained(plain["_simulation"], rows[f"{kind} DR"][f"_{kind}"])
        told.append(
            f"The {kind} gap is {points(lost)}; there {kind} DR {verdict(won)} plain ({points(won)}), {other} DR "
            f"{verdict(control)} it ({points(control)}), and {kind} DR is {points(left)} against plain in simulation."
        )
    harder = gained(rows["visual DR"]["_visual"], rows["dynamics DR"]["_dynamics"])
    told.append(
        f"Each with its own DR, success in the dynamics gap {verdict(harder)} that in the visual gap ({points(harder)})."
    )
    return " ".join(told)


def figure(rows: Rows) -> str:
    series = {name: {arm: rate(row[f"_{name}"]) for arm, row in rows.items()} for name in TESTS}
    return plots.success(series, "Success where only looks or only dynamics differ")


STUDY = Study(
    question="Which gap is harder to close by domain randomisation: visual or dynamics?",
    arms=tuple(ARMS),
    expectation="The visual gap is the larger one and visual DR closes most of it; of the dynamics gap DR closes less, since "
    "friction cannot be seen before the strike.",
    measure=measure,
    answer=answer,
    figure=figure,
    full=Size(trials=100, steps=3000),
    quick=Size(trials=2, steps=8, data=4 / 400),
    settings=PLAN.settings() | {"groups": (VISUAL, DYNAMICS), "realities": "near"},
    table=lines,
)
