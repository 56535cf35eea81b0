"""Place: put the thing asked for on a plate or in a tray."""

from __future__ import annotations

import numpy as np

from palmar.sim.scenario import Scene
from palmar.sim.skills import CLOSED, OPEN, grasp, holds
from palmar.sim.task import Go, State, Task
from palmar.types import Array

ASIDE = 0.055  # from the middle of the destination, at most [m]
LOW = 0.012  # over where it rests there, at most [m]
CARRY = 0.02  # an action, with the thing in the gripper [m]: one that is weak drops it when it goes faster
CLEAR = 0.05  # the TCP is further from it than this [m]


def goal(s: State) -> Array:
    g = s.scenario.goal
    assert g is not None
    return s.item(g) + [0, 0, s.scenario.items[g].rest_height]


def success(s: State) -> bool:
    i, g = s.scenario.target, s.scenario.goal
    assert g is not None
    clear = np.linalg.norm(s.tcp - s.item(i)) > CLEAR and s.opening > 0.5
    return bool(clear and lies_on(s, i, g))


def lies_on(s: State, i: int, g: int) -> bool:
    """Whether a thing lies on or in a destination, whoever put it there."""
    offset = s.item(i) - s.item(g)
    low = offset[2] < s.scenario.items[i].rest_height + s.scenario.items[g].rest_height + LOW
    return bool(np.linalg.norm(offset[:2]) < ASIDE and low)


def plan(w: State) -> Go:
    i, g = w.scenario.target, w.scenario.goal
    assert g is not None
    item, spot = w.item(i), w.item(g)
    thing, base = w.scenario.items[i], w.scenario.items[g]
    over = item - spot
    rest = thing.rest_height * w.params["object_scale"] + base.rest_height
    delivered = np.linalg.norm(over[:2]) < 0.045 and over[2] < rest + 0.018
    if delivered and (not holds(w, i) or np.linalg.norm(over[:2]) < 0.02):
        if w.opening < 0.85 and np.linalg.norm(w.tcp - item) < 0.06:
            return Go(w.tcp + [0, 0, 0.012], OPEN, 0.02)  # a little up: pads that press on the plate open slowly
        return Go(np.array([*w.tcp[:2], w.table + 0.17]), OPEN, 0.03)
    if not holds(w, i):
        return grasp(w, i)
    grip = w.tcp - item  # carry the object, not the hand, to the spot
    aside = float(np.linalg.norm(over[:2]))
    height = rest + 0.008 + np.clip(3.0 * (aside - 0.012), 0.0, 0.09)
    return Go(spot + [0, 0, height] + grip, CLOSED, CARRY)


TASK = Task(
    name="place",
    robots=("arm7",),
    stream=2,
    scene=Scene(goals=2),
    wordings=(
        "put the {o} {on} the {g}",
        "place the {o} {on} the {g}",
        "set the {o} down {on} the {g}",
        "pick up the {o} and put it {on} the {g}",
        "move the {o} {on}to the {g}",
        "drop the {o} {on} the {g}",
        "lay the {o} {on} the {g}",
        "take the {o} and place it {on} the {g}",
        "please put the {o} {on} the {g}",
        "grab the {o} and drop it {on} the {g}",
        "can you place the {o} {on} the {g}?",
        "could you set that {o} {on} the {g}, please",
        "I would like the {o} to be {on} the {g}",
        "the {o} belongs {on} the {g}",
        "carry the {o} to the {g}",
        "lift the {o} and lower it {on}to the {g}",
        "stow the {o} {on} the {g}",
        "robot, get the {o} and set it down {on} the {g}",
    ),
    unseen=(
        "deposit the {o} {on} the {g}",
        "transfer the {o} to the {g}",
        "the {o} should go {on} the {g}",
        "bring the {o} over and leave it {on} the {g}",
    ),
    goal=goal,
    success=success,
    plan=plan,
    verbs=(
        "put",
        "place",
        "set",
        "drop",
        "lay",
        "deposit",
        "transfer",
        "leave",
        "belongs",
        "should",
        "like",
        "stow",
        "lower",
        "carry",
        "move",
        "bring",
    ),
    parts=("reach", "pick", "place"),
)
