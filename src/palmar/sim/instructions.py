"""What a typed sentence asks for, by its words: enough to lay the table. The policy reads the sentence itself."""

from __future__ import annotations

import difflib
import zlib
from dataclasses import dataclass

import numpy as np

from palmar.errors import BadValue, UnknownName
from palmar.sim.tasks import (
    COLOURS,
    DESTINATIONS,
    DIRECTIONS,
    HELD_OUT,
    NOUNS,
    SHAPES,
    TASKS,
    WORDINGS,
    Item,
    Scenario,
    lay_out,
    phrase,
)  # fmt: skip


@dataclass(frozen=True)
class Request:
    """What a typed instruction asks for, as far as the table must know to hold it."""

    task: str
    colour: str
    shape: str
    goal_colour: str | None = None
    goal_shape: str | None = None
    direction: str | None = None


_VERBS: dict[str, tuple[str, ...]] = {
    "push": ("push", "slide", "slides", "shove", "sweep", "nudge", "shift", "drive", "poke", "bump", "scoot"),
    "place": (
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
    "reach": (
        "reach",
        "hover",
        "stretch",
        "travel",
        "close",
        "wait",
        "keep",
        "swing",
        "go",
        "move",
        "approach",
        "point",
        "head",
        "position",
        "bring",
        "above",
        "over",
    ),
    "pick": (
        "pick",
        "lift",
        "grasp",
        "grab",
        "take",
        "raise",
        "get",
        "hold",
        "hoist",
        "grip",
        "seize",
        "fetch",
        "collect",
        "clutch",
        "pull",
        "carry",
        "fingers",
        "catch",
        "elevate",
        "snatch",
    ),
}


_NOT_THERE = (
    "out",
    "from",
    "off",
    "beside",
    "near",
    "behind",
    "under",
    "below",
    "between",
    "next",
)  # before a destination


def parse(instruction: str) -> Request:
    """Find task, object, destination and direction in a sentence by their words.

    Only to lay the table for a typed instruction: the policy reads the sentence itself.
    Raises `UnknownName` or `BadValue` that say what exists.
    """
    text = instruction.lower().replace("can you ", "")  # a question, not the thing called "can"
    words = "".join(c if c.isalpha() else " " for c in text).split()
    nouns = {n: s for s, names in NOUNS.items() for n in names}
    found: list[tuple[str, str]] = []
    for before, word in zip(["", *words], words, strict=False):
        if word in nouns:
            if before not in COLOURS:
                raise _colourless(instruction, before, word)
            found.append((before, nouns[word]))
    _refuse_relations(instruction, words, nouns)
    objects = [f for f in found if f[1] in SHAPES]
    places = [f for f in found if f[1] in DESTINATIONS]
    if not objects:
        colour = next((i for i, w in enumerate(words) if w in COLOURS), None)
        things = [n for s in SHAPES for n in NOUNS[s]]
        if colour is not None and colour + 1 < len(words):
            raise UnknownName("object", words[colour + 1], things)
        raise BadValue(f"no object in '{instruction}'; name one such as 'red cube'. Objects: {', '.join(things)}")
    direction = next((d for d in DIRECTIONS if d in words), None)
    task = _task_of(words, bool(places), direction)
    if places and task in ("pick", "reach"):
        raise BadValue(
            f"'{instruction}' names a place but not what to do there; say 'put … on' or 'put … in', or leave the place out"
        )
    if task is None and any(w in _VERBS["place"] for w in words):
        there = ", ".join(n for s in DESTINATIONS for n in NOUNS[s])
        raise BadValue(
            f"'{instruction}' does not say where; say for example 'on the blue plate'. Destinations: {there}"
        )
    if task is None:
        known = [v for verbs in _VERBS.values() for v in verbs]
        near = [m for w in words[:2] for m in difflib.get_close_matches(w, known, 1, 0.6)]
        guess = f" Did you mean '{near[0]}'?" if near else ""
        raise BadValue(f"no task word in '{instruction}'.{guess} Tasks: {', '.join(TASKS)} (and words like them)")
    if task == "push" and direction is None:
        raise BadValue(f"'{instruction}' does not say which way; expected one of {', '.join(DIRECTIONS)}")
    asked_colour, asked_shape = objects[0]
    goal_colour, goal_shape = places[0] if task == "place" and places else (None, None)
    return Request(task, asked_colour, asked_shape, goal_colour, goal_shape, direction if task == "push" else None)


def _refuse_relations(instruction: str, words: list[str], nouns: dict[str, str]) -> None:
    """ "out of the tray" and "next to the plate" must not become "in the tray" and "on the plate"."""
    for i, word in enumerate(words):
        if nouns.get(word) in DESTINATIONS:
            wrong = next((w for w in words[max(0, i - 4) : i] if w in _NOT_THERE), None)
            if wrong:
                raise BadValue(
                    f"'{wrong} … {word}' in '{instruction}': nothing here is trained on that; expected 'on the blue plate' "
                    "or 'in the red tray' as the place to put a thing, or no place at all"
                )


def _colourless(instruction: str, before: str, noun: str) -> BadValue | UnknownName:
    if before and before not in ("the", "a", "that"):
        return UnknownName("colour", before, COLOURS)
    example = f"say for example 'the red {noun}'. Colours: {', '.join(COLOURS)}"
    return BadValue(f"'{noun}' in '{instruction}' has no colour; {example}")


def _task_of(words: list[str], has_place: bool, direction: str | None) -> str | None:
    if any(w in _VERBS["push"] for w in words):
        return "push"
    verbs = {t for t, vs in _VERBS.items() if any(w in vs for w in words)}
    if has_place and "place" in verbs:
        return "place"
    if direction and "move" in words:
        return "push"
    for task in ("pick", "reach"):
        if task in verbs and not (task == "pick" and "reach" in words):
            return task
    return None


def scenario_for(request: Request, seed: int = 0, distractors: int = 2) -> Scenario:
    """A table for a typed request: the object asked for, the destination if any, and distractors."""
    if seed < 0:
        raise BadValue(f"seed is {seed}; expected 0 or more")
    rng = np.random.default_rng([7, seed])
    asked = (request.shape, request.colour)
    spare = [(s, c) for c in COLOURS for s in SHAPES if (s, c) != asked and (c, s) not in HELD_OUT]
    kinds = [asked, *(spare[i] for i in rng.permutation(len(spare))[:distractors])]
    goal = None
    if request.task == "place":
        if request.goal_shape is None or request.goal_colour is None:
            raise BadValue(
                f"place needs a destination; say for example 'on the blue plate'. Known: {', '.join(DESTINATIONS)}"
            )
        goal = len(kinds)
        other = [c for c in COLOURS if c != request.goal_colour]
        kinds += [(request.goal_shape, request.goal_colour), ("plate", other[rng.integers(len(other))])]
    items = lay_out(kinds, rng, request.direction)
    return Scenario(request.task, "", items, 0, goal, request.direction, seed, "layout")


MANY = 20  # wordings of one request: encoding each takes time, and other requests bring the other wordings


def paraphrases(instruction: str) -> list[str]:
    """Up to `MANY` training wordings of what an instruction asks, synonyms included, another choice for each request; the
    instruction itself when it is not ours."""
    try:
        request = parse(instruction)
    except (UnknownName, BadValue):
        return [instruction]
    items = [Item(request.shape, request.colour, 0, 0)]
    goal = None
    if request.goal_shape and request.goal_colour:
        items, goal = [*items, Item(request.goal_shape, request.goal_colour, 0, 0)], 1
    asked = Scenario(request.task, "", tuple(items), 0, goal, request.direction)
    flips = [(a, b) for a in (False, True) for b in ((False, True) if goal else (False,))]
    texts = sorted({phrase(asked, w, f) for w in WORDINGS[request.task] for f in flips})
    rng = np.random.default_rng(zlib.crc32(repr(request).encode()))
    return [texts[i] for i in sorted(rng.permutation(len(texts))[:MANY])]
