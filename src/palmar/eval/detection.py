"""How well a score tells failures from successes when length is controlled.

Failures last until the time is up, so a score that grows with time, or a maximum over more steps, ranks them by length alone. Every
number here compares a failure with a success at the same step of both. Time itself, and the length, then score exactly 0.5.

Shapes: N episodes of up to T chunks. scores: float[N, T], higher is worse, each from what was seen by then. lengths: int[N].
"""

from __future__ import annotations

import numpy as np

from palmar.types import Array


def equal_time_auc(
    scores: Array,
    lengths: Array,
    failed: Array,
    share: float = 1.0,
    within: Array | None = None,
    ends: Array | None = None,
) -> float:
    """Share of pairs of a failure and a success in which the failure scores higher, ties half: the ROC-AUC at equal time.

    Both are cut to `share` of the shorter one. within: int[N] tasks, then only pairs of one task count. ends: int[N], where each
    failure is cut besides, such as the step of its alarm. NaN when there is no pair.
    """
    f, s = np.flatnonzero(failed), np.flatnonzero(~failed)
    own = lengths if ends is None else np.minimum(lengths, ends + 1)
    step = np.maximum((np.minimum(own[f][:, None], lengths[s][None]) * share).astype(int) - 1, 0)
    a, b = scores[f[:, None], step], scores[s[None, :], step]
    won = (a > b) + 0.5 * (a == b)
    if within is not None:
        won = won[within[f][:, None] == within[s][None]]
    return float(won.mean()) if won.size else float("nan")


def same_step_auc(scores: Array, lengths: Array, failed: Array, steps: Array) -> float:
    """Mean over steps of the ROC-AUC among the episodes that are still running then: nobody's end is in sight. NaN when at
    no step both kinds are running."""
    found = []
    for t in steps[steps < scores.shape[1]]:
        running = lengths > t
        a, b = scores[running & failed, t], scores[running & ~failed, t]
        if len(a) and len(b):
            found.append(float(((a[:, None] > b) + 0.5 * (a[:, None] == b)).mean()))
    return float(np.mean(found)) if found else float("nan")


def whole_episode_auc(scores: Array, lengths: Array, failed: Array) -> float:
    """ROC-AUC of the largest score of each whole episode: length is not controlled. To be shown beside the others only."""
    inside = np.arange(scores.shape[1]) < lengths[:, None]
    worst = np.where(inside, scores, -np.inf).max(1)
    a, b = worst[failed], worst[~failed]
    return float(((a[:, None] > b) + 0.5 * (a[:, None] == b)).mean()) if len(a) and len(b) else float("nan")


def balanced_accuracy(alarmed: Array, failed: Array) -> float:
    """Mean of the share of failures with an alarm and of successes without. alarmed, failed: bool[N]."""
    return float((alarmed[failed].mean() + 1 - alarmed[~failed].mean()) / 2)
