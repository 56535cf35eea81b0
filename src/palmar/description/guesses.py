"""Limits that nobody stated: how they are guessed, and that a robot with a guessed limit is not deployed."""

from __future__ import annotations

from palmar.embodiments import Embodiment
from palmar.errors import BadValue

VELOCITY = {"rad": 1.0, "m": 0.1, "deg": 57.0, "mm": 100.0}
"""Guessed velocity limit by unit [unit/s]; for other units the whole range in one second."""
RISE = 0.25  # a joint is thought to reach its top velocity in this time [s]
SMOOTH = 0.1  # … and its top acceleration in this [s]


def velocity(unit: str, lower: float, upper: float) -> float:
    """A guessed velocity limit [unit/s]: slow for an arm."""
    return VELOCITY.get(unit, upper - lower)


def acceleration(top_velocity: float) -> float:
    """A guessed acceleration limit [unit/s²]: the top velocity is reached in 0.25 s."""
    return top_velocity / RISE


def jerk(top_acceleration: float) -> float:
    """A guessed jerk limit [unit/s³]: the top acceleration is reached in 0.1 s."""
    return top_acceleration / SMOOTH


def check_deployable(robot: Embodiment) -> None:
    """Raise `BadValue` when a limit of the robot is a guess: no policy moves it before a person has stated that limit."""
    found = {c.name: c.guessed() for c in robot.channels if c.guessed()}
    if not found:
        return
    few = [f"{name} ({', '.join(q)})" for name, q in list(found.items())[:8]]
    more = f" and {len(found) - 8} more" if len(found) > 8 else ""
    raise BadValue(
        f"{robot.name}: limits of {len(found)} channels are guesses: {', '.join(few)}{more}; expected limits from the "
        'description file, a data sheet, data or the user. Next: state each in the robot file, with source = "user" or '
        '"data sheet" in place of "guess" (palmar robot show FILE lists them)'
    )
