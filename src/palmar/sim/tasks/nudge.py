"""Nudge: push the thing asked for to the left or to the right with a small arm, over a painted line."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from palmar.sim.rooms import TABLE
from palmar.sim.scenario import Scene
from palmar.sim.skills import CLOSED
from palmar.sim.task import Go, State, Task
from palmar.sim.things import Item
from palmar.types import Array

LINE = 0.10  # |y| of the line to cross [m]
DIRECTIONS: dict[str, tuple[float, float]] = {"left": (0.0, 1.0), "right": (0.0, -1.0)}
ROOM = replace(TABLE, lines=(((0.24, LINE), (0.12, 0.003)), ((0.24, -LINE), (0.12, 0.003))))
SAFE_HEIGHT = 0.07  # the tip crosses over things this far up [m]


def side(s: State) -> float:
    """+1 left, -1 right."""
    return DIRECTIONS[s.scenario.direction or "left"][1]


def goal(s: State) -> Array:
    target = s.item(s.scenario.target)
    return np.array([target[0], (LINE + 0.02) * side(s), target[2]])


def success(s: State) -> bool:
    target = s.item(s.scenario.target)
    rest = s.scenario.items[s.scenario.target].rest_height
    return bool(target[1] * side(s) > LINE and 0 < target[2] - s.table < rest + 0.02)


def plan(w: State) -> Go:
    i, d = w.scenario.target, side(w)
    item, tip = w.item(i), w.tcp
    low = w.table + 0.024
    if success(w):  # done: back off and up
        return Go(np.array([tip[0], tip[1] - 0.02 * d, w.table + 0.09]), CLOSED, 0.025)
    pad = 0.012 + w.scenario.items[i].width / 2 * w.params["object_scale"]
    behind, aside = float((item[1] - tip[1]) * d), float(tip[0] - item[0])
    if behind > pad - 0.014 and abs(aside) < 0.014 and tip[2] < low + 0.02:
        return Go(np.array([tip[0] - 1.4 * aside, tip[1] + 0.05 * d, low]), CLOSED, 0.02)
    start = np.array([item[0], item[1] - (pad + 0.028) * d])
    away = float(np.linalg.norm(tip[:2] - start))
    clear = behind > pad + 0.006
    height = low + np.clip((2.0 if clear else 8.0) * (away - 0.010), 0.0, SAFE_HEIGHT)
    return Go(np.array([*start, height]), CLOSED, 0.03)


def before_the_line(
    rng: np.random.Generator, direction: str | None, hand: str | None, x: float, y: float
) -> tuple[float, float]:
    return x, rng.uniform(-0.06, 0.06)


def lane_free(pushed: Item, other: Item, direction: str | None) -> bool:
    """Nothing stands where the thing goes, or where the gripper comes down behind it."""
    along = (other.y - pushed.y) * DIRECTIONS[direction or "left"][1]
    return not (along > -0.11 and abs(other.x - pushed.x) < 0.07)


TASK = Task(
    name="nudge",
    robots=("so101",),
    stream=5,
    scene=Scene(
        room=ROOM,
        area=((0.18, 0.28), (-0.13, 0.13)),
        clutter=0.0,
        directions=DIRECTIONS,
        first=before_the_line,
        free=lane_free,
    ),
    wordings=(
        "push the {o} {d}",
        "push the {o} to the {d}",
        "nudge the {o} {d}",
        "slide the {o} to the {d}",
        "shove the {o} {d}",
        "please push the {o} to the {d}",
        "move the {o} {d} by pushing",
        "sweep the {o} {d} over the line",
        "could you slide the {o} {d}?",
        "push the {o} {d} as far as the line",
    ),
    unseen=(
        "give the {o} a push to the {d}",
        "shift the {o} {d} along the table",
        "I want the {o} pushed to the {d}",
    ),
    goal=goal,
    success=success,
    plan=plan,
)
