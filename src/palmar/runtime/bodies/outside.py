"""Were commands within a robot's limits? Judged from the commands alone, without the safety layer that made them."""

from __future__ import annotations

import numpy as np

from palmar.embodiments import Embodiment
from palmar.types import Array

ROUNDING = 1e-9  # of a limit, and of a range


def outside(robot: Embodiment, start: Array, commands: Array) -> dict[str, int]:
    """{quantity: how many of the commands break that limit of any channel}: position, velocity, acceleration, jerk.

    start: float64[N] where the robot rested before. commands: float64[K, N], one a control tick. A robot that starts
    outside its range may be there, but not further out. Of a velocity channel the position is its speed, and its change
    counts as acceleration, as in `Channel`. What is no number breaks every limit.
    """
    dt = 1.0 / robot.control_rate
    speeds = robot.speeds
    lower, upper = np.minimum(robot.lower, start), np.maximum(robot.upper, start)
    room = ROUNDING * np.maximum(np.where(np.isfinite(upper - lower), upper - lower, 1.0), 1.0)
    path = np.vstack([start, start, start, commands])
    first = np.diff(path, axis=0) / dt
    second = np.diff(first, axis=0) / dt
    third = np.diff(second, axis=0) / dt
    bounds = {q: robot.array(q) for q in ("velocity", "acceleration", "jerk")}
    rows = {
        "velocity": (first[2:], np.where(speeds, np.inf, bounds["velocity"])),
        "acceleration": (
            np.where(speeds, first[2:], second[1:]), bounds["acceleration"],
        ),
        "jerk": (np.where(speeds, second[1:], third), bounds["jerk"]),
    }  # fmt: skip
    found = {"position": int((~((commands >= lower - room) & (commands <= upper + room))).any(1).sum())}
    for quantity, (values, bound) in rows.items():
        found[quantity] = int((~(np.abs(values) <= bound * (1 + 1e-6))).any(1).sum())
    return found
