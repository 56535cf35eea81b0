"""Close: push the drawer or the door asked for shut by its handle."""

from __future__ import annotations

from dataclasses import replace

from palmar.sim.task import Go, State, Task
from palmar.sim.tasks.open import SCENE, goal, moved

SHUT = 0.10  # how far open still counts as closed, 0 … 1
PUSH = 0.03  # as far it is pushed


def success(s: State) -> bool:
    return s.ajar(s.scenario.target) < SHUT


def plan(w: State) -> Go:
    return moved(w, -1.0, w.ajar(w.scenario.target) < PUSH or (success(w) and w.opening > 0.5))


TASK = Task(
    name="close",
    robots=("arm7",),
    stream=16,
    scene=replace(SCENE, ajar=1.0),
    wordings=(
        "close the {o}",
        "shut the {o}",
        "please close the {o}",
        "push the {o} shut",
        "push the {o} closed",
        "grasp the handle of the {o} and close it",
        "could you close the {o}?",
        "I would like the {o} to be closed",
        "robot, shut the {o}",
        "take the handle and push the {o} shut",
    ),
    unseen=(
        "get the {o} closed",
        "I want you to shut the {o} fully",
        "make sure that the {o} is closed",
    ),
    goal=goal,
    success=success,
    plan=plan,
    verbs=("close", "closed", "shut"),
    extra=True,
    parts=("reach", "pick", "close"),
)
