"""Do twenty corrections lift a condition in which the shipped policy fails, without a loss on the old tables?

The front camera was turned by 20° (training: up to 5°). A scripted expert plays the person: it takes over where the policy is not
done after 4 s, and its stretches are what is learned; labels of the simulator are not used of them. Beside it: as many seconds of
full demonstrations in that condition, and corrections without replay of old data.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from study import Row, Rows, Size, Study, compared, outcomes, points, rates

from palmar.data.corrections import Corrections
from palmar.data.reader import Dataset
from palmar.eval import plots
from palmar.eval.gate import GateConfig, change, gate
from palmar.eval.results import Results
from palmar.lab.before_after import Tables
from palmar.lab.collect import CollectConfig, collect
from palmar.lab.suite import evaluated
from palmar.models import checkpoint
from palmar.policy import shipped
from palmar.sim.instructions import paraphrases
from palmar.sim.params import Randomization, WorldParams
from palmar.train.adapt import adapt
from palmar.train.adapt_config import AdaptConfig

if TYPE_CHECKING:
    from making import Lab

TASKS = ("pick", "place")
TURNED = Randomization(0.0, centre=WorldParams({"camera_yaw": 20.0}))
BEFORE, BOTH, HEAD, ALONE, DEMOS = (
    "before",
    "corrections and replay",
    "the head alone",
    "corrections alone",
    "demonstrations",
)
CORRECTED, OLD, PATIENCE = 20, 60, 4.0
FIRST = {"old": 510_000, "new": 520_000}
CONFIGS = {
    BOTH: AdaptConfig(), HEAD: AdaptConfig(part="head"), ALONE: AdaptConfig(replay=0, corrections=96), DEMOS: AdaptConfig(),
}  # fmt: skip


def measure(lab: Lab, arm: str) -> Row:
    """One arm: its checkpoint, and its trials on old and new tables."""
    row: Row = {}
    policy = str(shipped())
    if arm != BEFORE:
        corrections = collected(lab, "corrections", CollectConfig(
            lab.episodes(CORRECTED), TASKS, 7000, TURNED, driver="shipped", correct="expert", patience=PATIENCE, timeout=14.0,
        ))  # fmt: skip
        replay = [] if arm == ALONE else [collected(lab, "replay", CollectConfig(lab.episodes(OLD), TASKS, 0))]
        given, person = corrections, Corrections(corrections).seconds
        if arm == DEMOS:
            each = len(corrections) / max(1, len(corrections.episodes))
            count = max(2, round(person * corrections.fps / (0.7 * each)))
            given = collected(lab, "demonstrations", CollectConfig(count, TASKS, 8000, TURNED))
            person = len(given) / given.fps
        done = adapt(shipped(), [given], replay, lab.out / arm.replace(" ", "-"), CONFIGS[arm], paraphrases)
        policy, row = str(done.checkpoint), {"person [s]": person, "training [s]": done.seconds}
    trials = 2 * lab.size.trials
    for name, worlds in (("old", Randomization(0.0)), ("new", TURNED)):
        found = tested(lab, arm, name, Tables(trials, "sim", worlds, TASKS, FIRST[name]), policy)
        row |= {f"{name} tables": found.rate(), f"_{name}": outcomes(found)}
    return row


def collected(lab: Lab, name: str, config: CollectConfig) -> Dataset:
    sizes = checkpoint.check(shipped())[1].cameras
    root = collect(lab.shared / f"adaptation-{name}", config, lab.processes, resume=True, progress=False).root
    return Dataset(root, cache=False, image_size=sizes)


def tested(lab: Lab, arm: str, name: str, tables: Tables, policy: str) -> Results:
    return evaluated(
        tables.config(policy), Path(lab.out) / f"{arm.replace(' ', '-')}-{name}.json", f"{arm}, {name}", lab.processes
    )


def answer(rows: Rows) -> str:
    """What the paired comparisons allow to be said."""
    before, after = rows[BEFORE], rows[BOTH]
    new, old = compared(before["_new"], after["_new"]), compared(before["_old"], after["_old"])
    verdict = gate(changed(before["_old"], after["_old"]), changed(before["_new"], after["_new"]))
    alone, demos = compared(before["_old"], rows[ALONE]["_old"]), compared(before["_new"], rows[DEMOS]["_new"])
    head = compared(before["_new"], rows[HEAD]["_new"])
    return (
        f"{CORRECTED} corrections ({after['person [s]']:.0f} s of a person), {after['training [s]']:.0f} s of training: new tables "
        f"{points(new)}; old tables {points(old)}. The gate: {verdict}. Without replay, old tables {points(alone)}; as many "
        f"seconds of demonstrations, new tables {points(demos)}; the head alone {points(head)}."
    )


def changed(before: dict[str, bool], after: dict[str, bool]):  # type: ignore[no-untyped-def]
    keys = [k for k in before if k in after]
    return change([before[k] for k in keys], [after[k] for k in keys], GateConfig().level)


def figure(rows: Rows) -> str:
    return plots.success({n: rates(rows, n) for n in ("old tables", "new tables")}, "Success after twenty corrections")


STUDY = Study(
    question="Do twenty corrections lift a condition in which the shipped policy fails, without a loss on the old tables?",
    arms=(BEFORE, BOTH, HEAD, ALONE, DEMOS),
    expectation="Corrections with replay lift the turned camera by more than 20 points and cost at most 2 on old tables; without "
    "replay the old tables lose more.",
    measure=measure,
    answer=answer,
    figure=figure,
    page="docs/adaptation.md",
    full=Size(trials=75),
    quick=Size(trials=2, data=0.1),
    settings={
        "camera_yaw": 20.0, "corrected": CORRECTED, "old": OLD, "patience": PATIENCE, "tasks": list(TASKS),
        "configs": {arm: vars(replace(c)) for arm, c in CONFIGS.items()},
    },
)  # fmt: skip
