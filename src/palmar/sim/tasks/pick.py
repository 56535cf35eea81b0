"""Pick: lift the thing asked for."""

from __future__ import annotations

import numpy as np

from palmar.sim.scenario import Scene
from palmar.sim.skills import CLOSED, grasp, holds
from palmar.sim.task import Go, State, Task
from palmar.types import Array

HEIGHT = 0.16  # where it should end, over the table [m]
LIFTED = 0.08  # counts from here on, over where it rests [m]


def goal(s: State) -> Array:
    target = s.item(s.scenario.target)
    return np.array([target[0], target[1], s.table + HEIGHT])


def success(s: State) -> bool:
    return is_lifted(s, s.scenario.target)


def is_lifted(s: State, i: int) -> bool:
    return bool(s.item(i)[2] - s.table > s.scenario.items[i].rest_height + LIFTED)


def plan(w: State) -> Go:
    i = w.scenario.target
    if holds(w, i):
        return Go(np.array([*w.tcp[:2], w.table + 0.17]), CLOSED, 0.03)
    return grasp(w, i)


TASK = Task(
    name="pick",
    robots=("arm7",),
    stream=1,
    scene=Scene(),
    wordings=(
        "pick up the {o}",
        "pick the {o} up",
        "lift the {o}",
        "lift up the {o}",
        "grasp the {o}",
        "grab the {o}",
        "take the {o}",
        "raise the {o} off the table",
        "grasp the {o} and lift it",
        "please pick up the {o}",
        "can you lift the {o}?",
        "get the {o}",
        "hold up the {o}",
        "could you pick up that {o}, please",
        "I would like you to lift the {o} now",
        "fetch the {o}",
        "collect the {o}",
        "take hold of the {o} and raise it high",
        "clutch the {o} and lift it up",
        "pull the {o} up from the table",
        "carry the {o} upwards",
        "robot, pick the {o} up for us",
        "close your fingers on the {o} and lift",
        "catch the {o} and keep it up in your hand",
        "elevate the {o}",
        "snatch the {o} from the table",
    ),
    unseen=(
        "hoist the {o} into the air",
        "I need you to grip the {o} and bring it up",
        "would you pick that {o} up for me",
        "seize the {o} and raise it",
    ),
    goal=goal,
    success=success,
    plan=plan,
    verbs=(
        "pick",
        "lift",
        "grasp",
        "grab",
        "take",
        "raise",
        "get",
        "hold",
        "hoist",
        "grip",
        "seize",
        "fetch",
        "collect",
        "clutch",
        "pull",
        "carry",
        "fingers",
        "catch",
        "elevate",
        "snatch",
    ),
    parts=("reach", "pick"),
)
