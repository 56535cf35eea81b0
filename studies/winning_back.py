"""What far and other realities cost the shipped policy, and how much of it comes back.

One arm is a reality. The shipped policy is tried in it and in simulation; then it is trained on, three times each way, with as many
labelled frames and as many steps:

    practice    the policy drives in worlds with everything randomised, the expert labels: the control of measuring
    and real    the same, and half of each batch demonstrations made in the reality: the control of the chain
    chain       the reality is measured (motions, a marker board); practice in worlds as measured, the rest randomised;
                half of each batch the same demonstrations made in the reality

All are tried on the same tables. The demonstrations are made by the scripted expert, as a person's would be.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from chains import ARM_ALONE, VIEWS, demonstrated, fitted, parts, practised
from making import Lab
from study import Row, Rows, Size, Study, points, verdict
from trainings import APART, SEEDS, seeds, total, tried

from palmar.data.mapped import MappedData
from palmar.data.reader import Dataset
from palmar.eval import plots
from palmar.eval.crossed import Crossed, gained, rate
from palmar.lab.suite import EvalConfig, evaluated
from palmar.policy import shipped
from palmar.sim.draws import Worlds
from palmar.sim.params import Randomization
from palmar.train.loop import TrainConfig
from palmar.transfer.digital_twin import digital_twin

REALITIES = (*(f"far:{k}" for k in range(4)), *(f"other:{k}" for k in range(4)))
PLAIN, PRACTICE, REAL, CHAIN = "plain", "practice", "practice and real", "chain"
TASKS, TABLES, FIRST, TIMEOUT, STRENGTH = ("reach", "pick", "place", "push"), 78_000, 780_000, 15.0, 1.0
FRAMES, DEMOS, LR = 6000, 100, 3e-4
MOST = 25.0
"""Points that a reality costs at least, for the count of those that are lost."""
BACK = 0.8
"""Share of them that should come back."""


def measure(lab: Lab, arm: str) -> Row:
    folder = lab.out / arm.replace(":", "-")
    tested = EvalConfig("shipped", lab.size.trials, TASKS, seed=TABLES, timeout=TIMEOUT)
    folder.mkdir(parents=True, exist_ok=True)
    # one policy: each training of the others is paired with the same trials of it
    sim = evaluated(tested, lab.shared / f"shipped-{lab.size.trials}-sim.json", "shipped, simulation", lab.processes)
    there = evaluated(replace(tested, world=arm), folder / "shipped.json", f"shipped, {arm}", lab.processes)
    found = {PLAIN: dict.fromkeys(seeds(lab), there)} | {way: {} for way in WAYS}
    for seed in seeds(lab):
        for way in WAYS:
            policy = trained(lab, folder, arm, way, seed)
            config = replace(tested, policy=str(policy), world=arm)
            found[way][seed] = evaluated(config, policy / "results.json", f"{way} {seed}, {arm}", lab.processes)
    row: Row = {"in simulation": sim.rate(), PLAIN: there.rate()}
    for way in WAYS:
        row[way] = total(tried(found[way]))
    return row | {f"_{way}": tried(results) for way, results in found.items()}


def trained(lab: Lab, folder: Path, arm: str, way: str, seed: int) -> Path:
    """The shipped policy, trained on one way. The demonstrations in the reality and the frames of the plain practice are made
    once for the ways that use them."""
    first, frames = FIRST + APART * seed, round(lab.size.data * FRAMES)
    worlds: Worlds = Randomization(STRENGTH)
    if way == CHAIN:
        worlds = digital_twin(parts(folder, arm, seed), STRENGTH)
    where = folder / f"twin-{seed}" if way == CHAIN else lab.shared / f"winning-back-{seed}"
    sets: list[Dataset | MappedData] = [
        practised(TASKS, worlds, frames, lab.processes)(where, shipped(), 0.0, first, 1)
    ]
    real = 0.0
    if way != PRACTICE:
        episodes = max(4, round(lab.size.data * DEMOS))
        made = demonstrated(folder / f"real-{seed}", arm, TASKS, episodes, first + APART // 2, lab.processes)
        sets.append(MappedData(made, like=sets[0]))
        real = 0.5
    steps = lab.size.steps
    about = TrainConfig(
        steps=steps, batch_size=64, lr=LR, validation=0.0, seed=seed, ema=max(0.0, min(0.999, 1 - 10 / steps))
    )
    return fitted(folder / f"{way.replace(' ', '-')}-{seed}", sets, about, shipped(), real)


WAYS = (PRACTICE, REAL, CHAIN)


def over(row: Row, way: str) -> Crossed:
    return rate(row[f"_{way}"])


def gain(row: Row, a: str, b: str) -> Crossed:
    return gained(row[f"_{a}"], row[f"_{b}"])


def lost(row: Row) -> float:
    """Points that the plain policy loses in the reality."""
    return 100 * (row["in simulation"].value - row[PLAIN].value)


def back(row: Row, way: str) -> float:
    """Share of what is lost that a way wins back."""
    return 100 * (row[way].value - row[PLAIN].value) / lost(row) if lost(row) > 0 else 0.0


def lines(rows: Rows) -> list[Row]:
    out = []
    for arm, row in rows.items():
        said: Row = {"reality": arm, "simulation": row["in simulation"], PLAIN: row[PLAIN]}
        said |= {way: over(row, way) for way in WAYS}
        won = f"{back(row, CHAIN):.0f} %" if lost(row) > 0 else "nothing is lost"
        out.append(said | {"chain, of what is lost": won, "chain against practice": points(gain(row, PRACTICE, CHAIN))})
    return out


def answer(rows: Rows) -> str:
    hard = {arm: row for arm, row in rows.items() if lost(row) >= MOST}
    said = [f"In {len(hard)} of {len(rows)} realities the shipped policy loses {MOST:.0f} points or more."]
    for way in WAYS:
        won = sum(back(row, way) >= 100 * BACK for row in hard.values())
        said.append(f"{way.capitalize()} wins back {100 * BACK:.0f} % of it in {won} of them.")
    everywhere: Mapping[str, dict[str, bool]] = {
        way: {f"{key.partition('/')[0]}/{arm}/{key.partition('/')[2]}": good for arm, row in rows.items()
              for key, good in row[f"_{way}"].items()}
        for way in (PRACTICE, REAL, CHAIN)
    }  # fmt: skip
    for a, b in ((PRACTICE, REAL), (PRACTICE, CHAIN), (REAL, CHAIN)):
        p = gained(everywhere[a], everywhere[b])
        said.append(f"Over these realities {b} {verdict(p)} {a} ({points(p)}).")
    return " ".join(said)


STUDY = Study(
    question="How much of what far and other realities cost the shipped policy comes back, and by which link of the chain?",
    arms=REALITIES,
    expectation="The chain wins back four fifths in six of eight; practice without measuring wins back little.",
    measure=measure,
    answer=answer,
    figure=lambda rows: plots.success(
        {way: {arm: over(row, way) for arm, row in rows.items()} for way in (PLAIN, *WAYS)}, "Success in realities"
    ),
    full=Size(trials=25, steps=1200),
    quick=Size(trials=1, steps=8, data=0.02),
    settings={
        "seeds": SEEDS, "tasks": TASKS, "tables": TABLES, "first": FIRST, "timeout": TIMEOUT, "frames": FRAMES,
        "demonstrations": DEMOS, "strength": STRENGTH, "lr": LR, "motion": ARM_ALONE, "views": VIEWS,
    },
    table=lines,
)  # fmt: skip
