"""Does a teacher that reads the simulator help a student that looks, against cloning from pictures, at equal frames?

    cloning         the expert's demonstrations
    DAgger          the student drives, the scripted expert labels
    distillation    a privileged teacher drives and labels; the loss is cloning and the KL to the teacher's chunk

Every arm trains its last policy from nothing on as many labelled frames with pictures, for as many steps. The teacher's own data
have no pictures and are not counted: simulation makes them for nothing. Each arm is trained with several seeds.
"""

from __future__ import annotations

from pathlib import Path

from making import NANO, Lab, as_many
from study import Row, Rows, Size, Study, compared, outcomes, points, rates, verdict

from palmar.data.reader import Dataset
from palmar.eval import plots
from palmar.eval.stats import Rate
from palmar.lab.collect import CollectConfig
from palmar.models.presets import preset
from palmar.sim.instructions import paraphrases
from palmar.train.dagger import Dagger, Gather, dagger
from palmar.train.loop import TrainConfig, TrainRequest, train
from palmar.train.student import StudentTraining, student
from palmar.train.teacher import TeacherTraining, clone

CLONING, DAGGER, DISTILLATION = "cloning", "DAgger", "distillation"
TASKS, DEMOS, ROUNDS, EPISODES, FIRST, SEEDS = ("reach",), 60, 2, 60, 800_000, (0, 1, 2)
TEACHER = {"demos": 100, "rounds": 2, "episodes": 50, "steps": 2000}


def measure(lab: Lab, arm: str) -> Row:
    """Every seed of an arm: trained and tested."""
    found: dict[str, bool] = {}
    each, frames = [], []
    for seed in SEEDS if whole(lab) else SEEDS[:1]:
        policy, count = made(lab, arm, seed)
        results = lab.tested(policy, TASKS)
        each.append(str(results.rate().successes))
        frames.append(count)
        found |= {f"{seed}/{table}": good for table, good in outcomes(results).items()}
    return {
        "success": Rate(sum(found.values()), len(found)), "successes by seed": " ".join(each),
        "frames": " ".join(map(str, frames)), "_outcomes": found,
    }  # fmt: skip


def whole(lab: Lab) -> bool:
    return lab.size.data == 1


def made(lab: Lab, arm: str, seed: int) -> tuple[Path, int]:
    """(the last policy of an arm, how many labelled frames it was trained on)."""
    first, rounds = FIRST + 20_000 * seed, ROUNDS if whole(lab) else 1
    guided, folder = distilled(lab, seed, first, rounds)
    if arm == DISTILLATION:
        return guided, sum(len(d) for d in sets(folder, rounds))
    ema = max(0.0, min(0.999, 1 - 10 / lab.size.steps))  # as the student's
    config = TrainConfig(steps=lab.size.steps, batch_size=64, validation=0.0, seed=first, ema=ema)
    wanted = sum(len(d) for d in sets(folder, rounds))
    if arm == CLONING:
        config_of = CollectConfig(lab.episodes(DEMOS), TASKS, first)
        data = as_many(lab.out / f"demos-{seed}", config_of, wanted, lab.processes)
        request = TrainRequest(preset(NANO), [data], config, embodiment="arm7", paraphrases=paraphrases)
        return train(request, lab.out / f"cloning-{seed}", resume=True), len(data)
    begun = len(sets(folder, rounds)[0])
    begin = as_many(lab.out / f"first-{seed}", CollectConfig(lab.episodes(DEMOS), TASKS, first), begun, lab.processes)
    request = TrainRequest(preset(NANO), [begin], config, embodiment="arm7", paraphrases=paraphrases)
    plan = Dagger(rounds, lab.episodes(EPISODES), fall="none", seed=first + 10 * DEMOS, scratch=True)
    last = dagger(request, lab.out / f"dagger-{seed}", plan, practised(folder))[-1]
    return last.checkpoint, last.frames


def distilled(lab: Lab, seed: int, first: int, rounds: int) -> tuple[Path, Path]:
    """(the student's last policy, the folder of its rounds), made once."""
    few = {k: v if whole(lab) else max(4, v // 25) for k, v in TEACHER.items()} | {
        "rounds": TEACHER["rounds"] if whole(lab) else 1
    }
    teacher = clone(TeacherTraining(TASKS, **few), lab.shared / "teacher")
    training = StudentTraining(
        NANO, TASKS, demos=lab.episodes(DEMOS), rounds=rounds, episodes=lab.episodes(EPISODES), steps=lab.size.steps,
        validation=0.0, seed=first, paraphrases=paraphrases,
    )  # fmt: skip
    folder = lab.out / f"distillation-{seed}"
    return student(str(teacher), training, folder), folder


def sets(folder: Path, rounds: int) -> list[Dataset]:
    """What a student was trained on."""
    return [Dataset(folder / n, cache=False) for n in ("demos", *(f"data-{i:02d}" for i in range(1, rounds + 1)))]


def practised(student: Path) -> Gather:
    """Episodes that the learner drives and the expert labels, until they hold as many frames as that round of the student."""

    def gather(out: Path, driver: Path, beta: float, seed: int, episodes: int) -> Dataset:
        config = CollectConfig(episodes, TASKS, seed, driver=str(driver), beta=beta)
        return as_many(out, config, len(Dataset(student / out.name, cache=False)))

    return gather


def answer(rows: Rows) -> str:
    told = []
    for arm in (CLONING, DAGGER):
        p = compared(rows[arm]["_outcomes"], rows[DISTILLATION]["_outcomes"])
        told.append(f"{verdict(p)} {arm} ({points(p)})")
    return f"At equal frames distillation {'; it '.join(told)}. The intervals are over tables, not trainings."


def figure(rows: Rows) -> str:
    return plots.success({"reach": rates(rows, "success")}, "Success at equal labelled frames")


STUDY = Study(
    question="Does distillation from a privileged teacher help a student that looks, at equal frames?",
    arms=(DISTILLATION, CLONING, DAGGER),
    expectation="Distillation is as good as DAgger from the expert, which can label any state too, and better than cloning.",
    measure=measure,
    answer=answer,
    figure=figure,
    full=Size(trials=100, steps=1500),
    quick=Size(trials=2, steps=8, data=0.05),
    settings={
        "preset": NANO, "tasks": TASKS, "demonstrations": DEMOS, "rounds": ROUNDS, "episodes": EPISODES, "first": FIRST,
        "seeds": SEEDS, "teacher": TEACHER, "tables": 4000,
    },
)  # fmt: skip
