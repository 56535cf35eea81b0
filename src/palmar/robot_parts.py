"""What a robot is made of, as values: channels, frames with their zones, cameras, and the numbers it measures.

A channel is one number a robot is commanded by. A frame is a named point of the robot, such as a tool centre point, with the
kinematic path that leads to it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, get_args

import numpy as np

from palmar.errors import BadValue, UnknownName
from palmar.kinematics import Chain
from palmar.magnitudes import LARGEST, STEEPEST, check_lengths, check_magnitude
from palmar.types import Array
from palmar.units import RATES, UNITS, check_unit, conversion

Kind = Literal["revolute", "continuous", "prismatic", "opening", "velocity"]
KINDS: tuple[Kind, ...] = get_args(Kind)
Source = Literal["description file", "data sheet", "data", "user", "guess"]
SOURCES: tuple[Source, ...] = get_args(Source)
QUANTITIES = ("position", "velocity", "acceleration", "jerk", "effort", "tolerance")
POSE = ("x", "y", "z", "qw", "qx", "qy", "qz")

_DIMENSIONS: dict[str, tuple[str, ...]] = {
    "revolute": ("angle", "fraction"),
    "continuous": ("angle",),
    "prismatic": ("length", "fraction"),
    "opening": ("fraction", "length", "angle"),
    "velocity": ("velocity", "angular velocity"),
}


@dataclass(frozen=True)
class Camera:
    """A colour camera as the policy sees it. fov: vertical field of view [deg]."""

    name: str
    height: int = 96
    width: int = 96
    fov: float = 60.0


@dataclass(frozen=True)
class Channel:
    """One number a robot is commanded by.

    name: as policies and data sets call it. kind: revolute or prismatic joint, continuous (revolute without position
    limits), opening (a gripper, or a switch), velocity (a base or a joint that is commanded by its speed).
    unit: of the command (`units.UNITS`); every limit is in it: position lower … upper, velocity [unit/s], acceleration
    [unit/s²], jerk [unit/s³]. Of a velocity channel lower … upper are the speeds themselves, acceleration and jerk their
    first and second change, and `velocity` the larger of both speeds. Infinite: no such limit. effort: [N·m] or [N], None
    where unknown. home: neutral command.
    tolerance: largest difference of commanded and measured value [unit] before the robot is thought to be blocked; None: any.
    joint: name of the joint in the robot's description file, `name` where empty. span: joint position [rad] or [m] at the
    two ends of the calibrated range, for the units that are a share of it. coupling: channels of one group are slowed
    together so that the group keeps its direction; each alone where empty.
    sources: {quantity: where the limit comes from}; a limit whose source is "guess" is not to be deployed with.
    """

    name: str
    kind: Kind
    unit: str
    lower: float
    upper: float
    velocity: float
    acceleration: float = np.inf
    jerk: float = np.inf
    effort: float | None = None
    home: float = 0.0
    tolerance: float | None = None
    joint: str = ""
    span: tuple[float, float] | None = None
    coupling: str = ""
    sources: Mapping[str, Source] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.name or not isinstance(self.name, str):
            raise BadValue(f"a channel is called {self.name!r}; expected a name. Next: give it one")
        if self.kind not in KINDS:
            raise UnknownName(f"kind of channel '{self.name}'", str(self.kind), KINDS)
        check_unit(self.unit, f"unit of channel '{self.name}'")
        if self.unit and UNITS[self.unit].dimension not in _DIMENSIONS[self.kind]:
            fits = ", ".join(u for u, d in UNITS.items() if d.dimension in _DIMENSIONS[self.kind])
            raise BadValue(
                f"channel '{self.name}' is {self.kind} in '{self.unit}'; expected one of {fits}. "
                "Next: change its kind or its unit"
            )
        numbers = {
            "lower": self.lower, "upper": self.upper, "velocity": self.velocity, "acceleration": self.acceleration,
            "jerk": self.jerk, "home": self.home, "effort": self.effort, "tolerance": self.tolerance,
        }  # fmt: skip
        for what, value in numbers.items():
            if value is None and what in ("effort", "tolerance"):
                continue
            if isinstance(value, bool) or not isinstance(value, int | float | np.floating | np.integer):
                raise BadValue(
                    f"channel '{self.name}': {what} is {value!r}; expected a number. Next: a plain number, such as 1.5"
                )
            if np.isnan(value):
                raise BadValue(f"channel '{self.name}': {what} is not a number. Next: a plain number, such as 1.5")
            if what in ("velocity", "acceleration", "jerk", "effort", "tolerance") and not value > 0:
                raise BadValue(f"channel '{self.name}': {what} is {value:g}; expected > 0. Next: a number above 0")
            above_zero = what in ("velocity", "acceleration", "jerk", "effort", "tolerance")
            largest = {"acceleration": STEEPEST, "jerk": STEEPEST}.get(what, LARGEST)
            check_magnitude(f"channel '{self.name}': {what}", value, largest, above_zero)
        if not np.isfinite(self.velocity):
            raise BadValue(
                f"channel '{self.name}': velocity is {self.velocity}; expected a finite limit. "
                "Next: state its largest speed, from the data sheet"
            )
        if not self.lower < self.upper:
            raise BadValue(
                f"channel '{self.name}': position is {self.lower:g} … {self.upper:g}; expected lower < upper. "
                "Next: exchange the two"
            )
        if self.kind != "continuous" and not (np.isfinite(self.lower) and np.isfinite(self.upper)):
            raise BadValue(
                f"channel '{self.name}': position is {self.lower:g} … {self.upper:g}; expected finite limits (only a "
                "continuous joint has none). "
                "Next: state its lowest and highest value, from the data sheet"
            )
        if self.kind == "velocity" and not self.lower <= 0 <= self.upper:
            raise BadValue(
                f"channel '{self.name}': speeds are {self.lower:g} … {self.upper:g}; expected 0 among them, to stop with. "
                "Next: a range with 0 in it"
            )
        if not self.lower - 1e-9 <= self.home <= self.upper + 1e-9:
            raise BadValue(
                f"channel '{self.name}': home is {self.home:g}; expected {self.lower:g} … {self.upper:g}. "
                "Next: a home within the limits"
            )
        if self.span is not None and not (len(self.span) == 2 and self.span[0] != self.span[1]):
            raise BadValue(
                f"channel '{self.name}': span is {self.span}; expected two different joint positions. "
                "Next: the joint's positions at both ends of its calibrated range"
            )
        for end in self.span or ():
            check_magnitude(f"channel '{self.name}': an end of its span", end)
        for what, source in self.sources.items():
            if what not in QUANTITIES:
                raise UnknownName(f"quantity in the sources of channel '{self.name}'", what, QUANTITIES)
            if source not in SOURCES:
                raise UnknownName(f"source of the {what} limit of channel '{self.name}'", str(source), SOURCES)

    @property
    def described(self) -> str:
        """Name of its joint in the description file."""
        return self.joint or self.name

    @property
    def moves_joint(self) -> bool:
        """Whether its value is the position of a joint (and no opening, no speed)."""
        return self.kind in ("revolute", "continuous", "prismatic")

    @cached_property
    def to_si(self) -> tuple[float, float]:
        """(scale, offset): joint position [rad] or [m], or speed, = scale · command + offset. Raises `BadValue` when the
        unit is a share of a range whose ends are not known."""
        base = {"prismatic": "m", "opening": self.unit, "velocity": self.unit}.get(self.kind, "rad")
        return conversion(self.unit, base, self.span)

    def guessed(self) -> list[str]:
        """Quantities whose limit is a guess."""
        return [q for q, source in self.sources.items() if source == "guess"]


@dataclass(frozen=True)
class Floor:
    """The origins of these joints (the frame's own point: "tcp") stay above `height` of the base frame [m]."""

    height: float
    points: tuple[str, ...]


@dataclass(frozen=True)
class Column:
    """The origins of these joints stay out of an upright cylinder around the base's z axis, or above it. [m]"""

    radius: float
    height: float
    points: tuple[str, ...]


@dataclass(frozen=True)
class Frame:
    """A named point of the robot.

    joints: channels along its path in the kinematic tree, root first; two frames may share some. chain: the kinematics of
    these joints in the robot's base frame. workspace: float64[2, 3] lower and upper corner of the box the point may be in
    [m], None: anywhere. zones: where other points of the path may be. max_step: largest translation [m] and rotation [rad]
    of one `ee_delta` action. rotates: whether `ee_delta` actions turn it too (False for arms of fewer than six joints,
    whose actions are then dx, dy, dz).
    """

    name: str
    joints: tuple[str, ...]
    chain: Chain
    workspace: Array | None = None
    zones: tuple[Floor | Column, ...] = ()
    max_step: tuple[float, float] = (0.04, 0.2)
    rotates: bool = True

    def __post_init__(self) -> None:
        if (n := len(self.chain.quats)) != len(self.joints):
            raise BadValue(
                f"frame '{self.name}' has {len(self.joints)} joints but its chain has {n}. "
                "Next: one joint for each link of the chain"
            )
        if not all(np.isfinite(x) and x > 0 for x in self.max_step) or len(self.max_step) != 2:
            raise BadValue(
                f"frame '{self.name}': max_step is {self.max_step}; expected two numbers > 0. "
                "Next: the largest step of one action [m] and [rad], such as 0.04 and 0.2"
            )
        check_lengths(f"frame '{self.name}': max_step", np.array(self.max_step))
        check_lengths(f"frame '{self.name}': chain", np.append(self.chain.offsets, self.chain.tool_offset))
        if self.workspace is not None:
            check_lengths(f"frame '{self.name}': workspace", self.workspace)
            box = np.asarray(self.workspace)
            if box.shape != (2, 3) or not np.isfinite(box).all() or not (box[0] < box[1]).all():
                raise BadValue(
                    f"frame '{self.name}': workspace is {box.tolist()}; expected float[2, 3], lower < upper. "
                    "Next: exchange the two"
                )
        for zone in self.zones:
            check_lengths(f"a zone of frame '{self.name}'", np.array([zone.height, getattr(zone, "radius", 0.0)]))
            for p in zone.points:
                if p != "tcp" and p not in self.joints:
                    raise UnknownName(f"point of a zone of frame '{self.name}'", p, ("tcp", *self.joints))


@dataclass(frozen=True)
class Measurement:
    """One number of the state. quantity: position, velocity or effort of a channel; pose component of a frame (`of` is the
    frame, `component` its place in `POSE`); other: anything else."""

    name: str
    unit: str
    quantity: Literal["position", "velocity", "effort", "pose", "other"] = "other"
    of: str = ""
    component: int = 0


def state_of(
    channels: Sequence[Channel], frames: Sequence[Frame] = (), velocities: bool = True
) -> tuple[Measurement, ...]:
    """Positions of the channels that move joints, their velocities, then openings, speeds, and the poses of the frames."""
    joints = [c for c in channels if c.moves_joint]
    rest = [c for c in channels if not c.moves_joint]
    state = [Measurement(f"{c.name}.pos", c.unit, "position", c.name) for c in joints]
    if velocities:
        state += [Measurement(f"{c.name}.vel", RATES.get(c.unit, ""), "velocity", c.name) for c in joints]
    state += [Measurement(f"{c.name}.pos", c.unit, "position", c.name) for c in rest if c.kind == "opening"]
    state += [Measurement(f"{c.name}.vel", c.unit, "position", c.name) for c in rest if c.kind == "velocity"]
    for f in frames:
        state += [Measurement(f"{f.name}.{p}", "m" if i < 3 else "1", "pose", f.name, i) for i, p in enumerate(POSE)]
    return tuple(state)
