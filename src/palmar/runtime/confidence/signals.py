"""What a policy's own answers say of how sure it is: each signal is a function of the history of chunks.

A history is the chunks of one episode, oldest first, the newest last. A signal is ≥ 0, and NaN where it cannot be told yet
(the first chunk has no predecessor; few policies say a spread). Units follow the actions; the detector compares a signal
only with itself on other episodes of the same robot and policy, so they need not be comparable.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from palmar.errors import BadValue, check_names
from palmar.runtime.confidence.distance import DISTANCE, Gaussian
from palmar.types import ActionChunk, Array

History = Sequence[ActionChunk]
Signal = Callable[[History], float]
UNKNOWN = float("nan")


def overlap(old: ActionChunk, new: ActionChunk) -> tuple[Array, Array]:
    """The actions of both chunks for the same steps, float[n, A] each; n = 0 when they have no step in common.

    Steps are matched by time, to the nearest step of the old chunk. Raises `BadValue` when the widths of actions differ.
    """
    if old.actions.shape[1] != new.actions.shape[1]:
        raise BadValue(
            f"chunks of {old.actions.shape[1]} and {new.actions.shape[1]} channels; expected one width in a history. "
            "Next: reset between robots"
        )
    steps = new.t0 + new.dt * np.arange(len(new.actions))
    index = np.rint((steps - old.t0) / old.dt).astype(int)
    both = (index >= 0) & (index < len(old.actions))
    return old.actions[index[both]].astype(np.float64), new.actions[both].astype(np.float64)


def disagreement(history: History) -> float:
    """Mean squared difference of the last two chunks where they overlap (temporal consistency)."""
    if len(history) < 2:
        return UNKNOWN
    old, new = overlap(history[-2], history[-1])
    return float(np.mean((old - new) ** 2)) if len(old) else UNKNOWN


def seam(history: History) -> float:
    """Length of the jump from the old chunk to the new one at the first step that both have."""
    if len(history) < 2:
        return UNKNOWN
    old, new = overlap(history[-2], history[-1])
    return float(np.linalg.norm(old[0] - new[0])) if len(old) else UNKNOWN


def size(history: History) -> float:
    """Mean length of an action: how far one step moves, for action spaces of displacements or speeds."""
    return float(np.linalg.norm(history[-1].actions, axis=1).mean())


def travel(history: History) -> float:
    """Mean distance between consecutive actions [units/s]: how fast the chunk moves, for action spaces of positions."""
    chunk = history[-1]
    if len(chunk.actions) < 2:
        return UNKNOWN
    return float(np.linalg.norm(np.diff(chunk.actions, axis=0), axis=1).mean() / chunk.dt)


def jerk(history: History) -> float:
    """Mean length of the third difference of the actions [units/s³]."""
    chunk = history[-1]
    if len(chunk.actions) < 4:
        return UNKNOWN
    return float(np.linalg.norm(np.diff(chunk.actions, 3, axis=0), axis=1).mean() / chunk.dt**3)


def turns(history: History) -> float:
    """Share of the chunk's channels and steps at which the motion changes its direction."""
    moves = np.diff(history[-1].actions, axis=0)
    return float((moves[1:] * moves[:-1] < 0).mean()) if len(moves) > 1 else UNKNOWN


def spread(history: History) -> float:
    """Mean of `ActionChunk.spread`: disagreement of samples, ensemble members or dropout masks, where the policy says it."""
    return UNKNOWN if history[-1].spread is None else float(np.mean(history[-1].spread))


def doubt(history: History) -> float:
    """1 less the confidence that the policy itself states."""
    return UNKNOWN if history[-1].confidence is None else 1.0 - float(history[-1].confidence)


SIGNALS: Mapping[str, Signal] = {
    "disagreement": disagreement, "seam": seam, "size": size, "travel": travel, "jerk": jerk, "turns": turns,
    "spread": spread, "doubt": doubt,
}  # fmt: skip
SPAN = 2  # chunks of the past that a signal looks at, the newest included


def signals(history: History, names: Sequence[str], familiar: Gaussian | None = None) -> Array:
    """float64[K]: the named signals of the newest chunk. familiar: of the features of training, for `distance`, which is unknown
    of a chunk without features. Raises `UnknownName` for one that is none, `BadValue` of no chunk."""
    known = SIGNALS if familiar is None else {**SIGNALS, DISTANCE: lambda h: distance(h, familiar)}
    check_names("signal", names, known)
    if not history:
        raise BadValue("the history holds no chunk; expected one or more. Next: call it after a chunk came")
    return np.array([known[n](history) for n in names])


def distance(history: History, familiar: Gaussian) -> float:
    """How far what the policy made of what it saw is from what it made of training."""
    seen = history[-1].features
    return UNKNOWN if seen is None else familiar(seen)


def sample_disagreement(samples: Array) -> float:
    """Of M answers to one observation (samples, ensemble members, dropout masks): mean standard deviation of an action.

    samples: float[M, T, A]. Raises `BadValue` for another shape or M < 2.
    """
    if samples.ndim != 3 or len(samples) < 2:
        raise BadValue(
            f"samples have shape {list(samples.shape)}; expected [M, T, A] with M ≥ 2. Next: draw two or more"
        )
    return float(samples.astype(np.float64).std(0).mean())


def token_entropy(probabilities: Array) -> float:
    """Mean entropy of the tokens of an answer [nat]. probabilities: float[L, V], rows summing to 1.

    Raises `BadValue` for rows that are no distributions.
    """
    p = np.asarray(probabilities, np.float64)
    if p.ndim != 2 or not len(p) or not np.allclose(p.sum(1), 1.0, atol=1e-3) or p.min() < 0:
        raise BadValue(
            f"token probabilities {list(p.shape)} do not each sum to 1; expected float[L, V]. Next: take a softmax"
        )
    return float(-(p * np.log(np.maximum(p, 1e-300))).sum(1).mean())
