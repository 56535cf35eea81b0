"""Hand lift: pick up the thing asked for with the arm that is named."""

from __future__ import annotations

import numpy as np

from palmar.sim.skills import CLOSED, grasp, holds
from palmar.sim.task import Go, State, Task
from palmar.sim.tasks.hand_reach import SCENE
from palmar.types import Array

HEIGHT = 0.15  # where it should end, over the table [m]
LIFTED = 0.07  # counts from here on, over where it rests [m]
HELD = 0.05  # from the gripper's point at most: the hand that is named has it [m]


def goal(s: State) -> Array:
    target = s.item(s.scenario.target)
    return np.array([target[0], target[1], s.table + HEIGHT])


def success(s: State) -> bool:
    i = s.scenario.target
    high = s.item(i)[2] - s.table > s.scenario.items[i].rest_height + LIFTED
    return bool(high and np.linalg.norm(s.item(i) - s.tcp) < HELD)


def plan(w: State) -> Go:
    i = w.scenario.target
    if holds(w, i):
        return Go(np.array([*w.tcp[:2], w.table + 0.16]), CLOSED, 0.03)
    return grasp(w, i)


TASK = Task(
    name="hand_lift",
    robots=("bimanual14",),
    stream=7,
    scene=SCENE,
    wordings=(
        "lift the {o} with the {h} hand",
        "pick up the {o} with your {h} arm",
        "take the {o} with the {h} gripper",
        "with the {h} hand, raise the {o}",
        "grab the {o} with the {h} arm and lift it",
        "{h} hand: pick up the {o}",
        "use the {h} arm to lift the {o}",
        "please pick up the {o} with the {h} hand",
        "could you lift the {o} with the {h} gripper?",
        "hold up the {o} in your {h} hand",
    ),
    unseen=(
        "hoist the {o} with the {h} hand",
        "I need the {o} lifted by your {h} arm",
        "seize the {o} with the {h} gripper and raise it",
    ),
    goal=goal,
    success=success,
    plan=plan,
)
