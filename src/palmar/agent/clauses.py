"""A long instruction as clauses, one command each, in the order in which they are to be done.

Words are small letters; punctuation is a word of its own while clauses are cut. A part without a command is a clause where it says
what becomes of a thing ("the ball on the plate", "the can past the left line"); else it goes on with the part before it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from palmar.sim.things import COLOURS, NOUNS
from palmar.sim.vocabulary import DIRECTIONS, HINTS, VERBS_OF

OPENING = ("open", "unclose")
LETTING_GO = ("release", "unhand")
CLEARING = ("clear", "tidy", "clean")
LOOKING = ("look", "see", "inspect")
SORTING = ("sort",)
MORE = {
    "reach": ("visit", "touch", "aim", "check", "position"),
    "pick": ("clasp", "keep"),
    "place": ("stash", "store", "tuck", "rest", "return", "park", "land", "stick", "pop", "dump", "load"),
    "push": ("send", "run", "knock", "nudge", "press", "drag", "pull", "roll", "propel"),
}
"""Commands that the tasks' own wordings lack."""
OTHERS = (
    "stack", "pour", "insert", "fold", "cut", "throw", "toss", "wipe", "wash", "open", "close", "rotate", "turn", "flip", "break",
    "eat", "paint", "hide", "swap", "exchange", "screw", "unscrew", "plug", "unplug", "write", "draw", "feed", "kick", "spin",
    "shake", "squeeze", "crush", "balance", "build", "assemble", "hand", "give", "hammer", "heat", "cook", "juggle", "tie", "fill",
    "empty", "count", "read", "sing", "dance", "walk", "fly", "jump", "hit", "smash", "bend", "peel", "measure", "weigh",
)  # fmt: skip
"""Commands that may begin a clause and are none of the skills of a policy here."""
COMMANDS = frozenset(
    {v for verbs in VERBS_OF.values() for v in verbs if v not in (*HINTS, "head")}
    | {v for verbs in MORE.values() for v in verbs}
    | {*OPENING, *LETTING_GO, *CLEARING, *LOOKING, *SORTING, *OTHERS, "let", "stop"}
)
PASSIVE = (
    "belongs",
    "belong",
    "should",
    "goes",
    "go",
    "have",
    "has",
    "need",
    "needs",
    "is",
    "are",
    "must",
    "sits",
    "end",
    "ends",
    "i'd",
    "want",
)
"""In a part without a command these say what ought to become of a thing."""
POLITE = (
    "please", "now", "also", "just", "robot", "kindly", "ok", "okay", "well", "thanks", "gently", "carefully", "quickly", "slowly",
    "finally", "lastly", "next", "first", "second", "third", "secondly", "thirdly", "firstly", "afterwards", "immediately",
    "simply", "to", "i", "you", "want", "need", "would", "could", "will", "like", "us", "me", "so", "go", "ahead", "try",
    "then", "and", "start", "begin", "by", "must", "should", "we", "have", "let's", "lets", "we'd", "i'd", "once", "done", "that's",
    "again", "it's", "only", "last", "of", "all", "follow", "up", "finish", "end", "with", "that", "this", "anything",
    "else", "everything", "other", "jobs", "three", "two", "one", "another", "four", "five", "there", "are",
)  # fmt: skip
"""What may stand before a command and changes nothing."""
ALL = ("everything", "all", "each", "every", "both", "things", "objects", "items", "pieces")
ANY = ("thing", "things", "object", "objects", "one", "ones", "item", "items", "piece", "pieces", "stuff")
IDLE = (
    "only", "single", "small", "little", "big", "whole", "full", "same", "right", "left", "very", "shift", "side",
    "camera", "moment", "while", "time", "turn", "turns", "order", "job", "jobs", "way", "end", "step", "steps",
    "tour", "bit", "lot", "rest", "second", "minute", "case", "go", "row", "robot", "goal", "task",
    "tasks", "line", "lines", "edge",
)  # fmt: skip
"""Nouns that name no thing: "for a moment", "in this order"."""
FILLERS = (
    "both", "each", "every", "ones", "off", "upon", "inside", "within", "held", "sitting", "resting", "ready",
    "nicely", "straight", "safely", "softly", "all", "any", "something", "whole", "handle", "raised",
    "lifted", "way", "ends", "ended", "been", "gripping", "grip", "hold", "holding", "kept", "stay", "stays", "there",
    "has", "come", "comes", "belong", "too", "as", "starting", "finishing", "carry", "continue", "while",
    "time", "away", "out", "closed", "open", "gets", "get", "does", "do", "reach", "point", "position", "yourself",
    "sure", "make", "place", "top", "remaining", "lies", "ok", "right", "hand", "either", "my", "you've",
    "i've",
)  # fmt: skip
"""Words that say nothing that changes what is asked."""
NUMBERS = {
    "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10, "dozen": 12, "pair": 2,
    "couple": 2, "both": 2,
}  # fmt: skip
COLOUR_WORDS = ("colour", "color", "colours", "colors", "coloured", "matching", "matches", "match")
SMALL = (
    "the", "a", "an", "that", "this", "those", "these", "on", "in", "into", "onto", "to", "of", "up", "down", "off", "over",
    "at", "it", "them", "its", "their", "there", "here", "left", "right", "forward", "forwards", "ahead", "away", "towards",
    "toward", "until", "as", "far", "is", "are", "and", "with", "for", "from", "side", "table", "line", "across", "past",
    "beyond", "gripper", "hand", "arm", "fingers", "robot", "front", "behind", "nearest", "closest", "farthest", "furthest",
    "leftmost", "rightmost", "other", "remaining", "instead", "which", "who", "lies", "lying", "stands", "standing", "sits",
    "sitting", "me", "you", "i", "please", "now", "back", "high", "air", "above", "middle", "further", "some", "else",
    "except", "but", "along", "by", "pushing", "go", "your", "own", "same", *COLOUR_WORDS, "next", "near", "then",
    "again", "alone", "out", "painted", "place", "places", "so", "lay", "somewhere", "anywhere", "aside", "be", "not",
)  # fmt: skip
"""Words that name no thing."""
JOBS = ("job", "jobs", "task", "tasks", "step", "steps")
SAYS_WHERE = (
    "towards", "toward", "from", "near", "behind", "front", "beyond", "past", "across", "along", "above", "over", "middle",
    "nearest", "closest", "farthest", "furthest", "further", "far", "high", "air", "somewhere", "anywhere", "aside", "side",
    "edge", "alone", "table",
)  # fmt: skip
"""Of the words that name no thing: these say where, and a part that has one is not dropped."""
PLAIN = {*POLITE, *FILLERS, *IDLE, *SMALL, *ANY} - {*NUMBERS, *SAYS_WHERE}
"""A part of these alone asks for nothing: "last of all", "in this order"."""
ASKING_NOTHING = (
    "wherever", "whatever", "whichever", "they", "fit", "fits", "long", "thank", "cheers", "hello", "hi", "hey", "good", "morning",
    "evening", "great", "yes", "alright",
)  # fmt: skip
"""A part of these and plain words leaves something open or is polite: "wherever they fit", "thank you"."""
COMPLETION = (
    "done", "finished", "finishes", "complete", "completed", "over", "across", "there", "through", "in", "on", "away", "safely",
    "all", "both", "is", "are", "has", "have", "been", "that's", "it's", "they're", "they", "you're", "you've", "you", "arrived",
    "happened", "settled", "moved", "placed",
)  # fmt: skip
"""A part with when, once or after that has these and plain words alone says that what was asked for before is done."""
STOPS = (",", ";", ".", ":", "!", "?")
ENDS = (";", ".", "!", "?")
LATER = ("then", "afterwards", "next", "finally", "lastly")
WAYS = {**{d: d for d in DIRECTIONS}, "forwards": "forward", "ahead": "forward", "away": "forward"}
"""{word: the direction that it says}."""


@dataclass(frozen=True, slots=True)
class Clause:
    """verb: its command in the base form, "" where none was found. words: all of them, the command's too. rank: its place in the
    order in which clauses are to be done. when: it tells when another is to be done, by a thing of which it does not say where it
    goes ("once the cube is there")."""

    verb: str
    words: tuple[str, ...]
    rank: float = 0.0
    when: bool = False

    @property
    def text(self) -> str:
        return " ".join(w for w in self.words if w != ",")


@dataclass(slots=True)
class _Part:
    """joined: by a comma, and, then, before, after, or an end of a sentence. sentence: its number. said: it tells when. open: as
    `Clause.when`."""

    words: list[str]
    joined: str = ""
    sentence: int = 0
    said: str = ""
    open: bool = False

    @property
    def tells_when(self) -> bool:
        return self.said in ("when", "once", "before", "after") or self.joined == "after"


def words_of(text: str) -> list[str]:
    """Small letters, punctuation apart. The "can" of "can you", "it can go" is written "could": a can is a thing."""
    plain = text.lower().replace("’", "'").replace("n't", " not").replace("-", " ").replace('"', " ")
    words = "".join(c if c.isalnum() or c == "'" else f" {c} " if c in STOPS else " " for c in plain).split()
    return ["could" if _is_modal(words, i) else w for i, w in enumerate(words)]


PERSONS = ("you", "we", "i", "he", "she", "they", "anyone", "someone", "somebody")


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


NAMES = {
    *(n for names in NOUNS.values() for n in names), *ANY, *ALL, "it", "this", "that", "which", "robot", "gripper", "arm", "hand",
}  # fmt: skip
"""Words after which "can" and a verb are no name of a thing."""


def base_form(word: str) -> str:
    """ "putting", "puts" → "put", where that is a command; else the word."""
    if word in COMMANDS:
        return word
    stems = [word.removesuffix("ing"), word.removesuffix("ed"), word.removesuffix("es"), word.removesuffix("s")]
    stems += [s[:-1] for s in stems[:2] if len(s) > 2 and s[-1] == s[-2]] + [f"{s}e" for s in stems[:2]]
    return next((s for s in stems if s != word and s in COMMANDS), word)


def clauses_of(words: Sequence[str], nouns: Collection[str], places: Collection[str]) -> list[Clause]:
    """In the order of the text, for "it" means what was said before; `rank` is the order in which they are to be done.

    words: `words_of` a text. nouns: words that name things, places: those of them that name what things are put on."""
    out: list[Clause] = []
    done: list[int] = []  # indices into `out`, in their order
    sentences: list[int] = []
    waiting: list[tuple[int, int]] = []  # (sentence, index): done when that sentence is
    for part in _joined(_cut(words), nouns, places):
        i = len(out)
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
    return [replace(clause, rank=float(order.index(i))) for i, clause in enumerate(out)]


NEVER = 10**6
"""Number of a sentence that none reaches: what waits for it is done last."""


def _cut(words: Sequence[str]) -> list[_Part]:
    """At every mark and every joining word."""
    out: list[_Part] = []
    part, sentence, joined = _Part([]), 0, ""

    def end(by: str) -> None:
        nonlocal part, joined
        if [w for w in part.words if w not in STOPS]:
            out.append(part)
            joined = by
        elif by in ("then", "after", "before") or not joined:
            joined = by
        part = _Part([], joined, sentence, "" if part.words else part.said)

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
        elif word in ("last", "at") and not part.words and list(words[i : i + 3]) in LAST:
            part.said, i = "last" if word == "last" and not out else "", i + 2
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
        i += 1
    end("")
    return out


def _begins_a_time(words: Sequence[str], i: int) -> bool:
    """Whether a subject follows once or when: "once the ball is there", and not "push it once"."""
    following = words[i] if i < len(words) else ""
    return following in (*SUBJECTS, *PERSONS, *COLOURS) or following in NAMES


SUBJECTS = (
    "the", "a", "an", "my", "your", "its", "it's", "that's", "they're", "these", "those", "you've", "you're", "done", "told",
    "ready", "finished",
)  # fmt: skip
"""What may follow "once" and "when" where they begin a clause, beside names and persons."""


LAST = (["last", "of", "all"], ["at", "the", "end"], ["last", "thing", ","])


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


def command_of(words: Sequence[str]) -> str:
    """The first command; of "give the can a shove" the shove."""
    if "give" in words:
        given = [
            base_form(w)
            for i, w in enumerate(words)
            if base_form(w) in COMMANDS and words[i - 1 : i] in (["a"], ["another"])
        ]
        if given:
            return given[0]
    return next((base_form(w) for i, w in enumerate(words) if is_command(words, i)), "")


def is_command(words: Sequence[str], i: int) -> bool:
    return base_form(words[i]) in COMMANDS and not _not_meant(words, i)


def _not_meant(words: Sequence[str], i: int) -> bool:
    """What is no command where it stands: "like", "go ahead", "end of shift", "kick things off", "hand above the can"."""
    word, before, after = words[i], list(words[max(0, i - 1) : i]), list(words[i + 1 : i + 3])
    if word == "like" or (word == "go" and after[:1] == ["ahead"]) or (word == "kick" and after[:1] == ["things"]):
        return True
    if word == "check" and after[:1] != ["in"]:
        return True
    if word == "hand" and (after[:1] in (["above"], ["over"]) or before in (["right"], ["left"])):
        return True
    if word == "carry" and after[:1] == ["on"]:
        return True
    return before in (["the"], ["your"], ["a"], ["in"], ["of"], ["my"], ["full"]) and not word.endswith("ing")


RETURNING = ("back", "again", "down", "up", "off", "out", "over", "around", "aside", "backwards", "way", "home", "on")
"""In a part without a command or a name these ask for more than what was said before."""


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
            out.append(replace(part, words=["put", "it", *words]))
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
    if words[i] not in COMMANDS or words[i] == "can" or _not_meant(words, i):
        return False
    if words[i - 1] in ("is", "are", "been", "be", "has", "have", "to", "you", "gets", "get", "let", "and"):
        return False
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


ANOTHER = ("other", "another", "second", "third", "first", "last")


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


WITH_A_THING_ALONE = {
    *VERBS_OF["reach"], *VERBS_OF["pick"], *MORE["reach"], *MORE["pick"], *CLEARING, *SORTING, *LETTING_GO,
} - {"move", "bring", "get", "carry", "take"}  # fmt: skip
"""Commands that ask for no more than the thing."""


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


OF_A_THING = (["of", "the"], ["of", "a"], ["of", "it"], ["of", "that"])
