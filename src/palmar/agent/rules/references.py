"""Which things of a scene a clause means: by colour and noun, by where they are, by "it", "everything" and "the other one"."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from itertools import combinations

from palmar.agent.plans import Question, Refusal
from palmar.agent.rules.answers import chosen, chosen_several
from palmar.agent.rules.clauses import repeats
from palmar.agent.rules.commands import base_form
from palmar.agent.rules.quantities import count_before, counts_a_name, counts_something, is_noun, stands_alone
from palmar.agent.rules.spatial import extreme, placed_so
from palmar.agent.rules.vocabulary import (
    ALL,
    ANOTHER,
    ANY,
    BEFORE_A_NAME,
    BEFORE_A_PLACE,
    BESIDE,
    COMMANDS,
    FILLERS,
    IDLE,
    NUMBERS,
    ORDER,
    OVER,
    OWNERS,
    PAINT,
    PASSIVE,
    PLACES,
    POLITE,
    SMALL,
    STOPS,
    WAYS,
)
from palmar.agent.seen import SceneDescription, SeenObject
from palmar.sim.things import NOUNS


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
    before a thing that something goes over, or a place that it goes by. loose: the words that name a place without on or in.
    orders: {name: its place in the order} of things that have one, such as "the ball first"."""

    objects: list[SeenObject] = field(default_factory=list)
    places: list[SeenObject] = field(default_factory=list)
    many_places: bool = False
    beneath: SeenObject | None = None
    own_colour: bool = False
    beside: str | None = None
    over: str = ""
    loose: str = ""
    orders: dict[str, int] = field(default_factory=dict)


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
        chosen_now = _chosen(mention, answer, scene)
        if not isinstance(chosen_now, list):
            return chosen_now
        for thing in chosen_now:
            group = found.places if thing.fixed else found.objects
            if thing not in group:
                group.append(thing)
            if len(chosen_now) == 1 and (place := _place_in_order(words, mention.at)):
                found.orders[thing.name] = place
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


def _place_in_order(words: Sequence[str], at: int) -> int:
    """The place in the order that is said of the thing at a word: "the ball first"; 0 for none."""
    after = at + 2 if words[at] in PAINT else at + 1
    return ORDER.get(words[after], 0) if after < len(words) else 0


def _which_of_several(mention: Mention, answer: Answer) -> list[SeenObject] | Question:
    """Which two or more of those that fit are meant."""
    names = [t.name for t in mention.candidates]
    number = next((n for n, count in NUMBERS.items() if count == mention.count), str(mention.count))
    groups = tuple(" and ".join(group) for group in combinations(names, mention.count))
    question = Question(f"Which {number} do you mean: {', '.join(names)}?", groups[:20])
    named = chosen_several(answer(question.text) or "", names)
    return [t for t in mention.candidates if t.name in named] if len(named) == mention.count else question


def _chosen(mention: Mention, answer: Answer, scene: SceneDescription) -> list[SeenObject] | Question | Refusal:
    if mention.unread:
        return Refusal(mention.unread)
    if mention.said in ORDER:
        return Refusal(f"'{mention.said}' is not read as a name; expected the thing by its colour and noun")
    if not mention.candidates:
        return Refusal(f"there is no {mention.said} here{meant(mention.said, words_in(scene))}")
    if 1 < mention.count < len(mention.candidates) and not mention.candidates[0].fixed:
        return _which_of_several(mention, answer)
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


def words_in(scene: SceneDescription) -> set[str]:
    """The words of its names, and their synonyms."""
    return {w for t in scene.things for w in t.name.split()} | {n for n, fits in nouns_of(scene).items() if fits}


def meant(word: str, known: Collection[str]) -> str:
    """What a word that is not known may have been meant as, for the end of a message; "" where none is close."""
    close = [] if word in known else get_close_matches(word, sorted(known), 1, 0.8)
    return f"; did you mean '{close[0]}'?" if close and close[0][0] == word[0] else ""


def not_understood(words: Sequence[str], scene: SceneDescription) -> str | None:
    """The first word of a clause that nothing here reads, None where there is none: "twice", "half", "yesterday"."""
    nouns = nouns_of(scene)
    known = {*SMALL, *IDLE, *NUMBERS, *ANY, *ALL, *PLACES, *PAINT, *POLITE, *PASSIVE, *FILLERS, *nouns, ",", ":"}
    known |= {w for t in scene.things for w in t.name.split()} | {*WAYS}
    for i, word in enumerate(words):
        if (word in NUMBERS and word != "both") or word.isdecimal():
            if counts_something(words, i, nouns):
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
            count = count_before(words, i)
            many = plural or noun in ALL or count > 1 or bool({"all", "every", "each", "both"} & set(before[-3:]))
            fits, taken, said = placed_so(words, ends + 1, fits, nouns, said, taken=ends + 1 - i)
            fits = extreme(before, fits)
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
            and not counts_a_name(words, i, nouns)
            and stands_alone(words, i)
        ):
            fits = _other(before, list(scene.free), last, earlier)
            mention = Mention(fits, f"{word} things", i, many=True, count=NUMBERS[word])
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
    return any(is_noun(w, nouns) or w in ANY for w in words[i + 1 : i + 4])


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


def _unknown(words: Sequence[str], i: int, nouns: Mapping[str, object]) -> bool:
    """A word after "the" or "a" that names nothing known: "the banana"."""
    if not i or words[i - 1] not in ("the", "a", "an", "that", "my") or words[i] in SMALL or not words[i].isalpha():
        return False
    if words[i] in IDLE or words[i] in NUMBERS or base_form(words[i]) in COMMANDS:
        return False
    return not is_noun(words[i], nouns) and words[i] not in ANY and words[i] not in PAINT


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
