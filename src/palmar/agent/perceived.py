"""A scene from pictures: a policy whose heads are grounded is asked for every name in turn, and what it finds where is kept.

A thing that is not there is looked for where something of its colour or shape stands, with less confidence than that itself: of
names whose peaks lie together the surest is kept, and the unsure are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from palmar.agent.seen import SceneDescription, SeenObject
from palmar.errors import BadValue
from palmar.lab.heatmaps import peak
from palmar.sim.things import COLOURS, SHAPES
from palmar.types import Observation, Policy

NAMES = tuple(f"{colour} {shape}" for colour in COLOURS for shape in SHAPES)
"""What the shipped policy was trained to look for."""
LEAST = 0.8  # confidence from which a name is taken for a thing
APART = 0.1  # of the picture's width and height, between two things


@dataclass(frozen=True)
class GroundedPerception:
    """policy: one whose chunks tell its confidence and the heatmap of its target. places: what is known to stand there, since a
    policy is asked for things that it can take. camera: whose heatmap is read. wording: how it is asked, with {o}."""

    policy: Policy
    places: tuple[str, ...] = ()
    names: tuple[str, ...] = NAMES
    camera: str = "front"
    wording: str = "pick up the {o}"

    def __call__(self, obs: Observation) -> SceneDescription:
        """Where each thing lies is not told. Raises `BadValue` for a policy without confidence or heatmap."""
        looks = []
        for name in self.names:
            self.policy.reset()
            chunk = self.policy.act(replace(obs, instruction=self.wording.format(o=name)))
            if chunk.confidence is None:
                raise BadValue(
                    "this policy tells no confidence; expected one with grounded heads. Next: the shipped policy, or palmar-tiny"
                )
            (u, v), _ = peak(chunk, self.camera)
            looks.append((chunk.confidence, name, u, v))
        self.policy.reset()
        things = tuple(SeenObject(name, confidence=round(sure, 3)) for sure, name, _, _ in _kept(looks))
        return SceneDescription((*things, *(SeenObject(p, True) for p in self.places)), placements=False)


def _kept(looks: Sequence[tuple[float, str, float, float]]) -> list[tuple[float, str, float, float]]:
    kept: list[tuple[float, str, float, float]] = []
    for look in sorted(looks, reverse=True):
        if look[0] >= LEAST and all(np.hypot(look[2] - u, look[3] - v) > APART for _, _, u, v in kept):
            kept.append(look)
    return kept
