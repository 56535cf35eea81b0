"""Touch: bring the tip of a small arm to the top of the thing asked for."""

from __future__ import annotations

import numpy as np

from palmar.sim.rooms import TABLE
from palmar.sim.scenario import Scene
from palmar.sim.skills import CLOSED
from palmar.sim.task import Go, State, Task
from palmar.types import Array

ABOVE = 0.015  # of the top of the thing: where the tip ends [m]
NEAR = 0.02  # and this close to that point [m]


def goal(s: State) -> Array:
    i = s.scenario.target
    top = s.scenario.items[i].rest_height * s.params["object_scale"]
    return s.item(i) + [0, 0, top + ABOVE]


def success(s: State) -> bool:
    return bool(np.linalg.norm(s.tcp - goal(s)) < NEAR)


def plan(w: State) -> Go:
    end = goal(w)
    aside = float(np.linalg.norm(w.tcp[:2] - end[:2]))
    return Go(end + [0, 0, np.clip(0.8 * (aside - 0.02), 0.0, 0.05)], CLOSED, 0.025)


TASK = Task(
    name="touch",
    robots=("so101",),
    stream=4,
    scene=Scene(room=TABLE, area=((0.17, 0.29), (-0.13, 0.13)), clutter=0.0),
    wordings=(
        "touch the {o}",
        "reach the {o}",
        "point at the {o}",
        "go to the {o}",
        "move the tip to the {o}",
        "tap on the {o}",
        "please touch the {o}",
        "could you reach the {o}?",
        "put your finger on the {o}",
        "bring the gripper to the top of the {o}",
        "touch the top of the {o}",
        "lower the gripper onto the {o}",
    ),
    unseen=(
        "lay your finger on the {o}",
        "I want you to touch the {o}",
        "approach the {o} until you touch it",
    ),
    goal=goal,
    success=success,
    plan=plan,
)
