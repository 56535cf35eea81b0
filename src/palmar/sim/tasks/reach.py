"""Reach: hold the gripper over the thing asked for."""

from __future__ import annotations

import numpy as np

from palmar.sim.scenario import Scene
from palmar.sim.skills import OPEN
from palmar.sim.task import Go, State, Task
from palmar.types import Array

HOVER = 0.05  # the TCP this far over the object's centre [m]
NEAR = 0.025  # and this close to that point [m]


def goal(s: State) -> Array:
    return s.item(s.scenario.target) + [0, 0, HOVER]


def success(s: State) -> bool:
    return bool(np.linalg.norm(s.tcp - goal(s)) < NEAR)


def plan(w: State) -> Go:
    return Go(goal(w), OPEN, 0.035)


TASK = Task(
    name="reach",
    robots=("arm7",),
    stream=0,
    scene=Scene(),
    wordings=(
        "reach the {o}",
        "reach for the {o}",
        "move the gripper to the {o}",
        "go to the {o}",
        "hover over the {o}",
        "move above the {o}",
        "move to the {o}",
        "put your hand over the {o}",
        "go above the {o}",
        "please reach for the {o}",
        "move your gripper over the {o}",
        "point at the {o}",
        "stretch out to the {o}",
        "could you reach the {o}?",
        "I would like you to go to the {o}",
        "come close to the {o}",
        "place your hand right above the {o}",
        "robot, hover above the {o} please",
        "travel to the {o} and stop above it",
        "keep the gripper over the {o}",
        "swing the arm over to the {o}",
        "wait above the {o}",
    ),
    unseen=(
        "approach the {o}",
        "bring the hand above the {o}",
        "position the gripper over the {o}",
        "head over to the {o}",
    ),
    goal=goal,
    success=success,
    plan=plan,
    verbs=(
        "reach",
        "hover",
        "stretch",
        "travel",
        "close",
        "wait",
        "keep",
        "swing",
        "go",
        "move",
        "approach",
        "point",
        "head",
        "position",
        "bring",
        "above",
        "over",
    ),
    parts=("reach",),
)
