"""A policy that reads simulator truth, behind the `Policy` protocol: its own names to the robot, the truth from the observation.

Its checkpoint names truth among the channels of its state (`truth.target.x`, `data.privileged.PREFIX`). No robot measures
these, so it cannot be deployed: it teaches a policy that looks (`train.student`).
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from palmar.data.privileged import PREFIX
from palmar.embodiments import Embodiment
from palmar.errors import BadValue
from palmar.policy import Policy
from palmar.sim import truth
from palmar.types import ActionChunk, Array, Observation, Prefix

if TYPE_CHECKING:  # a scripted expert is collected and evaluated without torch
    from palmar.models.acting import NeuralPolicy


class Privileged:
    """inner: the trained policy. columns: the truth it reads, by name. interface: what remains for a robot: its own state names
    and actions, no cameras. told: names of what `Observation.privileged` will hold; `among` makes a copy that knows them.

    Raises `BadValue` for a policy whose state does not begin with the robot's own channels.
    """

    def __init__(self, inner: NeuralPolicy, told: Sequence[str] | None = None) -> None:
        names = inner.interface.state_names
        self.inner = inner
        own = tuple(n for n in names if not n.startswith(PREFIX))
        self.columns = tuple(n.removeprefix(PREFIX) for n in names[len(own) :])
        if names != (*own, *(PREFIX + n for n in self.columns)):
            raise BadValue(
                f"the policy's state is {', '.join(names)}; expected the robot's channels and then those that begin with "
                f"'{PREFIX}'. Next: train it on palmar.data.privileged.PrivilegedData"
            )
        units = inner.interface.state_units[: len(own)]
        self.interface = replace(inner.interface, state_names=own, state_units=units)
        self._at = None if told is None else [self._place(n, told) for n in self.columns]

    @property
    def extents(self) -> bool:
        """Whether it reads boxes or turns (`World.extents`)."""
        return any(".box." in n or ".turn." in n for n in self.columns)

    def among(self, told: Sequence[str]) -> Privileged:
        """The same policy where the truth holds these names. Raises `BadValue` for a column that is not among them."""
        return Privileged(self.inner, told)

    def session(self) -> Privileged:
        """As `NeuralPolicy.session`."""
        other = copy(self)
        other.inner = self.inner.session()
        return other

    def reset(self) -> None:
        self.inner.reset()

    def act(self, obs: Observation, prefix: Prefix | None = None) -> ActionChunk:
        """Raises `BadValue` where there is no simulator truth, as on a robot."""
        if obs.privileged is None or self._at is None:
            raise BadValue(
                "this policy is a teacher: it reads simulator truth, and here there is none. Next: palmar student CHECKPOINT makes "
                "a policy of it that looks; palmar eval tests it in simulation"
            )
        state = np.concatenate([obs.state, obs.privileged[self._at]]).astype(np.float32)
        return self.inner.act(Observation({}, state, obs.instruction, obs.time), prefix)

    def rows(self, state: Array, privileged: Array, names: Sequence[str]) -> Array:
        """float32[B, S + columns]: what it reads of a batch whose truth [B, P] holds `names`. Raises `BadValue`."""
        at = [self._place(n, names) for n in self.columns]
        return np.concatenate([state, np.asarray(privileged)[..., at]], -1).astype(np.float32)

    @staticmethod
    def _place(name: str, told: Sequence[str]) -> int:
        if name not in told:
            raise BadValue(
                f"the teacher reads '{name}', which the simulator does not tell here: {', '.join(told) or 'nothing'}. Next: "
                "CollectConfig(physics=True), or a teacher trained on what this data set holds"
            )
        return list(told).index(name)


def as_policy(policy: NeuralPolicy) -> Policy:
    """A policy whose state names simulator truth as a `Privileged`; any other as it is."""
    return Privileged(policy) if any(n.startswith(PREFIX) for n in policy.interface.state_names) else policy


def told(policy: Policy, robot: Embodiment) -> Policy:
    """A policy that reads simulator truth, where a world of this robot has `physics`, and the policy's `extents`; any other policy
    as it is. Raises `BadValue` for a column that no world of this robot tells."""
    return policy.among(truth.names(robot, policy.extents, True)) if isinstance(policy, Privileged) else policy
