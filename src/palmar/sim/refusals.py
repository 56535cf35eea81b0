"""What a typed sentence is refused for: it denies, it asks for more than one thing, or for what no task here knows."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator

from palmar.errors import BadValue, UnknownName
from palmar.sim.things import COLOURS
from palmar.sim.vocabulary import (
    GOING_ON,
    HAND,
    HARMLESS,
    HINTS,
    JOINS,
    MORE,
    NEGATIONS,
    NOT_THERE,
    OPENERS,
    PARTS,
    PLACES,
    POLITE,
    THINGS,
    VERBS,
    VERBS_OF,
)


def guess_of(words: list[str], known: Iterable[str], alike: float = 0.75) -> str:
    """ " Did you mean 'plate'?" when a word that means nothing here is nearly a known one."""
    strange = [w for w in words if not any(w in verbs for verbs in VERBS_OF.values())]
    near = [m for w in strange for m in difflib.get_close_matches(w, list(known), 1, alike)]
    return f" Did you mean '{near[0]}'?" if near else ""


def refuse_negations(instruction: str, words: list[str]) -> None:
    """Nothing here was ever told what to leave: the sentence would be obeyed as if the word were not there."""
    if wrong := next((w for w in words if w in NEGATIONS), None):
        raise BadValue(
            f"'{instruction}' says what not to do ('{wrong}'), and a policy here would obey the rest. "
            "Next: say what to do instead, such as 'push the yellow ball left'"
        )


def refuse_relations(instruction: str, words: list[str]) -> None:
    """ "out of the tray" and "next to the plate" must not become "in the tray" and "on the plate"."""
    for i, word in enumerate(words):
        if word in PLACES:
            wrong = next((w for w in words[max(0, i - 4) : i] if w in NOT_THERE), None)
            if wrong:
                raise BadValue(
                    f"'{wrong} … {word}' in '{instruction}': nothing here is trained on that; expected 'on the blue plate' "
                    "or 'in the red tray' as the place to put a thing, or no place at all. "
                    "Next: another way to say it"
                )


def refuse_other_verbs(instruction: str, task: str) -> None:
    """Whatever is asked for beside the task would be left out, as if it had not been said.

    A clause that begins like a command ("throw it") must begin with a verb that is known, and the verbs must be those of one
    task, in its order. Raises `UnknownName` for a verb, `BadValue` for a second task.
    """
    text = "".join(c if c.isalpha() or c in ",;.:!?" else " " for c in instruction.lower())
    steps, said = list(PARTS[task]), list[str]()
    at = 0
    for joined, clause in clauses(text):
        refuse_unknown_verb(clause, joined)
        for i, word in enumerate(clause):
            if word not in VERBS or any(w in HAND for w in clause[i + 1 : i + 4]):
                continue  # "put your hand over it" puts nothing
            senses = [t for t, verbs in VERBS_OF.items() if word in verbs] + list(MORE.get(word, ()))
            ranks = [steps.index(t) for t in senses if t in steps]
            later = [r for r in ranks if r >= at] or (ranks if word in GOING_ON and said else [])
            if not later:
                more = f" ('{said[-1]}' and '{word}')" if said else ""
                raise BadValue(
                    f"'{instruction}' asks for more than one thing{more}; expected one. Next: one instruction for each"
                )
            at, said = max(at, min(later)), [*said, word]


def clauses(text: str) -> Iterator[tuple[str, list[str]]]:
    """(what joins it to the clause before, its words) of a sentence in small letters."""
    joined: str = ""
    clause: list[str] = []
    for word in "".join(f" {c} " if c in ",;.:!?" else c for c in text).split():
        if word in JOINS or not word.isalpha():
            yield joined, clause
            joined, clause = word, []
        else:
            clause.append(word)
    yield joined, clause


def refuse_unknown_verb(clause: list[str], joined: str, more: tuple[str, ...] = ()) -> None:
    """Raise `UnknownName` when a clause begins like a command, and not with a verb that is known."""
    rest = [w for w in clause if w not in POLITE and not w.endswith("ly")]
    if not rest or rest[0] in (*VERBS, *more, *HINTS, *HARMLESS, *OPENERS, *COLOURS, *THINGS):
        return
    follows = rest[1] if len(rest) > 1 else ""
    if not joined:  # "let the gripper hover over …" begins with another verb than it means
        commands = follows in OPENERS and not any(w in VERBS for w in rest)
    else:
        commands = follows in (*OPENERS, *COLOURS) or (not follows and joined in ("and", "then"))
    if commands:
        raise UnknownName("verb", rest[0], (*more, *VERBS), alike=0.75)


def colourless(instruction: str, before: str, noun: str) -> BadValue | UnknownName:
    if before and before not in ("the", "a", "that"):
        return UnknownName("colour", before, COLOURS)
    example = f"say for example 'the red {noun}'. Colours: {', '.join(COLOURS)}"
    return BadValue(f"'{noun}' in '{instruction}' has no colour; {example}. Next: name its colour")
