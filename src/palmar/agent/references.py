"""Which things of a scene a clause means: by colour and noun, by where they are, by "it", "everything" and "the other one"."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from palmar.agent.clauses import (
    ALL,
    ANOTHER,
    ANY,
    COMMANDS,
    FILLERS,
    IDLE,
    JOBS,
    NUMBERS,
    PASSIVE,
    POLITE,
    SMALL,
    STOPS,
    WAYS,
    base_form,
    repeats,
    words_of,
)
from palmar.agent.plans import Question, Refusal
from palmar.agent.seen import SceneDescription, SeenObject
from palmar.sim.things import COLOURS, NOUNS
from palmar.sim.vocabulary import NEGATIONS

PLACES = ("place", "places", "destination", "destinations")
PAINT = (
    *COLOURS,
    "orange",
    "black",
    "white",
    "pink",
    "grey",
    "gray",
    "brown",
    "violet",
    "cyan",
    "magenta",
    "golden",
    "silver",
)
BESIDE = (
    "with", "past", "after", "from", "by", "using", "against", "near", "around", "behind", "beyond", "along", "toward", "towards",
    "at", "like", "via", "opposite", "off",
)  # fmt: skip
"""Before a second thing: it is not one of those that are moved."""
OVER = ("over", "above", "across", "through")
"""Before a thing: the gripper goes over it, and nothing else does."""


@dataclass(slots=True)
class Mention:
    """What a clause says of one thing or group. at: position of its noun among the words; after: the preposition before it.
    count: how many there are to be, 0 where no number is said. plural: several are said, and not "all the balls". unread: why it
    means nothing that is read here, "" where it does."""

    candidates: list[SeenObject]
    said: str
    at: int
    after: str = ""
    many: bool = False
    count: int = 0
    plural: bool = False
    unread: str = ""


@dataclass(slots=True)
class Mentions:
    """What a clause names. many_places: a group of them ("the plates"). beneath: a thing that another is said to be put on.
    own_colour: the places are those of each thing's colour. over: "over", "past" and the like
    before a thing that something goes over, or a place that it goes by. loose: the words that name a place without on or in."""

    objects: list[SeenObject] = field(default_factory=list)
    places: list[SeenObject] = field(default_factory=list)
    many_places: bool = False
    beneath: SeenObject | None = None
    own_colour: bool = False
    beside: str | None = None
    over: str = ""
    loose: str = ""


Answer = Callable[[str], str | None]
"""What a person answered to a question, None when it was not asked."""


def mentioned(
    words: Sequence[str], scene: SceneDescription, last: Sequence[str], answer: Answer, before: Sequence[str] = ()
) -> Mentions | Question | Refusal:
    """before: names of all that was named so far, for "the remaining one".

    The things of a clause in its order. A name that fits several is a question, one that fits none a refusal."""
    found = Mentions()
    moved = False  # one was named that is not only gone over
    for mention in _mentions(words, scene, last, before):
        if own_colour(words, mention.at) and any(t.fixed for t in mention.candidates):
            found.own_colour = True
            continue
        chosen_now = _chosen(mention, answer)
        if not isinstance(chosen_now, list):
            return chosen_now
        for thing in chosen_now:
            group = found.places if thing.fixed else found.objects
            if thing not in group:
                group.append(thing)
        if chosen_now[0].fixed and mention.after not in (*BESIDE, *OVER) and not found.loose:
            found.loose = _loosely_named(words, mention.at)
        if mention.after in BESIDE and len(found.objects) > 1 and not chosen_now[0].fixed:
            found.beside = mention.after
        if mention.after in OVER:
            found.over = mention.after
            if moved and not chosen_now[0].fixed:
                found.beside = mention.after
        elif mention.after in BESIDE and chosen_now[0].fixed:
            found.over = mention.after
        moved = moved or (mention.after not in OVER and not chosen_now[0].fixed)
        if (
            mention.after in ("on", "onto", "in", "into")
            and not chosen_now[0].fixed
            and (len(found.objects) > 1 or found.places)
        ):
            found.beneath = chosen_now[0]
        found.many_places = found.many_places or (mention.many and chosen_now[0].fixed)
    return found


def own_colour(words: Sequence[str], at: int) -> bool:
    """ "the plate of its own colour", "the plates of their colours", "the tray that matches its colour"."""
    after = set(words[at : at + 7])
    if not {"colour", "color", "colours", "colors"} & after:
        return False
    return bool({"matches", "match", "matching"} & after) or (
        "of" in after and bool({"own", "same", "its", "their"} & after)
    )


def _chosen(mention: Mention, answer: Answer) -> list[SeenObject] | Question | Refusal:
    if mention.unread:
        return Refusal(mention.unread)
    if not mention.candidates:
        return Refusal(f"there is no {mention.said} here")
    if mention.count and len(mention.candidates) != mention.count:
        return Refusal(
            f"{len(mention.candidates)} fit '{mention.said}', not {mention.count}; expected each by its name"
        )
    if mention.plural and len(mention.candidates) == 1 and not mention.candidates[0].fixed:
        return Refusal(
            f"there is one {mention.candidates[0].name}, not several {mention.said}; expected it by its name"
        )
    if mention.many or len(mention.candidates) == 1:
        return mention.candidates
    names = tuple(t.name for t in mention.candidates)
    text = f"Which {mention.said} do you mean: {', '.join(names)}?"
    said = answer(text)
    one = None if said is None else chosen(said, names)
    return Question(text, names) if one is None else [t for t in mention.candidates if t.name == one]


def chosen(said: str, choices: Sequence[str]) -> str | None:
    """Which of the choices an answer means, by a word that it alone has; None where it denies, or fits none or several."""
    words = set(words_of(said))
    if words & {*NEGATIONS, "but", "rather", "than", "nowhere", "except", "other"}:
        return None
    fits = [c for c in choices if words & _own(c, choices)]
    return fits[0] if len(fits) == 1 else None


def _own(choice: str, choices: Sequence[str]) -> set[str]:
    """The words of a choice and their synonyms, without those that another choice has too."""

    def wide(name: str) -> set[str]:
        return {n for w in name.split() for n in next((g for g in NOUNS.values() if w in g), (w,))}

    return wide(choice) - {w for c in choices if c != choice for w in wide(c)}


def not_understood(words: Sequence[str], scene: SceneDescription) -> str | None:
    """The first word of a clause that nothing here reads, None where there is none: "twice", "half", "yesterday"."""
    nouns = nouns_of(scene)
    known = {*SMALL, *IDLE, *NUMBERS, *ANY, *ALL, *PLACES, *PAINT, *POLITE, *PASSIVE, *FILLERS, *nouns, ",", ":"}
    known |= {w for t in scene.things for w in t.name.split()} | {*WAYS}
    for i, word in enumerate(words):
        if (word in NUMBERS and word != "both") or word.isdecimal():
            if _counts(words, i, nouns):
                continue
            return word
        if word.isalpha() and words[max(0, i - 1) : i] and words[i - 1] in ("the", "a", "an", "that"):
            continue  # a thing that is not here: `mentioned` says so
        if word in ("one", "ones") and i and words[i - 1] in ANOTHER and words[i - 1] != "other":
            return word  # "another one", "the second one"
        if word == "mind" and words[max(0, i - 1) : i] == ["you"]:
            continue  # "would you mind pushing"
        if word in known or word in OWNERS or word.rstrip("s") in nouns or base_form(word) in COMMANDS:
            continue
        return word
    return repeats(words)


OWNERS = ("robot's", "gripper's", "arm's", "hand's", "table's")
"""The robot's left is the left of directions; a thing's or a person's is not."""


def _mentions(
    words: Sequence[str], scene: SceneDescription, last: Sequence[str], earlier: Sequence[str]
) -> list[Mention]:
    nouns = nouns_of(scene)
    out: list[Mention] = []
    i = 0
    while i < len(words):
        word = words[i]
        before = [w for w in words[max(0, i - 4) : i]]
        mention: Mention | None = None
        taken = 1
        colour, ends = (word, i + 1) if word in PAINT else ("", i)
        noun = words[ends] if ends < len(words) else ""
        plural = noun not in nouns and noun.endswith("s") and noun[:-1] in nouns
        kind = noun[:-1] if plural else noun
        if (
            kind in nouns
            or (noun in ANY and word not in ("one", "ones") and (colour or _points(before) or noun in ALL))
            or (noun in ("one", "ones") and (colour or "other" in before[-2:]))
        ):
            named = nouns[kind] if kind in nouns else list(scene.free)
            fits = [t for t in named if not colour or colour in t.name.split()]
            fits = _other(before, fits, last, earlier)
            said = f"{colour} {noun}".strip()
            count = _count(words, i)
            many = plural or noun in ALL or count > 1 or bool({"all", "every", "each", "both"} & set(before[-3:]))
            fits, taken, said = _placed_so(words, ends + 1, fits, scene, said, taken=ends + 1 - i)
            fits = _extreme(before, fits)
            if words[max(0, i - 4) : i].count("of") and "one" in before and not colour:
                many = False  # "one of the balls"
            several = len(out) > 0 and (out[-1].many or len(out) > 1) and bool({"a", "an"} & set(before[-1:]))
            mention = Mention(
                fits,
                said,
                i,
                many=many or (several and all(t.fixed for t in fits)),
                count=count if noun.endswith("s") or (count > 1 and "both" not in before) else 0,
                plural=plural and not {"all", "any", "every", "of", "other", "remaining"} & set(before),
            )
        elif colour and ends < len(words) and noun not in SMALL and noun not in PAINT and noun.isalpha():
            mention, taken = Mention([], f"{colour} {noun}", i), 2
        elif colour:
            fits = [t for t in scene.things if colour in t.name.split()]
            mention = Mention(fits, f"{colour} one", i)
        elif word == "all" and _all_says_nothing(words, i, out):
            pass
        elif word == "all" and out and not _noun_follows(words, i, nouns):
            unread = f"'all' behind '{out[-1].said}' is not read; expected each thing by its name"
            mention = Mention([], word, i, unread=unread)
        elif word == "both" and out and (len(out) > 1 or out[-1].many):
            pass  # "the cube and the ball both"
        elif word in ("everything", "both", "all") and not _noun_follows(words, i, nouns):
            two = [*dict.fromkeys(n for n in earlier if any(t.name == n for t in scene.free))][-2:]
            group = two if word == "both" and len(two) == 2 else [t.name for t in scene.free]
            unread = ""
            if other := next((w for w in words[i + 1 : i + 4] if w in ("else", "rest")), None):
                left_out = {*earlier, *(t.name for m in out for t in m.candidates)}
                group = [n for n in group if n not in left_out]
                unread = "" if left_out else f"'{word} … {other}' leaves something out; expected each thing by its name"
            count = 2 if word == "both" else 0
            mention = Mention(
                [t for t in scene.free if t.name in group], word, i, many=True, count=count, unread=unread
            )
        elif (
            word in NUMBERS
            and {"other", "the", "all"} & set(before[-2:])
            and not _counts_a_name(words, i, nouns)
            and _bare(words, i)
        ):
            fits = _other(before, list(scene.free), last, earlier)
            mention = Mention(fits if len(fits) == NUMBERS[word] else [], f"{word} things", i, many=True)
        elif word in ("it", "them") or (word in ("that", "this") and _alone(words, i)):
            names = last[-1:] if word != "them" else _them(scene, last, earlier)
            taken = 2 if words[i + 1 : i + 2] == ["one"] else 1
            mention = Mention([t for t in scene.things if t.name in names], word, i, many=True) if names else None
        elif _unknown(words, i, nouns):
            mention = Mention([], word, i)
        if mention is not None:
            mention.after = _preposition(words, i)
            out.append(mention)
        i += max(1, taken)
    return out


def nouns_of(scene: SceneDescription) -> dict[str, list[SeenObject]]:
    """{noun, synonyms too: things it may name}."""
    out: dict[str, list[SeenObject]] = {}
    for thing in scene.things:
        noun = thing.name.split()[-1]
        for synonym in next((n for n in NOUNS.values() if noun in n), (noun,)):
            out.setdefault(synonym, []).append(thing)
    for names in NOUNS.values():  # known nouns that nothing here has are still nouns
        for synonym in names:
            out.setdefault(synonym, [])
    for place in PLACES:
        out[place] = list(scene.fixed) if place.endswith("s") else []
    del out["place"]
    return out


def _count(words: Sequence[str], i: int) -> int:
    """How many the number before a noun says, 0 for none: "the two red cubes", "3 balls"."""
    at = _number_before(words, i)
    return 0 if at is None else NUMBERS.get(words[at]) or int(words[at])


def _number_before(words: Sequence[str], i: int) -> int | None:
    """Where the number of what is named at word i stands."""
    for at in range(i - 1, max(-1, i - 4), -1):
        if words[at] in NUMBERS or words[at].isdecimal():
            return at
        if words[at] not in ("small", "little", "big", "other", "of", "the", "single", *PAINT):
            return None
    return None


def _counts_a_name(words: Sequence[str], i: int, nouns: Mapping[str, object]) -> bool:
    """Whether the number at word i is that of a name after it, as `_count` reads it."""
    for at in range(i + 1, min(i + 4, len(words))):
        noun = words[at + 1] if words[at] in PAINT and at + 1 < len(words) else words[at]
        if (_is_noun(noun, nouns) or noun in ANY) and _number_before(words, at) == i:
            return True
    return False


def without_excluded(words: Sequence[str], scene: SceneDescription) -> tuple[list[str], set[str]] | None:
    """The words without what follows "instead of", and the names of what that leaves out; None where it is not one thing."""
    nouns = nouns_of(scene)
    kept, excluded, i = list[str](), set[str](), 0
    while i < len(words):
        if list(words[i : i + 2]) != ["instead", "of"]:
            kept.append(words[i])
            i += 1
            continue
        at = i + 2 + (words[i + 2 : i + 3] in (["the"], ["this"], ["that"]))
        colour, at = (words[at], at + 1) if words[at : at + 1] and words[at] in PAINT else ("", at)
        if at >= len(words) or words[at] not in nouns or not _ends_there(words, at + 1, kept):
            return None
        excluded |= {t.name for t in nouns[words[at]] if not colour or colour in t.name.split()}
        i = at + 1
    return kept, excluded


def _ends_there(words: Sequence[str], i: int, before: Sequence[str]) -> bool:
    """Whether a name ends before word i, so that what follows belongs to the rest of the sentence."""
    rest = [w for w in words[i : i + 4] if w not in (",", "and", "then", "please")]
    if not rest or (words[i] in STOPS and words[i] != ","):
        return True
    if base_form(rest[0]) in COMMANDS:
        return True
    said = {"on", "in", "onto", "into", "to", *WAYS} & set(before)
    return words[i] in ("on", "in", "onto", "into", "to") and bool(before) and not said


def _counts(words: Sequence[str], i: int, nouns: Mapping[str, object]) -> bool:
    """Whether a number is one of things or of jobs: "two red cubes", "the other two"; not "two lines to the left"."""
    if words[i] in NUMBERS and {"the", "other", "all"} & set(words[max(0, i - 2) : i]) and _bare(words, i):
        return True
    return _counts_a_name(words, i, nouns) or bool({*JOBS} & set(words[i + 1 : i + 3]))


def _them(scene: SceneDescription, last: Sequence[str], earlier: Sequence[str]) -> Sequence[str]:
    """What was named last, or where that is one thing the two that were named."""
    named = [*dict.fromkeys(n for n in earlier if any(t.name == n for t in scene.free))]
    return named if len(last) == 1 and len(named) == 2 else last


def _all_says_nothing(words: Sequence[str], i: int, out: Sequence[Mention]) -> bool:
    """ "all the way", "all by yourself", "after all", "them all"."""
    if list(words[i + 1 : i + 3]) == ["the", "way"] or list(words[i + 1 : i + 2]) in (["by"], ["right"], ["good"]):
        return True
    if words[max(0, i - 1) : i] and words[i - 1] in ("at", "after", "in", "above", "for"):
        return True
    return bool(out) and out[-1].said == "them" and out[-1].at == i - 1


def _points(before: Sequence[str]) -> bool:
    return bool({"the", "that", "this", "other", "each", "every", "a", "any"} & set(before[-2:]))


def _bare(words: Sequence[str], i: int) -> bool:
    """The number stands for things by itself: "the other two onto …"."""
    after = words[i + 1 : i + 2]
    return not after or after[0] in SMALL or after[0] == ","


def _alone(words: Sequence[str], i: int) -> bool:
    after = words[i + 1 : i + 2]
    return not after or after[0] in (
        "on",
        "in",
        "onto",
        "into",
        "to",
        ",",
        "up",
        "down",
        "one",
        "over",
        "past",
        "off",
        "left",
        "right",
    )


def _noun_follows(words: Sequence[str], i: int, nouns: Mapping[str, object]) -> bool:
    return any(_is_noun(w, nouns) or w in ANY for w in words[i + 1 : i + 4])


def _preposition(words: Sequence[str], i: int) -> str:
    for word in reversed(words[max(0, i - 3) : i]):
        if word == "with" and {"start", "starting", "begin", "beginning", "end", "ending", "finish"} & set(words[:i]):
            return ""
        if word in (*BESIDE, *OVER):
            return word
        if word in ("on", "in", "into", "onto", "inside", "to"):
            if word == "to" and {"up", "close"} & set(words[max(0, i - 4) : i]) and "down" not in words:
                return "near"
            return "on" if word == "to" and "top" in words[max(0, i - 5) : i] else word
        if word == "of" and {"top", "way"} & set(words[max(0, i - 4) : i]):
            return "on" if "top" in words[max(0, i - 4) : i] else "by"
        if word not in ("the", "a", "an", "other", "that", *PAINT):
            return ""
    return ""


def _loosely_named(words: Sequence[str], i: int) -> str:
    """The words with which a place is named where they are not on, in or another of `BEFORE_A_PLACE`: "next the plate"."""
    at = i - 1
    while at >= 0 and (words[at] in BEFORE_A_NAME or words[at].isdecimal()):
        at -= 1
    if at < 0 or words[at] in BEFORE_A_PLACE or base_form(words[at]) in COMMANDS:
        return ""
    if words[at] == "of" and {"top", "middle", "one", *ALL, *NUMBERS} & set(words[max(0, at - 2) : at]):
        return ""
    return " ".join(words[at : i + 1])


BEFORE_A_NAME = {
    "the", "a", "an", "that", "this", "these", "those", "other", "remaining", "its", "their", "your", "my", "own", "some", "any",
    "either", "one", "matching", "nearest", "closest", "farthest", "furthest", "leftmost", "rightmost",
    *ALL, *NUMBERS, *PAINT, *IDLE,
}  # fmt: skip
BEFORE_A_PLACE = ("on", "in", "onto", "into", "to", "inside", "within", "upon", "and", ",", ":", "for", "with")


def _unknown(words: Sequence[str], i: int, nouns: Mapping[str, object]) -> bool:
    """A word after "the" or "a" that names nothing known: "the banana"."""
    if not i or words[i - 1] not in ("the", "a", "an", "that", "my") or words[i] in SMALL or not words[i].isalpha():
        return False
    if words[i] in IDLE or words[i] in NUMBERS or base_form(words[i]) in COMMANDS:
        return False
    return not _is_noun(words[i], nouns) and words[i] not in ANY and words[i] not in PAINT


def _is_noun(word: str, nouns: Collection[str]) -> bool:
    return word in nouns or (word.endswith("s") and word[:-1] in nouns)


def _other(
    before: Sequence[str], fits: list[SeenObject], last: Sequence[str], earlier: Sequence[str]
) -> list[SeenObject]:
    """ "the other one": not the one named last; where more are left, none that was named."""
    if not {"other", "remaining"} & set(before[-3:]):
        return fits
    left = [t for t in fits if t.name not in last]
    kinds = {name.split()[-1] for name in last}
    alike = [t for t in left if t.name.split()[-1] in kinds]
    if len(last) == 1 and len(alike) == 1:  # "the blue ball …, the other one": the other ball
        return alike
    unnamed = [t for t in left if t.name not in earlier]
    return unnamed if unnamed and len(left) > 1 else left


def _extreme(before: Sequence[str], fits: list[SeenObject]) -> list[SeenObject]:
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


def _placed_so(
    words: Sequence[str], start: int, fits: list[SeenObject], scene: SceneDescription, said: str, taken: int
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
        anchor = _named_at(words, of, scene)
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
        anchor = _named_at(words, of, scene)
        if anchor is not None:
            fits = [t for t in fits if t.on == anchor[0].name]
            return fits, anchor[1] - (start - taken), f"{said} {relation} the {anchor[0].name}"
    return fits, taken, said


def _named_at(words: Sequence[str], i: int, scene: SceneDescription) -> tuple[SeenObject, int] | None:
    """The one thing that is named at word i, and the word after it."""
    nouns = nouns_of(scene)
    colour, at = (words[i], i + 1) if i < len(words) and words[i] in PAINT else ("", i)
    if at >= len(words) or words[at] not in nouns:
        return None
    fits = [t for t in nouns[words[at]] if not colour or colour in t.name.split()]
    return (fits[0], at + 1) if len(fits) == 1 else None
