"""Which way into a reality that is far off is worth most, and does the whole chain beat the best single one?

    plain               demonstrations in the plain simulator: the control
    A DR                in worlds with everything randomised
    B SysID             in worlds as measured (dynamics by diagnostic motions, camera by a board), nothing else moves
    C teacher-student   a privileged teacher drives and labels in randomised worlds, then the student drives and it labels
    D progressive       simple simulation, realistic simulation, simulation and reality, reality, as `palmar progress` trains
    DR and real         A, then a quarter of the steps on half simulated, half real frames: the control of real demonstrations
    chain               worlds as measured with the rest randomised, demonstrations, two rounds of practice, then as DR and real

Every arm gets as many labelled frames with pictures, and as many training steps in all; D, DR and real, and chain have the same
real demonstrations among these frames. What is not counted: the teacher's own data, which have no pictures, and the two minutes
of motion that identify the reality. D's gates are not looked at: a level that stops would leave it fewer steps. Trainings have the
same seeds in every arm, and an identification each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from chains import ARM_ALONE, VIEWS, demonstrated, fitted, parts, practised
from making import NANO, Lab, as_many
from study import Row, Rows, Size, Study, points, verdict
from trainings import APART, SEEDS, by_training, gain, over, seeds, total, tried

from palmar.data.mapped import MappedData
from palmar.data.reader import Dataset
from palmar.eval import plots
from palmar.lab.collect import CollectConfig
from palmar.lab.suite import EvalConfig, evaluated
from palmar.models.presets import preset
from palmar.sim.draws import Worlds
from palmar.sim.instructions import paraphrases
from palmar.sim.params import NO_RANDOMIZATION, Randomization
from palmar.train.dagger import Dagger, dagger
from palmar.train.loop import TrainConfig, TrainRequest
from palmar.train.student import StudentTraining, student
from palmar.train.teacher import TeacherTraining, clone
from palmar.transfer.digital_twin import digital_twin
from palmar.transfer.posterior import Posterior
from palmar.transfer.progress_run import Practice
from palmar.transfer.progressive import LEVELS

PLAIN, DR, SYSID, TEACHER, PROGRESSIVE, DR_REAL, CHAIN = (
    "plain", "A DR", "B SysID", "C teacher-student", "D progressive", "DR and real", "chain",
)  # fmt: skip
REALITY, TASKS, FIRST, TABLES, TIMEOUT, STRENGTH = "far:2", ("reach",), 740_000, 4000, 10.0, 1.0
FRAMES, REAL, ROUNDS = 6000, 20, 2
TEACHERS = {"demos": 100, "rounds": 2, "episodes": 50, "steps": 2000}


def measure(lab: Lab, arm: str) -> Row:
    sim, real, frames = {}, {}, []
    for seed in seeds(lab):
        policy, count = MAKERS[arm](lab, seed)
        tested = EvalConfig(str(policy), lab.size.trials, TASKS, seed=TABLES, timeout=TIMEOUT)
        kept = lab.out / f"{arm}-{seed}".replace(" ", "-")
        sim[seed] = evaluated(tested, f"{kept}-sim.json", f"{arm}, simulation", lab.processes)
        real[seed] = evaluated(replace(tested, world=REALITY), f"{kept}-real.json", f"{arm}, {REALITY}", lab.processes)
        frames.append(count)
    return {
        "in simulation": total(tried(sim)), f"in {REALITY}": total(tried(real)), "frames": " ".join(map(str, frames)),
        "_sim": tried(sim), "_real": tried(real),
    }  # fmt: skip


# ------------------------------------------------------------------------------------------------ what arms are made of


def frames_of(lab: Lab) -> int:
    return round(lab.size.data * FRAMES)


def first(seed: int) -> int:
    """Of the tables of a training."""
    return FIRST + APART * seed


def steps(lab: Lab, share: float) -> int:
    return max(2, round(lab.size.steps * share))


def config(lab: Lab, seed: int, share: float = 1.0) -> TrainConfig:
    """share: of the steps."""
    count = steps(lab, share)
    return TrainConfig(
        steps=count, batch_size=64, validation=0.0, seed=first(seed), ema=max(0.0, min(0.999, 1 - 10 / count))
    )


def shown(lab: Lab, where: Path, seed: int, frames: int, worlds: Worlds) -> Dataset:
    """So many frames of the scripted expert in these worlds."""
    return as_many(where, CollectConfig(1, TASKS, first(seed), worlds), frames, lab.processes)


def in_reality(lab: Lab, seed: int) -> Dataset:
    """The real demonstrations of a training, the same for every arm."""
    count = max(2, round(lab.size.data * REAL))
    return demonstrated(lab.out / f"real-{seed}", REALITY, TASKS, count, first(seed), lab.processes)


def measured(lab: Lab, seed: int, strength: float) -> Posterior:
    """Worlds as measured, the rest randomised."""
    return digital_twin(parts(lab.out, REALITY, seed), strength)


# ------------------------------------------------------------------------------------------------ arms: (policy, frames)


def cloned(lab: Lab, seed: int, name: str, worlds: Worlds) -> tuple[Path, int]:
    data = shown(lab, lab.out / f"{name}-{seed}-data", seed, frames_of(lab), worlds)
    return fitted(lab.out / f"{name}-{seed}", [data], config(lab, seed), preset(NANO)), len(data)


def plain(lab: Lab, seed: int) -> tuple[Path, int]:
    return cloned(lab, seed, "plain", NO_RANDOMIZATION)


def randomised(lab: Lab, seed: int) -> tuple[Path, int]:
    return cloned(lab, seed, "dr", Randomization(STRENGTH))


def identified(lab: Lab, seed: int) -> tuple[Path, int]:
    return cloned(lab, seed, "sysid", measured(lab, seed, 0.0))


def taught(lab: Lab, seed: int) -> tuple[Path, int]:
    """The student's rounds go on from each other, so that their steps add up to those of the other arms."""
    few: dict[str, int] = TEACHERS if lab.size.data == 1 else {"demos": 4, "rounds": 1, "episodes": 2, "steps": 40}
    about = TeacherTraining(TASKS, strength=STRENGTH, seed=600_000 + APART * seed, **few)  # type: ignore[arg-type]
    teacher = str(clone(about, lab.out / f"teacher-{seed}", lab.processes))
    each = round(frames_of(lab) / (ROUNDS + 1))

    def gather(out: Path, driver: Path, beta: float, seed: int, episodes: int) -> Dataset:
        asked = CollectConfig(
            1, TASKS, seed, Randomization(STRENGTH), driver=str(driver), beta=beta, physics=True, labeler=teacher
        )
        return as_many(out, asked, each, lab.processes)

    training = StudentTraining(
        NANO, TASKS, demos=10 * REAL, rounds=ROUNDS, episodes=10 * REAL, steps=steps(lab, 1 / (ROUNDS + 1)), strength=STRENGTH,
        validation=0.0, seed=first(seed), scratch=False, normalizer="new", paraphrases=paraphrases,
    )  # fmt: skip
    folder = lab.out / f"student-{seed}"
    policy = student(teacher, training, folder, gather=gather)
    sets = ("demos", *(f"data-{i:02d}" for i in range(1, ROUNDS + 1)))
    return policy, sum(len(Dataset(folder / name, cache=False)) for name in sets)


def progressive(lab: Lab, seed: int) -> tuple[Path, int]:
    real, data, folder = in_reality(lab, seed), lab.out / f"levels-{seed}-data", lab.out / f"levels-{seed}"
    practice = Practice(
        NANO,
        tasks=TASKS,
        episodes=1,
        real=real.root,
        seed=first(seed),
        processes=lab.processes,
        data=data,
        paraphrases=paraphrases,
    )
    each, frames, before = round((frames_of(lab) - len(real)) / len(LEVELS)), len(real), None
    for level in LEVELS:  # the sets that `Practice` finds there
        frames += len(shown(lab, data / f"sim-{level.strength:g}", seed, each, Randomization(level.strength)))
    for level in LEVELS:
        share = level.steps / sum(one.steps for one in LEVELS)
        before = practice.fit(replace(level, steps=steps(lab, share)), folder / level.name.replace(" ", "-"), before)
    assert before is not None
    return before, frames


def with_real(
    lab: Lab, seed: int, name: str, policy: Path, sets: Sequence[Any], real: Dataset
) -> tuple[Path, int]:  # fmt: skip
    """The last quarter of the steps, with real demonstrations."""
    data = [*sets, MappedData(real, like=sets[0])]
    made = fitted(lab.out / f"{name}-{seed}-real", data, config(lab, seed, 0.25), policy, real=0.5, normalizer="new")
    return made, sum(len(d) for d in data)


def randomised_and_real(lab: Lab, seed: int) -> tuple[Path, int]:
    real = in_reality(lab, seed)
    data = shown(lab, lab.out / f"dr-real-{seed}-data", seed, frames_of(lab) - len(real), Randomization(STRENGTH))
    policy = fitted(lab.out / f"dr-real-{seed}", [data], config(lab, seed, 0.75), preset(NANO))
    return with_real(lab, seed, "dr-real", policy, [data], real)


def chain(lab: Lab, seed: int) -> tuple[Path, int]:
    real, worlds, folder = in_reality(lab, seed), measured(lab, seed, STRENGTH), lab.out / f"chain-{seed}"
    each = round((frames_of(lab) - len(real)) / (ROUNDS + 1))
    data = shown(lab, folder / "demos", seed, each, worlds)
    request = TrainRequest(
        preset(NANO), [data], config(lab, seed, 0.75 / (ROUNDS + 1)), embodiment="arm7", paraphrases=paraphrases
    )
    plan = Dagger(ROUNDS, 10 * REAL, fall="none", seed=first(seed) + 5000, normalizer="new")
    last = dagger(request, folder, plan, practised(TASKS, worlds, each, lab.processes))[-1]
    sets = [data, *(Dataset(folder / f"data-{i:02d}") for i in range(1, ROUNDS + 1))]
    return with_real(lab, seed, "chain", last.checkpoint, sets, real)


MAKERS = {
    PLAIN: plain, DR: randomised, SYSID: identified, TEACHER: taught, PROGRESSIVE: progressive, DR_REAL: randomised_and_real,
    CHAIN: chain,
}  # fmt: skip


# ------------------------------------------------------------------------------------------------ what it says


def places(rows: Rows) -> dict[str, tuple[int, int]]:
    """{arm: (highest, lowest place in reality)} that the paired comparisons leave possible: an arm stands below those that are
    better than it and above those that are worse, each at 95 %, not corrected for their number."""
    out = {}
    for arm in rows:
        gains = [gain(rows, arm, b, "_real") for b in rows if b != arm]
        out[arm] = (1 + sum(g.low > 0 for g in gains), len(rows) - sum(g.high < 0 for g in gains))
    return out


def lines(rows: Rows) -> list[Row]:
    """Best in reality first."""
    sim, real, ranks = over(rows, "_sim"), over(rows, "_real"), places(rows)
    out = []
    for arm in sorted(rows, key=lambda a: -real[a].value):
        high, low = ranks[arm]
        out.append({
            "place": f"{high}" if high == low else f"{high} to {low}", "arm": arm, "in simulation": sim[arm],
            f"in {REALITY}": real[arm], "by training": by_training(rows[arm], "_real"), "frames": rows[arm]["frames"],
            "against plain": "" if arm == PLAIN else points(gain(rows, PLAIN, arm, "_real")),
        })  # fmt: skip
    return out


def answer(rows: Rows) -> str:
    sim, real = over(rows, "_sim"), over(rows, "_real")
    lost = sim[PLAIN].value - real[PLAIN].value
    best = max(rows, key=lambda a: real[a].value)
    back = real[best].value - real[PLAIN].value
    said = [f"The plain policy loses {100 * lost:.0f} points in {REALITY}: {sim[PLAIN]} → {real[PLAIN]}."]
    if lost > 0:
        said.append(
            f"Most comes back with {best}: {100 * back:.0f} points, {100 * back / lost:.0f} % of what was lost."
        )
    for a, b in ((DR, SYSID), (DR, TEACHER), (DR, PROGRESSIVE), (DR, CHAIN), (DR_REAL, PROGRESSIVE), (DR_REAL, CHAIN)):
        p = gain(rows, a, b, "_real")
        said.append(f"{b} {verdict(p)} {a} ({points(p)}).")
    return " ".join(said)


STUDY = Study(
    question="Which way into a far reality is worth most at equal frames and steps, and what does the whole chain add?",
    arms=tuple(MAKERS),
    expectation="The chain is best; of single ways progressive is, which alone has real demonstrations, then DR; SysID is last.",
    measure=measure,
    answer=answer,
    figure=lambda rows: plots.success(
        {"simulation": over(rows, "_sim"), REALITY: over(rows, "_real")}, "Success at equal frames and steps"
    ),
    full=Size(trials=100, steps=1600),
    quick=Size(trials=2, steps=14, data=0.03),
    settings={
        "reality": REALITY, "seeds": SEEDS, "tasks": TASKS, "preset": NANO, "tables": TABLES, "first": FIRST, "timeout": TIMEOUT,
        "frames": FRAMES, "real demonstrations": REAL, "rounds": ROUNDS, "strength": STRENGTH, "teacher": TEACHERS,
        "motion": ARM_ALONE, "views": VIEWS, "levels": [level.name for level in LEVELS],
    },
    table=lines,
)  # fmt: skip
