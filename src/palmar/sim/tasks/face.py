"""Face: turn on the spot until the landmark asked for is straight ahead."""

from __future__ import annotations

import numpy as np

from palmar.sim.rooms import ARENA
from palmar.sim.scenario import Scene
from palmar.sim.task import Speeds, State, Task
from palmar.sim.tasks.drive import ENTRY, HELD_OUT, bearing
from palmar.sim.things import LANDMARKS
from palmar.types import Array

WITHIN = 0.12  # of straight ahead [rad]
STRAY = 0.45  # from about where robots start, at most [m]


def goal(s: State) -> Array:
    """The landmark itself."""
    return s.item(s.scenario.target)


def success(s: State) -> bool:
    position, _ = s.place("base")
    stayed = np.linalg.norm(position[:2] - ENTRY) < STRAY
    return bool(stayed and abs(bearing(s, s.scenario.target)[1]) < WITHIN)


def plan(w: State) -> Speeds:
    return Speeds({"wz": float(np.clip(2.0 * bearing(w, w.scenario.target)[1], -1.0, 1.0))})


def aside(rng: np.random.Generator, direction: str | None, hand: str | None, x: float, y: float) -> tuple[float, float]:
    """Well to the left or to the right of where robots look at first."""
    angle, away = rng.uniform(0.50, 0.75) * (1.0 if y > 0 else -1.0), rng.uniform(0.9, 1.4)
    return float(ENTRY[0] + away * np.cos(angle)), float(ENTRY[1] + away * np.sin(angle))


TASK = Task(
    name="face",
    robots=("mobile3",),
    stream=9,
    scene=Scene(
        room=ARENA, shapes=LANDMARKS, held_out=HELD_OUT, area=((-0.2, 0.9), (-1.0, 1.0)), clutter=0.0, first=aside
    ),
    wordings=(
        "turn to face the {o}",
        "turn towards the {o}",
        "face the {o}",
        "look at the {o}",
        "please turn to the {o}",
        "rotate until you see the {o} straight ahead",
        "could you face the {o}?",
        "point your front at the {o}",
        "turn on the spot to the {o}",
        "robot, look towards the {o}",
    ),
    unseen=(
        "swing round to the {o}",
        "I want you to face the {o}",
        "direct your camera at the {o}",
    ),
    goal=goal,
    success=success,
    plan=plan,
)
