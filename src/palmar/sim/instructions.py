"""A table for a typed instruction, and the other wordings that ask for the same."""

from __future__ import annotations

import re
import zlib
from dataclasses import replace

import numpy as np

from palmar.errors import BadValue, UnknownName
from palmar.sim import tasks
from palmar.sim.free_phrases import free_phrases
from palmar.sim.scenario import HELD_OUT, Scenario, lay_out, phrase
from palmar.sim.sentences import Request, parse
from palmar.sim.task import Task
from palmar.sim.things import COLOURS, DESTINATIONS, NOUNS, SHAPES, Item
from palmar.sim.vocabulary import EXTRA, ROBOT, TASKS

__all__ = [
    "EXTRA",
    "Request",
    "free_paraphrases",
    "paraphrases",
    "parse",
    "scenario_for",
    "scenario_of",
    "told_by_template",
]


def scenario_for(request: Request, seed: int = 0, distractors: int = 2) -> Scenario:
    """A table for a typed request: the object asked for, the destination if any, and distractors."""
    if seed < 0:
        raise BadValue(f"seed is {seed}; expected 0 or more. Next: --seed 0")
    rng = np.random.default_rng([7, seed])
    if request.task in EXTRA:
        return _extra_scenario(request, rng, seed, distractors)
    asked = (request.shape, request.colour)
    spare = [(s, c) for c in COLOURS for s in SHAPES if (s, c) != asked and (c, s) not in HELD_OUT]
    kinds = [asked, *(spare[i] for i in rng.permutation(len(spare))[:distractors])]
    goal = None
    if request.task == "place":
        if request.goal_shape is None or request.goal_colour is None:
            raise BadValue(
                f"place needs a destination; say for example 'on the blue plate'. Known: {', '.join(DESTINATIONS)}. "
                "Next: name one"
            )
        goal = len(kinds)
        other = [c for c in COLOURS if c != request.goal_colour]
        kinds += [(request.goal_shape, request.goal_colour), ("plate", other[rng.integers(len(other))])]
    items = lay_out(kinds, rng, tasks.task(request.task).scene, request.direction)
    return Scenario(request.task, "", items, 0, goal, request.direction, seed, "layout")


def _extra_scenario(request: Request, rng: np.random.Generator, seed: int, distractors: int) -> Scenario:
    """The table of an extra task. A colour that is left out is drawn, and nothing else of that shape stands there."""
    scene = tasks.task(request.task).scene
    colours = [list(COLOURS)[i] for i in rng.permutation(len(COLOURS))]
    free = [
        c
        for c in colours
        if c not in (request.colour, request.goal_colour) and (c, request.shape) not in scene.held_out
    ]
    kinds = [(request.shape, request.colour or free[0])]
    goals = [(request.goal_shape, request.goal_colour or free[1])] if request.goal_shape else []
    wholes = {s for s, c in ((request.shape, request.colour), (request.goal_shape, request.goal_colour)) if s and not c}
    spare = [
        (s, c) for c in COLOURS for s in scene.beside or scene.shapes if s not in wholes and (c, s) not in HELD_OUT
    ]
    spare = [k for k in spare if k not in (*kinds, *goals)]
    kinds += [spare[i] for i in rng.permutation(len(spare))[:distractors]]
    items = lay_out([*kinds, *goals], rng, scene)
    return Scenario(request.task, "", items, 0, len(kinds) if goals else None, None, seed, "layout")


MANY = 20  # wordings of one request: encoding each takes time, and other requests bring the other wordings
FREE = 20  # sentences in free words beside them, for the usual tasks of the 7-joint arm


def paraphrases(instruction: str, free: int = 0) -> list[str]:
    """Up to `MANY` training wordings of what an instruction asks, synonyms included, then as many sentences in free words
    (`free_phrases`) for one of `TASKS`, another choice for each request; the instruction itself when it is not ours."""
    told = told_by_template(instruction)
    if told is not None and ROBOT not in told[0].robots:
        task, asked = told
    else:
        try:
            request = parse(instruction)
        except (UnknownName, BadValue):
            return [instruction]
        task = tasks.task(request.task)
        items = [Item(request.shape, request.colour, 0, 0)]
        goal = None
        if request.goal_shape and request.goal_colour:
            items, goal = [*items, Item(request.goal_shape, request.goal_colour, 0, 0)], 1
        asked = Scenario(request.task, "", tuple(items), 0, goal, request.direction)
    flips = [(a, b) for a in (False, True) for b in ((False, True) if asked.goal else (False,))]
    texts = sorted({phrase(asked, w, f) for w in task.wordings for f in flips})
    key = _key(asked)
    rng = np.random.default_rng(zlib.crc32(repr(key).encode()))
    chosen = [texts[i] for i in sorted(rng.permutation(len(texts))[:MANY])]
    return chosen + (free_phrases(key, rng, free) if isinstance(key, Request) and key.task in TASKS else [])


def free_paraphrases(instruction: str) -> list[str]:
    """`paraphrases` with `FREE` sentences in free words."""
    return paraphrases(instruction, FREE)


def _key(asked: Scenario) -> Request | Scenario:
    """What the choice of wordings goes by."""
    if ROBOT not in tasks.task(asked.task).robots:
        return asked
    target, goal = asked.items[0], asked.items[asked.goal] if asked.goal else None
    return Request(
        asked.task,
        target.colour,
        target.shape,
        goal.colour if goal else None,
        goal.shape if goal else None,
        asked.direction,
    )


def told_by_template(instruction: str, robot: str | None = None) -> tuple[Task, Scenario] | None:
    """The first task (of a robot) of which the sentence is one of the wordings, word for word, and what it asks for; None
    when there is none. The scenario holds what is named, at no place."""
    for name in tasks.names(robot):
        task = tasks.task(name)
        things = {f"{c} {n}": (s, c) for c in COLOURS for s in task.scene.shapes for n in NOUNS[s]}
        places = {f"{c} {n}": (s, c) for c in COLOURS for s in task.scene.destinations for n in NOUNS[s]}
        words = {"o": things, "g": places, "on": ("on", "in"), "d": task.scene.directions, "h": task.scene.hands}
        for wording in (*task.wordings, *task.unseen):
            if not all(part in instruction for part in re.split(r"{\w+}", wording)):
                continue  # to build its pattern takes much longer
            pattern = re.escape(wording)
            for key, known in words.items():
                choice = f"(?P<{key}>{'|'.join(map(re.escape, known))})"
                pattern = pattern.replace(re.escape(f"{{{key}}}"), choice, 1)
            if found := re.fullmatch(pattern, instruction):
                said = found.groupdict()
                named = [things[said["o"]]] + ([places[said["g"]]] if "g" in said else [])
                items = tuple(Item(shape, colour, 0.0, 0.0) for shape, colour in named)
                return task, Scenario(name, "", items, 0, 1 if "g" in said else None, said.get("d"), hand=said.get("h"))
    return None


def scenario_of(instruction: str, robot: str = ROBOT, seed: int = 0, distractors: int = 2) -> Scenario:
    """A scene for a typed instruction to a robot: free words for the 7-joint arm, the wordings of its tasks for another.

    Raises `UnknownName` or `BadValue` that say what there is.
    """
    if robot == ROBOT:
        return replace(scenario_for(parse(instruction), seed, distractors), instruction=instruction)
    known = tasks.names(robot)
    if (told := told_by_template(instruction, robot)) is None:
        asked = [phrase(tasks.sample(n), tasks.task(n).wordings[0]) for n in known]
        raise BadValue(
            f"'{instruction}' is none of the sentences that {robot} knows. Next: one such as "
            + " or ".join(f"'{text}'" for text in asked)
        )
    if seed < 0:
        raise BadValue(f"seed is {seed}; expected 0 or more. Next: --seed 0")
    task, asked_for = told
    rng = np.random.default_rng([7, seed])
    target = asked_for.items[0]
    spare = [(s, c) for c in COLOURS for s in task.scene.shapes if (s, c) != (target.shape, target.colour)]
    spare = [(s, c) for s, c in spare if (c, s) not in task.scene.held_out]
    kinds = [(target.shape, target.colour), *(spare[i] for i in rng.permutation(len(spare))[:distractors])]
    items = lay_out(kinds, rng, task.scene, asked_for.direction, asked_for.hand)
    return replace(asked_for, instruction=instruction, items=items, seed=seed, split="layout")
