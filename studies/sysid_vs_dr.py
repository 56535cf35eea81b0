"""Does identifying the robot's dynamics from diagnostic motions help a policy in a reality it has never met, against randomisation?

Four arms, each trained from nothing on as many demonstrations for as many steps; they differ in the worlds that the
demonstrations were made in and in nothing else:

    off          the plain simulator
    dr           everything randomised at strength 0.7
    identified   the dynamics that diagnostic motions on the twin tell, drawn from their posterior; nothing else moves
    both         the identified dynamics, and the rest (light, camera, colours, sizes, noise) randomised

Two tasks, a policy for each: *reach*, in a closed loop of displacements, which forgives slow motors, and *slide*, where nothing can
be mended after the strike and friction decides. Every arm is trained with the same seeds and tried on the same tables, in
simulation and in the twin.
"""

from __future__ import annotations

from dataclasses import replace

from making import NANO, Lab
from study import Row, Rows, Size, Study, points, verdict
from trainings import APART, SEEDS, by_training, gain, over, seeds, total, tried

from palmar.eval import plots
from palmar.files import write_text
from palmar.lab.suite import EvalConfig, evaluated
from palmar.sim.draws import Worlds
from palmar.sim.params import NO_RANDOMIZATION, Randomization
from palmar.sim.reality import reality
from palmar.sim.world import World
from palmar.train.loop import TrainConfig
from palmar.transfer.diagnose import diagnose, table
from palmar.transfer.identification import Identification
from palmar.transfer.posterior import posterior
from palmar.transfer.sysid import identify

REALITY, TASKS, FIRST, TABLES, STRENGTH, TIMEOUT = "twin:0", ("reach", "slide"), 700_000, 2000, 0.7, 10.0
OFF, DR, IDENTIFIED, BOTH = "off", "dr", "identified", "both"
DEMOS = 300


def identification(lab: Lab, seed: int) -> Identification:
    """Of the twin by motions of this seed, made once: each training has an identification of its own."""
    kept = lab.out / f"identified-{seed}.json"
    if not kept.exists():
        twin = World(images=False, reality=reality(REALITY))
        twin.load(table(), seed=seed)
        write_text(kept, identify(diagnose(twin, seed=seed), progress=False).to_json())
    return Identification.load(kept)


def worlds(lab: Lab, arm: str, seed: int) -> Worlds:
    """Where the demonstrations of an arm are made."""
    if arm == OFF:
        return NO_RANDOMIZATION
    if arm == DR:
        return Randomization(STRENGTH)
    return posterior(identification(lab, seed), 0.0 if arm == IDENTIFIED else STRENGTH)


def measure(lab: Lab, arm: str) -> Row:
    row: Row = {}
    for task in TASKS:
        sim, real = {}, {}
        for seed in seeds(lab):
            name, first = f"{task}-{arm}-{seed}", FIRST + APART * seed
            data = lab.demos(f"sysid-vs-dr-{name}", DEMOS, (task,), first, worlds(lab, arm, seed))
            policy = lab.trained(name, [data], config=TrainConfig(steps=lab.size.steps, batch_size=64, seed=seed))
            tested = EvalConfig(str(policy), lab.size.trials, (task,), seed=TABLES, timeout=TIMEOUT)
            sim[seed] = evaluated(tested, policy / "sim.json", f"{name}, simulation", lab.processes)
            real[seed] = evaluated(
                replace(tested, world=REALITY), policy / "real.json", f"{name}, {REALITY}", lab.processes
            )
        row |= {f"_{task} in simulation": tried(sim), f"_{task} in {REALITY}": tried(real)}
        row |= {f"{task} in simulation": total(tried(sim)), f"{task} in {REALITY}": total(tried(real))}
    found = {n: e for n, e in identification(lab, 0).estimates.items() if e.identified}
    row["_identified"] = [f"{n} {e.value:.3g} [{e.low:.3g}, {e.high:.3g}]" for n, e in found.items()]
    return row


def lines(rows: Rows) -> list[Row]:
    out: list[Row] = [{"demonstrations": arm} for arm in rows]
    for task in TASKS:
        sim, real = (over(rows, f"_{task} in {where}") for where in ("simulation", REALITY))
        for line, arm in zip(out, rows, strict=True):
            against = "" if arm == OFF else points(gain(rows, OFF, arm, f"_{task} in {REALITY}"))
            line |= {f"{task} in simulation": sim[arm], f"{task} in {REALITY}": real[arm]}
            line |= {
                f"{task}, by training": by_training(rows[arm], f"_{task} in {REALITY}"),
                f"{task}, against off": against,
            }
    return out


def answer(rows: Rows) -> str:
    said = []
    for task in TASKS:
        parts = []
        for a, b in ((OFF, DR), (OFF, IDENTIFIED), (DR, IDENTIFIED), (DR, BOTH)):
            p = gain(rows, a, b, f"_{task} in {REALITY}")
            parts.append(f"{b} {verdict(p)} {a} ({points(p)})")
        said.append(f"*{task}* in {REALITY}: {'; '.join(parts)}.")
    return f"{' '.join(said)} Identified by the motions of seed 0: {', '.join(rows[IDENTIFIED]['_identified'])}."


STUDY = Study(
    question="Does identifying the robot's dynamics from diagnostic motions help in a twin never met, against randomisation?",
    arms=(OFF, DR, IDENTIFIED, BOTH),
    expectation="On reach randomisation helps and identification does not; on slide the identified friction helps most.",
    measure=measure,
    answer=answer,
    figure=lambda rows: plots.success(
        {task: over(rows, f"_{task} in {REALITY}") for task in TASKS}, f"Success in {REALITY} by worlds trained in"
    ),
    full=Size(trials=100, steps=1200),
    quick=Size(trials=2, steps=10, data=4 / DEMOS),
    settings={
        "reality": REALITY, "seeds": SEEDS, "tasks": TASKS, "preset": NANO, "tables": TABLES, "first": FIRST, "timeout": TIMEOUT,
        "demonstrations": DEMOS, "strength": STRENGTH,
    },
    table=lines,
)  # fmt: skip
