"""How large and how small the numbers of a robot may be, so that its limits hold in double precision."""

from __future__ import annotations

import numpy as np

from palmar.errors import BadValue
from palmar.types import Array

LARGEST, SMALLEST = 1e9, 1e-9
"""Of positions, speeds, efforts and rates in any unit; accelerations and jerks may be as large as `STEEPEST`, or infinite."""
STEEPEST = 1e15
FARTHEST = 1e6
"""Of lengths in a robot's geometry [m]."""
RATES = (1e-3, 1e5)
"""Of commands and actions [Hz]."""
ROUNDING = 1e-7
"""Share of a limit that the rounding of positions may be; `runtime.bodies.outside` allows ten times as much."""


def check_magnitude(what: str, value: float, largest: float = LARGEST, above_zero: bool = False) -> None:
    """Raise `BadValue` for a finite number further from 0 than `largest`, or with `above_zero` nearer to it than `SMALLEST`."""
    if np.isfinite(value) and abs(value) > largest:
        raise BadValue(f"{what} is {value:g}; expected {-largest:g} … {largest:g}. Next: check its unit")
    if above_zero and value < SMALLEST:
        raise BadValue(f"{what} is {value:g}; expected {SMALLEST:g} or more. Next: check its unit")


def check_lengths(what: str, values: Array) -> None:
    """Raise `BadValue` unless all numbers are finite and within `FARTHEST`."""
    values = np.asarray(values, float).ravel()
    bad = values[~(np.abs(values) <= FARTHEST)]
    if len(bad):
        raise BadValue(f"{what} has {bad[0]:g} m; expected {-FARTHEST:g} … {FARTHEST:g}. Next: check its unit")


def check_resolution(name: str, furthest: float, rate: float, limits: dict[str, float]) -> None:
    """Raise `BadValue` when the rounding of positions, as large as `furthest`, shows in their changes at `rate` commands a second.

    limits: of velocity, acceleration, jerk …, the first, second and third change a second.
    """
    rounding = furthest * float(np.finfo(float).eps)
    for order, (quantity, limit) in enumerate(limits.items(), 1):
        finest = rounding * rate**order / ROUNDING
        if np.isfinite(furthest) and limit < finest:
            raise BadValue(
                f"channel '{name}': {quantity} is {limit:g}, at positions up to {furthest:g} and {rate:g} commands a second; "
                f"expected {finest:.2g} or more, which double precision can hold. Next: check the units of both"
            )
