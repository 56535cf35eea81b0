"""Recorded observations to compare policies on. No simulator is needed for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from palmar.data.reader import Dataset
from palmar.eval.open_loop import Fit
from palmar.policy import Policy
from palmar.types import Observation


def from_data(policy: Policy, data: Path, count: int, keys: dict[str, Any] | None = None) -> list[Observation]:
    """Frames of a LeRobot set, `count` of them evenly over its episodes. Raises `BadValue` when it does not fit the policy."""
    dataset = Dataset(data, cache=False, keys=keys)
    fit = Fit.of(policy, dataset)
    rows = np.unique(np.linspace(0, len(dataset) - 1, min(count, len(dataset))).round().astype(int))
    out = []
    for i in rows:
        frame = dataset.frame(int(i))
        images = {c: np.ascontiguousarray(frame["images"][c]) for c in fit.cameras}
        state = np.asarray(frame["state"], np.float32)[fit.states]
        out.append(Observation(images, state, str(frame["task"]), float(frame["timestamp"])))
    return out
