"""Which of several things a name means, by where they are: "the leftmost", "left of the can", "that lies on the plate"."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from palmar.agent.rules.vocabulary import PAINT
from palmar.agent.seen import SeenObject


def extreme(before: Sequence[str], fits: list[SeenObject]) -> list[SeenObject]:
    """ "the leftmost", "the nearest": positions are of the base frame, left is +y, away from the robot +x."""
    measures: dict[str, Callable[[tuple[float, float, float]], float]] = {
        "leftmost": lambda p: -p[1], "rightmost": lambda p: p[1], "nearest": lambda p: float(p[0] ** 2 + p[1] ** 2),
        "closest": lambda p: float(p[0] ** 2 + p[1] ** 2), "farthest": lambda p: -float(p[0] ** 2 + p[1] ** 2),
        "furthest": lambda p: -float(p[0] ** 2 + p[1] ** 2),
    }  # fmt: skip
    word = next((w for w in before[-3:] if w in measures), "")
    if not word or not fits or any(t.position is None for t in fits):
        return fits
    return [min(fits, key=lambda t: measures[word](t.position or (0.0, 0.0, 0.0)))]


def placed_so(
    words: Sequence[str],
    start: int,
    fits: list[SeenObject],
    nouns: Mapping[str, Sequence[SeenObject]],
    said: str,
    taken: int,
) -> tuple[list[SeenObject], int, str]:
    """A relation after the noun narrows it: "left of the blue can", "that lies on the plate"."""
    at = start
    while at < len(words) and words[at] in (
        "that",
        "which",
        "is",
        "are",
        "lies",
        "lying",
        "stands",
        "standing",
        "sits",
        "to",
        "the",
    ):
        at += 1
    relation = words[at] if at < len(words) else ""
    linked = at > start or (relation in ("left", "right") and words[at + 1 : at + 2] == ["of"])
    if relation in ("left", "right", "front", "behind", "beyond") and linked:
        of = at + 1
        if words[of : of + 1] == ["of"]:
            of += 1
        elif relation != "behind":
            return fits, taken, said
        if words[of : of + 1] == ["the"]:
            of += 1
        anchor = named_at(words, of, nouns)
        if anchor is None or anchor[0].position is None:
            return fits, taken, said
        x, y, _ = anchor[0].position
        tests: dict[str, Callable[[tuple[float, float, float]], bool]] = {
            "left": lambda p: p[1] > y, "right": lambda p: p[1] < y, "front": lambda p: p[0] < x, "behind": lambda p: p[0] > x,
            "beyond": lambda p: p[0] > x,
        }  # fmt: skip
        fits = [t for t in fits if t != anchor[0] and t.position is not None and tests[relation](t.position)]
        if len(fits) > 1:  # the nearest of those that stand there is meant
            fits = [min(fits, key=lambda t: (t.position[0] - x) ** 2 + (t.position[1] - y) ** 2 if t.position else 9.0)]
        return fits, anchor[1] - (start - taken), f"{said} {relation} of the {anchor[0].name}"
    if relation in ("on", "in") and at > start and words[start] in ("that", "which"):
        of = at + 1 + (words[at + 1 : at + 2] == ["the"])
        anchor = named_at(words, of, nouns)
        if anchor is not None:
            fits = [t for t in fits if t.on == anchor[0].name]
            return fits, anchor[1] - (start - taken), f"{said} {relation} the {anchor[0].name}"
    return fits, taken, said


def named_at(words: Sequence[str], i: int, nouns: Mapping[str, Sequence[SeenObject]]) -> tuple[SeenObject, int] | None:
    """The one thing that is named at word i, and the word after it."""
    colour, at = (words[i], i + 1) if i < len(words) and words[i] in PAINT else ("", i)
    if at >= len(words) or words[at] not in nouns:
        return None
    fits = [t for t in nouns[words[at]] if not colour or colour in t.name.split()]
    return (fits[0], at + 1) if len(fits) == 1 else None
