"""One episode's scene and what is asked, drawn from a seed.

Four splits test four kinds of generalisation; a training seed never meets a test one. A fifth is in `free_words`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from palmar.choices import DRAWN, Split
from palmar.errors import BadValue, check_names
from palmar.sim.rooms import TABLE, Room
from palmar.sim.things import COLOURS, DESTINATIONS, NOUNS, SHAPES, Item, apart
from palmar.types import Array

if TYPE_CHECKING:
    from palmar.sim.task import Task

HELD_OUT = (("red", "ball"), ("green", "cylinder"), ("blue", "cube"))  # never in a training scene
TEST_SEED = 1_000_000  # seeds below it make training scenes, seeds from it on make test scenes
Direction = tuple[float, float]


@dataclass(frozen=True)
class Scenario:
    """One episode's scene and what is asked. target, goal: indices into items; direction, hand: where the task has one."""

    task: str
    instruction: str
    items: tuple[Item, ...]
    target: int
    goal: int | None = None
    direction: str | None = None
    seed: int = 0
    split: Split = "seen"
    hand: str | None = None

    def ask_for(self, target: int, instruction: str | None = None) -> Scenario:
        """The same scene with another object asked for (the language-swap probe)."""
        from palmar.sim.tasks import task

        swapped = replace(self, target=target)
        return replace(swapped, instruction=instruction or phrase(swapped, task(self.task).wordings[0]))


@dataclass(frozen=True)
class Scene:
    """What a task's scenes are drawn from.

    shapes: of the things asked for and of those beside them. beside: of those beside them, where it is another choice.
    held_out: (colour, shape) that no training scene holds.
    area: (low, high) of x and of y where things stand [m]. turn: largest yaw [rad]. goals: how many destinations
    stand there, the first of them asked for; clutter: share of the other scenes that hold one destination for nothing.
    destinations: shapes of them. spot: (rng, thing asked for, x, y) → where a destination stands instead of x, y. ajar: how
    far drawers and doors are open at the start, 0 … 1.
    directions: {word: unit vector}, one of them asked for. hands: {word: frame}, one of them asked for.
    first: (rng, direction, hand, x, y) → where the thing asked for stands instead of x, y. free: (target, other,
    direction) → whether another thing may stand there.
    """

    room: Room = TABLE
    shapes: tuple[str, ...] = SHAPES
    held_out: tuple[tuple[str, str], ...] = HELD_OUT
    area: tuple[tuple[float, float], tuple[float, float]] = ((0.39, 0.60), (-0.19, 0.19))
    turn: float = 0.35
    goals: int = 0
    clutter: float = 0.3
    directions: Mapping[str, Direction] = field(default_factory=dict)
    hands: Mapping[str, str] = field(default_factory=dict)
    first: Callable[[np.random.Generator, str | None, str | None, float, float], tuple[float, float]] | None = None
    free: Callable[[Item, Item, str | None], bool] | None = None
    beside: tuple[str, ...] = ()
    destinations: tuple[str, ...] = DESTINATIONS
    spot: Callable[[np.random.Generator, Item, float, float], tuple[float, float]] | None = None
    ajar: float = 0.0


def check_seed(seed: int, count: int = 1) -> None:
    """Raise `BadValue` unless `seed` and the `count` - 1 after it may make a scene."""
    if not 0 <= seed <= TEST_SEED - count:
        raise BadValue(
            f"seed is {seed}; expected 0 … {TEST_SEED - count} (test splits add their own offset). Next: --seed 0"
        )


def seed_block(first: int, seed: int, size: int) -> int:
    """Seed of the first table of a run's `seed`: `size` tables are its own, counted from `first` on, so that two runs that
    differ in their seeds alone share none. Raises `BadValue` where they would reach into those of tests."""
    most = (TEST_SEED - first) // size - 1
    if most < 0:
        raise BadValue(
            f"a run of {size} tables; expected {TEST_SEED - first} at most, before those of tests. Next: fewer or smaller rounds"
        )
    if not 0 <= seed <= most:
        raise BadValue(
            f"seed is {seed}; expected 0 … {most}, each with {size} tables of its own. Next: --seed 0, or smaller rounds"
        )
    return first + seed * size


def draw(task: Task, split: Split = "seen", seed: int = 0, distractors: int = 2) -> Scenario:
    """The scenario of a seed. Equal arguments give equal scenes; test splits draw from seeds of their own.

    Raises `UnknownName` for an unknown split, `BadValue` for a seed out of range.
    """
    check_names("split", [split], DRAWN)
    check_seed(seed)
    scene = task.scene
    base = seed if split == "seen" else TEST_SEED + seed
    rng = np.random.default_rng([task.stream, 0 if split in ("seen", "layout") else DRAWN.index(split), base])
    pairs = [(c, s) for c in COLOURS for s in scene.shapes]
    seen = [p for p in pairs if p not in scene.held_out]
    first = scene.held_out[rng.integers(len(scene.held_out))] if split == "pair" else seen[rng.integers(len(seen))]
    near = [(c, s) for c in COLOURS for s in scene.beside or scene.shapes if (c, s) not in (*scene.held_out, *HELD_OUT)]
    others = [near[i] for i in rng.permutation(len(near)) if near[i] != first]
    if rng.uniform() < 0.5:  # half of the scenes hold a thing of the target's colour or shape, so both words matter
        others.sort(key=lambda p: (p[0] != first[0]) and (p[1] != first[1]))
    count = int(rng.integers(1, distractors + 1)) if distractors else 0
    kinds = [(s, c) for c, s in [first, *others[:count]]]
    if scene.goals:
        colours = [list(COLOURS)[i] for i in rng.permutation(len(COLOURS))]
        shapes = [scene.destinations[i] for i in rng.integers(0, len(scene.destinations), scene.goals)]
        for shape in shapes:  # no two things alike, and no pair that is kept for tests
            colour = next(c for c in colours if (shape, c) not in kinds and (c, shape) not in scene.held_out)
            colours.remove(colour)
            kinds += [(shape, colour)]
    elif scene.clutter and rng.uniform() < scene.clutter:
        kinds += [(DESTINATIONS[rng.integers(2)], list(COLOURS)[rng.integers(len(COLOURS))])]
    direction = _one_of(rng, scene.directions)
    hand = _one_of(rng, scene.hands)
    items = lay_out(kinds, rng, scene, direction, hand)
    goal = len(items) - scene.goals if scene.goals else None
    scenario = Scenario(task.name, "", items, 0, goal, direction, seed, split, hand)
    wordings = task.unseen if split == "wording" else task.wordings
    noun = rng.uniform(size=2) < 0.3
    return replace(scenario, instruction=phrase(scenario, wordings[rng.integers(len(wordings))], noun))


def _one_of(rng: np.random.Generator, words: Mapping[str, object]) -> str | None:
    return list(words)[rng.integers(len(words))] if words else None


def lay_out(
    kinds: list[tuple[str, str]],
    rng: np.random.Generator,
    scene: Scene,
    direction: str | None = None,
    hand: str | None = None,
) -> tuple[Item, ...]:
    """Items (shape, colour) at places with room around each; the first is the one asked for.

    Raises `BadValue` when that many things do not fit.
    """

    def draw(kind: tuple[str, str], items: Sequence[Item]) -> Item:
        shape, colour = kind
        x, y = rng.uniform(*scene.area[0]), rng.uniform(*scene.area[1])
        if not items and scene.first is not None:
            x, y = scene.first(rng, direction, hand, x, y)
        if items and scene.spot is not None and shape in scene.destinations:
            x, y = scene.spot(rng, items[0], x, y)
        return Item(shape, colour, float(x), float(y), float(rng.uniform(-scene.turn, scene.turn)), scene.ajar)

    def fits(item: Item, items: Sequence[Item]) -> bool:
        free = not items or scene.free is None or scene.free(items[0], item, direction)
        return free and all(apart(item, other) for other in items)

    if (items := settled(kinds, draw, fits)) is None:
        raise BadValue(f"{len(kinds)} things do not fit into the scene; expected at most 5. Next: fewer distractors")
    return items


def settled(
    kinds: Sequence[tuple[str, str]],
    draw: Callable[[tuple[str, str], Sequence[Item]], Item],
    fits: Callable[[Item, Sequence[Item]], bool],
) -> tuple[Item, ...] | None:
    """One thing of each kind, one after the other, each where it fits beside those before it; None where they find no places.

    draw: a place for a kind, given the things that stand. fits: whether a thing may stand there beside them."""
    for _ in range(400):
        items: list[Item] = []
        for kind in kinds:
            for _ in range(60):
                item = draw(kind, items)
                if fits(item, items):
                    items.append(item)
                    break
            else:
                break
        if len(items) == len(kinds):
            return tuple(items)
    return None


def phrase(scenario: Scenario, wording: str, synonyms: Array | tuple[bool, bool] = (False, False)) -> str:
    """The instruction for a scenario in one wording: {o} object, {g} destination, {on} on or in as the destination wants
    it, {d} direction, {h} hand."""
    target = scenario.items[scenario.target]
    words = {"o": f"{target.colour} {NOUNS[target.shape][int(synonyms[0])]}"}
    if scenario.goal is not None:
        goal = scenario.items[scenario.goal]
        words |= {
            "g": f"{goal.colour} {NOUNS[goal.shape][int(synonyms[1])]}",
            "on": "on" if goal.shape in ("plate", "cube") else "in",
        }
    if scenario.direction:
        words["d"] = scenario.direction
    if scenario.hand:
        words["h"] = scenario.hand
    return wording.format(**words).replace("to the forward", "forward").replace("towards the forward", "forward")
