"""When the guards that watch a robot's readings act: numbers of its robot file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from palmar.errors import BadValue

RANGES = {
    "effort": (0.01, 10.0),
    "stall_effort": (0.01, 10.0),
    "jump": (1.0, 1000.0),
    "saturated": (0.01, 1.0),
    "window": (0.1, 10.0),
}
"""Lowest and highest value of each threshold."""


@dataclass(frozen=True)
class Thresholds:
    """effort: share of a channel's effort limit that its measured effort may have, above it E-STOP. stall_effort: share of it
    with which a channel that pushes and does not move is thought to be blocked. jump: how many times faster than its velocity
    limit a joint's readings may change. saturated, window: share of the commands of the last `window` s that may be clipped by
    position or velocity limits. forces: {measurement of the state: largest absolute value, in its unit}, such as a wrist force
    [N], above it E-STOP."""

    effort: float = 1.0
    stall_effort: float = 0.8
    jump: float = 3.0
    saturated: float = 0.85
    window: float = 2.0
    forces: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, (low, high) in RANGES.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
                raise BadValue(
                    f"threshold {name} is {value!r}; expected {low:g} … {high:g}. Next: a number in that range"
                )
        for name, value in self.forces.items():
            if not (np.isfinite(value) and value > 0):
                raise BadValue(
                    f"the largest value of '{name}' is {value!r}; expected a number > 0. Next: a positive number"
                )
