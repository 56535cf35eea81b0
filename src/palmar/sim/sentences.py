"""What a typed sentence asks for, by its words: enough to lay the table. The policy reads the sentence itself."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from palmar.errors import BadValue, UnknownName
from palmar.sim import tasks
from palmar.sim.refusals import (
    clauses,
    colourless,
    guess_of,
    refuse_negations,
    refuse_other_verbs,
    refuse_relations,
    refuse_unknown_verb,
)
from palmar.sim.scenario import phrase
from palmar.sim.things import COLOURS, DESTINATIONS, NOUNS, SHAPES
from palmar.sim.vocabulary import DIRECTIONS, EXAMPLE, EXTRA, NOUNS_OF, OBJECTS, OWN, PLACES, TASKS, THINGS, VERBS_OF


@dataclass(frozen=True)
class Request:
    """What a typed instruction asks for, as far as the table must know to hold it. colour, goal_colour: "" where an extra task
    needs none, since there is one such thing on its table."""

    task: str
    colour: str
    shape: str
    goal_colour: str | None = None
    goal_shape: str | None = None
    direction: str | None = None


def parse(instruction: str) -> Request:
    """Find task, object, destination and direction in a sentence by their words.

    Only to lay the table for a typed instruction: the policy reads the sentence itself.
    Raises `UnknownName` or `BadValue` that say what exists.
    """
    text = instruction.lower().replace("’", "'").replace("n't", " not")
    text = text.replace("can you ", "")  # a question, not the thing called "can"
    words = "".join(c if c.isalpha() else " " for c in text).split()
    refuse_negations(instruction, words)
    if extra := _extra(instruction, words):
        return extra
    found = _things(instruction, words)
    refuse_relations(instruction, words)
    objects = [f for f in found if f[1] in SHAPES]
    places = [f for f in found if f[1] in DESTINATIONS]
    if not objects:
        raise BadValue(
            f"no object in '{instruction}'.{guess_of(words, OBJECTS)} Say for example '{EXAMPLE}'. "
            f"Objects: {', '.join(OBJECTS)}. "
            "Next: name an object and its colour"
        )
    for what, named in (("objects", objects), ("places", places)):
        if len(named) > 1:
            listed = ", ".join(" ".join(n) for n in named)
            raise BadValue(
                f"'{instruction}' names {len(named)} {what} ({listed}); expected one. Next: one instruction for each, "
                f"such as '{EXAMPLE}' or 'put the red cube on the blue plate'"
            )
    directions = [d for d in DIRECTIONS if d in words]
    if "then" in words or len(directions) > 1:
        raise BadValue(f"'{instruction}' asks for more than one thing; expected one. Next: one instruction for each")
    direction = next(iter(directions), None)
    task = _task_of(words, bool(places), direction)
    if places and task in ("pick", "reach"):
        raise BadValue(
            f"'{instruction}' names a place but not what to do there; say 'put … on' or 'put … in', or leave the place out. "
            "Next: one of the two"
        )
    if task is not None:
        refuse_other_verbs(instruction, task)
    if task is None and any(w in VERBS_OF["place"] for w in words):
        raise BadValue(
            f"'{instruction}' does not say where; say for example 'on the blue plate'.{guess_of(words, PLACES)} "
            f"Destinations: {', '.join(PLACES)}. "
            "Next: name the place"
        )
    if task is None:
        guess = guess_of(words[:2], [v for verbs in VERBS_OF.values() for v in verbs], 0.6)
        raise BadValue(
            f"no task word in '{instruction}'.{guess} Tasks: {', '.join(TASKS)} (and words like them); say for example "
            f"'{EXAMPLE}'. "
            "Next: begin with a task"
        )
    if task == "push" and direction is None:
        raise BadValue(
            f"'{instruction}' does not say which way; expected one of {', '.join(DIRECTIONS)}. Next: say one of them"
        )
    asked_colour, asked_shape = objects[0]
    goal_colour, goal_shape = places[0] if task == "place" and places else (None, None)
    return Request(task, asked_colour, asked_shape, goal_colour, goal_shape, direction if task == "push" else None)


def _extra(instruction: str, words: list[str]) -> Request | None:
    """What a sentence asks of an extra task: of things that only these have ("slide the puck …"), or with a verb that only these
    have ("stack …"); None where it does neither. A colour may be left out where the thing stands alone on its table."""
    shape = next((OWN[w] for w in words if w in OWN), None)
    usual = {v for n in TASKS for v in tasks.task(n).verbs}
    if shape is not None:
        fitting = [n for n in EXTRA if shape in tasks.task(n).scene.shapes]
    else:
        verbs = {n: set(tasks.task(n).verbs) - usual for n in EXTRA if set(tasks.task(n).scene.shapes) <= set(SHAPES)}
        fitting = [n for n, own in verbs.items() if own & set(words)]
    if not fitting:
        return None
    told = [n for n in fitting if set(tasks.task(n).verbs) & set(words)]
    if len(told) != 1:
        known = ", ".join(v for n in fitting for v in tasks.task(n).verbs)
        raise BadValue(
            f"'{instruction}' says {'more than one task' if told else 'no task'} for the {shape or 'things in it'}; expected one "
            f"of {known}. Next: '{phrase(tasks.sample(fitting[0]), tasks.task(fitting[0]).wordings[0])}'"
        )
    scene = tasks.task(told[0]).scene
    return _of_extra(instruction, words, told[0], scene.shapes, scene.destinations if scene.goals else ())


def _of_extra(
    instruction: str, words: list[str], task: str, shapes: tuple[str, ...], places: tuple[str, ...]
) -> Request:
    """Thing and destination of an extra task, named in this order. Raises `BadValue`."""
    nouns = {n: s for s in (*shapes, *places) for n in NOUNS[s]}
    named = [(b if b in COLOURS else "", nouns[w]) for b, w in pairwise(["", *words]) if w in nouns]
    expected = 2 if places else 1
    example = phrase(tasks.sample(task), tasks.task(task).wordings[0])
    alike = len(named) == 2 and named[0] == named[1]
    if len(named) != expected or alike or named[0][1] not in shapes or (places and named[1][1] not in places):
        listed = " and ".join(
            " or ".join(NOUNS[s][0] for s in group) for group in ((shapes, places) if places else (shapes,))
        )
        raise BadValue(f"'{instruction}' does not name what {task} needs; expected a {listed}. Next: '{example}'")
    if "then" in words or any(w in THINGS and w not in nouns for w in words):
        raise BadValue(f"'{instruction}' asks for more than one thing; expected one. Next: one instruction for each")
    for joined, clause in clauses("".join(c if c.isalpha() or c in ",;.:!?" else " " for c in instruction.lower())):
        refuse_unknown_verb(clause, joined, tasks.task(task).verbs)
    (colour, shape), goal = named[0], named[1] if places else None
    if goal is not None and goal[1] == shape and not (colour and goal[0]):
        raise BadValue(f"'{instruction}' names two of a kind without their colours; expected both. Next: '{example}'")
    return Request(task, colour, shape, goal and goal[0], goal and goal[1])


def _things(instruction: str, words: list[str]) -> list[tuple[str, str]]:
    """(colour, shape) of everything named, each once. Raises for a thing without a colour and a colour without a thing."""
    nouns = {n: s for s, names in NOUNS_OF.items() for n in names}
    found: list[tuple[str, str]] = []
    for before, word, after in zip(["", *words], words, [*words[1:], ""], strict=False):
        if word in nouns:
            if before not in COLOURS:
                raise colourless(instruction, before, word)
            found.append((before, nouns[word]))
        elif word in COLOURS and after not in nouns:
            if after in ("", "and", "or", *COLOURS):
                raise BadValue(
                    f"'{word}' in '{instruction}' is the colour of nothing; expected one thing and its colour, such as "
                    f"'the {word} cube'. "
                    "Next: name one thing with its colour"
                )
            raise UnknownName("object", after, THINGS)
    return list(dict.fromkeys(found))


def _task_of(words: list[str], has_place: bool, direction: str | None) -> str | None:
    if any(w in VERBS_OF["push"] for w in words):
        return "push"
    verbs = {t for t, vs in VERBS_OF.items() if any(w in vs for w in words)}
    if has_place and "place" in verbs:
        return "place"
    if direction and "move" in words:
        return "push"
    for task in ("pick", "reach"):
        if task in verbs and not (task == "pick" and "reach" in words):
            return task
    return None
