"""A data set as a teacher reads it: no pictures, and columns of simulator truth beside the state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from palmar.errors import BadValue, UnknownName
from palmar.types import Array

PREFIX = "truth."
"""Of the channels of a state that are simulator truth: `truth.target.x`."""


class PrivilegedData:
    """The frames of a set that tells simulator truth: `states` are its states and, behind them, columns of the truth.

    columns: which, by their names in `source.privileged_names`; None: all but those about a camera's picture. source: the
    set inside. Raises `BadValue` for a set that tells nothing, `UnknownName` for a column that it lacks.
    """

    cameras: tuple[str, ...] = ()
    privileged_names: tuple[str, ...] = ()

    def __init__(self, source: Any, columns: Sequence[str] | None = None) -> None:
        told = tuple(source.privileged_names)
        if not told:
            raise BadValue(
                "the data tell no simulator truth, which is what a teacher learns from. Next: palmar collect, or "
                "CollectConfig(physics=True)"
            )
        self.source = source
        self.columns = without_pictures(told, source.cameras) if columns is None else tuple(columns)
        for name in self.columns:
            if name not in told:
                raise UnknownName("column of simulator truth", name, told)
        self._at = [told.index(n) for n in self.columns]
        self.state_names = (*source.state_names, *(PREFIX + n for n in self.columns))
        units = tuple(getattr(source, "state_units", ()))
        self.state_units = (*units, *("" for _ in self.columns)) if units else ()
        self.action_names, self.action_units = tuple(source.action_names), tuple(getattr(source, "action_units", ()))
        self.tasks, self.episodes, self.fps = source.tasks, source.episodes, getattr(source, "fps", 10.0)
        self.robot_type = getattr(source, "robot_type", "")
        self.image_sizes: dict[str, tuple[int, int]] = {}
        truth = source.batch(np.arange(len(source)), 1, images=False)["privileged"]
        self._states = np.concatenate([source.states, np.asarray(truth, np.float32)[:, self._at]], -1)

    def __len__(self) -> int:
        return len(self.source)

    @property
    def states(self) -> Array:
        """float32[frames, S + columns]."""
        return self._states

    @property
    def actions(self) -> Array:
        """float32[frames, A]."""
        actions: Array = self.source.actions
        return actions

    def batch(self, indices: Array, horizon: int, images: bool = False, **more: Any) -> dict[str, Any]:
        """As `Dataset.batch`, without pictures."""
        raw = dict(self.source.batch(indices, horizon, images=False, **more))
        raw.pop("privileged", None)
        return raw | {"images": {}, "state": self._states[np.asarray(indices, np.int64)]}


def without_pictures(names: Sequence[str], cameras: Sequence[str]) -> tuple[str, ...]:
    """The columns of simulator truth that are about no camera's picture."""
    return tuple(n for n in names if n.partition(".")[0] not in cameras)
