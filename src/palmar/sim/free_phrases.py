"""Other words for one request: sentences such as people type, for training, beside the wordings of the tasks.

A sentence is a frame of the task (or a command of it inside a polite, wishing or terse hull), filled with other words for
the colours, things and the direction, with small talk around it, other punctuation and typing errors. The words are in
`free_frames`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from palmar.errors import BadValue, check_names
from palmar.sim.free_frames import (
    COLOUR_WORDS,
    COMMANDS,
    DIRECTION_WORDS,
    FIRST,
    FRAMES,
    HULLS,
    LAST,
    ONTO,
    THING_WORDS,
    WAYS,
)
from palmar.sim.sentences import Request

LONGEST = 23  # words and marks of a sentence: with typing errors, too, the encoder reads at most 32 tokens in it
MISTYPED = 0.25  # share of sentences with typing errors
USUAL = 0.4  # share of the usual word for a colour or thing, of all the words for it

KEYS = {  # neighbours on a keyboard, letters alone
    letter: (before + after).strip()
    for row in ("qwertyuiop", "asdfghjkl", "zxcvbnm")
    for before, letter, after in zip(" " + row, row, row[1:] + " ", strict=False)
}


def _meanings() -> dict[str, str]:
    """What each telling word stands for; words that stand in several places ("round", "dark") tell nothing."""
    known: dict[str, set[str]] = {}
    for group in (COLOUR_WORDS, THING_WORDS, WAYS):
        for meaning, texts in group.items():
            for word in (w for text in texts for w in re.findall("[a-z]+", text)):
                known.setdefault(word, set()).add(meaning)
    return {word: next(iter(meanings)) for word, meanings in known.items() if len(meanings) == 1}


MEANINGS = _meanings()
PLAIN = {  # words that tell no colour, thing or direction
    word
    for group in (*COMMANDS.values(), HULLS, *FRAMES.values(), *FIRST, *LAST)
    for text in group
    for word in re.findall("[a-z]+", re.sub(r"{\w+}", "", text))
}


def free_phrases(request: Request, rng: np.random.Generator, count: int) -> list[str]:
    """`count` different sentences that ask for a request of reach, pick, place or push in other words; equal generators give
    equal sentences. Raises `UnknownName` for another task, `BadValue` for a request that lacks what its task needs."""
    check_names("task", [request.task], tuple(FRAMES))
    if request.task == "place" and not (request.goal_colour and request.goal_shape in ONTO):
        raise BadValue(f"place has no destination in {request}; expected plate or tray. Next: name one")
    if request.task == "push" and request.direction not in DIRECTION_WORDS:
        raise BadValue(f"push has no direction in {request}; expected {', '.join(DIRECTION_WORDS)}. Next: name one")
    found: dict[str, str] = {}
    while len(found) < count:
        text = _sentence(request, rng)
        found.setdefault(text.lower(), text)
    return list(found.values())


def _sentence(request: Request, rng: np.random.Generator) -> str:
    frames = FRAMES[request.task]
    plain = _one(frames, rng) if rng.random() < 0.45 else _command(request.task, rng)
    bare = rng.random() < 0.2  # no articles, as in telegrams
    words = {"o": _thing(request.colour, request.shape, bare, rng)}
    if request.task == "place":
        assert request.goal_colour is not None and request.goal_shape is not None
        words["g"] = _thing(request.goal_colour, request.goal_shape, bare, rng)
        words["on"] = _one(ONTO[request.goal_shape], rng)
    if request.task == "push":
        assert request.direction is not None
        ways = DIRECTION_WORDS[request.direction]
        words["d"] = ways[0] if rng.random() < 0.25 else _one(ways, rng)
    body = plain.format(**words)
    text = _small_talk(body, rng)
    if _length(text) > LONGEST:
        text = body
    if _length(text) > LONGEST:  # many words for the things in a long hull: the command alone
        text = _one(COMMANDS[request.task], rng).format(**words)
    if rng.random() < MISTYPED:
        text = mistype(text, rng, 1 if rng.random() < 0.7 else 2)
    return _typed(text, rng)


def _length(text: str) -> int:
    """Number of words and marks."""
    return len(re.findall(r"\w+|[^\w\s]", text))


def _command(task: str, rng: np.random.Generator) -> str:
    hull = "{v}" if rng.random() < 0.25 else _one(HULLS, rng)
    return hull.replace("{v}", _one(COMMANDS[task], rng))


def _thing(colour: str, shape: str, bare: bool, rng: np.random.Generator) -> str:
    """Such as "the crimson block", "tin can that is blue"."""
    paint, noun = (w[0] if rng.random() < USUAL else _one(w, rng) for w in (COLOUR_WORDS[colour], THING_WORDS[shape]))
    size = _one(("small ", "little ", "tiny "), rng) if rng.random() < 0.1 else ""
    form = rng.random()
    if form < 0.05:
        thing = f"{size}{noun} that is {paint}"
    elif form < 0.08:
        thing = f"{size}{noun} (the {paint} one)"
    elif form < 0.11:
        thing = f"{paint} one (the {size}{noun})"
    else:
        thing = f"{size}{paint} {noun}"
    return thing if bare else f"{_one(('the', 'the', 'the', 'the', 'that', 'this', 'my'), rng)} {thing}"


def _small_talk(body: str, rng: np.random.Generator) -> str:
    drawn = rng.random(2)
    if drawn[0] < 0.15:
        body = f"{_one(FIRST[0], rng)}{_one((', ', ' '), rng)}{body}"
    elif drawn[0] < 0.25:
        opening = _one(FIRST[1], rng)
        body = f"{opening}{'' if opening.endswith('?') else _one(('.', '!', ' -'), rng)} {body}"
    if drawn[1] < 0.15:
        asks = body.endswith("?")
        body = f"{body.removesuffix('?')}{_one((', ', ' '), rng)}{_one(LAST[0], rng)}"
        body = body if body.endswith("?") or not asks else f"{body}?"
    elif drawn[1] < 0.25:
        body = f"{body}{'' if body.endswith('?') else _one(('.', '!'), rng)} {_one(LAST[1], rng)}"
    return body


def _typed(text: str, rng: np.random.Generator) -> str:
    """With the case and the punctuation of someone who types."""
    drawn = rng.random(4)
    if text.endswith("?"):
        text = text if drawn[0] < 0.75 else text[:-1]
    elif drawn[0] < 0.45:
        text += "." if drawn[0] < 0.35 else "!"
    if drawn[1] < 0.15:
        text = text.replace("'", "")
    if drawn[2] < 0.05:
        return text.upper()
    if drawn[2] < 0.5:
        text = re.sub(r"(^|[.!?] )([a-z])", lambda m: m[1] + m[2].upper(), text)
        text = re.sub(r"\bi\b", "I", text)
    return text


def mistype(text: str, rng: np.random.Generator, errors: int = 1) -> str:
    """The text with at most `errors` of its words typed wrong: letters swapped, dropped, doubled, or a neighbouring key. A
    word is left as it is where the error would make it another word, or nearly one of another colour, thing or direction."""
    spans = [m.span() for m in re.finditer("[a-z]+", text) if _may_be_wrong(m[0])]
    picked = [spans[i] for i in sorted(rng.permutation(len(spans))[:errors], reverse=True)]
    for start, stop in picked:
        word = text[start:stop]
        wrong = _wrong(word, rng)
        if not _misleads(word, wrong):
            text = text[:start] + wrong + text[stop:]
    return text


def _may_be_wrong(word: str) -> bool:
    return word != "can" and (len(word) > 3 or (len(word) == 3 and word in MEANINGS))


def _wrong(word: str, rng: np.random.Generator) -> str:
    """One error, never in the first letter, which people seldom miss."""
    at = int(rng.integers(1, len(word)))
    kind = rng.integers(4)
    if kind == 0 and at + 1 < len(word):
        return word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    if kind == 1 and len(word) > 3:
        return word[:at] + word[at + 1 :]
    if kind == 2:
        return word[:at] + word[at] + word[at:]
    return word[:at] + _one(KEYS[word[at]], rng) + word[at + 1 :]


def _misleads(word: str, wrong: str) -> bool:
    meant = MEANINGS.get(word)
    return wrong in PLAIN or any(meaning != meant and one_edit(wrong, other) for other, meaning in MEANINGS.items())


def one_edit(a: str, b: str) -> bool:
    """Whether at most one letter dropped, added or replaced, or two neighbours swapped, turns one word into the other."""
    if abs(len(a) - len(b)) > 1:
        return False
    if len(a) > len(b):
        a, b = b, a
    same = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), len(a))
    if len(a) < len(b):
        return a[same:] == b[same + 1 :]
    swapped = a[same + 1 : same + 2] + a[same : same + 1] == b[same : same + 2] and a[same + 2 :] == b[same + 2 :]
    return a[same + 1 :] == b[same + 1 :] or swapped


def _one(options: Sequence[str], rng: np.random.Generator) -> str:
    return options[int(rng.random() * len(options))]  # a tenth of the time of `rng.choice`
