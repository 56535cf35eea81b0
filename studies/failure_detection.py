"""Do signals of the chunks tell that an episode of a task never seen will fail, at equal time?

500 rollouts of π0 on LIBERO-10 by others (../shared/data/pi0_libero_rollouts). Three of ten tasks are left out, in each of the 120
ways; weights, bands and thresholds come from the other seven, thresholds from successes that took no part in the fit.
"""

from __future__ import annotations

import itertools
import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from study import Row, Rows, Size, Study, rates

from palmar.errors import BadFile, need
from palmar.eval import detection, plots
from palmar.eval.stats import Rate
from palmar.runtime.confidence.conformal import Band, alarm_steps
from palmar.runtime.confidence.detector import Detector
from palmar.runtime.confidence.evidence import Usual, forms
from palmar.runtime.confidence.learn import Rollouts
from palmar.types import Array

if TYPE_CHECKING:
    from making import Lab

SHARED = Path(os.environ.get("PALMAR_SHARED", Path(__file__).resolve().parents[2] / "shared/data"))
CHUNK = {
    "chunk size": "action_norm", "chunk disagreement": "chunk_mse", "chunk jerk": "action_jerk",
    "denoising curvature": "denoising_curvature", "gripper turns": "gripper_oscillation",
}  # fmt: skip
BODY = {"hand speed": "eef_speed_3d", "lift speed": "eef_z_vel"}
CHUNKS, BOTH, TIME, LENGTH = "learned, chunks", "learned, chunks and body", "time so far", "length alone"
ALPHA, LEFT_OUT = 0.1, 3
MIDDLE = np.arange(10, 50, 5)  # steps at which most episodes still run


def read(folder: Path, columns: dict[str, str]) -> Rollouts:
    """The rollouts with these signals: {name: column}. Raises `BadFile` when they are not there."""
    need("pyarrow", "data")
    import pyarrow.parquet as pq

    path = folder / "pi0_libero_rollouts" / "steps.parquet"
    if not path.exists():
        raise BadFile(f"no '{path}'; expected the π0 rollouts. Next: set PALMAR_SHARED to the folder that holds them")
    table = pq.read_table(path)
    at = {c: table[c].to_numpy() for c in ("task_id", "episode", "t", "success", *columns.values())}
    _, first, row, lengths = np.unique(
        at["task_id"].astype(int) * 1000 + at["episode"], return_index=True, return_inverse=True, return_counts=True
    )
    values = np.full((len(first), int(lengths.max()), len(columns)), np.nan)
    for k, column in enumerate(columns.values()):
        values[row, at["t"], k] = np.abs(at[column])
        if column == "chunk_mse":
            values[:, 0, k] = np.nan  # the first chunk has none before it
    failed = ~at["success"][first].astype(bool)
    return Rollouts(tuple(columns), values, lengths, failed, at["task_id"][first].astype(int))


def splits(tasks: Array, count: int) -> list[tuple[int, ...]]:
    """`count` of the ways to leave tasks out, evenly taken."""
    every = list(itertools.combinations(np.unique(tasks).tolist(), LEFT_OUT))
    return [every[i] for i in np.unique(np.linspace(0, len(every) - 1, count).astype(int))]


def halves(rollouts: Rollouts, seen: Array, seed: int) -> tuple[Array, Array, Array]:
    """Indices of seen successes: half to fit on; two quarters, of which one calibrates and the other checks, in turn."""
    good = np.random.default_rng(seed).permutation(np.flatnonzero(seen & ~rollouts.failed))
    n = len(good)
    return good[: n // 2], good[n // 2 : 3 * n // 4], good[3 * n // 4 :]


def split(rollouts: Rollouts, out: tuple[int, ...], seed: int, learned: bool) -> dict[str, float | list[int]]:
    """One way to leave tasks out. learned: False for the time itself."""
    r, unseen = rollouts, np.isin(rollouts.tasks, out)
    fit, *quarters = halves(r, ~unseen, seed)
    if learned:
        own = np.sort(np.concatenate([np.flatnonzero(~unseen & r.failed), fit]))
        scores = Detector.learned(r.take(own), seed).scores(r)
    else:
        scores = np.tile(np.arange(r.values.shape[1], dtype=float), (len(r), 1))
    usual = float(np.median(r.lengths[fit]))
    test, failed = np.flatnonzero(unseen), r.failed[unseen]
    found: list[dict[str, float]] = []
    hits = np.zeros(len(r))
    for calibration, check in (quarters, quarters[::-1]):
        if learned:
            band = Band.fit(scores[fit], r.lengths[fit], scores[calibration], r.lengths[calibration])
            residuals = band.residuals(scores)
        else:  # how late it is, against how long successes last
            band = Band(np.zeros(1), np.ones(1), np.sort(r.lengths[calibration] - 1.0))
            residuals = scores
        alarms = alarm_steps(residuals, r.lengths, band.threshold(ALPHA))
        alarmed, early = alarms < r.lengths, alarms < np.minimum(r.lengths, usual)
        hits += alarmed / 2
        worst = np.maximum.accumulate(residuals, axis=1)
        found.append({
            "false alarms, seen": float(alarmed[check].mean()),
            "balanced accuracy": detection.balanced_accuracy(alarmed[test], failed),
            "by usual length": detection.balanced_accuracy(early[test], failed),
            "AUC, worst so far": detection.equal_time_auc(worst[test], r.lengths[test], failed),
            "AUC, cut at alarm": detection.equal_time_auc(worst[test], r.lengths[test], failed, ends=alarms[test]),
            "AUC, whole": detection.whole_episode_auc(residuals[test], r.lengths[test], failed),
        })  # fmt: skip
    auc = partial(detection.equal_time_auc, scores[test], r.lengths[test], failed)
    mean: dict[str, float | list[int]] = {k: float(np.mean([x[k] for x in found])) for k in found[0]}
    return mean | {
        "AUC": auc(), "AUC, one task": auc(within=r.tasks[test]), "AUC at 3/4": auc(share=0.75),
        "AUC, still running": detection.same_step_auc(scores[test], r.lengths[test], failed, MIDDLE),
        "hits": hits[test].tolist(), "test": test.tolist(),
    }  # fmt: skip


def best_form(rollouts: Rollouts, ways: list[tuple[int, ...]]) -> float:
    """Of a single signal: the best mean AUC that any form of it has, form and sign chosen in hindsight."""
    shaped = forms(rollouts.values, 1e-3 * np.nanmedian(rollouts.values, (0, 1)) + 1e-4)
    good = ~rollouts.failed
    normal = Usual.fit(shaped[good], rollouts.lengths[good]).normal_all(shaped)
    means = []
    for scores in np.moveaxis(normal, -1, 0):
        tests = [np.isin(rollouts.tasks, out) for out in ways]
        means.append(
            np.mean([detection.equal_time_auc(scores[t], rollouts.lengths[t], rollouts.failed[t]) for t in tests])
        )
    return float(max(max(m, 1 - m) for m in means))


def judged(rollouts: Rollouts, arm: str, count: int) -> Row:
    """One arm on all rollouts: means over splits, and `_auc`, the list over splits."""
    ways = splits(rollouts.tasks, count)
    rows = [split(rollouts, out, seed, arm not in (TIME, LENGTH)) for seed, out in enumerate(ways)]
    seen = np.zeros((2, len(rollouts)))
    for row in rows:
        seen[0, row["test"]] += row["hits"]
        seen[1, row["test"]] += 1
    share = np.divide(seen[0], seen[1], out=np.zeros(len(rollouts)), where=seen[1] > 0)
    tested = seen[1] > 0
    out: Row = {k: float(np.nanmean([row[k] for row in rows])) for k in rows[0] if k not in ("hits", "test")}
    if arm == LENGTH:
        out["by usual length"] = 0.5  # it is known at the end only
    for name, kind in (("failures found", rollouts.failed), ("false alarms, unseen", ~rollouts.failed)):
        out[name] = Rate(round(float(share[kind & tested].sum())), int((kind & tested).sum()))
    single = rollouts.values.shape[2] == 1 and arm not in (TIME, LENGTH)
    return out | {
        "best form, hindsight": best_form(rollouts, ways) if single else None, "_auc": [row["AUC"] for row in rows],
        "_worst": [row["AUC, worst so far"] for row in rows], "_balanced": [row["balanced accuracy"] for row in rows],
    }  # fmt: skip


def measure(lab: Lab, arm: str) -> Row:
    columns = {
        CHUNKS: CHUNK,
        BOTH: CHUNK | BODY,
        TIME: {"chunk size": "action_norm"},
        LENGTH: {"chunk size": "action_norm"},
    }
    chosen = columns.get(arm) or {arm: (CHUNK | BODY)[arm]}
    return judged(read(SHARED, chosen), arm, lab.size.trials)


def interval(values: list[float]) -> tuple[float, float]:
    """Where 95 % of the splits lie."""
    low, high = np.nanpercentile(values, [2.5, 97.5])
    return float(low), float(high)


def spanned(values: list[float], sign: bool = False) -> str:
    """ ".863 [.71, .97]": mean and where 95 % of splits lie."""
    low, high = interval(values)
    mark = "+" if sign else ""
    return f"{np.nanmean(values):{mark}.3f} [{low:{mark}.3f}, {high:{mark}.3f}]"


def table(rows: Rows, reference: str = BOTH) -> list[Row]:
    """reference: the arm that the others are compared with."""
    shown = (
        "AUC, one task", "AUC at 3/4", "AUC, still running", "AUC, worst so far", "AUC, cut at alarm", "AUC, whole",
        "balanced accuracy", "by usual length", "false alarms, seen", "failures found", "false alarms, unseen",
    )  # fmt: skip
    best = rows[reference]["_auc"]
    lines = []
    for arm, row in rows.items():
        ahead = [a - b for a, b in zip(best, row["_auc"], strict=True)]
        hindsight = row["best form, hindsight"]
        lines.append({
            "arm": arm, "AUC at equal time": spanned(row["_auc"]),
            "best form, hindsight": "" if hindsight is None else f"{hindsight:.3f}",
            f"{reference} less this": "" if arm == reference else spanned(ahead, True),
        } | {k: row[k] for k in shown})  # fmt: skip
    return lines


def answer(rows: Rows) -> str:
    single = [a for a in rows if a not in (CHUNKS, BOTH, TIME, LENGTH)]
    best = max(single, key=lambda a: np.mean(rows[a]["_auc"]))
    by_alarm = max(single, key=lambda a: rows[a]["balanced accuracy"])
    both, chunks = rows[BOTH], rows[CHUNKS]
    ahead = [a - b for a, b in zip(both["_auc"], rows[best]["_auc"], strict=True)]
    balanced = [f"{rows[a]['balanced accuracy']:.3f}" for a in (BOTH, by_alarm, TIME)]
    early = [f"{rows[a]['by usual length']:.3f}" for a in (BOTH, by_alarm, TIME)]
    return (
        f"At equal time, on tasks never seen, chunks and body reach {spanned(both['_auc'])} (within one task "
        f"{both['AUC, one task']:.3f}), chunks alone {spanned(chunks['_auc'])}; the best single signal, {best}, "
        f"{spanned(rows[best]['_auc'])}: {spanned(ahead, True)} ahead, in {sum(x > 0 for x in ahead)} of {len(ahead)} splits. "
        f"With alarms at {ALPHA:.0%} (on held-out seen successes {both['false alarms, seen']:.3f}) balanced accuracy is "
        f"{balanced[0]}, of {by_alarm} alone {balanced[1]}, of the time so far {balanced[2]}; counting alarms by the usual "
        f"length of a success only, {', '.join(early[:2])} and {early[2]}."
    )


STUDY = Study(
    question="Do signals of the chunks tell that an episode of a task never seen will fail, at equal time?",
    arms=(CHUNKS, BOTH, *CHUNK, *BODY, TIME, LENGTH),
    expectation="A learned detector is above every single signal; time and length say nothing at equal time.",
    measure=measure,
    answer=answer,
    figure=lambda rows: plots.success(
        {
            "failures found": rates(rows, "failures found"),
            "false alarms, unseen tasks": rates(rows, "false alarms, unseen"),
        },
        "Alarms at 10 % on tasks never seen",
    ),
    full=Size(trials=120),
    quick=Size(trials=6),
    settings={"data": "pi0_libero_rollouts", "left out": LEFT_OUT, "alpha": ALPHA, "signals": CHUNK | BODY},
    table=table,
    page="docs/confidence.md",
)
