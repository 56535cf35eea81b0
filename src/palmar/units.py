"""Units of channels, and the affine conversions between them.

A unit belongs to one dimension; two units of one dimension convert by value. `range_m100_100` and `range_0_100` are what
LeRobot's motor calibration writes: percent of a joint's calibrated range. They convert to an angle only where the angles
at both ends of that range are known (`Channel.span`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from palmar.errors import BadValue, UnknownName


@dataclass(frozen=True)
class Unit:
    """value in the dimension's base unit = scale · value + offset."""

    dimension: str
    scale: float
    offset: float = 0.0


UNITS: dict[str, Unit] = {
    "rad": Unit("angle", 1.0),
    "deg": Unit("angle", np.pi / 180),
    "m": Unit("length", 1.0),
    "mm": Unit("length", 1e-3),
    "rad/s": Unit("angular velocity", 1.0),
    "deg/s": Unit("angular velocity", np.pi / 180),
    "m/s": Unit("velocity", 1.0),
    "opening": Unit("fraction", 1.0),  # 0 closed … 1 open
    "closing": Unit("fraction", -1.0, 1.0),  # 0 open … 1 closed, as DROID has it
    "closing_m1_1": Unit("fraction", -0.5, 0.5),  # -1 open … 1 closed, as robosuite and LIBERO have it
    "%": Unit("fraction", 0.01),
    "range_0_100": Unit("fraction", 0.01),
    "range_m100_100": Unit("fraction", 0.005, 0.5),
    "N·m": Unit("torque", 1.0),
    "N": Unit("force", 1.0),
    "A": Unit("current", 1.0),
    "1": Unit("number", 1.0),
}
RATES = {"rad": "rad/s", "deg": "deg/s", "m": "m/s"}
"""The unit of a value's change a second, where it has a name."""
BOUNDS = {
    "opening": (0.0, 1.0), "closing": (0.0, 1.0), "closing_m1_1": (-1.0, 1.0), "%": (0.0, 100.0),
    "range_0_100": (0.0, 100.0), "range_m100_100": (-100.0, 100.0),
}  # fmt: skip
"""Units with two ends that no value lies beyond: openings and shares of a calibrated range."""
UNKNOWN = ""
"""The unit of a channel whose unit nobody has stated."""


def check_unit(name: str, what: str = "unit") -> None:
    """Raise `UnknownName` unless `name` is a unit, or `UNKNOWN`."""
    if name != UNKNOWN and name not in UNITS:
        raise UnknownName(what, name, UNITS)


def conversion(source: str, target: str, span: tuple[float, float] | None = None) -> tuple[float, float]:
    """(scale, offset) with value_target = scale · value_source + offset.

    span: the angles [rad] (or positions [m]) at the two ends of the calibrated range, for a conversion between a fraction
    and an angle or a length. Raises `UnknownName` for a unit nobody knows, `BadValue` for two that do not convert.
    """
    for name in (source, target):
        if name not in UNITS:
            raise UnknownName("unit", name, UNITS)
    if source == target:
        return 1.0, 0.0
    a, b = UNITS[source], UNITS[target]
    scale, offset = a.scale, a.offset
    if a.dimension != b.dimension:
        if {a.dimension, b.dimension} not in ({"fraction", "angle"}, {"fraction", "length"}):
            raise BadValue(
                f"unit '{source}' ({a.dimension}) does not convert to '{target}' ({b.dimension}). Next: state the right unit"
            )
        if span is None:
            raise BadValue(
                f"unit '{source}' converts to '{target}' only where both ends of the range are known. Next: give the "
                "channel's span, the joint's position at 0 % and at 100 % of its calibrated range"
            )
        low, width = span[0], span[1] - span[0]
        if a.dimension == "fraction":
            scale, offset = scale * width, offset * width + low
        else:
            scale, offset = scale / width, (offset - low) / width
    return scale / b.scale, (offset - b.offset) / b.scale
