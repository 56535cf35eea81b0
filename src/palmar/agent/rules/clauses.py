"""A long instruction as clauses, one command each, in the order in which they are to be done.

Words are small letters; punctuation is a word of its own while clauses are cut. A part without a command is a clause where it says
what becomes of a thing ("the ball on the plate", "the can past the left line"); else it goes on with the part before it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from palmar.agent.rules.commands import base_form, command_of, is_command, not_meant
from palmar.agent.rules.vocabulary import (
    ANOTHER,
    ANY,
    ASKING_NOTHING,
    COMMANDS,
    COMPLETION,
    ENDS,
    JOBS,
    LAST,
    LATER,
    NAMES,
    NUMBERS,
    OF_A_THING,
    ORDER,
    PERSONS,
    PLAIN,
    POLITE,
    RETURNING,
    STOPS,
    SUBJECTS,
    WAYS,
    WITH_A_THING_ALONE,
)
from palmar.sim.things import COLOURS


@dataclass(frozen=True, slots=True)
class Clause:
    """verb: its command in the base form, "" where none was found. words: all of them, the command's too. rank: its place in the
    order in which clauses are to be done. when: it tells when another is to be done, by a thing of which it does not say where it
    goes ("once the cube is there"). misplaced: the word that gives it another place in the order ("first" in the last part).
    hanging: its sentence tells when, and nothing of what is to be done then."""

    verb: str
    words: tuple[str, ...]
    rank: float = 0.0
    when: bool = False
    misplaced: str = ""
    hanging: bool = False

    @property
    def text(self) -> str:
        return " ".join(w for w in self.words if w != ",")


@dataclass(slots=True)
class _Part:
    """joined: by a comma, and, then, before, after, or an end of a sentence. sentence: its number. said: it tells when. open: as
    `Clause.when`. orders: the words of `ORDER` that it has."""

    words: list[str]
    joined: str = ""
    sentence: int = 0
    said: str = ""
    open: bool = False
    orders: list[str] = field(default_factory=list)

    @property
    def tells_when(self) -> bool:
        return self.said in ("when", "once", "before", "after") or self.joined == "after"


def words_of(text: str) -> list[str]:
    """Small letters, punctuation apart. The "can" of "can you", "it can go" is written "could": a can is a thing."""
    plain = text.lower().replace("’", "'").replace("n't", " not").replace("-", " ").replace('"', " ")
    words = "".join(c if c.isalnum() or c == "'" else f" {c} " if c in STOPS else " " for c in plain).split()
    return ["could" if _is_modal(words, i) else w for i, w in enumerate(words)]


def _is_modal(words: Sequence[str], i: int) -> bool:
    """The "can" of "can you", "you can", "the ball can go": no cylinder."""
    if words[i] != "can":
        return False
    before = words[i - 1] if i else ""
    after = next(
        (
            w
            for w in words[i + 1 : i + 5]
            if w not in ("only", "also", "just", "now", "then", "still", "easily", "always")
        ),
        "",
    )
    if after in PERSONS or before in PERSONS:
        return True
    acts = after in ("be", "not", "have") or after in COMMANDS
    if i == 0 or before in STOPS:
        return acts or after in ("the", "a", "an", "it", "this", "that", "these", "those", "your", "my")
    names = before in NAMES or before.rstrip("s") in NAMES
    return acts and names


def clauses_of(words: Sequence[str], nouns: Collection[str], places: Collection[str]) -> list[Clause]:
    """In the order of the text, for "it" means what was said before; `rank` is the order in which they are to be done.

    words: `words_of` a text. nouns: words that name things, places: those of them that name what things are put on."""
    out: list[Clause] = []
    done: list[int] = []  # indices into `out`, in their order
    sentences: list[int] = []
    waiting: list[tuple[int, int]] = []  # (sentence, index): done when that sentence is
    parts = _joined(_cut(words, nouns), nouns, places)
    for i, part in enumerate(parts):
        out.append(Clause(command_of(part.words), tuple(part.words), when=part.open))
        sentences.append(part.sentence)
        while waiting and waiting[0][0] < part.sentence:
            done.append(waiting.pop(0)[1])
        if part.said == "last":
            waiting.append((NEVER, i))
        elif part.said == "before that" and done:
            earlier = [k for k in done if sentences[k] == sentences[done[-1]]]
            waiting += [(part.sentence, k) for k in earlier]
            done = [*(k for k in done if k not in earlier), i]
        elif part.said == "before" and not any(sentences[k] == part.sentence for k in done):
            waiting.append((part.sentence, i))
        elif done and sentences[done[-1]] == part.sentence and (part.joined == "after" or part.said == "first"):
            done.insert(len(done) - 1, i)
        else:
            done.append(i)
    order = [*done, *(i for _, i in sorted(waiting))]
    misplaced = _misplaced(parts, order)
    main = {p.sentence for p in parts if not p.tells_when}
    return [
        replace(
            clause,
            rank=float(order.index(i)),
            misplaced=misplaced.get(i, ""),
            hanging=parts[i].sentence not in main,
        )
        for i, clause in enumerate(out)
    ]


def _misplaced(parts: Sequence[_Part], order: Sequence[int]) -> dict[int, str]:
    """{index of a part: the word that contradicts its place}. order: indices as they are to be done."""
    out: dict[int, str] = {}
    reached = 0
    for at, k in enumerate(order):
        same = [parts[e] for e in order[:at] if parts[e].sentence == parts[k].sentence and not parts[e].tells_when]
        goes_on = any(parts[e].sentence == parts[k].sentence for e in order[at + 1 :])
        for j, word in enumerate(parts[k].orders):
            first = ORDER[word] == 1 and bool(j or same or (at and not goes_on))
            if first or (ORDER[word] < reached and same):
                out[k] = word
            reached = ORDER[word]
        if parts[k].orders and ORDER[parts[k].orders[-1]] == ORDER["last"] and at + 1 < len(order):
            following = parts[order[at + 1]]
            alike = following.sentence == parts[k].sentence and following.joined in (",", "and")
            again = following.sentence != parts[k].sentence and same  # "First A, last B. After that C."
            if order[at + 1] < k or not (alike or again) or (alike and parts[k].orders[-1] == "last"):
                out[k] = parts[k].orders[-1]
    return out


NEVER = 10**6
"""Number of a sentence that none reaches: what waits for it is done last."""


def _cut(words: Sequence[str], nouns: Collection[str] = ()) -> list[_Part]:
    """At every mark and every joining word."""
    out: list[_Part] = []
    part, sentence, joined = _Part([]), 0, ""

    def end(by: str) -> None:
        nonlocal part, joined
        orders = part.orders if all(w in ALONE_WITH_ORDER for w in part.words) else []
        if [w for w in part.words if w not in STOPS]:
            out.append(part)
            joined = by
        elif by in ("then", "after", "before") or not joined:
            joined = by
        part = _Part([], joined, sentence, "" if part.words else part.said, orders=orders)

    i = 0
    while i < len(words):
        word, following = words[i], words[i + 1 : i + 2]
        if word in ("though", "however"):
            pass
        elif word in ENDS:
            end("end")
            sentence += 1
            part.sentence, joined = sentence, ""
        elif word in (",", ":"):
            end(",")
        elif word in ("and", "but", "plus"):
            end("and")
            if following == ["first"]:
                part.said, i = ("before that" if word == "but" else "first"), i + 1
        elif (
            word in ("after", "once", "when")
            and following
            and following[0] in ("that", "this", "that's")
            and _goes_on(words, i + 2)
        ):
            end("then")
            i += 1
        elif word in LATER and (word == "then" or not part.words):
            end("then")
            part.orders = [word] if word in ORDER else part.orders
        elif word in ("last", "at") and not part.words and list(words[i : i + 3]) in LAST:
            part.said, i = "last" if word == "last" and not out else "", i + 2
            part.orders = ["last"]
        elif word == "before" and _that(words, i + 1):
            end(",")
            part.said, i = "before that", i + _that(words, i + 1)
        elif word == "until" and following == ["then"]:
            i += 1
        elif word == "so" and {"i", "we", "you"} & {*[w for w in words[i + 1 : i + 3] if w != "that"][:1]}:
            end(",")
            part.said = "why"
        elif word == "after" and not part.words:
            part.said = "after"
        elif word in ("before", "after") and part.words:
            end(word)
            part.said = word if word == "before" else ""
        elif word in ("when", "once", "before") and not part.words:
            part.said = word
        elif word == "as" and list(words[i : i + 3]) == ["as", "soon", "as"]:
            end("after" if part.words else ",")
            part.said, i = "when", i + 2
        elif word in ("when", "once") and _begins_a_time(words, i + 1):
            end("after")
            part.said = word
        else:
            part.words.append(word)
            if word in ORDER and _says_when(words, i, nouns):
                part.orders = [*part.orders, word]
        i += 1
    end("")
    return out


ALONE_WITH_ORDER = {*ORDER, *JOBS, "as", "the", "thing", "of", "all"}


def _says_when(words: Sequence[str], i: int, nouns: Collection[str]) -> bool:
    """Whether "first", "last" and the like say when a part is done, and not which thing is meant."""
    before, after = list(words[max(0, i - 1) : i]), list(words[i + 1 : i + 2])
    if set(after) & {"thing", *JOBS}:
        at = i - 2 if before == ["the"] else i - 1
        return at < 0 or words[at] in (*STOPS, "as", "and", "then")
    if before and before[0] in ("the", "a", "an", "that", "this", "my", "your", "its", "each", "for", "at", "only"):
        return False
    return not any(w in nouns or w.rstrip("s") in nouns or w in (*COLOURS, *ANY, "of") for w in after)


def _begins_a_time(words: Sequence[str], i: int) -> bool:
    """Whether a subject follows once or when: "once the ball is there", and not "push it once"."""
    following = words[i] if i < len(words) else ""
    return following in (*SUBJECTS, *PERSONS, *COLOURS) or following in NAMES


def _that(words: Sequence[str], i: int) -> int:
    """How many words "that", "this" or "any of that" are; 0 where a thing is named."""
    if words[i : i + 3] in (["any", "of", "that"], ["any", "of", "this"], ["all", "of", "that"]):
        return 3
    return int(words[i : i + 1] in (["that"], ["this"]) and words[i + 1 : i + 2] != ["one"])


def _goes_on(words: Sequence[str], i: int) -> bool:
    """After "after that": the next clause, and not a noun ("after that ball")."""
    rest = [w for w in words[i : i + 3] if w not in (",", "is", "done")]
    return (
        not rest
        or rest[0] in POLITE
        or base_form(rest[0]) in COMMANDS
        or rest[0] in ("the", "a", "both", "each", "every", "it")
    )


def _joined(parts: Sequence[_Part], nouns: Collection[str], places: Collection[str]) -> list[_Part]:
    """Parts that are clauses, with those that only go on with the one before them."""
    out: list[_Part] = []
    for part in _main_clauses_apart(parts):
        words = part.words
        names = [
            w for i, w in enumerate(words) if w in nouns or w.rstrip("s") in nouns or w in COLOURS or _other(words, i)
        ]
        whole = _says_all(words, nouns, places)
        verb = command_of(words)
        if part.tells_when and not (whole and names) and (not verb or _subject_acts(words, names)):
            done = part.said in ("when", "once", "after") or part.joined == "after"
            named = {w for p in out for w in p.words}
            rest = [w for w in words if base_form(w) not in COMMANDS]
            earlier = done and {*names} <= named and says_nothing(rest, (*names, *COMPLETION))
            if not earlier and not (part.said == "before" and not names and says_nothing(words)):
                out.append(replace(part, open=bool(names or verb)))
            continue  # "when that is done"
        idle = not verb and not names and not (out and _way(words)) and not set(words) & {"everything", "both", "each"}
        more = set(words) & {*RETURNING} or (part.joined == "and" and set(words) - {*POLITE, "the"})
        if (
            idle
            and part.said != "why"
            and (not says_nothing(words, ASKING_NOTHING) or (more and (out or {"back", "home"} & set(words))))
        ):
            out.append(part)  # "twice", "he said" and "and back again" are not to be dropped
            continue
        if part.said == "why" and not says_nothing([w for w in words if base_form(w) not in COMMANDS], names):
            out.append(replace(part, words=["so", *words]))  # "so you abort"
            continue
        if part.said == "why" or idle:
            continue  # "last of all", "in this order", "so that I can see it"
        if (
            out and words[:1] in (["on"], ["onto"], ["into"], ["in"]) and whole and not verb
        ):  # "and then onto the plate"
            sequel = part.joined == "then" or not _says_all(out[-1].words, nouns, places)
            out.append(replace(part, words=["put", "it", *words] if sequel else words))
            continue
        if (verb or not out) and not (verb and part.joined == "and" and out and not _verb_begins(words)):
            out.append(part)
            continue
        last = out[-1]
        complete = _says_all(last.words, nouns, places)
        if part.joined == "and" and not complete and not command_of(last.words):
            last.words += ["and", *words]  # "the cube and the ball go to the left"
        elif whole and (complete or not command_of(last.words) or part.joined == "then"):
            out.append(part)
        elif not whole and complete and (part.joined == "then" or words[:1] in (["over"], ["above"], ["to"])):
            out.append(replace(part, words=[*_carried(last.words), *words]))
        else:
            last.words += [",", *words] if part.joined == "," else ["and", *words]
    return out


def _main_clauses_apart(parts: Sequence[_Part]) -> list[_Part]:
    """A part that tells when and goes on with a command without a comma is two: "once the cube is there push the ball left"."""
    out: list[_Part] = []
    for part in parts:
        words = part.words
        at = next((i for i in range(1, len(words)) if _main_begins(words, i)), 0)
        if part.said in ("when", "once", "before", "after") and at:
            out += [replace(part, words=words[:at]), _Part(words[at:], ",", part.sentence)]
        else:
            out.append(part)
    return out


def _main_begins(words: Sequence[str], i: int) -> bool:
    """Whether word i is the command of a main clause, after a subject and its verb."""
    if words[i] not in COMMANDS or words[i] == "can" or not_meant(words, i):
        return False
    if words[i - 1] in ("is", "are", "been", "be", "has", "have", "to", "you", "gets", "get", "let", "and"):
        return False
    if {*words[:i]} <= {"everything", "anything", "all", "else"}:
        return True  # "before everything else push the ball left"
    said = {"is", "are", "has", "have", "it's", "that's", "told", "done", "finished"} & set(words[:i]) or command_of(
        words[:i]
    )
    return bool(said)


def _subject_acts(words: Sequence[str], names: Sequence[str]) -> bool:
    """ "the cube is moved", and not "you have moved the cube", "moving the cube"."""
    before = set(words[: next((i for i in range(len(words)) if is_command(words, i)), 0)])
    return bool({*names, "it", "they", "everything", "both", "all"} & before) and not {"you", "you've"} & before


def says_nothing(words: Sequence[str], also: Collection[str] = ()) -> bool:
    """Whether every word is plain, and none counts anything but jobs."""
    if repeats(words) is not None or words[:1] == ["time"] or ("to", "me") in pairwise(words):
        return False
    return all(
        w in PLAIN or w in also or (w in NUMBERS and {*JOBS} & set(words[i + 1 : i + 3])) for i, w in enumerate(words)
    )


def _other(words: Sequence[str], i: int) -> bool:
    """The "one" of "the other one", "another one"."""
    return i > 0 and words[i] in ("one", "ones") and words[i - 1] in ANOTHER


def repeats(words: Sequence[str]) -> str | None:
    """ "time" in "a second time", "next time"; None where nothing is to be done again or later."""
    often = ("second", "third", "another", "other", "next", "every", "each", "more")
    return next((w for i, w in enumerate(words) if w == "time" and words[i - 1 : i] and words[i - 1] in often), None)


def _verb_begins(words: Sequence[str]) -> bool:
    """Whether the command stands before any name: "and push the ball", not "and the ball to be pushed"."""
    for word in words:
        if base_form(word) in COMMANDS:
            return True
        if word not in POLITE and word not in ("it", "the", "a", *COLOURS):
            return False
    return False


def _carried(words: Sequence[str]) -> list[str]:
    """The command of a clause, for one that goes on without: "then over the cube"."""
    verb = command_of(words)
    return [verb] if verb else []


def _says_all(words: Sequence[str], nouns: Collection[str], places: Collection[str]) -> bool:
    """Whether it says of a thing where it goes, or asks for no more than the thing."""
    if command_of(words) in WITH_A_THING_ALONE:
        return True
    if _way(words) or "away" in words:
        return True
    for i, word in enumerate(words):
        if word in ("on", "in", "into", "onto", "to", "inside") and any(
            w in places or w.rstrip("s") in places for w in words[i + 1 : i + 5]
        ):
            return True
    return False


def _way(words: Sequence[str]) -> bool:
    """A way to push, and not "left of the can"."""
    return any(w in WAYS and words[i + 1 : i + 3] not in OF_A_THING for i, w in enumerate(words)) or "line" in words
