"""A data set seen through a mapping: other names, order, units and picture sizes, the same frames."""

from __future__ import annotations

from collections.abc import Mapping as Dictionary
from collections.abc import Sequence
from typing import Any

import numpy as np

from palmar.choices import FIT, Fit
from palmar.mapping import Interface, Mapping
from palmar.robots import with_units
from palmar.types import Array


def interface_of(source: Any, horizon: int = 1) -> Interface:
    """The interface of a data set: its cameras and their sizes, names, rate, and units: those it states, or those of the robot of
    palmar that it names where it has that robot's channels. Nothing is decoded where the set says how large its pictures are
    (`Dataset.image_sizes`)."""
    states, actions = tuple(source.state_names), tuple(source.action_names)
    state_units, action_units = tuple(getattr(source, "state_units", ())), tuple(getattr(source, "action_units", ()))
    return with_units(Interface(
        _sizes(source), states, actions, horizon, 1.0 / float(getattr(source, "fps", 10.0)),
        getattr(source, "robot_type", "") or "", state_units=state_units, action_units=action_units,
    ))  # fmt: skip


def _sizes(source: Any) -> dict[str, tuple[int, int]]:
    """{camera: (height, width)} as `batch` gives its pictures; of a source that does not say it, from its first frame."""
    if not len(source):
        return {}
    if (told := getattr(source, "image_sizes", None)) is not None:
        return {c: (int(told[c][0]), int(told[c][1])) for c in source.cameras}
    pictures = source.batch(np.array([0]), 1)["images"]
    return {c: (int(pictures[c].shape[-3]), int(pictures[c].shape[-2])) for c in source.cameras if c in pictures}


class MappedData:
    """A data set as if it had been recorded with the names, order, units and picture sizes of another interface.

    like: that interface, or a data set that has it. names, cameras, how: as `Mapping.between`. Nothing is invented:
    a camera, state or action channel that is not there raises `BadValue`; so does another rate. Labels of the simulator
    that are not there become NaN, which training takes as unknown. truth: the names of those labels; as `like` has them when
    not given, or as the set. source: the set inside.
    """

    def __init__(
        self,
        source: Any,
        like: Any,
        names: Dictionary[str, str] | None = None,
        cameras: Dictionary[str, str] | None = None,
        how: Fit = FIT,
        truth: Sequence[str] | None = None,
    ) -> None:
        ours = like if isinstance(like, Interface) else interface_of(like)
        self.source = source
        self.mapping = Mapping.between(interface_of(source), ours, names, cameras, how)
        self.image_sizes = dict(ours.cameras)
        self.cameras, self.state_names, self.action_names = tuple(ours.cameras), ours.state_names, ours.action_names
        self.state_units, self.action_units = ours.state_units, ours.action_units
        known = getattr(like, "privileged_names", source.privileged_names) if truth is None else truth
        self.privileged_names = tuple(known)
        self.tasks, self.episodes, self.fps = source.tasks, source.episodes, getattr(source, "fps", 10.0)
        self.robot_type = ours.embodiment or getattr(source, "robot_type", "")
        recorded, sizes = getattr(source, "recorded_sizes", {}), self.mapping.theirs.cameras
        self.recorded_sizes = {  # of pictures that the mapping itself leaves as they are
            c: recorded[v.camera]
            for c, v in self.mapping.views.items()
            if v.camera in recorded and tuple(sizes[v.camera]) == tuple(ours.cameras[c])
        }
        at = {n: i for i, n in enumerate(source.privileged_names)}
        self._truth = np.array([at.get(n, -1) for n in self.privileged_names], np.int64)

    def __len__(self) -> int:
        return len(self.source)

    @property
    def states(self) -> Array:
        """float32[frames, S] in the names and units of the mapping."""
        return self.mapping.take_state(self.source.states).astype(np.float32)

    @property
    def actions(self) -> Array:
        """float32[frames, A] in the names and units of the mapping."""
        return self.mapping.take_action(self.source.actions).astype(np.float32)

    def batch(self, indices: Array, horizon: int, **more: Any) -> dict[str, Any]:
        """As `Dataset.batch`, mapped."""
        raw = dict(self.source.batch(indices, horizon, **more))
        raw["images"] = self.mapping.take_images(raw["images"])
        raw["state"] = self.mapping.take_state(raw["state"]).astype(np.float32)
        raw["actions"] = self.mapping.take_action(raw["actions"]).astype(np.float32)
        if not self.privileged_names:
            raw.pop("privileged", None)
        else:
            truth = raw.get("privileged", np.zeros((len(raw["state"]), 0), np.float32))
            known = truth[..., np.maximum(self._truth, 0)] if truth.shape[-1] else np.zeros((*truth.shape[:-1], 1))
            raw["privileged"] = np.where(self._truth >= 0, known, np.nan).astype(np.float32)
        return raw
