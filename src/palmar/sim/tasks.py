"""Tasks as values: what stands on the table, what is asked in which words, and when it is done.

A `Scenario` is one episode's table. Four splits test four kinds of generalisation; a training seed never meets a test one.
Directions are the robot's own: left is +y, right is -y, forward is +x (away from the base).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import numpy as np

from palmar.errors import BadValue, check_names
from palmar.types import Array

# Paint as hue, saturation, value.
COLOURS: dict[str, tuple[float, float, float]] = {
    "red": (0.0, 0.85, 0.80),
    "yellow": (0.145, 0.90, 0.90),
    "green": (0.37, 0.80, 0.60),
    "blue": (0.60, 0.85, 0.80),
    "purple": (0.79, 0.65, 0.65),
}
SHAPES = ("cube", "cylinder", "ball")
DESTINATIONS = ("plate", "tray")
DIRECTIONS: dict[str, tuple[float, float]] = {"left": (0.0, 1.0), "right": (0.0, -1.0), "forward": (1.0, 0.0)}
NOUNS = {
    "cube": ("cube", "block"),
    "cylinder": ("cylinder", "can"),
    "ball": ("ball", "sphere"),
    "plate": ("plate", "dish"),
    "tray": ("tray", "box"),
}
HELD_OUT = (("red", "ball"), ("green", "cylinder"), ("blue", "cube"))  # never on a training table
PUSH_LINE = {"left": 0.14, "right": 0.14, "forward": 0.60}  # the painted line to cross: |y| or x [m]

Split = Literal["seen", "layout", "pair", "wording"]
SPLITS: tuple[Split, ...] = ("seen", "layout", "pair", "wording")
Task = Literal["reach", "pick", "place", "push"]
TASKS: tuple[Task, ...] = ("reach", "pick", "place", "push")
TEST_SEED = 1_000_000  # seeds below it make training tables, seeds from it on make test tables

# {o} object, {g} destination, {on} on/in as the destination wants it, {d} direction.
WORDINGS: dict[str, tuple[str, ...]] = {
    "reach": (
        "reach the {o}", "reach for the {o}", "move the gripper to the {o}", "go to the {o}", "hover over the {o}",
        "move above the {o}", "move to the {o}", "put your hand over the {o}", "go above the {o}",
        "please reach for the {o}", "move your gripper over the {o}", "point at the {o}",
        "stretch out to the {o}", "could you reach the {o}?", "I would like you to go to the {o}", "come close to the {o}",
        "place your hand right above the {o}", "robot, hover above the {o} please", "travel to the {o} and stop above it",
        "keep the gripper over the {o}", "swing the arm over to the {o}", "wait above the {o}",
    ),
    "pick": (
        "pick up the {o}", "pick the {o} up", "lift the {o}", "lift up the {o}", "grasp the {o}", "grab the {o}",
        "take the {o}", "raise the {o} off the table", "grasp the {o} and lift it", "please pick up the {o}",
        "can you lift the {o}?", "get the {o}", "hold up the {o}",
        "could you pick up that {o}, please", "I would like you to lift the {o} now", "fetch the {o}", "collect the {o}",
        "take hold of the {o} and raise it high", "clutch the {o} and lift it up", "pull the {o} up from the table",
        "carry the {o} upwards", "robot, pick the {o} up for us", "close your fingers on the {o} and lift",
        "catch the {o} and keep it up in your hand", "elevate the {o}", "snatch the {o} from the table",
    ),
    "place": (
        "put the {o} {on} the {g}", "place the {o} {on} the {g}", "set the {o} down {on} the {g}",
        "pick up the {o} and put it {on} the {g}", "move the {o} {on}to the {g}", "drop the {o} {on} the {g}",
        "lay the {o} {on} the {g}", "take the {o} and place it {on} the {g}", "please put the {o} {on} the {g}",
        "grab the {o} and drop it {on} the {g}", "can you place the {o} {on} the {g}?",
        "could you set that {o} {on} the {g}, please", "I would like the {o} to be {on} the {g}", "the {o} belongs {on} the {g}",
        "carry the {o} to the {g}", "lift the {o} and lower it {on}to the {g}", "stow the {o} {on} the {g}",
        "robot, get the {o} and set it down {on} the {g}",
    ),
    "push": (
        "push the {o} {d}", "push the {o} to the {d}", "slide the {o} {d}", "slide the {o} to the {d}",
        "shove the {o} {d}", "push the {o} towards the {d}", "please push the {o} {d}", "move the {o} to the {d} by pushing",
        "push the {o} over to the {d}", "sweep the {o} to the {d}",
        "could you slide that {o} {d}, please", "I would like you to push the {o} {d}", "drive the {o} {d} across the table",
        "press against the {o} so that it slides {d}", "robot, shove the {o} to the {d}", "poke the {o} {d} over the line",
        "push the {o} {d} as far as the line", "slide the {o} along the table to the {d}", "bump the {o} to the {d}",
        "scoot the {o} {d}",
    ),
}  # fmt: skip
UNSEEN_WORDINGS: dict[str, tuple[str, ...]] = {
    "reach": (
        "approach the {o}", "bring the hand above the {o}", "position the gripper over the {o}", "head over to the {o}",
    ),
    "pick": (
        "hoist the {o} into the air", "I need you to grip the {o} and bring it up", "would you pick that {o} up for me",
        "seize the {o} and raise it",
    ),
    "place": (
        "deposit the {o} {on} the {g}", "transfer the {o} to the {g}", "the {o} should go {on} the {g}",
        "bring the {o} over and leave it {on} the {g}",
    ),
    "push": (
        "nudge the {o} to the {d}", "give the {o} a push to the {d}", "shift the {o} {d} along the table",
        "I want you to push the {o} further {d}",
    ),
}  # fmt: skip

CAMERA_NAMES = ("front", "wrist")
PRIVILEGED = (
    *(f"{who}.{axis}" for who in ("target", "goal") for axis in "xyz"),
    *(f"{c}.{who}.{x}" for c in CAMERA_NAMES for who in ("target", "goal") for x in ("u", "v", "visible")),
)
"""Simulator truth that rides along as `observation.environment_state`: positions in the base frame [m]; u right and v down
in 0 … 1 of the image; visible 0 or 1. `goal` is where the object (for reach, the hand) should end; its pixel is visible
only when the goal is a thing on the table."""
EXTENTS = (
    *(f"{who}.turn.{x}" for who in ("target", "goal") for x in ("cos", "sin")),
    *(f"{c}.{who}.box.{x}" for c in CAMERA_NAMES for who in ("target", "goal") for x in ("u", "v", "w", "h")),
)
"""More of it, recorded when asked for. turn: cosine and sine of 4 × yaw, since a cube and a tray look alike after a quarter
turn; zeros for what is round. box: middle and sides of the box around a thing in the picture, hidden or not, in 0 … 1 and
cut at the edges; zeros when there is none."""


@dataclass(frozen=True)
class Item:
    """A thing on the table. x, y in the base frame [m], yaw [rad]."""

    shape: str
    colour: str
    x: float
    y: float
    yaw: float = 0.0

    @property
    def size(self) -> tuple[float, float, float]:
        """MuJoCo half sizes [m]."""
        return {"cube": (0.0225,) * 3, "cylinder": (0.021, 0.027, 0.0), "ball": (0.024, 0.0, 0.0)}[self.shape]

    @property
    def rest_height(self) -> float:
        """Height of the centre over the table at rest [m]."""
        return {"cube": 0.0225, "cylinder": 0.027, "ball": 0.024, "plate": 0.008, "tray": 0.006}[self.shape]

    @property
    def width(self) -> float:
        """Size between the finger pads [m]."""
        return {"cube": 0.045, "cylinder": 0.042, "ball": 0.048}[self.shape]

    @property
    def mass(self) -> float:
        """[kg]"""
        return {"cube": 0.08, "cylinder": 0.07, "ball": 0.06}[self.shape]

    @property
    def name(self) -> str:
        return f"{self.colour} {self.shape}"


SQUARE = ("cube", "tray")  # as seen from above


def half_extent(item: Item) -> Array:
    """float64[3]: half the sides of the cuboid around a thing [m], before `object_scale`."""
    if item.shape in DESTINATIONS:
        return np.array({"plate": (0.065, 0.065, 0.004), "tray": (0.066, 0.066, 0.012)}[item.shape])
    a, b, _ = item.size
    return np.array({"cube": (a, a, a), "cylinder": (a, a, b), "ball": (a, a, a)}[item.shape])


@dataclass(frozen=True)
class Scenario:
    """One episode's table and what is asked. target, goal: indices into items; direction only for push."""

    task: str
    instruction: str
    items: tuple[Item, ...]
    target: int
    goal: int | None = None
    direction: str | None = None
    seed: int = 0
    split: Split = "seen"

    def ask_for(self, target: int, instruction: str | None = None) -> Scenario:
        """The same table with another object asked for (the language-swap probe)."""
        swapped = replace(self, target=target)
        return replace(swapped, instruction=instruction or phrase(swapped, WORDINGS[self.task][0]))


def check_seed(seed: int, count: int = 1) -> None:
    """Raise `BadValue` unless `seed` and the `count` - 1 after it may make a table."""
    if not 0 <= seed <= TEST_SEED - count:
        raise BadValue(f"seed is {seed}; expected 0 … {TEST_SEED - count} (test splits add their own offset)")


def sample(task: str, split: Split = "seen", seed: int = 0, distractors: int = 2) -> Scenario:
    """The scenario of a seed. Equal arguments give equal tables; test splits draw from seeds of their own.

    Raises `UnknownName` for an unknown task or split, `BadValue` for a seed out of range.
    """
    check_names("task", [task], TASKS)
    check_names("split", [split], SPLITS)
    check_seed(seed)
    base = seed if split == "seen" else TEST_SEED + seed
    rng = np.random.default_rng([TASKS.index(task), 0 if split in ("seen", "layout") else SPLITS.index(split), base])
    pairs = [(c, s) for c in COLOURS for s in SHAPES]
    seen = [p for p in pairs if p not in HELD_OUT]
    first = HELD_OUT[rng.integers(len(HELD_OUT))] if split == "pair" else seen[rng.integers(len(seen))]
    others = [seen[i] for i in rng.permutation(len(seen)) if seen[i] != first]
    if rng.uniform() < 0.5:  # half of the tables hold a thing of the target's colour or shape, so both words matter
        others.sort(key=lambda p: (p[0] != first[0]) and (p[1] != first[1]))
    count = int(rng.integers(1, distractors + 1)) if distractors else 0
    kinds = [(s, c) for c, s in [first, *others[:count]]]
    direction = None
    if task == "place":
        two = rng.permutation(len(COLOURS))[:2]
        shapes = [DESTINATIONS[i] for i in rng.integers(0, 2, 2)]
        kinds += [(shape, list(COLOURS)[c]) for shape, c in zip(shapes, two, strict=True)]
    elif rng.uniform() < 0.3:
        kinds += [(DESTINATIONS[rng.integers(2)], list(COLOURS)[rng.integers(len(COLOURS))])]
    if task == "push":
        direction = list(DIRECTIONS)[rng.integers(len(DIRECTIONS))]
    items = lay_out(kinds, rng, direction)
    goal = next(i for i, it in enumerate(items) if it.shape in DESTINATIONS) if task == "place" else None
    scenario = Scenario(task, "", items, 0, goal, direction, seed, split)
    wordings = UNSEEN_WORDINGS[task] if split == "wording" else WORDINGS[task]
    noun = rng.uniform(size=2) < 0.3
    return replace(scenario, instruction=phrase(scenario, wordings[rng.integers(len(wordings))], noun))


def lay_out(kinds: list[tuple[str, str]], rng: np.random.Generator, direction: str | None = None) -> tuple[Item, ...]:
    """Items at places where the gripper fits around each; for a push, with a free lane before the first.

    Raises `BadValue` when that many things do not fit.
    """
    for _ in range(400):
        items: list[Item] = []
        for i, (shape, colour) in enumerate(kinds):
            for _ in range(60):
                x, y = rng.uniform(0.39, 0.60), rng.uniform(-0.19, 0.19)
                if i == 0 and direction is not None:
                    x, y = (
                        (rng.uniform(0.40, 0.48), y * 0.8) if direction == "forward" else (x, rng.uniform(-0.09, 0.09))
                    )
                item = Item(shape, colour, float(x), float(y), float(rng.uniform(-0.35, 0.35)))
                if all(apart(item, other) for other in items) and (i == 0 or _lane_free(items[0], item, direction)):
                    items.append(item)
                    break
            else:
                break
        if len(items) == len(kinds):
            return tuple(items)
    raise BadValue(f"{len(kinds)} things do not fit on the table; expected at most 5")


def phrase(scenario: Scenario, wording: str, synonyms: Array | tuple[bool, bool] = (False, False)) -> str:
    """The instruction for a scenario in one wording."""
    target = scenario.items[scenario.target]
    words = {"o": f"{target.colour} {NOUNS[target.shape][int(synonyms[0])]}"}
    if scenario.goal is not None:
        goal = scenario.items[scenario.goal]
        words |= {
            "g": f"{goal.colour} {NOUNS[goal.shape][int(synonyms[1])]}",
            "on": "on" if goal.shape == "plate" else "in",
        }
    if scenario.direction:
        words["d"] = scenario.direction
    return wording.format(**words).replace("to the forward", "forward").replace("towards the forward", "forward")


class TableState(Protocol):
    """What a success test or an expert may read of a world: positions in the base frame [m]."""

    scenario: Scenario

    @property
    def tcp(self) -> Array: ...
    @property
    def opening(self) -> float: ...
    @property
    def table(self) -> float: ...
    def item(self, i: int) -> Array: ...


HOVER = 0.05  # reach: the TCP this far over the object's centre [m]


def goal_point(state: TableState) -> Array:
    """Where the object (for reach, the TCP) should end [m]."""
    s = state.scenario
    target = state.item(s.target)
    if s.task == "reach":
        return target + [0, 0, HOVER]
    if s.task == "pick":
        return np.array([target[0], target[1], state.table + 0.16])
    if s.task == "place" and s.goal is not None:
        return state.item(s.goal) + [0, 0, s.items[s.goal].rest_height]
    along = np.array(DIRECTIONS[s.direction or "left"])
    line = PUSH_LINE[s.direction or "left"] + 0.025
    end = np.array([line, target[1]]) if along[0] else np.array([target[0], line * along[1]])
    return np.array([*end, target[2]])


def _reached(s: TableState) -> bool:
    return bool(np.linalg.norm(s.tcp - goal_point(s)) < 0.025)


def _picked(s: TableState) -> bool:
    i = s.scenario.target
    return bool(s.item(i)[2] - s.table > s.scenario.items[i].rest_height + 0.08)


def _placed(s: TableState) -> bool:
    i, g = s.scenario.target, s.scenario.goal
    assert g is not None
    offset = s.item(i) - s.item(g)
    low = offset[2] < s.scenario.items[i].rest_height + s.scenario.items[g].rest_height + 0.012
    clear = np.linalg.norm(s.tcp - s.item(i)) > 0.05 and s.opening > 0.5
    return bool(np.linalg.norm(offset[:2]) < 0.055 and low and clear)


def _pushed(s: TableState) -> bool:
    p, d = s.item(s.scenario.target), s.scenario.direction or "left"
    on_table = p[2] - s.table < s.scenario.items[s.scenario.target].rest_height + 0.02
    across = p[:2] @ np.array(DIRECTIONS[d])
    return bool(across > PUSH_LINE[d] and on_table and p[2] > s.table)


SUCCESS: dict[str, Callable[[TableState], bool]] = {
    "reach": _reached, "pick": _picked, "place": _placed, "push": _pushed,
}  # fmt: skip


def apart(a: Item, b: Item) -> bool:
    """The gripper fits between two things."""
    reach = sum(0.085 if i.shape in DESTINATIONS else 0.048 for i in (a, b))
    return bool(np.hypot(a.x - b.x, a.y - b.y) > reach)


def _lane_free(pushed: Item, other: Item, direction: str | None) -> bool:
    """Nothing stands where the pushed object goes, or where the gripper comes down behind it."""
    if direction is None:
        return True
    dx, dy = DIRECTIONS[direction]
    along = (other.x - pushed.x) * dx + (other.y - pushed.y) * dy
    aside = abs((other.x - pushed.x) * dy - (other.y - pushed.y) * dx)
    return not (along > -0.13 and aside < (0.12 if other.shape in DESTINATIONS else 0.085))
