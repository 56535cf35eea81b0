"""Stack: put the cube asked for on another cube."""

from __future__ import annotations

import numpy as np

from palmar.sim.rooms import PLAIN
from palmar.sim.scenario import Scene
from palmar.sim.skills import CLOSED, OPEN, grasp, holds
from palmar.sim.task import Go, State, Task
from palmar.types import Array

ASIDE = 0.020  # from the middle of the cube below, at most: less than half its side [m]
HIGH = 0.008  # from the height at which it rests there, at most [m]
CLEAR = 0.05  # the TCP is further from it than this [m]


def goal(s: State) -> Array:
    """On top of the cube below."""
    g = s.scenario.goal
    assert g is not None
    both = s.scenario.items[g].rest_height + s.scenario.items[s.scenario.target].rest_height
    return s.item(g) + [0, 0, both * s.params["object_scale"]]


def success(s: State) -> bool:
    off = s.item(s.scenario.target) - goal(s)
    there = np.linalg.norm(off[:2]) < ASIDE and abs(off[2]) < HIGH
    return bool(there and np.linalg.norm(s.tcp - s.item(s.scenario.target)) > CLEAR and s.opening > 0.5)


def plan(w: State) -> Go:
    i, end = w.scenario.target, goal(w)
    item = w.item(i)
    off = item - end
    aside = float(np.linalg.norm(off[:2]))
    if aside < 0.016 and abs(off[2]) < 0.007 and (not holds(w, i) or aside < 0.006):
        if w.opening < 0.85 and np.linalg.norm(w.tcp - item) < 0.04:
            return Go(w.tcp + [0, 0, 0.004], OPEN, 0.02)
        return Go(np.array([*w.tcp[:2], end[2] + 0.12]), OPEN, 0.03)
    if not holds(w, i):
        return grasp(w, i)
    grip = w.tcp - item
    height = 0.003 + np.clip(5.0 * (aside - 0.005), 0.0, 0.07)
    low = off[2] < height - 0.01 and aside > 0.03  # up first: sideways it would knock the other cube over
    across = item[:2] if low else end[:2]
    return Go(np.array([*across, end[2] + height]) + grip, CLOSED, 0.03 if aside > 0.03 else 0.02)


TASK = Task(
    name="stack",
    robots=("arm7",),
    stream=14,
    scene=Scene(
        room=PLAIN,
        shapes=("cube",),
        beside=("cube", "cylinder", "ball"),
        held_out=(("blue", "cube"),),
        goals=1,
        destinations=("cube",),
    ),
    wordings=(
        "stack the {o} on the {g}",
        "stack the {o} on top of the {g}",
        "pile the {o} on the {g}",
        "pick up the {o} and stack it on the {g}",
        "build a tower of the {o} on the {g}",
        "please stack the {o} on the {g}",
        "could you stack the {o} on top of the {g}?",
        "take the {o} and pile it on the {g}",
        "make a tower: the {o} on the {g}",
        "robot, stack the {o} upon the {g}",
        "grab the {o} and stack it on top of the {g}",
    ),
    unseen=(
        "balance the {o} on the {g}",
        "I want the {o} stacked on the {g}",
        "pile up the {o} on top of the {g}",
    ),
    goal=goal,
    success=success,
    plan=plan,
    verbs=("stack", "stacked", "pile", "tower", "balance", "build", "make"),
    extra=True,
    parts=("reach", "pick", "stack"),
)
