"""Correcting each action of a running chunk from the newest observation: where the loop finds who does it."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

import numpy as np

from palmar.mapping import MappedPolicy
from palmar.types import Array, Observation


class Corrector(Protocol):
    """wants_images: it looks at the pictures of every policy step, not only at those that the policy was asked with."""

    @property
    def wants_images(self) -> bool: ...

    def correct(self, obs: Observation, action: Array, position: int) -> Array:
        """The action float32[A] to carry out now instead of `action`, the one at `position` in the running chunk (0: the one for
        the moment of the chunk's observation). Must be quick: the loop waits for it."""
        ...


def corrector(policy: object) -> Corrector | None:
    """The corrector among a policy and the policies it wraps; None when there is none."""
    if isinstance(policy, MappedPolicy):
        inner = corrector(policy.inner)
        return None if inner is None else _Mapped(policy, inner)
    if hasattr(policy, "correct"):
        return policy  # type: ignore[return-value]
    return corrector(policy.inner) if hasattr(policy, "inner") else None


class _Mapped:
    """A corrector behind the mapping that its policy is behind."""

    def __init__(self, outer: MappedPolicy, inner: Corrector) -> None:
        self.mapping, self.inner, self.wants_images = outer.mapping, inner, inner.wants_images

    def correct(self, obs: Observation, action: Array, position: int) -> Array:
        ours = self.mapping.take_action(action).astype(np.float32)
        seen = self.mapping.observation(obs) if obs.images else replace(obs, state=self.mapping.take_state(obs.state))
        made = self.inner.correct(seen, ours, position)
        return self.mapping.action_back(made).astype(np.float32)
