"""Does domain randomisation, or identifying the robot's dynamics, help a policy in a reality twin it has never met?

Four arms, each trained from nothing on as many demonstrations for as many steps; they differ in the worlds that the
demonstrations were made in and in nothing else:

    off          the plain simulator
    dr           everything randomised at strength 0.7
    identified   the dynamics that `palmar sysid` identified on the twin, from their intervals; nothing else moves
    both         the identified dynamics, and the rest (light, camera, colours, sizes, noise) randomised

Every arm is evaluated on the same tables: in simulation, and in the twin. About half an hour on one idle core.
"""

from __future__ import annotations

from dataclasses import replace

from making import NANO, Lab
from study import Row, Rows, Size, Study, compared, outcomes, points, rates, verdict

from palmar.eval import plots
from palmar.lab.suite import EvalConfig, evaluated
from palmar.sim.params import NO_RANDOMIZATION, Randomization
from palmar.sim.reality import twin as reality_twin
from palmar.sim.world import World
from palmar.train.loop import TrainConfig
from palmar.transfer.diagnose import diagnose, table
from palmar.transfer.identification import Identification
from palmar.transfer.sysid import identify

TWIN, SEED, TASKS = 0, 0, ("reach",)
ARMS = ("off", "dr", "identified", "both")


def identification(lab: Lab) -> Identification:
    """Of the twin, made once."""
    kept = lab.out / "identified.json"
    if not kept.exists():
        twin = World(images=False, reality=reality_twin(TWIN))
        twin.load(table())
        kept.write_text(identify(diagnose(twin)).to_json())
    return Identification.load(kept)


def worlds(lab: Lab, arm: str) -> Randomization:
    """Where the demonstrations of an arm are made."""
    if arm == "off":
        return NO_RANDOMIZATION
    if arm == "dr":
        return Randomization(0.7)
    return identification(lab).randomization(0.0 if arm == "identified" else 0.7)


def measure(lab: Lab, arm: str) -> Row:
    data = lab.demos(f"domain-{arm}", 300, TASKS, 700_000 + SEED, worlds(lab, arm))
    policy = lab.trained(arm, [data], config=TrainConfig(steps=lab.size.steps, batch_size=64, seed=SEED))
    tested = EvalConfig(str(policy), lab.size.trials, TASKS, seed=2000)
    sim = evaluated(tested, policy / "sim.json", f"{arm}, simulation", lab.processes)
    twin = evaluated(replace(tested, world=f"twin:{TWIN}"), policy / "twin.json", f"{arm}, twin", lab.processes)
    return {"simulation": sim.rate(), "twin": twin.rate(), "_outcomes": outcomes(twin)}


def lines(rows: Rows) -> list[Row]:
    out = []
    for arm, row in rows.items():
        against = "" if arm == "off" else points(compared(rows["off"]["_outcomes"], row["_outcomes"]))
        out.append({"demonstrations": arm} | row | {"twin, against the plain simulator": against})
    return out


def answer(rows: Rows) -> str:
    said = []
    for arm, name in (("dr", "randomisation"), ("identified", "identification"), ("both", "both together")):
        p = compared(rows["off"]["_outcomes"], rows[arm]["_outcomes"])
        said.append(f"{name} {verdict(p)} the plain simulator ({points(p)})")
    return f"In the twin: {'; '.join(said)}."


STUDY = Study(
    question="Does domain randomisation, or identifying the robot's dynamics, help in a reality twin never met?",
    arms=ARMS,
    expectation="Randomisation helps; the identified dynamics help beside it, since the twin's motors and delay differ.",
    measure=measure,
    answer=answer,
    figure=lambda rows: plots.success(
        {"simulation": rates(rows, "simulation"), "twin": rates(rows, "twin")}, "Success by worlds trained in"
    ),
    full=Size(trials=100, steps=1200),
    quick=Size(trials=2, steps=20, data=8 / 300),
    settings={"twin": TWIN, "seed": SEED, "tasks": TASKS, "preset": NANO, "tables": 2000, "demonstrations": 300},
    table=lines,
)
