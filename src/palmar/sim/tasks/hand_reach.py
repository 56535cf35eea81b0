"""Hand reach: hold the gripper of the arm that is named over the thing asked for."""

from __future__ import annotations

import numpy as np

from palmar.sim.rooms import DESK
from palmar.sim.scenario import Scene
from palmar.sim.task import Task
from palmar.sim.tasks.reach import goal, plan, success  # of the gripper that the scenario's hand names


def on_its_side(
    rng: np.random.Generator, direction: str | None, hand: str | None, x: float, y: float
) -> tuple[float, float]:
    """Where the arm of that hand reaches with ease."""
    return x, rng.uniform(-0.02, 0.16) * (1.0 if hand == "left" else -1.0)


SCENE = Scene(
    room=DESK,
    area=((-0.14, 0.14), (-0.16, 0.16)),
    clutter=0.0,
    hands={"left": "left", "right": "right"},
    first=on_its_side,
)
"""A thing on the side of the hand that is named."""

TASK = Task(
    name="hand_reach",
    robots=("bimanual14",),
    stream=6,
    scene=SCENE,
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
