"""Hand reach: hold the gripper of the arm that is named over the thing asked for."""

from __future__ import annotations

import numpy as np

from palmar.sim.rooms import DESK
from palmar.sim.scenario import Scene
from palmar.sim.skills import OPEN
from palmar.sim.task import Go, State, Task
from palmar.types import Array

HOVER = 0.05  # the gripper's point this far over the thing's centre [m]
NEAR = 0.025  # and this close to that point [m]


def goal(s: State) -> Array:
    return s.item(s.scenario.target) + [0, 0, HOVER]


def success(s: State) -> bool:
    return bool(np.linalg.norm(s.tcp - goal(s)) < NEAR)


def plan(w: State) -> Go:
    return Go(goal(w), OPEN, 0.035)


def on_its_side(
    rng: np.random.Generator, direction: str | None, hand: str | None, x: float, y: float
) -> tuple[float, float]:
    """Where the arm of that hand reaches with ease."""
    return x, rng.uniform(-0.02, 0.16) * (1.0 if hand == "left" else -1.0)


TASK = Task(
    name="hand_reach",
    robots=("bimanual14",),
    stream=6,
    scene=Scene(
        room=DESK,
        area=((-0.14, 0.14), (-0.16, 0.16)),
        clutter=0.0,
        hands={"left": "left", "right": "right"},
        first=on_its_side,
    ),
    wordings=(
        "reach the {o} with the {h} hand",
        "reach for the {o} with your {h} arm",
        "move the {h} gripper to the {o}",
        "with the {h} hand, go to the {o}",
        "hover over the {o} with the {h} arm",
        "{h} hand: reach the {o}",
        "use the {h} arm to reach the {o}",
        "please hold the {h} hand over the {o}",
        "could you go above the {o} with the {h} hand?",
        "bring your {h} gripper over the {o}",
    ),
    unseen=(
        "approach the {o} with the {h} hand",
        "I want your {h} arm above the {o}",
        "let the {h} gripper hang over the {o}",
    ),
    goal=goal,
    success=success,
    plan=plan,
)
