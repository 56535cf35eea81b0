"""Does the detector of failures also work on palmar's own policy, in conditions it has never met?

Ten conditions drawn at twice the range that the shipped policy was trained for: some it fails in most of the time, some hardly.
Three of ten conditions are left out, in each of the 120 ways; everything else is as in `failure_detection`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from failure_detection import LENGTH, TIME, interval, judged, spanned, table
from study import Row, Rows, Size, Study, rates

from palmar.eval import plots
from palmar.eval.stats import Rate
from palmar.lab.suite import EvalConfig, run
from palmar.lab.worlds import Loaded
from palmar.runtime.confidence.confident import Speed
from palmar.runtime.confidence.learn import Rollouts
from palmar.runtime.confidence.recorded import CHUNK_SIGNALS, rollouts
from palmar.runtime.loop import Subscriber, Tick
from palmar.runtime.pool import spread
from palmar.sim.params import Randomization
from palmar.sim.tasks import ALL
from palmar.types import ActionChunk

if TYPE_CHECKING:
    from making import Lab

CHUNKS, BOTH, SPEED = "learned, chunks", "learned, chunks and body", "body speed"
CONDITIONS, STRENGTH, FIRST, TIMEOUT = 10, 2.0, 530_000, 10.0
Job = tuple[EvalConfig, str, int]


class Chunks(Subscriber):
    """The chunks of an episode, and how fast the body moved before each (`Speed`)."""

    def __init__(self) -> None:
        self.chunks: list[ActionChunk] = []
        self.speeds: list[float] = []
        self._speed = Speed()

    def on_tick(self, tick: Tick) -> None:
        if tick.new_chunk and tick.chunk is not None:
            self.chunks.append(tick.chunk)
            self.speeds.append(self._speed(tick.observation, tick.chunk))


def condition(k: int) -> Randomization:
    """The k-th condition: one world, the same in each of its episodes."""
    return Randomization(0.0, centre=Randomization(STRENGTH).sample(np.random.default_rng([83, k])))


def episode(loaded: Loaded, job: Job) -> tuple[list[ActionChunk], list[float], bool]:
    config, task, seed = job
    seen = Chunks()
    trial = run(loaded, (config, task, "layout", seed), (seen,))
    return seen.chunks, seen.speeds, trial.success


def collected(lab: Lab) -> Rollouts:
    """Every episode, with its condition as its task."""
    path = lab.shared / f"failing-twins-{lab.size.data:g}.npz"
    if not path.exists():
        each = lab.episodes(12)
        jobs: list[Job] = [
            (EvalConfig(randomization=condition(k), timeout=TIMEOUT), task, FIRST + i)
            for k in range(CONDITIONS) for i in range(each) for task in ALL
        ]  # fmt: skip
        found = list(spread(episode, Loaded, jobs, None))
        of = [k for k in range(CONDITIONS) for _ in range(each * len(ALL))]
        r = rollouts([f[0] for f in found], [not f[2] for f in found], of)
        speeds = np.full((*r.values.shape[:2], 1), np.nan)
        for i, (_, own, _) in enumerate(found):
            speeds[i, : len(own), 0] = own
        path.parent.mkdir(parents=True, exist_ok=True)
        values = np.concatenate([r.values, speeds], axis=2)
        np.savez_compressed(path, values=values, lengths=r.lengths, failed=r.failed, tasks=r.tasks)
    with np.load(path, allow_pickle=False) as kept:
        return Rollouts((*CHUNK_SIGNALS, SPEED), kept["values"], kept["lengths"], kept["failed"], kept["tasks"])


def measure(lab: Lab, arm: str) -> Row:
    r = collected(lab)
    good = ~r.failed
    chosen = {CHUNKS: CHUNK_SIGNALS, BOTH: r.names, TIME: ("size",), LENGTH: ("size",)}.get(arm, (arm,))
    values = r.values[:, :, [r.names.index(n) for n in chosen]]
    own = Rollouts(tuple(chosen), values, r.lengths, r.failed, r.tasks)
    by_condition = [int(good[r.tasks == k].sum()) for k in range(CONDITIONS)]
    return judged(own, arm, lab.size.trials) | {"_success": Rate(int(good.sum()), len(r)), "_successes": by_condition}


def answer(rows: Rows) -> str:
    single = [a for a in rows if a not in (CHUNKS, BOTH, TIME, LENGTH)]
    best = max(single, key=lambda a: np.mean(rows[a]["_auc"]))
    both, first = rows[BOTH], rows[CHUNKS]
    ahead = [a - b for a, b in zip(both["_auc"], rows[best]["_auc"], strict=True)]
    low, high = interval(ahead)
    lead = "ahead of" if low > 0 else "behind" if high < 0 else "not to be told from"
    return (
        f"The shipped policy succeeds in {first['_success']} of the episodes ({first['_successes']} of each condition's). At equal "
        f"time, in conditions never seen, chunks and body reach {spanned(both['_auc'])}, chunks alone {spanned(first['_auc'])}; "
        f"the best single signal, {best}, {spanned(rows[best]['_auc'])}: the detector is {lead} it ({spanned(ahead, True)}). With "
        f"alarms at 10 % (on held-out seen successes {both['false alarms, seen']:.3f}) balanced accuracy is "
        f"{both['balanced accuracy']:.3f}, of the time so far {rows[TIME]['balanced accuracy']:.3f}; counting alarms by the usual "
        f"length of a success only, {both['by usual length']:.3f} and {rows[TIME]['by usual length']:.3f}."
    )


STUDY = Study(
    question="Does the detector of failures also work on palmar's own policy, in conditions it has never met?",
    arms=(CHUNKS, BOTH, *CHUNK_SIGNALS, SPEED, TIME, LENGTH),
    expectation="As on the rollouts of others: above 0.8 at equal time, and a little above the best single signal.",
    measure=measure,
    answer=answer,
    figure=lambda rows: plots.success(
        {
            "failures found": rates(rows, "failures found"),
            "false alarms, conditions never seen": rates(rows, "false alarms, unseen"),
        },
        "Alarms at 10 % in conditions never seen",
    ),
    full=Size(trials=120),
    quick=Size(trials=6, data=0.1),
    settings={
        "conditions": CONDITIONS,
        "strength": STRENGTH,
        "first": FIRST,
        "timeout": TIMEOUT,
        "tasks": list(ALL),
        "each": 12,
    },
    table=table,
    page="docs/confidence.md",
)
