"""Question: does domain randomisation, or identifying the robot's dynamics, help a policy in reality twins it has never met?

Four arms, each trained from nothing on as many demonstrations for as many steps; they differ in the worlds that the
demonstrations were made in and in nothing else:

    off          the plain simulator
    dr           everything randomised at strength 0.7
    identified   the dynamics that `palmar sysid` identified on the twin, from their intervals; nothing else moves
    both         the identified dynamics, and the rest (light, camera, colours, sizes, noise) randomised

Every arm is evaluated on the same tables: in simulation, and in each twin. `identified` and `both` are trained for one twin
(its own identification), so with several twins these arms are trained once for each.

    python studies/dr_and_sysid.py --out runs/dr            about half an hour on one idle core
    python studies/dr_and_sysid.py --out runs/dr --quick    minutes: to see that it runs, not to believe the figures
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from palmar.data.reader import Dataset
from palmar.eval.results import Results, shared
from palmar.eval.stats import Paired, paired
from palmar.lab.collect import CollectConfig, collect
from palmar.lab.suite import EvalConfig, evaluated
from palmar.models.presets import preset
from palmar.sim.instructions import paraphrases
from palmar.sim.params import NO_RANDOMIZATION, Randomization
from palmar.sim.twin import Twin
from palmar.train.loop import TrainConfig, train
from palmar.transfer.diagnose import diagnose, table
from palmar.transfer.identification import Identification
from palmar.transfer.sysid import identify

ARMS = ("off", "dr", "identified", "both")


@dataclass(frozen=True)
class Study:
    """episodes, steps: demonstrations and training of each arm. trials: test tables per task and twin."""

    out: Path
    twin: int = 0
    preset: str = "palmar-nano"
    tasks: tuple[str, ...] = ("reach",)
    episodes: int = 300
    steps: int = 1200
    trials: int = 100
    seed: int = 0


def worlds(arm: str, found: Identification) -> Randomization:
    """Where the demonstrations of an arm are made."""
    return {
        "off": NO_RANDOMIZATION,
        "dr": Randomization(0.7),
        "identified": found.randomization(0.0),
        "both": found.randomization(0.7),
    }[arm]


def run(study: Study, console: Console) -> dict[str, object]:
    twin = Twin(study.twin, images=False)
    twin.load(table())
    found = identify(diagnose(twin), progress=True)
    sim: dict[str, Results] = {}
    real: dict[str, Results] = {}
    for arm in ARMS:
        console.rule(arm)
        config = CollectConfig(study.episodes, study.tasks, 700_000 + study.seed, worlds(arm, found))
        data = collect(study.out / arm / "data", config, resume=True).root
        policy = train(
            preset(study.preset), Dataset(data), study.out / arm / "policy",
            TrainConfig(steps=study.steps, batch_size=64, seed=study.seed), embodiment="arm7", paraphrases=paraphrases,
            resume=True,
        )  # fmt: skip
        tested = EvalConfig(str(policy), study.trials, study.tasks, seed=2000)
        sim[arm] = evaluated(tested, study.out / arm / "sim.json", f"{arm}, simulation")
        there = replace(tested, world=f"twin:{study.twin}")
        real[arm] = evaluated(there, study.out / arm / "twin.json", f"{arm}, twin")
    against_off: dict[str, Paired] = {arm: paired(*shared(real["off"], real[arm])) for arm in ARMS[1:]}
    shown = Table("arm", "simulation", "twin", "twin, against off (paired)", title=f"twin {study.twin}")
    for arm in ARMS:
        note = ""
        if arm in against_off:
            p = against_off[arm]
            note = f"{100 * p.difference:+.0f} points ({100 * p.low:+.0f} to {100 * p.high:+.0f}), p = {p.p:.3f}"
        shown.add_row(arm, str(sim[arm].rate()), str(real[arm].rate()), note)
    console.print(shown)
    figures: dict[str, object] = {
        "study": asdict(study) | {"out": str(study.out)},
        "sim": {a: r.to_dict() for a, r in sim.items()},
        "twin": {a: r.to_dict() for a, r in real.items()},
        "against_off": {a: asdict(p) for a, p in against_off.items()},
        "identified": json.loads(found.to_json()),
    }
    (study.out / "figures.json").write_text(json.dumps(figures, indent=1))
    console.print(f"figures: {study.out / 'figures.json'}")
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--twin", type=int, default=0)
    parser.add_argument("--episodes", type=int, default=Study.episodes)
    parser.add_argument("--steps", type=int, default=Study.steps)
    parser.add_argument("--preset", default=Study.preset)
    parser.add_argument("--tasks", nargs="+", default=Study.tasks)
    parser.add_argument("--trials", type=int, default=Study.trials)
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    study = Study(
        given.out, given.twin, given.preset, tuple(given.tasks), given.episodes, given.steps, given.trials
    )  # fmt: skip
    if given.quick:
        study = replace(study, episodes=8, steps=20, trials=2)
    study.out.mkdir(parents=True, exist_ok=True)
    run(study, Console())


if __name__ == "__main__":  # collect and evaluate start a process for each core
    main()
