"""Insert: put the peg asked for into the hole of a block, with 2 mm to spare all around.

Whoever has the place of the gripper wrong by more than the clearance, from joint angles that read too much, misses the hole.
"""

from __future__ import annotations

import numpy as np

from palmar.sim.rooms import PLAIN
from palmar.sim.scenario import Scene
from palmar.sim.skills import CLOSED, OPEN, grasp, holds
from palmar.sim.task import Go, State, Task
from palmar.sim.things import CLEARANCE
from palmar.types import Array

ABOVE = 0.014  # over its centre the peg is held, so that the fingers stay over the block [m]
ASIDE = CLEARANCE + 0.001  # from the axis of the hole, at most [m]
LOW = 0.008  # over where it stands on the ground, at most [m]
NARROW = 0.0035  # from the axis a peg that is on its way down, at most [m]
CLEAR = 0.035  # the TCP is further from it than this [m]


def goal(s: State) -> Array:
    g = s.scenario.goal
    assert g is not None
    return s.item(g) + [0, 0, s.scenario.items[s.scenario.target].rest_height * s.params["object_scale"]]


def inside(s: State) -> bool:
    """The peg stands in the hole."""
    off = s.item(s.scenario.target) - goal(s)
    return bool(np.linalg.norm(off[:2]) < ASIDE and abs(off[2]) < LOW)


def success(s: State) -> bool:
    clear = np.linalg.norm(s.tcp - s.item(s.scenario.target)) > CLEAR and s.opening > 0.5
    return bool(inside(s) and clear)


def plan(w: State) -> Go:
    i, end = w.scenario.target, goal(w)
    item, tip = w.item(i), w.tcp
    held, off = holds(w, i, ABOVE), item - end
    aside = float(np.linalg.norm(off[:2]))
    if inside(w) and (not held or off[2] < 0.004):
        if w.opening < 0.6 and np.linalg.norm(tip - item) < CLEAR:
            return Go(np.array([*tip[:2], max(tip[2], end[2] + ABOVE)]), OPEN, 0.02)
        return Go(np.array([*tip[:2], w.table + 0.17]), OPEN, 0.03)
    if not held:
        return grasp(w, i, ABOVE, within=0.003)
    over = 2 * w.scenario.items[w.scenario.goal or 0].kind.half[2] + 0.010  # the foot of the peg clears the block
    high = off[2] > over - 0.006
    height = 0.0 if aside < 0.001 or (aside < NARROW and not high) else over
    across = end if high or aside < NARROW else item  # up first: not sideways while it is low and beside the hole
    return Go(np.array([*across[:2], end[2] + height]) + (tip - item), CLOSED, 0.02 if high and aside > 0.02 else 0.01)


TASK = Task(
    name="insert",
    robots=("arm7",),
    stream=13,
    scene=Scene(
        room=PLAIN,
        shapes=("peg",),
        beside=("peg", "cube", "cylinder"),
        held_out=(("blue", "peg"),),
        area=((0.39, 0.58), (-0.17, 0.17)),
        turn=0.0,
        goals=2,
        destinations=("socket",),
    ),
    wordings=(
        "insert the {o} into the {g}",
        "put the {o} into the {g}",
        "stick the {o} into the {g}",
        "push the {o} down into the {g}",
        "fit the {o} into the {g}",
        "take the {o} and insert it into the {g}",
        "plug the {o} into the {g}",
        "please insert the {o} into the {g}",
        "could you put the {o} into the {g}?",
        "lower the {o} into the {g}",
        "robot, fit the {o} in the {g}",
    ),
    unseen=(
        "slot the {o} into the {g}",
        "I want the {o} to be in the {g}",
        "place the {o} inside the {g}",
    ),
    goal=goal,
    success=success,
    plan=plan,
    verbs=("insert", "plug", "fit", "slot", "stick", "put", "push", "lower", "place", "want"),
    extra=True,
    parts=("reach", "pick", "insert"),
)
