"""Is practice with an expert's labels (DAgger) worth more than as many labels of the expert's own driving?

Both begin from one policy and train three rounds of as many steps; each round adds labels: of what the expert says while the
learner drives (β = 0), or of more demonstrations, until there are as many frames.
"""

from __future__ import annotations

from pathlib import Path

from making import NANO, Lab
from study import Row, Rows, Size, Study, compared, outcomes, points, verdict

from palmar.data.reader import Dataset
from palmar.eval import plots
from palmar.lab.collect import CollectConfig, collect
from palmar.models.presets import preset
from palmar.ranges import Processes
from palmar.sim.instructions import paraphrases
from palmar.train.dagger import Dagger, Gather, dagger, in_simulation
from palmar.train.loop import TrainConfig, TrainRequest

TASKS, ROUNDS, FIRST, SEED = ("reach",), 3, 740_000, 750_000


def as_many(practice: Path, processes: Processes = None) -> Gather:
    """Demonstrations of the expert, until they hold as many frames as that round of practice."""

    def gather(out: Path, driver: Path, beta: float, seed: int, episodes: int) -> Dataset:
        frames, wanted = len(Dataset(practice / out.name, cache=False)), episodes
        while True:
            data = Dataset(
                collect(out, CollectConfig(wanted, TASKS, seed + 100_000), processes, resume=True, progress=False).root
            )
            if len(data) >= frames:
                return data
            wanted += max(1, round((frames - len(data)) * len(data.episodes) / len(data)))

    return gather


def measure(lab: Lab, arm: str) -> Row:
    first = lab.demos("first", 60, TASKS, FIRST)
    config = TrainConfig(steps=lab.size.steps // 2, batch_size=64, validation=0.0)
    plan = Dagger(ROUNDS, lab.episodes(60), beta=0.0, fall="none", seed=SEED)

    def rounds(name: str, gather: Gather) -> list[Row]:
        begin = TrainRequest(preset(NANO), first, config, embodiment="arm7", paraphrases=paraphrases)
        done = dagger(begin, lab.out / name, plan, gather)
        tested = [lab.tested(r.checkpoint, TASKS, timeout=20.0) for r in done]
        return [
            {"success": t.rate(), "frames": r.frames, "_outcomes": outcomes(t)}
            for t, r in zip(tested, done, strict=True)
        ]

    practice = rounds(
        "dagger", in_simulation(TASKS, lab.processes)
    )  # first for both: it says how many labels cloning gets
    return {"rounds": practice if arm == "DAgger" else rounds("cloning", as_many(lab.out / "dagger", lab.processes))}


def lines(rows: Rows) -> list[Row]:
    out = []
    for i, (a, b) in enumerate(zip(rows["cloning"]["rounds"], rows["DAgger"]["rounds"], strict=True)):
        out.append({
            "round": i, "cloning": a["success"], "cloning, frames": a["frames"], "DAgger": b["success"],
            "DAgger, frames": b["frames"], "difference, paired": points(compared(a["_outcomes"], b["_outcomes"])),
        })  # fmt: skip
    return out


def answer(rows: Rows) -> str:
    last = compared(*(rows[arm]["rounds"][-1]["_outcomes"] for arm in ("cloning", "DAgger")))
    return f"After {ROUNDS} rounds with equal labels DAgger {verdict(last)} cloning ({points(last)})."


def figure(rows: Rows) -> str:
    series = {arm: [(r["frames"], r["success"]) for r in rows[arm]["rounds"]] for arm in rows}
    return plots.trend(series, "Success by labels", "labelled frames")


STUDY = Study(
    question="Is practice with an expert's labels worth more than as many labels of its own driving?",
    arms=("DAgger", "cloning"),
    expectation="Practice is worth more: it labels the states that the learner gets into.",
    measure=measure,
    answer=answer,
    figure=figure,
    full=Size(trials=100, steps=800),
    quick=Size(trials=2, steps=24, data=0.05),
    settings={"preset": NANO, "tasks": TASKS, "rounds": ROUNDS, "episodes": 60, "seeds": [FIRST, SEED], "tables": 4000},
    table=lines,
)
