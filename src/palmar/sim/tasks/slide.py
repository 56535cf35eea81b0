"""Slide: strike the puck asked for so that it comes to rest in the painted zone, under a pane of glass where no hand fits.

Once the puck has left the gripper nothing steers it: how fast it must leave depends on the friction of the table.
"""

from __future__ import annotations

import numpy as np

from palmar.sim.rooms import PLAIN
from palmar.sim.scenario import Scene
from palmar.sim.skills import CLOSED, SAFE_HEIGHT
from palmar.sim.task import Go, State, Task
from palmar.sim.things import PANE, Item
from palmar.types import Array

STILL = 0.01  # speed of a puck that has come to rest, at most [m/s]
WITHIN = 0.035  # middle of the puck from the middle of the zone, at most [m]
SLIP = 0.02  # friction of a puck on the table in plain simulation (`scenes`, `Form.slip`)
GRAVITY = 9.81  # [m/s²]
PAD = 0.012  # from the TCP to the front of closed fingers [m]
LAG, TICK = 0.12, 0.02  # of the gripper's speed behind what is asked of it, and a control tick [s]


def side(s: State) -> float:
    """+1 where the zone lies to the left of the puck, -1 to the right: as they lay at the start."""
    puck, zone = s.scenario.items[s.scenario.target], s.scenario.items[s.scenario.goal or 0]
    return 1.0 if zone.y > puck.y else -1.0


def goal(s: State) -> Array:
    assert s.scenario.goal is not None
    return s.item(s.scenario.goal) + [0, 0, s.scenario.items[s.scenario.target].rest_height]


def success(s: State) -> bool:
    i = s.scenario.target
    off = s.item(i) - goal(s)
    return bool(np.linalg.norm(off[:2]) < WITHIN and abs(off[2]) < 0.01 and s.speed(i) < STILL)


def plan(w: State) -> Go:
    i, along = w.scenario.target, side(w)
    puck, zone, tip = w.item(i), goal(w), w.tcp
    half = w.scenario.items[i].width / 2 * w.params["object_scale"]
    low = w.table + 0.022
    left = float((zone[1] - puck[1]) * along)  # way that the puck still has to go
    gap = float((puck[1] - tip[1]) * along) - PAD - half
    aside = float(tip[0] - puck[0])
    if left < PANE[1] + 0.004 or abs(puck[0] - zone[0]) > WITHIN:  # it is on its own, or lost
        return Go(np.array([tip[0], tip[1] - 0.02 * along, w.table + 0.12]), CLOSED, 0.03)
    if -0.008 < gap < 0.02 and abs(aside) < 0.008 and tip[2] < low + 0.012:
        if gap > 0.004:  # touch it first: a knock would throw it
            return Go(np.array([puck[0], tip[1] + 0.05 * along, low]), CLOSED, 0.006)
        uphill = along * np.sin(np.deg2rad(w.params["table_roll"]))
        decay = max(SLIP * w.params["friction"] + uphill, 0.2 * SLIP) * GRAVITY
        speed = np.sqrt(2 * decay * left) - decay * (LAG + TICK * w.params["action_delay"])
        return Go(np.array([puck[0], tip[1] + 0.2 * along, low]), CLOSED, 0.1 * float(speed))
    start = np.array([puck[0], puck[1] - (PAD + half + 0.012) * along])
    away = float(np.linalg.norm(tip[:2] - start))
    height = low + np.clip((2.5 if gap > 0.004 else 8.0) * (away - 0.006), 0.0, SAFE_HEIGHT)
    return Go(np.array([*start, height]), CLOSED, 0.035)


def at_one_side(
    rng: np.random.Generator, direction: str | None, hand: str | None, x: float, y: float
) -> tuple[float, float]:
    return rng.uniform(0.42, 0.54), rng.uniform(0.17, 0.20) * (1.0 if y > 0 else -1.0)


def at_the_other(rng: np.random.Generator, puck: Item, x: float, y: float) -> tuple[float, float]:
    return puck.x + rng.uniform(-0.008, 0.008), -rng.uniform(0.06, 0.12) * np.sign(puck.y)


def lane_free(puck: Item, other: Item, direction: str | None) -> bool:
    """Nothing but the zone stands in the lane of the puck."""
    return other.shape == "zone" or abs(other.x - puck.x) > 0.12


TASK = Task(
    name="slide",
    robots=("arm7",),
    stream=12,
    scene=Scene(
        room=PLAIN,
        shapes=("puck",),
        beside=("puck", "cube", "cylinder"),
        held_out=(("blue", "puck"),),
        turn=0.0,
        area=((0.34, 0.68), (-0.22, 0.22)),
        goals=1,
        destinations=("zone",),
        first=at_one_side,
        spot=at_the_other,
        free=lane_free,
    ),
    wordings=(
        "slide the {o} into the {g}",
        "slide the {o} to the {g}",
        "strike the {o} so that it stops in the {g}",
        "shoot the {o} into the {g}",
        "send the {o} into the {g}",
        "hit the {o} so that it comes to rest in the {g}",
        "please slide the {o} into the {g}",
        "let the {o} slide into the {g}",
        "could you slide the {o} to the {g}?",
        "give the {o} a push so that it stops in the {g}",
        "robot, shoot the {o} to the {g}",
    ),
    unseen=(
        "flick the {o} into the {g}",
        "I want the {o} to slide to rest in the {g}",
        "get the {o} to glide into the {g}",
    ),
    goal=goal,
    success=success,
    plan=plan,
    verbs=("slide", "strike", "shoot", "hit", "send", "flick", "glide", "push", "stops"),
    extra=True,
    parts=("slide",),
)
