"""Policies of known faults, made of one policy without training: for studies of what an evaluation can tell.

A name such as "shipped+shake=0.01+gain=0.6" is the policy with each fault in turn; `Pretended` loads it where `Loaded` would.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from palmar.errors import BadValue
from palmar.lab.worlds import Loaded
from palmar.types import ActionChunk, Observation, Policy, Prefix

FAULTS = ("shake", "gain", "dim")


class Faulty:
    """shake: standard deviation added to each step's motion of the tool [m]. gain: factor on that motion. dim: on the pictures."""

    def __init__(self, inner: Policy, shake: float = 0.0, gain: float = 1.0, dim: float = 1.0, seed: int = 0) -> None:
        self.inner, self.shake, self.gain, self.dim = inner, shake, gain, dim
        self.interface = inner.interface
        self._rng = np.random.default_rng([97, seed])

    def reset(self) -> None:
        self.inner.reset()

    def act(self, obs: Observation, prefix: Prefix | None = None) -> ActionChunk:
        if self.dim != 1.0:
            obs = replace(obs, images={k: (v * self.dim).astype(np.uint8) for k, v in obs.images.items()})
        chunk = self.inner.act(obs, prefix)
        actions = chunk.actions.copy()
        actions[:, :3] = self.gain * actions[:, :3] + self._rng.normal(0, self.shake, (len(actions), 3))
        return replace(chunk, actions=actions)


def faults(name: str) -> tuple[str, dict[str, float]]:
    """(policy, its faults) of POLICY+FAULT=NUMBER+… Raises `BadValue` for another fault."""
    policy, *words = name.split("+")
    found = {}
    for word in words:
        fault, _, value = word.partition("=")
        if fault not in FAULTS:
            raise BadValue(f"'{name}' has the fault '{fault}'; expected {', '.join(FAULTS)}. Next: {policy}+shake=0.01")
        found[fault] = float(value)
    return policy, found


class Pretended(Loaded):
    """Worlds and policies of one process, with faulty policies among them."""

    def policy(self, where: str) -> Policy:
        policy, found = faults(where)
        return Faulty(super().policy(policy), **found) if found else super().policy(policy)
