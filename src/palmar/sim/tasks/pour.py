"""Pour: empty the cup asked for into a bowl or a tray; balls that fall beside it are spilled."""

from __future__ import annotations

import numpy as np

from palmar.kinematics import rotvec_to_matrix
from palmar.sim.rooms import PLAIN
from palmar.sim.scenario import Scene
from palmar.sim.skills import CLOSED, grasp
from palmar.sim.task import Go, State, Task
from palmar.sim.things import BALLS, Item
from palmar.types import Array

SPILLS = 1  # balls that may fall beside it
ABOVE = 0.018  # over its centre the cup is held [m]
UPRIGHT = np.diag([1.0, -1.0, -1.0])  # the hand pointing down
TILTED = (
    rotvec_to_matrix(np.array([0.0, 2.15, 0.0])) @ UPRIGHT
)  # and back towards the robot: the rim points away from it
LIP = 0.045  # the rim of the tilted cup is this far beyond the TCP [m]
HIGH = 0.16  # of the TCP over the ground while it pours [m]


def caught(s: State) -> int:
    """Balls that lie in the bowl or tray."""
    g = s.scenario.goal
    assert g is not None
    kind = s.scenario.items[g].kind
    off = s.contents(s.scenario.target) - s.item(g)
    return int(np.sum(np.all(np.abs(off[:, :2]) < kind.half[:2], axis=1) & (off[:, 2] < 2 * kind.half[2])))


def left(s: State) -> int:
    """Balls that are still in the cup."""
    i = s.scenario.target
    half = np.array(s.scenario.items[i].kind.half) * s.params["object_scale"]
    inner = (s.contents(i) - s.item(i)) @ s.rotation(i)
    return int(np.sum(np.all(np.abs(inner) < half + 0.002, axis=1)))


def goal(s: State) -> Array:
    g = s.scenario.goal
    assert g is not None
    return s.item(g) + [0, 0, HIGH]


def success(s: State) -> bool:
    return caught(s) >= BALLS - SPILLS and left(s) == 0


def plan(w: State) -> Go:
    i = w.scenario.target
    if not held(w):
        return grasp(w, i, ABOVE, within=0.004)._replace(rotation=UPRIGHT)
    spot = goal(w) - [LIP, 0, 0]
    off = w.tcp - spot
    aside = float(np.linalg.norm(off[:2]))
    if left(w) == 0:
        return Go(spot + [0, 0, 0.04], CLOSED, 0.02, UPRIGHT, 0.1)
    tilted = w.rotation(i)[2, 2] < 0.95
    if aside < (0.06 if tilted else 0.015) and abs(off[2]) < 0.05:
        return Go(spot, CLOSED, 0.02, TILTED, 0.08)
    across = spot if off[2] > -0.05 else w.tcp
    return Go(np.array([*across[:2], spot[2]]), CLOSED, 0.025, UPRIGHT)


def held(w: State) -> bool:
    """As `skills.holds`, of a cup that may be tilted."""
    i = w.scenario.target
    upper = w.item(i) + w.rotation(i) @ np.array([0, 0, ABOVE])
    share = w.scenario.items[i].width * w.params["object_scale"] / w.grip_width
    return bool(np.linalg.norm(upper - w.tcp) < 0.03 and share - 0.2 < w.opening < share + 0.18)


def within_reach(rng: np.random.Generator, cup: Item, x: float, y: float) -> tuple[float, float]:
    """Where the arm can hold a tilted cup."""
    return rng.uniform(0.43, 0.53), rng.uniform(-0.15, 0.15)


TASK = Task(
    name="pour",
    robots=("arm7",),
    stream=17,
    scene=Scene(
        room=PLAIN,
        shapes=("cup",),
        beside=("cube", "cylinder", "ball"),
        held_out=(("blue", "cup"),),
        area=((0.40, 0.58), (-0.19, 0.19)),
        turn=0.1,
        goals=1,
        destinations=("bowl", "tray"),
        spot=within_reach,
    ),
    wordings=(
        "pour the {o} into the {g}",
        "empty the {o} into the {g}",
        "pour out the {o} into the {g}",
        "tip the {o} into the {g}",
        "take the {o} and pour it into the {g}",
        "pick up the {o} and empty it into the {g}",
        "please pour the {o} into the {g}",
        "could you empty the {o} into the {g}?",
        "pour what is in the {o} into the {g}",
        "robot, empty the {o} into the {g}",
    ),
    unseen=(
        "drain the {o} into the {g}",
        "I want the {o} emptied into the {g}",
        "tip out the {o} into the {g}",
    ),
    goal=goal,
    success=success,
    plan=plan,
    verbs=("pour", "empty", "emptied", "tip", "drain"),
    extra=True,
    parts=("reach", "pick", "pour"),
)
