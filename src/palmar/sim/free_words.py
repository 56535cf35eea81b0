"""Instructions in free words: 300 sentences by an author who had seen none of the wordings that policies are trained on.

Each is said of a table that holds what it needs: the things that it names, where it tells a thing by its place. Source of the
sentences: assets/instructions/free.toml.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from palmar.errors import BadValue
from palmar.sim.scenario import TEST_SEED, Scenario, lay_out
from palmar.sim.task import Task
from palmar.sim.things import COLOURS, DESTINATIONS, SHAPES, Item, kind_of
from palmar.sim.written import read_written

FILE = Path(__file__).parent.parent / "assets" / "instructions" / "free.toml"
KINDS = ("plain", "synonym", "typo", "polite", "terse", "wordy", "colloquial", "relation", "attribute", "implicit")
CLEAR = 0.04
"""How much farther left, right, near or far the thing must be that is told by its place than any other [m]."""
TABLES = 400  # tries for a table on which a relation holds


@dataclass(frozen=True, slots=True)
class FreeInstruction:
    """text: as a person says it. kind: of `KINDS`. target, goal, others: names such as "red cube"; others stand there too.
    relation: how the target is told by its place, such as ("left of", "blue cylinder")."""

    text: str
    kind: str
    task: str
    target: str
    goal: str = ""
    direction: str = ""
    others: tuple[str, ...] = ()
    relation: tuple[str, ...] = ()


@cache
def free_instructions(file: Path = FILE) -> tuple[FreeInstruction, ...]:
    """All, in the file's order. Raises `BadFile` naming the entry that is wrong."""
    return read_written(file, _instruction, "text, kind, task and target", FILE.name)


def free_instructions_of(task: str) -> tuple[FreeInstruction, ...]:
    """Those of one task. Raises `BadValue` for a task of which there are none."""
    told = tuple(i for i in free_instructions() if i.task == task)
    if not told:
        names = list(dict.fromkeys(i.task for i in free_instructions()))
        raise BadValue(
            f"there are no free words for task '{task}'; expected one of {', '.join(names)}. Next: --tasks {' '.join(names)}"
        )
    return told


def free_scenario(task: Task, seed: int = 0, distractors: int = 2) -> Scenario:
    """The table of a seed with the sentence of its turn. Raises `BadValue` for a task of which there are no sentences."""
    told = free_instructions_of(task.name)
    said = told[seed % len(told)]
    rng = np.random.default_rng([task.stream, TEST_SEED + seed, 1])
    for _ in range(TABLES):
        items = lay_out(_kinds(task, said, rng, distractors), rng, task.scene, said.direction or None)
        if not said.relation or _holds(said.relation, items):
            goal = next((i for i, item in enumerate(items) if item.name == said.goal), None)
            return Scenario(task.name, said.text, items, 0, goal, said.direction or None, seed, "free")
    raise BadValue(f"no table of {TABLES} fits “{said.text}”. Next: another --seed")


def _kinds(task: Task, said: FreeInstruction, rng: np.random.Generator, distractors: int) -> list[tuple[str, str]]:
    """(shape, colour) of what stands there: what is named, other things up to the number of distractors, destinations last."""
    named = [_kind(n) for n in dict.fromkeys((said.target, *said.others, *said.relation[1:]))]
    things = [k for k in named if k[0] in SHAPES]
    spare = [(s, c) for c in COLOURS for s in SHAPES if (s, c) not in named]
    if said.kind not in ("attribute", "implicit"):  # those are clear only beside what they name
        things += [spare[i] for i in rng.permutation(len(spare))[: max(0, distractors + 1 - len(things))]]
    places = [_kind(said.goal)] if said.goal else []
    if len(places) < task.scene.goals:
        colours = [c for c in COLOURS if (places[0][0], c) not in places]
        places.append((places[0][0], colours[rng.integers(len(colours))]))
    return [*things, *places]


def _holds(relation: Sequence[str], items: Sequence[Item]) -> bool:
    """Whether the relation is true of the first item and of no other thing that moves, by `CLEAR`."""
    where, *names = relation
    things = [i for i in items if i.shape in SHAPES]
    marks = [next(i for i in items if i.name == n) for n in names]
    free = [i for i in things if i not in marks]
    return free[0] is items[0] and RELATIONS[where](free, marks)


Holds = Callable[[Sequence[Item], Sequence[Item]], bool]
"""Whether a relation to the marks is true of the first of the things beside them, and of no other."""


def _beside(side: int) -> Holds:
    """side: 1 left of the mark, -1 right of it. Directions are the robot's own: left is +y."""

    def holds(free: Sequence[Item], marks: Sequence[Item]) -> bool:
        first, *others = (side * (i.y - marks[0].y) for i in free)
        return first > CLEAR and all(o < -CLEAR for o in others)

    return holds


def _away(farther: int) -> Holds:
    """farther: 1 farthest from the mark, -1 nearest to it."""

    def holds(free: Sequence[Item], marks: Sequence[Item]) -> bool:
        first, *others = (farther * float(np.hypot(i.x - marks[0].x, i.y - marks[0].y)) for i in free)
        return all(first > o + CLEAR for o in others)

    return holds


def _between(free: Sequence[Item], marks: Sequence[Item]) -> bool:
    a, b = np.array([marks[0].x, marks[0].y]), np.array([marks[1].x, marks[1].y])
    there = np.array([free[0].x, free[0].y])
    share = float((there - a) @ (b - a) / max(float((b - a) @ (b - a)), 1e-9))
    return 0.25 < share < 0.75 and float(np.linalg.norm(a + share * (b - a) - there)) < CLEAR


RELATIONS: dict[str, Holds] = {
    "left of": _beside(1), "right of": _beside(-1), "nearest to": _away(-1), "farthest from": _away(1), "between": _between,
}  # fmt: skip


def _kind(name: str) -> tuple[str, str]:
    """Shape and colour, as of `lay_out`."""
    colour, shape = kind_of(name, (*SHAPES, *DESTINATIONS))
    return shape, colour


def _instruction(entry: dict[str, Any]) -> FreeInstruction:
    said = FreeInstruction(
        str(entry["text"]), entry["kind"], entry["task"], entry["target"], entry.get("goal", ""), entry.get("direction", ""),
        tuple(entry.get("others", ())), tuple(entry.get("relation", ())),
    )  # fmt: skip
    for name in (said.target, *said.others, *said.relation[1:]):
        kind_of(name, (*SHAPES, *DESTINATIONS))
    if said.goal:
        kind_of(said.goal, DESTINATIONS)
    if said.kind not in KINDS or (said.task == "place") != bool(said.goal):
        raise ValueError(
            f"kind '{said.kind}', goal '{said.goal}'; expected one of {', '.join(KINDS)}, and a goal of place"
        )
    if (said.task == "push") != bool(said.direction) or (said.relation and said.relation[0] not in RELATIONS):
        raise ValueError(
            f"direction '{said.direction}', relation {list(said.relation)}; expected a direction of push and {', '.join(RELATIONS)}"
        )
    return said
