"""Drive: go to the landmark asked for and stop before it."""

from __future__ import annotations

import numpy as np

from palmar.sim.rooms import ARENA
from palmar.sim.scenario import Scene
from palmar.sim.task import Speeds, State, Task
from palmar.sim.things import LANDMARKS, Item
from palmar.types import Array

STOP = 0.40  # from the middle of the landmark to that of the base [m]
NEAR = 0.06  # and so much more at most [m]
HELD_OUT = (("red", "globe"), ("green", "crate"), ("blue", "pillar"))
ENTRY = np.array([-1.0, 0.0])  # about where robots start [m]


def bearing(s: State, i: int) -> tuple[float, float]:
    """Distance to a thing [m] and its direction in the base's own frame, 0 ahead and positive to the left [rad]."""
    position, rotation = s.place("base")
    x, y, _ = rotation.T @ (s.item(i) - position)
    return float(np.hypot(x, y)), float(np.arctan2(y, x))


def goal(s: State) -> Array:
    """The place before the landmark, on the way to it."""
    position, _ = s.place("base")
    target = s.item(s.scenario.target)
    way = target[:2] - position[:2]
    return np.array([*(target[:2] - STOP * way / max(float(np.linalg.norm(way)), 1e-6)), 0.0])


def success(s: State) -> bool:
    return bearing(s, s.scenario.target)[0] < STOP + NEAR


def plan(w: State) -> Speeds:
    """Turn towards it; the straighter ahead it lies, the faster forward."""
    distance, angle = bearing(w, w.scenario.target)
    ahead = max(0.0, np.cos(angle)) ** 4
    forward = float(np.clip(1.5 * (distance - STOP + 0.02), 0.0, 0.45)) * ahead
    return Speeds({"vx": forward, "wz": float(np.clip(2.0 * angle, -1.0, 1.0))})


def way_free(target: Item, other: Item, direction: str | None) -> bool:
    """Nothing stands between the entry and the landmark."""
    way = np.array([target.x, target.y]) - ENTRY
    length = float(np.linalg.norm(way))
    rel = np.array([other.x, other.y]) - ENTRY
    along, aside = float(rel @ way) / length, abs(float(rel[0] * way[1] - rel[1] * way[0])) / length
    return not (along < length + 0.2 and aside < 0.45)


TASK = Task(
    name="drive",
    robots=("mobile3",),
    stream=8,
    scene=Scene(
        room=ARENA, shapes=LANDMARKS, held_out=HELD_OUT, area=((-0.1, 1.1), (-1.0, 1.0)), clutter=0.0, free=way_free
    ),
    wordings=(
        "drive to the {o}",
        "go to the {o}",
        "move to the {o}",
        "please drive to the {o}",
        "roll over to the {o}",
        "take me to the {o}",
        "could you go to the {o}?",
        "travel to the {o} and stop there",
        "park before the {o}",
        "come to the {o}",
        "robot, drive up to the {o}",
        "head for the {o}",
    ),
    unseen=(
        "make your way to the {o}",
        "I want you to drive to the {o}",
        "approach the {o} and stop",
    ),
    goal=goal,
    success=success,
    plan=plan,
)
