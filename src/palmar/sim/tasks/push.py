"""Push: shove the thing asked for over a painted line."""

from __future__ import annotations

import numpy as np

from palmar.sim.scenario import Scene
from palmar.sim.skills import CLOSED, OPEN, SAFE_HEIGHT
from palmar.sim.task import Go, State, Task
from palmar.sim.things import DESTINATIONS, Item
from palmar.types import Array

DIRECTIONS: dict[str, tuple[float, float]] = {"left": (0.0, 1.0), "right": (0.0, -1.0), "forward": (1.0, 0.0)}
LINE = {"left": 0.14, "right": 0.14, "forward": 0.60}  # the painted line to cross (`rooms.TABLE`): |y| or x [m]
PAST = 0.02  # the expert pushes so much further [m]: who learns from it judges the line by pictures, and stops a little early


def goal(s: State) -> Array:
    target = s.item(s.scenario.target)
    along = np.array(DIRECTIONS[s.scenario.direction or "left"])
    line = LINE[s.scenario.direction or "left"] + 0.025
    end = np.array([line, target[1]]) if along[0] else np.array([target[0], line * along[1]])
    return np.array([*end, target[2]])


def success(s: State) -> bool:
    return is_beyond(s, s.scenario.target, s.scenario.direction or "left")


def is_beyond(s: State, i: int, direction: str) -> bool:
    """Whether a thing lies on the table past the line of a direction, whoever brought it there."""
    p = s.item(i)
    on_table = p[2] - s.table < s.scenario.items[i].rest_height + 0.02
    across = p[:2] @ np.array(DIRECTIONS[direction])
    return bool(across > LINE[direction] and on_table and p[2] > s.table)


def plan(w: State) -> Go:
    i, d = w.scenario.target, w.scenario.direction or "left"
    item, along = w.item(i), np.array(DIRECTIONS[d])
    half = w.scenario.items[i].width / 2 * w.params["object_scale"]
    low = w.table + 0.030
    if w.opening > 0.15 and float(np.linalg.norm(w.tcp - item)) < 0.03:  # a weak gripper has given way around it
        return Go(np.array([*w.tcp[:2], w.tcp[2] + 0.03]), OPEN, 0.02)
    pad = 0.013 + half
    rel = w.tcp[:2] - item[:2]
    behind, aside = float(-rel @ along), rel - (rel @ along) * along
    off = float(np.linalg.norm(aside))
    start = item[:2] - (pad + 0.03) * along
    if success(w) and (float(item[:2] @ along) > LINE[d] + PAST or behind > pad + 0.015):  # done: back off and up
        return Go(np.array([*(w.tcp[:2] - 0.02 * along), w.table + 0.12]), CLOSED, 0.03)
    if behind > pad - 0.012 and off < 0.014 and w.tcp[2] < low + 0.015:
        end = goal(w)[:2]
        # steady forward, centred behind the object (a little over-corrected: it drifts)
        ahead = w.tcp[:2] + 0.05 * along
        ahead = ahead - 1.4 * aside
        return Go(np.array([*ahead, low]), CLOSED, 0.022 if float((end - item[:2]) @ along) > 0.02 else 0.015)
    away = float(np.linalg.norm(w.tcp[:2] - start))
    clear = behind > pad + 0.008
    height = low + np.clip((2.5 if clear else 8.0) * (away - 0.010), 0.0, SAFE_HEIGHT)
    return Go(np.array([*start, height]), CLOSED, 0.035)


def before_the_line(
    rng: np.random.Generator, direction: str | None, hand: str | None, x: float, y: float
) -> tuple[float, float]:
    return (rng.uniform(0.40, 0.48), y * 0.8) if direction == "forward" else (x, rng.uniform(-0.09, 0.09))


def lane_free(pushed: Item, other: Item, direction: str | None) -> bool:
    """Nothing stands where the pushed object goes, or where the gripper comes down behind it."""
    dx, dy = DIRECTIONS[direction or "left"]
    along = (other.x - pushed.x) * dx + (other.y - pushed.y) * dy
    aside = abs((other.x - pushed.x) * dy - (other.y - pushed.y) * dx)
    return not (along > -0.13 and aside < (0.12 if other.shape in DESTINATIONS else 0.085))


TASK = Task(
    name="push",
    robots=("arm7",),
    stream=3,
    scene=Scene(directions=DIRECTIONS, first=before_the_line, free=lane_free),
    wordings=(
        "push the {o} {d}",
        "push the {o} to the {d}",
        "slide the {o} {d}",
        "slide the {o} to the {d}",
        "shove the {o} {d}",
        "push the {o} towards the {d}",
        "please push the {o} {d}",
        "move the {o} to the {d} by pushing",
        "push the {o} over to the {d}",
        "sweep the {o} to the {d}",
        "could you slide that {o} {d}, please",
        "I would like you to push the {o} {d}",
        "drive the {o} {d} across the table",
        "press against the {o} so that it slides {d}",
        "robot, shove the {o} to the {d}",
        "poke the {o} {d} over the line",
        "push the {o} {d} as far as the line",
        "slide the {o} along the table to the {d}",
        "bump the {o} to the {d}",
        "scoot the {o} {d}",
    ),
    unseen=(
        "nudge the {o} to the {d}",
        "give the {o} a push to the {d}",
        "shift the {o} {d} along the table",
        "I want you to push the {o} further {d}",
    ),
    goal=goal,
    success=success,
    plan=plan,
    verbs=(
        "push",
        "slide",
        "slides",
        "shove",
        "sweep",
        "nudge",
        "shift",
        "drive",
        "poke",
        "bump",
        "scoot",
    ),
    parts=("reach", "push"),
)
