"""A robot file's worth of what a lerobot robot says of itself: names, units, ranges and cameras. It is made, and not connected."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from palmar.description import guesses
from palmar.embodiments import Embodiment
from palmar.errors import BadValue
from palmar.robot_parts import Camera, Channel, Measurement, Source
from palmar.robots.so101 import so101
from palmar.runtime.bodies.lerobot_device import Asked, asked, make
from palmar.runtime.bodies.lerobot_numbers import numbers, parts
from palmar.units import BOUNDS

RATE = 30.0
"""Commands and actions a second, as lerobot records [Hz]."""
SLOW = {"m/s": (0.2, 0.5), "rad/s": (1.0, 2.0), "deg/s": (57.0, 115.0)}
"""{unit of a speed: guessed limits of the speed and of its change a second}"""


def robot_of(where: str) -> Embodiment:
    """The robot that `where` names, as a description to read and edit. Of an SO-101 in shares of its range it is the one that comes
    with palmar, with these cameras; of another the velocities are guesses, and no policy moves it before a person has stated them.

    Raises what `make` does, and `BadValue` for a unit that neither lerobot nor `units=` tells.
    """
    wanted = asked(where)
    device = make(wanted, "robots")
    units = numbers(device, device.action_features, wanted)
    if silent := [n for n, unit in units.items() if not unit]:
        raise BadValue(
            f"lerobot does not tell in which unit '{wanted.name}' gives {', '.join(silent)}. Next: state it, units={{{silent[0]}: "
            "m/s}, or one for all, units=deg, among its settings"
        )
    cameras = tuple(
        Camera(name, int(f[0]), int(f[1]))
        for name, f in device.observation_features.items()
        if isinstance(f, tuple) and len(f) == 3 and f[2] == 3
    )
    known = so101()
    if wanted.kind == "so101_follower" and units == {c.name: c.unit for c in known.channels}:
        return replace(known, cameras=cameras)
    ranges = _ranges(device)
    channels = tuple(_channel(name, unit, ranges.get(name)) for name, unit in units.items())
    state = tuple(Measurement(c.name, c.unit, "position", c.name) for c in channels)
    return Embodiment(
        _name(wanted), channels, (), cameras, state, control_rate=RATE, policy_rate=RATE,
        notes="Made of what lerobot says. Limits that are guesses are to be replaced by those of the data sheet.",
    )  # fmt: skip


def _name(wanted: Asked) -> str:
    return f"{wanted.kind}_{wanted.settings['id']}" if "id" in wanted.settings else wanted.kind


def _channel(name: str, unit: str, calibrated: tuple[float, float] | None) -> Channel:
    sources: dict[str, Source] = {"position": "data", "velocity": "guess", "acceleration": "guess"}
    if unit.endswith("/s"):
        speed, change = SLOW[unit]
        sources = dict.fromkeys(("position", "velocity", "acceleration"), "guess")
        return Channel(name, "velocity", unit, -speed, speed, speed, change, sources=sources)
    if calibrated is None and unit not in BOUNDS:
        sources["position"] = "guess"
        calibrated = (-180.0, 180.0) if unit == "deg" else (-3.14, 3.14)
    low, high = BOUNDS.get(unit) or calibrated or (0.0, 1.0)
    opening = unit in BOUNDS and "gripper" in name
    top = guesses.velocity(unit, low, high)
    return Channel(
        name, "opening" if opening else "revolute", unit, low, high, top, guesses.acceleration(top),
        home=(low + high) / 2, joint=name.removesuffix(".pos"), sources=sources,
    )  # fmt: skip


def _ranges(device: Any) -> Mapping[str, tuple[float, float]]:
    """{MOTOR.pos: lowest and highest angle [deg] of its calibration}, where lerobot knows the motor's resolution."""
    found = {}
    for prefix, bus in parts(device):
        resolutions = getattr(bus, "model_resolution_table", {})
        for motor, calibration in (getattr(bus, "calibration", None) or {}).items():
            steps = resolutions.get(getattr(bus.motors.get(motor), "model", ""))
            if steps:
                half = (calibration.range_max - calibration.range_min) / 2 * 360 / (steps - 1)
                found[f"{prefix}{motor}.pos"] = (-half, half)
    return found
