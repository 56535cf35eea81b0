"""Does the detector of failures also work on palmar's own policy, in conditions it has never met?

Ten conditions drawn at 1.3 times each parameter's range: in some the shipped policy fails most of the time, in some hardly ever.
Three of ten conditions are left out, in each of the 120 ways; everything else is as in `failure_detection`.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from failure_detection import LENGTH, TIME, interval, judged, spanned, table
from study import Row, Rows, Size, Study, rates

from palmar.eval import plots
from palmar.eval.stats import Rate
from palmar.lab.histories import SPEED, Conditions, familiar_features, histories
from palmar.runtime.confidence.distance import DISTANCE
from palmar.runtime.confidence.learn import Rollouts
from palmar.runtime.confidence.recorded import CHUNK_SIGNALS
from palmar.sim.tasks import names

if TYPE_CHECKING:
    from making import Lab

CHUNKS, BOTH, ALL = "learned, chunks", "learned, chunks and body", "learned, all signals"
DOUBT = "doubt"  # the policy's own
NAMES = (*CHUNK_SIGNALS, DOUBT, DISTANCE, SPEED)
TIMEOUT = 10.0


def conditions(lab: Lab) -> Conditions:
    return Conditions(each=lab.episodes(12))


def collected(lab: Lab) -> Rollouts:
    """Every episode, with its condition as its task."""
    path = lab.shared / f"failing-twins-{lab.size.data:g}-{len(NAMES)}-signals.npz"
    if not path.exists():
        familiar = familiar_features(
            "shipped", names("arm7"), TIMEOUT, tables=lab.episodes(15), processes=lab.processes
        )
        jobs = conditions(lab).jobs("shipped", names("arm7"), TIMEOUT)
        r = histories(*jobs, (*CHUNK_SIGNALS, DOUBT, SPEED), lab.processes, familiar=familiar)
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(path, values=r.values, lengths=r.lengths, failed=r.failed, tasks=r.tasks)
    with np.load(path, allow_pickle=False) as kept:
        return Rollouts(NAMES, kept["values"], kept["lengths"], kept["failed"], kept["tasks"])


def measure(lab: Lab, arm: str) -> Row:
    r = collected(lab)
    good = ~r.failed
    several = {CHUNKS: CHUNK_SIGNALS, BOTH: (*CHUNK_SIGNALS, SPEED), ALL: r.names, TIME: ("size",), LENGTH: ("size",)}
    by_condition = [int(good[r.tasks == k].sum()) for k in range(Conditions.count)]
    return judged(r.only(several.get(arm, (arm,))), arm, lab.size.trials) | {
        "_success": Rate(int(good.sum()), len(r)),
        "_successes": by_condition,
    }


def answer(rows: Rows) -> str:
    single = [a for a in rows if a not in (CHUNKS, BOTH, ALL, TIME, LENGTH)]
    best = max(single, key=lambda a: np.mean(rows[a]["_auc"]))
    both, first = rows[ALL], rows[CHUNKS]
    ahead = [a - b for a, b in zip(both["_auc"], rows[best]["_auc"], strict=True)]
    low, high = interval(ahead)
    lead = "ahead of" if low > 0 else "behind" if high < 0 else "not to be told from"
    return (
        f"The shipped policy succeeds in {first['_success']} of the episodes ({first['_successes']} of each condition's). At equal "
        f"time, in conditions never seen, all signals reach {spanned(both['_auc'])}, chunks alone {spanned(first['_auc'])}; "
        f"the best single signal, {best}, {spanned(rows[best]['_auc'])}: the detector is {lead} it ({spanned(ahead, True)}). With "
        f"alarms at 10 % (on held-out seen successes {both['false alarms, seen']:.3f}) balanced accuracy is "
        f"{both['balanced accuracy']:.3f}, of the time so far {rows[TIME]['balanced accuracy']:.3f}; counting alarms by the usual "
        f"length of a success only, {both['by usual length']:.3f} and {rows[TIME]['by usual length']:.3f}."
    )


STUDY = Study(
    question="Does the detector of failures also work on palmar's own policy, in conditions it has never met?",
    arms=(CHUNKS, BOTH, ALL, *CHUNK_SIGNALS, SPEED, DOUBT, DISTANCE, TIME, LENGTH),
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
    settings={"conditions": vars(Conditions()), "timeout": TIMEOUT, "tasks": names("arm7")},
    table=partial(table, reference=ALL),
    page="docs/confidence.md",
)
