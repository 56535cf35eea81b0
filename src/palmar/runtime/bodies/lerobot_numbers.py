"""The numbers of a lerobot device and the channels of a robot: names and units are compared, and joined by name, converted, or
refused.

lerobot tells a unit by the norm mode of a motor: degrees from the middle of its calibrated range, or a share of that range. What it
does not tell, a person states (`units=…`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from palmar.embodiments import Embodiment
from palmar.errors import BadValue, RobotFault, UnknownName
from palmar.robot_parts import Channel
from palmar.runtime.bodies.lerobot_device import UNITS_SETTING, Asked
from palmar.types import Array
from palmar.units import UNITS, conversion

NORM_MODES = {"degrees": "deg", "range_m100_100": "range_m100_100", "range_0_100": "range_0_100"}
"""{norm mode of a motor of lerobot: unit}"""
SIDES = ("left", "right")
"""Of a pair of arms: their numbers are called left_MOTOR.pos and right_MOTOR.pos."""


def numbers(device: Any, features: Mapping[str, Any], asked: Asked) -> dict[str, str]:
    """{name: unit} of the features that are one number each. The unit is that of the motor's norm mode, or as `units=` states; ""
    where nobody tells.

    Raises `BadValue` for a unit that is stated otherwise than lerobot tells, `UnknownName` for one of a number that is not there.
    """
    told, there = _norm_modes(device), {**features, **getattr(device, "observation_features", {})}
    for name in asked.units:
        if name != "*" and name not in there:
            raise UnknownName(f"name in {UNITS_SETTING} of '{asked.name}'", name, list(there))
    found = {}
    for name in (n for n, kind in features.items() if isinstance(kind, type) and issubclass(kind, float | int)):
        unit, stated = told.get(name, ""), asked.units.get(name, "")
        if unit and stated and unit != stated:
            raise BadValue(
                f"'{asked.name}' states {stated} for '{name}'; lerobot gives it in {unit}. Next: leave {UNITS_SETTING} out"
            )
        found[name] = unit or stated or asked.units.get("*", "")
    return found


def parts(device: Any) -> list[tuple[str, Any]]:
    """[(what the names of its motors begin with, bus)] of a device, and of its left and right arm."""
    arms = [("", device), *((f"{side}_", getattr(device, f"{side}_arm", None)) for side in SIDES)]
    return [(prefix, arm.bus) for prefix, arm in arms if getattr(getattr(arm, "bus", None), "motors", None)]


def _norm_modes(device: Any) -> dict[str, str]:
    """{MOTOR.pos: unit} of the motors of a device."""
    found = {}
    for prefix, bus in parts(device):
        for motor, about in bus.motors.items():
            mode = getattr(about, "norm_mode", None)
            if unit := NORM_MODES.get(str(getattr(mode, "value", mode))):
                found[f"{prefix}{motor}.pos"] = unit
    return found


@dataclass(frozen=True)
class Joined:
    """The device's name of every channel, in the robot's order, and the channel's value = scale · the device's + offset."""

    names: tuple[str, ...]
    scale: Array
    offset: Array

    def values(self, given: Mapping[str, Any], who: str) -> Array:
        """float64[N] in the channels' units. Raises `RobotFault` for a number that is missing or none."""
        try:
            read = np.array([float(given[n]) for n in self.names])
        except KeyError as error:
            raise RobotFault(f"{who} gives no {error}. Next: look at this motor") from error
        if not np.isfinite(read).all():
            bad = self.names[int(np.argmin(np.isfinite(read)))]
            raise RobotFault(f"{who} gives {given[bad]} for '{bad}'; expected a number. Next: look at this motor")
        return read * self.scale + self.offset

    def given(self, values: Array) -> dict[str, float]:
        """The inverse: what the device is told."""
        return {n: float(v) for n, v in zip(self.names, (values - self.offset) / self.scale, strict=True)}


def joined(where: str, units: Mapping[str, str], robot: Embodiment, names: Mapping[str, str] | None = None) -> Joined:
    """Join the numbers {name: unit} of a device called `where` to the channels of a robot, one to one: by name, by the joint's
    name (`Channel.joint`), both with or without .pos or .vel, or as `names` {device's: robot's} says.

    Raises `BadValue` for a name that only one of them has, and for two units that do not convert.
    """
    given = dict(names or {})
    for theirs, ours in given.items():
        if theirs not in units:
            raise UnknownName(f"number of '{where}'", theirs, list(units))
        robot.index(ours)
    taken = {c.name: _named(c, units, given) for c in robot.channels}
    lacking = [c for c, n in taken.items() if not n]
    spare = [n for n in units if n not in taken.values()]
    if lacking or spare:
        raise BadValue(
            f"'{where}' has {', '.join(units) or 'no numbers'}; {robot.name} has {', '.join(robot.channel_names)}. Not in both: "
            f'{", ".join((*spare, *lacking))}. Next: the same names in the robot file, or joint = "…" with the other name'
        )
    pairs = np.array([converted(where, taken[c.name], units[taken[c.name]], c) for c in robot.channels])
    return Joined(tuple(taken[c.name] for c in robot.channels), pairs[:, 0], pairs[:, 1])


def _named(channel: Channel, units: Mapping[str, str], given: Mapping[str, str]) -> str:
    """What a device calls a channel, "" for nothing."""
    if said := next((theirs for theirs, ours in given.items() if ours == channel.name), ""):
        return said
    free = [n for n in units if n not in given]
    if channel.name in free:
        return channel.name
    alike = [n for n in free if _stem(n) in (_stem(channel.name), channel.joint)]
    return alike[0] if len(alike) == 1 else ""


def _stem(name: str) -> str:
    return name.removesuffix(".pos").removesuffix(".vel")


def converted(where: str, name: str, unit: str, channel: Channel, target: str = "") -> tuple[float, float]:
    """(scale, offset) from a device's unit to the channel's, or to `target`. Raises `BadValue`: an angle is no share of a range
    that only the calibration knows."""
    if not unit:
        raise BadValue(
            f"lerobot does not tell in which unit '{where}' gives '{name}'. Next: state it, units={{{name}: m/s}}, or one for "
            "all, units=deg, among its settings"
        )
    if not (target := target or channel.unit):
        raise BadValue(
            f"'{where}' gives '{name}' in {unit}; the robot file states no unit for '{channel.name}'. Next: unit = '{unit}'"
        )
    if unit == target:
        return 1.0, 0.0
    if UNITS[target].dimension == "fraction" != UNITS[unit].dimension:
        raise BadValue(
            f"'{where}' gives '{name}' in {unit}; '{channel.name}' is in {target}, a share of the calibrated range. Next: the "
            f"setting use_degrees=false where lerobot has it, or unit = '{unit}' and limits in {unit} in the robot file"
        )
    try:
        return conversion(unit, target, channel.span)
    except BadValue as error:
        raise BadValue(f"'{where}' gives '{name}' in {unit}: {error}") from error
