"""The part of a recording that a person drove: what may be learned from it.

What the policy did before a person took over led to a failure and must not be imitated. A set without the column `intervention`
(demonstrations) is kept whole, and so is one whose actions are labels of an expert (`palmar collect --driver`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from palmar.data import format as fmt
from palmar.data.view import View
from palmar.errors import BadValue
from palmar.mapping import Interface
from palmar.types import STILL, Array

Own = Literal["none", "successes", "all"]
"""Which episodes that nobody took over are kept of a set that says who drove."""
LABELLED = "learner"
"""Source of an episode whose recorded actions are an expert's labels and not what was done (`lab.collect`)."""


class Corrections(View):
    """A data set whose episodes are the stretches that a person drove. Frames keep their indices, so nothing is copied; past
    the end of a stretch actions are padding.

    own: keep whole episodes too that nobody took over (those that succeeded, or all), and the end of those that a policy brought
    to success after it was given back. seconds: how long a person drove, all stretches together; of `own` the policy's as well.
    says_who: whether the set has the column; without, every frame counts as driven by whoever demonstrated.
    """

    def __init__(self, source: Any, own: Own = "none") -> None:
        super().__init__(source)
        self.episodes = tuple(stretches(source, own))
        self._stop = np.zeros(len(source), np.int64)
        for e in self.episodes:
            self._stop[e.start : e.stop] = e.stop
        self.seconds = float((self._stop > 0).sum() / float(getattr(source, "fps", 10.0)))
        self.says_who = fmt.INTERVENTION in getattr(source, "features", {})

    @property
    def frames(self) -> int:
        """How many a person drove."""
        return int((self._stop > 0).sum())

    def batch(self, indices: Array, horizon: int, **more: Any) -> dict[str, Any]:
        """As the source's, with `pad` from the end of each frame's stretch on."""
        out = dict(self.source.batch(indices, horizon, **more))
        window = np.asarray(indices)[:, None] + np.arange(horizon)
        out["pad"] = np.asarray(out["pad"]) | (window >= self._stop[np.asarray(indices)][:, None])
        return out


def stretches(source: Any, own: Own = "none") -> list[Any]:
    """Of each episode the parts that a person drove, as episodes. own: and whole ones that nobody took over, and of those that
    succeeded what came after the last time that a person gave back."""
    if fmt.INTERVENTION not in getattr(source, "features", {}):
        return list(source.episodes)
    drove = np.asarray(source.column(fmt.INTERVENTION)).reshape(-1).astype(bool)
    found = []
    for e in source.episodes:
        good = e.source == LABELLED or own == "all" or (own == "successes" and (e.success or e.source == STILL))
        if good and not drove[e.start : e.stop].any():
            found.append(e)
            continue
        edges = np.flatnonzero(np.diff(np.concatenate([[0], drove[e.start : e.stop].astype(int), [0]])))
        found += [replace(e, start=e.start + int(a), stop=e.start + int(b)) for a, b in edges.reshape(-1, 2)]
        if own != "none" and e.success and len(edges) and (back := e.start + int(edges[-1])) < e.stop:
            found.append(replace(e, start=back))  # given back, the policy came to the end by itself
    return found


def check_same_robot(source: Any, policy: Interface, called: str, option: str) -> None:
    """Raise `BadValue` naming what differs when a data set was not recorded on the robot of a policy, by its cameras, states
    and actions. called: the set. option: that named it."""
    robot = getattr(source, "robot_type", "") or ""
    if robot and policy.embodiment and robot != policy.embodiment:
        raise BadValue(
            f"{option} '{called}' was recorded on '{robot}'; the policy drives '{policy.embodiment}'. Next: recordings of "
            f"'{policy.embodiment}'"
        )
    for what, theirs, ours in (
        ("actions", source.action_names, policy.action_names),
        ("states", source.state_names, policy.state_names),
        ("cameras", source.cameras, tuple(policy.cameras)),
    ):
        lacking, more = _without(ours, theirs), _without(theirs, ours)
        if lacking or more:
            said = [f"lacks {what} {', '.join(lacking)}"] if lacking else []
            said += [f"has {what} {', '.join(more)} that the policy does not know"] if more else []
            raise BadValue(
                f"{option} '{called}' {' and '.join(said)}. Next: recordings in the policy's own names (palmar inspect {called})"
            )
    fps = float(getattr(source, "fps", 0.0) or 0.0)
    if fps and abs(policy.dt * fps - 1) > 0.01:
        raise BadValue(
            f"{option} '{called}' holds {fps:g} frames a second; the policy acts {1 / policy.dt:g} times. Next: recordings at "
            f"{1 / policy.dt:g} Hz"
        )


def _without(names: Sequence[str], others: Sequence[str]) -> list[str]:
    return [n for n in names if n not in others]
