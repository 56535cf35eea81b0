"""Why a whole instruction is not read: it denies, depends, leaves out, asks, tells, or says to keep off a thing."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from palmar.agent.rules.commands import base_form, command_of, is_command
from palmar.agent.rules.vocabulary import (
    ADVERBS,
    ANY,
    APART,
    ASKED_OF,
    ASKS,
    BEING,
    COMMANDS,
    CONDITIONS,
    DETERMINERS,
    DISREGARDING,
    ENDS,
    HAND,
    IN_CASE,
    KEEPING,
    LEFT_OUT,
    MANNER,
    MODALS,
    NUMBERS,
    OPENERS,
    PASSIVE,
    PLACE_NOUNS,
    PLAIN,
    POINTING,
    PUNCTUATION,
    REPEATING,
    REQUESTS,
    SHORT,
    SMALL,
    SPANS,
    STANDING_FOR,
    STOPS,
    STRETCHES,
    TIMES,
    WHERE,
    WISHES,
    WISHING,
    WOULD,
)
from palmar.sim.things import COLOURS
from palmar.sim.vocabulary import NEGATIONS

LONGEST = 1500  # characters of an instruction


def refused(text: str, words: Sequence[str], nouns: Collection[str]) -> str | None:
    """Why a whole instruction is not read; None for one that is. words: `words_of` the text. nouns: words that name things."""
    if len(text) > LONGEST:
        return f"the instruction has {len(text)} characters; expected {LONGEST} at most"
    if symbol := next((c for c in text if not (c.isalnum() or c.isspace() or c in PUNCTUATION)), None):
        shown = symbol if symbol.isprintable() else ascii(symbol)[1:-1]
        return f"'{shown}' is no letter, digit or punctuation mark; expected words alone"
    if wrong := next(
        (w for w in words if w in NEGATIONS or w in ("stop", "cancel", "undo", "prevent", "avoid", "nobody")), None
    ):
        return f"'{wrong}' says what not to do; expected what to do"
    if wrong := next((w for w in words if w in DISREGARDING), None):
        return f"'{wrong}': an instruction changes no limit and no guard; expected what to do with the things here"
    if wrong := next((w for i, w in enumerate(words) if w in CONDITIONS and words[i + 1 : i + 2] != ["then"]), None):
        return f"'{wrong}' makes it depend on something; expected what to do in any case"
    for i in range(len(words)):
        if wrong_words := next((w for w in IN_CASE if list(words[i : i + len(w)]) == w), None):
            return f"'{' '.join(wrong_words)}' makes it depend on something; expected what to do in any case"
        if left_out := next((w for w in LEFT_OUT if list(words[i : i + len(w)]) == w), None):
            return f"'{' '.join(left_out)}' leaves something out; expected each thing by its name"
    for i, word in enumerate(words[:-1]):
        if word == "but" and words[i + 1] in ("the", "a", "an", "that", "this", "it", *COLOURS):
            return "'but' leaves something out; expected each thing by its name"
        if word == "so" and [w for w in words[i + 1 : i + 3] if w != "that"][:1] in (
            ["the"],
            ["it"],
            ["a"],
            ["they"],
            ["both"],
        ):
            return "'so' says what it is for; expected what to do"
    if "alone" in words:
        return "'alone' says what not to do; expected what to do"
    if only := _only_another(words, nouns):
        return f"'{only}' leaves something out; expected each thing by its name"
    if late := _by_the_clock(words):
        return f"'{late}' says when, by the clock; a plan is carried out now: expected what to do"
    if example := _as_an_example(words):
        return f"'{example}' gives an example; expected what to do"
    if _repeats_all(words):
        return (
            f"'{' '.join(words[:8])}' is about an earlier instruction, and none is kept; expected the command in full"
        )
    if asking := asks(words):
        either = "asks, or does not say what is to be done" if asking == "do" else "asks"
        return f"'{asking} …' {either}; expected what to do"
    if person := _person_acts(words):
        return f"'{person}' says what a person does or has done; expected what to do"
    wished = after_time = False
    commanded = set[str]()
    for part in _parts(words):
        if part[0] in ENDS:
            wished = False
        if same := _onto_itself(part, nouns):
            return f"'{same}' names one thing twice; expected the thing and the place where it goes"
        if source := _taken_from(part, nouns):
            return f"'{source}' says where a thing is taken from, which is not read; expected what is done with it"
        if apart := _keeps_apart(part):
            return f"'{apart}' says what not to touch; expected what to do"
        plain = _without_adverbs(part)
        if plain and part[0] in STOPS and plain[0] in ASKED_OF:
            return f"'{plain[0]} …' asks; expected what to do"
        when = part[0] in TIMES or bool({*plain[:1]} & {*TIMES})
        if manner := _manner(part, nouns, when):
            return f"'{manner}': how fast, how hard or how far cannot be chosen; expected the command without it"
        if not when and not (after_time and part[0] == "and") and (told := _told(plain, nouns, wished, commanded)):
            return f"'{told}' tells what is, and not what to do; expected a command"
        commanded |= {command_of(part)}
        acts = bool(command_of(part)) or bool({*BEING} & set(part))
        after_time = (when or (after_time and part[0] == "and")) and not acts
        to_be = "to" in part and bool({"is", "are"} & set(part))  # "the ball is to be picked up and placed …"
        wished = wished or to_be or bool({*WISHING} & set(part))
    return None


def asks(words: Sequence[str]) -> str | None:
    """The first word of a sentence that asks, None where each says what to do ("could you push the ball left?" does)."""
    sentence: list[str] = []
    for word in (*words, "."):
        if word not in (".", "!", "?"):
            sentence += [word] if sentence or word not in OPENERS else []
            continue
        bidden = sentence[:1] == ["do"] and (sentence[1:2] in ([], *DONE_TO) or is_command(sentence, 1))
        requested = bidden or (sentence[:1] and sentence[0] in REQUESTS and sentence[1:2] == ["you"])
        if sentence and not requested and (word == "?" or sentence[0] in ASKS):
            return sentence[0]
        sentence = []
    return None


DONE_TO = (["it"], ["that"], ["this"], ["so"], ["please"])


def _repeats_all(words: Sequence[str]) -> bool:
    """Whether a text asks for nothing but what was said before it: "do it again", "the same once more"."""
    if not {*REPEATING} & set(words) or any(is_command(words, i) for i in range(len(words))):
        return False
    return all(w in PLAIN or w in REPEATING or w in STOPS for w in words)


def _by_the_clock(words: Sequence[str]) -> str | None:
    """ "in a minute", "for a while"."""
    for i in range(len(words) - 2):
        if words[i] == "in" and words[i + 1] in ("a", "an", "one", "some") and words[i + 2] in SPANS:
            return " ".join(words[i : i + 3])
    return None


def _as_an_example(words: Sequence[str]) -> str | None:
    """ "like" and "as in" before what they stand for; not "I would like", "like this"."""
    for i, word in enumerate(words[:-1]):
        if word == "as" and words[i + 1] == "in":
            return "as in"
        wished = {"would", "i'd", "we'd", "i", "we", "you"} & set(words[max(0, i - 3) : i])
        if word == "like" and not wished and (words[i + 1] in STOPS or base_form(words[i + 1]) in COMMANDS):
            return word
    return None


def _manner(part: Sequence[str], nouns: Collection[str], when: bool) -> str | None:
    """The word that says how fast, how hard or how far: "slowly", "a little left", and not "the little cube"."""
    for i, word in enumerate(part):
        after = list(part[i + 1 : i + 2])
        if word == "little" and (not after or after[0] in (*SMALL, *STOPS)):
            return " ".join(part[max(0, i - 1) : i + 1])
        if word == "far" and not _is_thing(after, nouns) and (part[i - 1 : i] != ["as"] or after != ["as"]):
            return word
        if word in STRETCHES and part[i - 1 : i] in (["a"], ["small"], ["little"], ["by"]):
            return f"{part[i - 1]} {word}"
        if word in STRETCHES and part[i - 2 : i] == ["by", "one"]:
            return f"by one {word}"
        if word == "far" and after == ["as"] and part[i + 2 : i + 3] in (["you"], ["it"], ["possible"]):
            return f"as far as {part[i + 2]}"
        if word in MANNER and not (when and word in ("safely", "nicely")):
            return " ".join(part[i - 1 : i + 1]) if part[i - 1 : i] == ["a"] else word
    return None


def _taken_from(part: Sequence[str], nouns: Collection[str]) -> str | None:
    """ "off the plate", "out of the tray" behind a thing, and not "keep the ball off the plate"."""
    for i, word in enumerate(part):
        end = i + 2 if list(part[i : i + 2]) == ["out", "of"] else i + 1 if word in ("off", "from") else 0
        if not end or not _is_thing(part[:i], nouns) or any(base_form(w) in KEEPING for w in part[:i]):
            continue
        at = next((k for k in range(end, len(part)) if part[k] not in (*DETERMINERS, *COLOURS, "of")), len(part))
        if at < len(part) and (part[at] in PLACE_NOUNS or part[at].rstrip("s") in PLACE_NOUNS):
            return " ".join(part[i : at + 1])
    return None


def _only_another(words: Sequence[str], nouns: Collection[str]) -> str | None:
    """ "only" or "just" and a thing, where another was named for the same command: "push everything left, only the ball"."""
    named = 0  # things since the last command
    for i, word in enumerate(words):
        if is_command(words, i):
            named = 0
        elif word in ("only", "just"):
            after = [
                w
                for w in words[i + 1 : i + 5]
                if w not in ("the", "a", "an", "that", "this", "my", "your", "just", "only")
            ]
            if named and _is_thing(after[:1], nouns):
                return f"{word} {after[0]}"
            before = list(words[max(0, i - 1) : i])
            if word == "only" and named > 1 and _is_thing(before, nouns) and before[0] not in PLACE_NOUNS:
                return f"{before[0]} {word}"
        elif _is_thing([word], nouns) and not (word not in COLOURS and i and words[i - 1] in COLOURS):
            named += 1
    return None


def _is_thing(words: Sequence[str], nouns: Collection[str]) -> bool:
    """A name, a colour, or a word that stands for things."""
    return any(
        w in nouns
        or w.rstrip("s") in nouns
        or w in COLOURS
        or w in (*ANY, "it", "them", "both", "all", "each", "every", "everything")
        for w in words
    )


def _onto_itself(part: Sequence[str], nouns: Collection[str]) -> str | None:
    """ "the red cube on the red cube": the same words before and after on or in."""
    for i, word in enumerate(part):
        if word not in ("on", "in", "onto", "into"):
            continue
        after = [w for w in part[i + 1 :] if w not in DETERMINERS]
        before = [w for w in part[:i] if w not in DETERMINERS]
        for n in (3, 2, 1):
            named = len(before) >= n and before[-n] in (COLOURS if n > 1 else nouns)
            if named and before[-n:] == after[:n]:
                return f"{' '.join(before[-n:])} {word} {' '.join(after[:n])}"
    return None


def _parts(words: Sequence[str]) -> list[list[str]]:
    """Cut before every mark, joining word and word that tells when; each begins with what it was cut at."""
    out: list[list[str]] = []
    for i, word in enumerate(words):
        if not out or word in (*STOPS, "and", "but", "plus", "then") or (word in TIMES and words[i - 1] not in ADVERBS):
            out.append([])
        out[-1].append(word)
    return out


def _without_adverbs(part: Sequence[str]) -> list[str]:
    at = 0
    while at < len(part) and (part[at] in (*STOPS, "but", "plus") or (part[at] in ADVERBS and part[at] not in TIMES)):
        at += 1
    return list(part[at:])


def _after_adverbs(words: Sequence[str], i: int) -> list[str]:
    """What follows word i, from the first word on that is no adverb."""
    at = i + 1
    while at < len(words) and words[at] in ADVERBS and words[at] not in ("and", "then"):
        at += 1
    return list(words[at : at + 3])


# ---------------------------------------------------------------------------------------------- keep off, let be, leave there


def _keeps_apart(part: Sequence[str]) -> str | None:
    """The words that say to leave a thing as it is: "keep off", "clear of", "let the ball be"."""
    for i, word in enumerate(part):
        after = list(part[i + 1 : i + 2])
        if word == "off" and after and after[0] in (*DETERMINERS, *COLOURS) and "table" not in part[i + 1 : i + 3]:
            return f"off {after[0]}"
        if word == "hands" and after == ["off"]:
            return "hands off"
        if word == "clear" and after == ["of"]:
            return "clear of"
        keeping = base_form(word) in KEEPING or word in KEEPING
        if keeping and (apart := next((w for w in part[i + 1 : i + 6] if w in APART), None)):
            return f"{word} … {apart}"
        if word in ("stay", "stays", "remain", "remains"):
            return word
        if word == "keep" and {"where", "there", "here", "place", "from"} & set(part[i + 1 :]):
            return f"{word} …"
        if base_form(word) == "let" and not _lets_go(part[i + 1 :]):
            return "let"
        if base_form(word) == "leave" and (
            not {"on", "in", "onto", "into"} & set(part[i:])
            or {"be", "there", "where", "peace", "last", "behind"} & set(part[i:])
        ):
            return "leave"
    return None


def _lets_go(after: Sequence[str]) -> bool:
    """ "let go of it", "let it go"; not "let the ball go left"."""
    if list(after[:1]) == ["go"]:
        return True
    if "go" not in after:
        return False
    return all(w in ADVERBS for w in after[after.index("go") + 1 :]) and after[0] not in ("me", "us", "him", "her")


# ---------------------------------------------------------------------------------------------- who acts


def _person_acts(words: Sequence[str]) -> str | None:
    """The words in which a person acts, or the robot is said to have acted: "I push", "you pushed", "we have put"."""
    for i, word in enumerate(words):
        if word == "have" and words[i - 1 : i] and words[i - 1] in MODALS and _done(words[i + 1 : i + 2]):
            return f"{words[i - 1]} have {words[i + 1]}"
        before, after = list(words[max(0, i - 2) : i]), _after_adverbs(words, i)
        said = " ".join([word, *after[:1]])
        if word in ("i", "we"):
            if (before[-1:] == ["so"] or before == ["so", "that"]) and not _past(after):
                continue  # "so that I can see it"
            wish = after[1:2] if after[:1] == ["would"] else after[:1]
            if not set(wish) & {*WISHES} or after[:1] in (["like"], ["love"]) or _by_oneself(words, i):
                return said
        elif word in ("i'd", "we'd"):
            if not set(after[:1]) & {*WISHES} or _by_oneself(words, i):
                return said
        elif word in ("i've", "we've", "i'm", "we're", "i'll", "we'll", "you're", "you'd"):
            return said
        elif word in ("you", "you've") and after:
            if before[-1:] in (["after"], ["before"], ["once"], ["when"]) or before == ["soon", "as"]:
                continue  # "after you have pushed the ball"
            has = after[0] in ("have", "had", "are", "were", "was", "did", "do", "would") and after[1:2] != ["to"]
            if word == "you've" or has or _past(after) or after[0] == "see":
                return said
    return None


def _by_oneself(words: Sequence[str], i: int) -> bool:
    """ "I want to push", and not "I want you to push", "I want to see"."""
    after = list(words[i + 1 : i + 6])
    wish = next((k for k, w in enumerate(after) if w in WISHES), None)
    if wish is None or after[wish + 1 : wish + 2] != ["to"]:
        return False
    doing = after[wish + 2 : wish + 3]
    return bool(doing) and base_form(doing[0]) in COMMANDS and doing[0] not in ("see", "end")


def _done(words: Sequence[str]) -> bool:
    return list(words) == ["been"] or _past(words) or bool(words and words[0] in COMMANDS)


def _past(words: Sequence[str]) -> bool:
    """Whether it begins with a command in the past: "pushed"."""
    word = next(iter(words), "")
    return word in ("held", "kept") or (word.endswith("ed") and word not in COMMANDS and base_form(word) in COMMANDS)


# ---------------------------------------------------------------------------------------------- what is


def _told(part: Sequence[str], nouns: Collection[str], wished: bool, commanded: Collection[str]) -> str | None:
    """The statement that a part is: "the cube is on the plate", "the ball rolled left". None for a command or a wish.

    commanded: commands of the parts before it. "Slide the cube left, then the ball slides right" goes on with the command."""
    if not wished and _past(part):
        return " ".join(part[:8])  # "pushed the ball left"
    for i, word in enumerate(part):
        before, after = part[:i], part[i + 1 :]
        if command_of(before) or {*WISHES, "should", "must", "sure", "belongs", "belong"} & set(before):
            return None
        shortened = word.endswith("'s") and word.removesuffix("'s") in nouns and set(after[:1]) & {*WHERE}
        being = word in BEING or shortened or (i == 0 and word in SHORT)
        if being and (i == 0 or i == 1 or part[i - 1] not in ("that", "which", "who", "to")):
            if after[:1] == ["to"] or list(after[:1]) == ["sure"]:
                return None
            if {*POINTING} & set(part[:1]) and not set(after) & {*WHERE}:
                return None  # "there are two balls here", "that is all"
            if shortened or _names(part[: i + 1], nouns) or {*POINTING} & set(part[:1]):
                return " ".join(part[:8])
        elif (
            not wished
            and _third_person(part, i, nouns)
            and not (base_form(word) in commanded and not {"robot", "arm", *HAND} & set(before))
        ):
            return " ".join(part[:8])
        elif _names(before, nouns):
            left = word == "left" and after[:1] in (["the"], ["a"])  # "the ball left the tray"
            acted = not wished and _past(part[i:]) and (before[-1] in ADVERBS or _names(before[-1:], nouns))
            if left or acted or word in WOULD:
                return " ".join(part[:8])
    return None


def _third_person(part: Sequence[str], i: int, nouns: Collection[str]) -> bool:
    """Whether word i is the verb of what a thing or the robot does: "pushes", "the balls roll"; not "the cube goes there"."""
    word, before = part[i], part[:i]
    if word in (*PASSIVE, *BEING, "gets", "lets") or base_form(word) not in COMMANDS:
        return False
    if word.endswith("s") and word not in COMMANDS:
        relative = len(before) > 1 and before[-1] in ("that", "which", "who")
        subject = not before or _names(before[-1:], nouns) or (before[-1] in ADVERBS and _names(before, nouns))
        return subject and not relative
    named = all(w in (*DETERMINERS, *NUMBERS, *COLOURS, "and") or _names([w], nouns) for w in before)
    return named and _names(before[-1:], nouns) and before[0] in DETERMINERS and is_command(part, i)


def _names(words: Sequence[str], nouns: Collection[str]) -> bool:
    return any(w in nouns or w.rstrip("s") in nouns or w in COLOURS or w in STANDING_FOR for w in words)
