"""What a clause says beside its command and its things: a way, a way back, where a thing lies, that it is held."""

from __future__ import annotations

from collections.abc import Sequence

from palmar.agent.rules.references import Mentions
from palmar.agent.rules.vocabulary import BACK, HAND, OF_A_THING, PLACE_NOUNS
from palmar.sim.things import COLOURS
from palmar.sim.vocabulary import DIRECTIONS


def goes_back(words: Sequence[str], placed: bool) -> bool:
    """Whether a clause asks for a way back: "back towards you", and not "back onto the plate"."""
    for i, word in enumerate(words):
        if word in BACK and not (
            word == "back"
            and placed
            and words[i + 1 : i + 2]
            and words[i + 1] in ("on", "onto", "in", "into", "to", "over")
        ):
            return True
    return False


def on_the_table(words: Sequence[str]) -> bool:
    return any(w == "table" and {"on", "onto", "to"} & set(words[max(0, i - 2) : i]) for i, w in enumerate(words))


def says_held(words: Sequence[str]) -> bool:
    """Whether a clause says of a thing that the gripper has it: "keep it in the air", "keep hold of the ball"."""
    return bool({"hold", "holding", "held", "air", "up", "grip", "gripping", "lifted", "raised", *HAND} & set(words))


def only_stands_there(words: Sequence[str], i: int) -> bool:
    """ "left of the can" is where a thing is, "put it away" no way to go."""
    return list(words[i + 1 : i + 3]) in OF_A_THING or (words[i] == "away" and words[i + 1 : i + 2] != ("from",))


def way_before_place(words: Sequence[str], found: Mentions) -> str:
    """The way of "the ball left to the plate"; "" for "to the left plate", "to the plate on the left"."""
    nouns = {w for p in found.places for w in p.name.split()} | PLACE_NOUNS
    at = next((i for i, w in enumerate(words) if w in PLACE_NOUNS), 0)
    ways = [i for i, w in enumerate(words[:at]) if w in DIRECTIONS and not only_stands_there(words, i)]
    return next((words[i] for i in ways if words[i + 1] not in (*nouns, *COLOURS, "one")), "")


def where_it_lies(words: Sequence[str]) -> bool:
    """Whether the place is named with on or in alone, as where a thing lies is: "lift the cube on the plate"."""
    return bool({"on", "in"} & set(words)) and not {"onto", "into", "to", "then", "and"} & set(words)


def ends_with_a_way(words: Sequence[str]) -> str:
    """The way of "lift the ball to the left"; "" for "lift the ball on the left"."""
    along = words[-2:-1] not in (["the"], ("the",)) or list(words[-3:-1]) == ["to", "the"]
    return words[-1] if words[-1] in DIRECTIONS and along else ""
