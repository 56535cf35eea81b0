"""Open: pull the drawer or the door asked for open by its handle, against a friction that nobody tells."""

from __future__ import annotations

import numpy as np

from palmar.sim.rooms import PLAIN
from palmar.sim.scenario import Scene
from palmar.sim.skills import CLOSED, OPEN, take
from palmar.sim.task import Go, State, Task
from palmar.sim.things import POST
from palmar.types import Array

AJAR = 0.80  # how far open counts, 0 … 1
PULL = 0.94  # as far it is pulled
HELD = 0.02  # the handle is this near to the TCP when it is held, at most [m]


def goal(s: State) -> Array:
    """Where the handle is: how far that still has to go, `ajar` tells."""
    return s.handle(s.scenario.target)[0]


def success(s: State) -> bool:
    return s.ajar(s.scenario.target) > AJAR


def moved(w: State, sign: float, done: bool) -> Go:
    """Take the handle and lead it on: sign 1 towards open, -1 towards closed. done: let go and rise."""
    handle, way = w.handle(w.scenario.target)
    width = 2 * POST[0] / w.grip_width
    held = np.linalg.norm(handle - w.tcp) < HELD and 0.4 * width < w.opening < width + 0.18
    if done:
        if w.opening < 0.5 and np.linalg.norm(handle[:2] - w.tcp[:2]) < 0.03 and w.tcp[2] < handle[2] + 0.02:
            return Go(np.array([*w.tcp[:2], handle[2]]), OPEN, 0.01)
        return Go(np.array([*w.tcp[:2], w.table + 0.18]), OPEN, 0.03)
    if held:
        return Go(np.array([*(handle + 0.05 * sign * way)[:2], handle[2]]), CLOSED, 0.018)
    return take(w, handle, width)


def plan(w: State) -> Go:
    return moved(w, 1.0, w.ajar(w.scenario.target) > PULL or (success(w) and w.opening > 0.5))


SHAPES = ("drawer", "door")
HELD_OUT = (("blue", "drawer"), ("red", "door"))


def in_the_middle(
    rng: np.random.Generator, direction: str | None, hand: str | None, x: float, y: float
) -> tuple[float, float]:
    """Where the arm reaches the handle, open or closed."""
    return rng.uniform(0.52, 0.58), rng.uniform(-0.10, 0.10)


SCENE = Scene(
    room=PLAIN,
    shapes=SHAPES,
    beside=("cube", "cylinder", "ball"),
    held_out=HELD_OUT,
    area=((0.36, 0.66), (-0.30, 0.30)),
    turn=0.2,
    clutter=0.0,
    first=in_the_middle,
    free=lambda asked, other, direction: bool(other.x > asked.x - 0.05 and abs(other.y - asked.y) > 0.12),
)

TASK = Task(
    name="open",
    robots=("arm7",),
    stream=15,
    scene=SCENE,
    wordings=(
        "open the {o}",
        "pull the {o} open",
        "please open the {o}",
        "open up the {o}",
        "pull open the {o}",
        "grasp the handle of the {o} and open it",
        "could you open the {o}?",
        "take the handle and pull the {o} open",
        "I would like the {o} to be open",
        "robot, open the {o}",
    ),
    unseen=(
        "get the {o} open",
        "I want you to open the {o} wide",
        "draw the {o} open by its handle",
    ),
    goal=goal,
    success=success,
    plan=plan,
    verbs=("open", "draw"),
    extra=True,
    parts=("reach", "pick", "open"),
)
