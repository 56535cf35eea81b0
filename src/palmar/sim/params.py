"""Everything that may differ between simulation and reality: one named, bounded vector.

Randomisation samples it, identification estimates it, a reality twin is a hidden point of it. A new parameter is a row of
`SPACE` and the place that reads it (`world.py`, `scenes.py` or `camera.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from palmar.errors import BadValue, UnknownName
from palmar.ranges import Strength, check_ranges

Group = Literal["visual", "dynamics", "sensor", "geometric"]
GROUPS: tuple[Group, ...] = ("visual", "dynamics", "sensor", "geometric")


@dataclass(frozen=True)
class Param:
    """One parameter: what it is in plain simulation, the range reality may lie in, and the bounds beyond which it means
    nothing (a damping below 0 makes energy)."""

    name: str
    group: Group
    nominal: float
    low: float
    high: float
    unit: str
    meaning: str
    least: float
    most: float


SPACE: dict[str, Param] = {
    p.name: p
    for p in (
        Param("light", "visual", 1.0, 0.3, 3.0, "×", "light intensity", 0, 20),
        Param("light_x", "visual", 0.0, -0.6, 0.6, "m", "where the lamp hangs, sideways", -5, 5),
        Param("temperature", "visual", 5500.0, 3000.0, 8000.0, "K", "colour temperature of the light", 300, 40000),
        Param("camera_x", "visual", 0.0, -0.02, 0.02, "m", "front camera, towards the robot", -1, 1),
        Param("camera_y", "visual", 0.0, -0.02, 0.02, "m", "front camera, sideways", -1, 1),
        Param("camera_z", "visual", 0.0, -0.02, 0.02, "m", "front camera, height", -1, 1),
        Param("camera_pitch", "visual", 0.0, -5.0, 5.0, "deg", "front camera, up and down", -90, 90),
        Param("camera_yaw", "visual", 0.0, -5.0, 5.0, "deg", "front camera, left and right", -90, 90),
        Param("fov", "visual", 60.0, 55.0, 75.0, "deg", "front camera, vertical field of view", 5, 150),
        Param("table_hue", "visual", 0.08, 0.0, 1.0, "turn", "table colour", -10, 10),
        Param("table_saturation", "visual", 0.15, 0.0, 0.35, "", "table colour", 0, 1),
        Param("table_value", "visual", 0.75, 0.35, 0.95, "", "table colour", 0, 1.5),
        Param("table_pattern", "visual", 0.0, 0.0, 1.0, "", "strength of a pattern on the table", 0, 2.8),
        Param(
            "background", "visual", 0.0, 0.0, 1.0, "", "which of the procedural walls stands behind the robot", 0, 10
        ),
        Param("object_hue", "visual", 0.0, -0.03, 0.03, "turn", "paint of the objects", -10, 10),
        Param("object_value", "visual", 1.0, 0.8, 1.15, "×", "paint of the objects, brightness", 0, 3),
        Param("brightness", "visual", 1.0, 0.7, 1.3, "×", "camera brightness", 0, 5),
        Param("contrast", "visual", 1.0, 0.8, 1.2, "×", "camera contrast", 0, 5),
        Param("hue", "visual", 0.0, -0.1, 0.1, "turn", "camera hue", -10, 10),
        Param("friction", "dynamics", 1.0, 0.5, 1.5, "×", "friction of objects, table and pads", 0, 10),
        Param("mass", "dynamics", 1.0, 0.8, 1.2, "×", "mass of the objects", 0.001, 1000),
        Param("link_mass", "dynamics", 1.0, 0.8, 1.2, "×", "mass and inertia of the arm's links", 0.01, 100),
        Param("damping", "dynamics", 1.0, 0.9, 1.1, "×", "joint damping", 0, 100),
        Param("gain", "dynamics", 1.0, 0.8, 1.2, "×", "stiffness of the joint servos", 0.001, 100),
        Param("action_noise", "dynamics", 0.0, 0.0, 0.01, "rad", "standard deviation on joint commands", 0, 1),
        Param("action_delay", "dynamics", 0.0, 0.0, 3.0, "ticks", "control ticks a command is late", 0, 100),
        Param("image_noise", "sensor", 0.0, 0.0, 0.02, "of 1", "standard deviation on pixels", 0, 1),
        Param("proprio_noise", "sensor", 0.0, 0.0, 0.01, "rad", "standard deviation on joint angles", 0, 1),
        Param("image_latency", "sensor", 0.0, 0.0, 2.0, "ticks", "control ticks a picture is late", 0, 100),
        Param("object_scale", "geometric", 1.0, 0.9, 1.1, "×", "size of the objects", 0.2, 5),
        Param(
            "table_height",
            "geometric",
            0.0,
            -0.01,
            0.01,
            "m",
            "height of the table under the robot's idea of it",
            -0.5,
            0.5,
        ),
    )
}

# Ranges are relative to the control rate in `embodiments.py`: at 50 Hz one tick is 20 ms.


@dataclass(frozen=True)
class WorldParams:
    """A point of the space. `values` holds what differs from nominal; read with `params["friction"]`.

    Raises `UnknownName` for a parameter that is none, `BadValue` for a value outside its bounds (`Param.least`, `most`).
    """

    values: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, value in self.values.items():
            if name not in SPACE:
                raise UnknownName("world parameter", name, SPACE)
            p = SPACE[name]
            if isinstance(value, bool) or not np.isfinite(value):
                raise BadValue(
                    f"world parameter {name} is {value}; expected a finite number. "
                    "Next: leave it out, or a number within its range"
                )
            if not p.least <= value <= p.most:
                raise BadValue(
                    f"world parameter {name} is {value:g}; expected {p.least:g} … {p.most:g}{p.unit and ' ' + p.unit} "
                    f"({p.meaning}). Next: a value near {p.nominal:g}, which is plain simulation"
                )

    def __getitem__(self, name: str) -> float:
        if name not in SPACE:
            raise UnknownName("world parameter", name, SPACE)
        return float(self.values.get(name, SPACE[name].nominal))

    def replace(self, **values: float) -> WorldParams:
        return WorldParams({**self.values, **values})


@dataclass(frozen=True)
class Randomization:
    """How a world is drawn for each episode.

    strength: 0 … 2, the share of each parameter's range around nominal (at 2 the range is doubled, but signs and physical
    minima hold). groups: which parameters move. centre: the point the ranges are around (nominal, or an identified one).
    ranges: {name: (low, high)} replaces the range of a parameter, unscaled: intervals from identification go here.
    """

    strength: Strength = 1.0
    groups: tuple[Group, ...] = GROUPS
    centre: WorldParams = field(default_factory=WorldParams)
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_ranges(self)
        for g in self.groups:
            if g not in GROUPS:
                raise UnknownName("parameter group", g, GROUPS)
        for name in self.ranges:
            if name not in SPACE:
                raise UnknownName("world parameter", name, SPACE)

    def sample(self, rng: np.random.Generator) -> WorldParams:
        """One world, uniform in every range. Draws a number for every parameter, so one seed means one world whatever moves."""
        values = dict(self.centre.values)
        for p in SPACE.values():
            u = rng.uniform()
            if p.name in self.ranges:
                low, high = self.ranges[p.name]
            elif self.strength > 0 and p.group in self.groups:
                low, high = self._range(p)
            else:
                continue
            values[p.name] = low + u * (high - low)
        return WorldParams(values)

    def _range(self, p: Param) -> tuple[float, float]:
        c = self.centre[p.name]
        low, high = c + self.strength * (p.low - p.nominal), c + self.strength * (p.high - p.nominal)
        positive = p.low >= 0
        return max(0.1 * p.low if positive else low, low, p.least), min(high, p.most)


NOMINAL = WorldParams()
NO_RANDOMIZATION = Randomization(strength=0.0)
