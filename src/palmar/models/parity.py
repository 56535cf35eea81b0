"""How far the actions of one policy are from those of another on the same observations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from palmar.errors import BadValue
from palmar.models.acting import NeuralPolicy
from palmar.types import Array, Observation


@dataclass(frozen=True)
class Bound:
    """Of the mean and of the largest difference of an action, in standard deviations σ of the training actions. The largest is
    wide where numbers are rounded: a gripper that is about to close flips, and is then 2 σ away."""

    mean: float
    largest: float


BOUNDS = {
    "fp32": Bound(1e-4, 1e-2),
    "bf16": Bound(0.03, 1.0),
    "int8-dynamic": Bound(0.06, 1.5),
    "int8-static": Bound(0.06, 1.5),
}
"""By precision."""


@dataclass(frozen=True)
class Parity:
    """Differences over `observations` of all actions of all chunks. mean, largest: in σ; channels that never moved in training
    are left out. units: {channel: (mean, largest)} in the channel's own unit. done: largest difference of the probability."""

    observations: int
    mean: float
    largest: float
    units: dict[str, tuple[float, float]]
    done: float

    def within(self, bound: Bound) -> bool:
        return self.mean <= bound.mean and self.largest <= bound.largest

    def __str__(self) -> str:
        return f"mean {self.mean:.2g} σ, largest {self.largest:.2g} σ of {self.observations} observations"


def parity(policy: NeuralPolicy, other: NeuralPolicy, observations: Sequence[Observation]) -> Parity:
    """other against policy. Both are reset and see the observations in their order.

    Raises `BadValue` when there are none, or when an answer is not finite.
    """
    if not observations:
        raise BadValue("no observations to compare the actions on; expected one or more. Next: --data FOLDER")
    pair = []
    for one in (policy, other):
        chunks, last = [], float("inf")
        for obs in observations:
            if obs.time < last:  # another episode begins
                one.reset()
            chunks.append(one.act(obs))
            last = obs.time
        pair.append((np.stack([c.actions for c in chunks]), np.array([c.done or 0.0 for c in chunks])))
    (actions, done), (others, other_done) = pair
    if actions.shape != others.shape or not np.isfinite(others).all():
        raise BadValue(
            f"the other form answers {list(others.shape)}, finite: {bool(np.isfinite(others).all())}; expected finite numbers "
            f"{list(actions.shape)}. Next: another precision"
        )
    return measured(
        actions, others, policy.normalizers["action"].scale, policy.interface.action_names, done - other_done
    )


def measured(actions: Array, others: Array, scale: Array, names: Sequence[str], done: Array) -> Parity:
    """actions, others: [n, T, A] in units; scale: σ [A], 0 for a channel that never moved; done: differences [n]."""
    away = np.abs(others.astype(np.float64) - actions)
    moving = scale > 0
    sigmas = away[..., moving] / scale[moving] if moving.any() else np.zeros(1)
    units = {n: (float(away[..., i].mean()), float(away[..., i].max())) for i, n in enumerate(names)}
    return Parity(len(actions), float(sigmas.mean()), float(sigmas.max()), units, float(np.abs(done).max()))
