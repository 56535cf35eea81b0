"""What a typed sentence asks for, by its words: enough to lay the table. The policy reads the sentence itself."""

from __future__ import annotations

import difflib
import re
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from palmar.errors import BadValue, UnknownName
from palmar.sim import tasks
from palmar.sim.scenario import HELD_OUT, Scenario, lay_out, phrase
from palmar.sim.task import Task
from palmar.sim.things import COLOURS, DESTINATIONS, NOUNS, SHAPES, Item

ROBOT = "arm7"  # whose tasks a typed sentence may ask for in words of one's own
TASKS = tasks.usual(ROBOT)
EXTRA = tuple(n for n in tasks.names(ROBOT) if n not in TASKS)


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


_VERBS: dict[str, tuple[str, ...]] = {n: tasks.task(n).verbs for n in TASKS}
_HINTS = ("belongs", "should", "like", "above", "over", "close", "fingers", "slides")  # tell a task, and are no verbs
VERBS = tuple(dict.fromkeys(v for verbs in _VERBS.values() for v in verbs if v not in _HINTS))
_STILL = ("keep", "hold", "wait", "leave")  # after another verb, the same hand goes on doing it
_MORE = {"move": ("push",), "bring": ("pick",)}  # what else they may mean beside another verb
_PARTS = {n: tasks.task(n).parts for n in TASKS}
"""What a task is made of, in this order: whoever picks has reached."""
_HAND = ("hand", "gripper", "arm", "fingers", "claw")
_JOINS = ("and", "then", "but", "before", "after", "while", "or")
_POLITE = ("please", "now", "then", "also", "just", "robot", "first", "next", "once", "again", "thanks", "thank", "ok")
_HARMLESS = ("be", "do", "stop", "stay", "come", "to", "so")  # "and stop above it", "and be careful"
_OPENERS = ("it", "them", "this", "that", "the", "a", "an", "its", "up", "down", "away", "around", "over", "off")
"""What follows a verb."""


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


EXAMPLE = "pick up the red cube"
_NEGATIONS = (
    "not",
    "dont",
    "doesnt",
    "cannot",
    "never",
    "no",
    "nor",
    "neither",
    "nothing",
    "without",
    "except",
    "avoid",
    "refuse",
    "refrain",
)
_NOUNS = {shape: NOUNS[shape] for shape in (*SHAPES, *DESTINATIONS)}
_DIRECTIONS = tuple(d for n in TASKS for d in tasks.task(n).scene.directions)
_THINGS = tuple(n for names in _NOUNS.values() for n in names)
_OBJECTS = tuple(n for s in SHAPES for n in NOUNS[s])
_PLACES = tuple(n for s in DESTINATIONS for n in NOUNS[s])


def parse(instruction: str) -> Request:
    """Find task, object, destination and direction in a sentence by their words.

    Only to lay the table for a typed instruction: the policy reads the sentence itself.
    Raises `UnknownName` or `BadValue` that say what exists.
    """
    text = instruction.lower().replace("’", "'").replace("n't", " not")
    text = text.replace("can you ", "")  # a question, not the thing called "can"
    words = "".join(c if c.isalpha() else " " for c in text).split()
    _refuse_negations(instruction, words)
    if extra := _extra(instruction, words):
        return extra
    found = _things(instruction, words)
    _refuse_relations(instruction, words)
    objects = [f for f in found if f[1] in SHAPES]
    places = [f for f in found if f[1] in DESTINATIONS]
    if not objects:
        raise BadValue(
            f"no object in '{instruction}'.{_guess(words, _OBJECTS)} Say for example '{EXAMPLE}'. "
            f"Objects: {', '.join(_OBJECTS)}. "
            "Next: name an object and its colour"
        )
    for what, named in (("objects", objects), ("places", places)):
        if len(named) > 1:
            listed = ", ".join(" ".join(n) for n in named)
            raise BadValue(
                f"'{instruction}' names {len(named)} {what} ({listed}); expected one. Next: one instruction for each, "
                f"such as '{EXAMPLE}' or 'put the red cube on the blue plate'"
            )
    directions = [d for d in _DIRECTIONS if d in words]
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
        _refuse_other_verbs(instruction, task)
    if task is None and any(w in _VERBS["place"] for w in words):
        raise BadValue(
            f"'{instruction}' does not say where; say for example 'on the blue plate'.{_guess(words, _PLACES)} "
            f"Destinations: {', '.join(_PLACES)}. "
            "Next: name the place"
        )
    if task is None:
        guess = _guess(words[:2], [v for verbs in _VERBS.values() for v in verbs], 0.6)
        raise BadValue(
            f"no task word in '{instruction}'.{guess} Tasks: {', '.join(TASKS)} (and words like them); say for example "
            f"'{EXAMPLE}'. "
            "Next: begin with a task"
        )
    if task == "push" and direction is None:
        raise BadValue(
            f"'{instruction}' does not say which way; expected one of {', '.join(_DIRECTIONS)}. Next: say one of them"
        )
    asked_colour, asked_shape = objects[0]
    goal_colour, goal_shape = places[0] if task == "place" and places else (None, None)
    return Request(task, asked_colour, asked_shape, goal_colour, goal_shape, direction if task == "push" else None)


_OWN = {
    n: shape
    for task in EXTRA
    for shape in tasks.task(task).scene.shapes
    if shape not in (*SHAPES, *DESTINATIONS)
    for n in NOUNS[shape]
}
"""Words for things that only extra tasks ask for, by which those are told: "slide" alone means to push."""


def _extra(instruction: str, words: list[str]) -> Request | None:
    """What a sentence asks of an extra task: of things that only these have ("slide the puck …"), or with a verb that only these
    have ("stack …"); None where it does neither. A colour may be left out where the thing stands alone on its table."""
    shape = next((_OWN[w] for w in words if w in _OWN), None)
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
    if "then" in words or any(w in _THINGS and w not in nouns for w in words):
        raise BadValue(f"'{instruction}' asks for more than one thing; expected one. Next: one instruction for each")
    for joined, clause in _clauses("".join(c if c.isalpha() or c in ",;.:!?" else " " for c in instruction.lower())):
        _refuse_unknown_verb(clause, joined, tasks.task(task).verbs)
    (colour, shape), goal = named[0], named[1] if places else None
    if goal is not None and goal[1] == shape and not (colour and goal[0]):
        raise BadValue(f"'{instruction}' names two of a kind without their colours; expected both. Next: '{example}'")
    return Request(task, colour, shape, goal and goal[0], goal and goal[1])


def _things(instruction: str, words: list[str]) -> list[tuple[str, str]]:
    """(colour, shape) of everything named, each once. Raises for a thing without a colour and a colour without a thing."""
    nouns = {n: s for s, names in _NOUNS.items() for n in names}
    found: list[tuple[str, str]] = []
    for before, word, after in zip(["", *words], words, [*words[1:], ""], strict=False):
        if word in nouns:
            if before not in COLOURS:
                raise _colourless(instruction, before, word)
            found.append((before, nouns[word]))
        elif word in COLOURS and after not in nouns:
            if after in ("", "and", "or", *COLOURS):
                raise BadValue(
                    f"'{word}' in '{instruction}' is the colour of nothing; expected one thing and its colour, such as "
                    f"'the {word} cube'. "
                    "Next: name one thing with its colour"
                )
            raise UnknownName("object", after, _THINGS)
    return list(dict.fromkeys(found))


def _guess(words: list[str], known: Iterable[str], alike: float = 0.75) -> str:
    """ " Did you mean 'plate'?" when a word that means nothing here is nearly a known one."""
    strange = [w for w in words if not any(w in verbs for verbs in _VERBS.values())]
    near = [m for w in strange for m in difflib.get_close_matches(w, list(known), 1, alike)]
    return f" Did you mean '{near[0]}'?" if near else ""


def _refuse_negations(instruction: str, words: list[str]) -> None:
    """Nothing here was ever told what to leave: the sentence would be obeyed as if the word were not there."""
    if wrong := next((w for w in words if w in _NEGATIONS), None):
        raise BadValue(
            f"'{instruction}' says what not to do ('{wrong}'), and a policy here would obey the rest. "
            "Next: say what to do instead, such as 'push the yellow ball left'"
        )


def _refuse_relations(instruction: str, words: list[str]) -> None:
    """ "out of the tray" and "next to the plate" must not become "in the tray" and "on the plate"."""
    for i, word in enumerate(words):
        if word in _PLACES:
            wrong = next((w for w in words[max(0, i - 4) : i] if w in _NOT_THERE), None)
            if wrong:
                raise BadValue(
                    f"'{wrong} … {word}' in '{instruction}': nothing here is trained on that; expected 'on the blue plate' "
                    "or 'in the red tray' as the place to put a thing, or no place at all. "
                    "Next: another way to say it"
                )


def _refuse_other_verbs(instruction: str, task: str) -> None:
    """Whatever is asked for beside the task would be left out, as if it had not been said.

    A clause that begins like a command ("throw it") must begin with a verb that is known, and the verbs must be those of one
    task, in its order. Raises `UnknownName` for a verb, `BadValue` for a second task.
    """
    text = "".join(c if c.isalpha() or c in ",;.:!?" else " " for c in instruction.lower())
    steps, said = list(_PARTS[task]), list[str]()
    at = 0
    for joined, clause in _clauses(text):
        _refuse_unknown_verb(clause, joined)
        for i, word in enumerate(clause):
            if word not in VERBS or any(w in _HAND for w in clause[i + 1 : i + 4]):
                continue  # "put your hand over it" puts nothing
            senses = [t for t, verbs in _VERBS.items() if word in verbs] + list(_MORE.get(word, ()))
            ranks = [steps.index(t) for t in senses if t in steps]
            later = [r for r in ranks if r >= at] or (ranks if word in _STILL and said else [])
            if not later:
                more = f" ('{said[-1]}' and '{word}')" if said else ""
                raise BadValue(
                    f"'{instruction}' asks for more than one thing{more}; expected one. Next: one instruction for each"
                )
            at, said = max(at, min(later)), [*said, word]


def _clauses(text: str) -> Iterator[tuple[str, list[str]]]:
    """(what joins it to the clause before, its words) of a sentence in small letters."""
    joined: str = ""
    clause: list[str] = []
    for word in "".join(f" {c} " if c in ",;.:!?" else c for c in text).split():
        if word in _JOINS or not word.isalpha():
            yield joined, clause
            joined, clause = word, []
        else:
            clause.append(word)
    yield joined, clause


def _refuse_unknown_verb(clause: list[str], joined: str, more: tuple[str, ...] = ()) -> None:
    """Raise `UnknownName` when a clause begins like a command, and not with a verb that is known."""
    rest = [w for w in clause if w not in _POLITE and not w.endswith("ly")]
    if not rest or rest[0] in (*VERBS, *more, *_HINTS, *_HARMLESS, *_OPENERS, *COLOURS, *_THINGS):
        return
    follows = rest[1] if len(rest) > 1 else ""
    if not joined:  # "let the gripper hover over …" begins with another verb than it means
        commands = follows in _OPENERS and not any(w in VERBS for w in rest)
    else:
        commands = follows in (*_OPENERS, *COLOURS) or (not follows and joined in ("and", "then"))
    if commands:
        raise UnknownName("verb", rest[0], (*more, *VERBS), alike=0.75)


def _colourless(instruction: str, before: str, noun: str) -> BadValue | UnknownName:
    if before and before not in ("the", "a", "that"):
        return UnknownName("colour", before, COLOURS)
    example = f"say for example 'the red {noun}'. Colours: {', '.join(COLOURS)}"
    return BadValue(f"'{noun}' in '{instruction}' has no colour; {example}. Next: name its colour")


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


def paraphrases(instruction: str) -> list[str]:
    """Up to `MANY` training wordings of what an instruction asks, synonyms included, another choice for each request; the
    instruction itself when it is not ours."""
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
    rng = np.random.default_rng(zlib.crc32(repr(_key(asked)).encode()))
    return [texts[i] for i in sorted(rng.permutation(len(texts))[:MANY])]


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
