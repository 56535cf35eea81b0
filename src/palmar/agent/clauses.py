"""A long instruction as clauses, one command each, in the order in which they are to be done.

Words are small letters; punctuation is a word of its own while clauses are cut. A part without a command is a clause where it says
what becomes of a thing ("the ball on the plate", "the can past the left line"); else it goes on with the part before it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from palmar.sim.things import COLOURS
from palmar.sim.vocabulary import VERBS_OF

OPENING = ("open", "unclose")
LETTING_GO = ("release", "unhand")
CLEARING = ("clear", "tidy", "clean")
LOOKING = ("look", "see", "inspect")
SORTING = ("sort",)
MORE = {
    "reach": ("visit", "touch", "aim", "return"),
    "pick": ("clasp", "keep"),
    "place": ("stash", "store", "tuck", "rest", "position", "return", "park", "land"),
    "push": ("send", "knock", "nudge", "press", "drag", "pull", "roll", "propel"),
}
"""Commands that the tasks' own wordings lack."""
OTHERS = (
    "stack", "pour", "insert", "fold", "cut", "throw", "toss", "wipe", "wash", "open", "close", "rotate", "turn", "flip", "break",
    "eat", "paint", "hide", "swap", "exchange", "screw", "unscrew", "plug", "unplug", "write", "draw", "feed", "kick", "spin",
    "shake", "squeeze", "crush", "balance", "build", "assemble", "hand", "give", "hammer", "heat", "cook", "juggle", "tie", "fill",
    "empty", "count", "read", "sing", "dance", "walk", "fly", "jump", "hit", "smash", "bend", "peel", "measure", "weigh",
)  # fmt: skip
"""Commands that may begin a clause and are none of the skills of a policy here."""
NOT_COMMANDS = (
    "above",
    "over",
    "close",
    "fingers",
    "should",
    "like",
    "belongs",
    "point",
    "head",
    "position",
    "set",
    "drive",
    "slides",
)
COMMANDS = frozenset(
    {v for verbs in VERBS_OF.values() for v in verbs if v not in NOT_COMMANDS}
    | {v for verbs in MORE.values() for v in verbs}
    | {*OPENING, *LETTING_GO, *CLEARING, *LOOKING, *SORTING, *OTHERS, "set", "point", "drive", "let", "stop"}
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
    "simply", "to", "i", "you", "want", "need", "would", "could", "can", "will", "like", "us", "me", "so", "go", "ahead", "try",
    "then", "and", "start", "begin", "by", "must", "should", "we", "have", "let's", "lets", "we'd", "i'd", "once", "done", "that's",
    "again", "it's", "only", "last", "of", "all", "follow", "up", "finish", "end", "with", "lets", "that", "this", "anything",
    "else", "everything", "other", "jobs", "three", "two", "one", "another", "four", "five", "there", "are",
)  # fmt: skip
"""What may stand before a command and changes nothing."""
STOPS = (",", ";", ".", ":", "!", "?")
ENDS = (";", ".", "!", "?")
LATER = ("then", "afterwards", "next", "finally", "lastly")
DONE = ("done", "finished", "ready", "there", "it", "that", "this", "you", "that's", "them")
WAYS = ("left", "right", "forward", "forwards", "ahead", "away")


@dataclass(frozen=True, slots=True)
class Clause:
    """verb: its command in the base form, "" where none was found. words: all of them, the command's too."""

    verb: str
    words: tuple[str, ...]

    @property
    def text(self) -> str:
        return " ".join(w for w in self.words if w != ",")


@dataclass(slots=True)
class _Part:
    """joined: by a comma, and, then, before, after, or an end of a sentence. sentence: its number. said: it tells when."""

    words: list[str]
    joined: str = ""
    sentence: int = 0
    said: str = ""


def words_of(text: str) -> list[str]:
    """Small letters, punctuation apart."""
    plain = text.lower().replace("’", "'").replace("n't", " not").replace("-", " ").replace('"', " ")
    return "".join(c if c.isalnum() or c == "'" else f" {c} " if c in STOPS else " " for c in plain).split()


def base_form(word: str) -> str:
    """ "putting", "puts" → "put", where that is a command; else the word."""
    if word in COMMANDS:
        return word
    stems = [word.removesuffix("ing"), word.removesuffix("es"), word.removesuffix("s")]
    stems += [s[:-1] for s in stems[:1] if len(s) > 2 and s[-1] == s[-2]] + [f"{s}e" for s in stems[:1]]
    return next((s for s in stems if s != word and s in COMMANDS), word)


def clauses_of(text: str, nouns: Collection[str], places: Collection[str]) -> list[Clause]:
    """nouns: words that name things, places: those of them that name what things are put on."""
    out: list[tuple[int, Clause]] = []  # with the number of the sentence
    deferred: list[tuple[int, Clause]] = []  # "before you X, …": at the end of its sentence
    for part in _joined(_cut(words_of(text)), nouns, places):
        clause = Clause(_verb(part.words), tuple(part.words))
        while deferred and deferred[0][0] < part.sentence:
            out.append(deferred.pop(0))
        if part.said == "before" and not any(n == part.sentence for n, _ in out):
            deferred.append((part.sentence, clause))
        elif out and out[-1][0] == part.sentence and (part.joined == "after" or part.said == "first"):
            out.insert(len(out) - 1, (part.sentence, clause))
        else:
            out.append((part.sentence, clause))
    return [clause for _, clause in (*out, *deferred)]


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
        part = _Part([], joined, sentence)

    i = 0
    while i < len(words):
        word, following = words[i], words[i + 1 : i + 2]
        if word in ENDS:
            end("end")
            sentence += 1
            part.sentence, joined = sentence, ""
        elif word in (",", ":"):
            end(",")
        elif word in ("and", "but", "plus"):
            end("and")
            if following == ["first"]:
                part.said, i = "first", i + 1
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
        elif word == "after" and not part.words:
            part.said = "after"
        elif word in ("before", "after") and part.words:
            end(word)
            part.said = word if word == "before" else ""
        elif word in ("when", "once", "before") and not part.words:
            part.said = word
        elif word == "as" and list(words[i : i + 3]) == ["as", "soon", "as"]:
            end(",")
            part.said, i = "when", i + 2
        else:
            part.words.append(word)
        i += 1
    end("")
    return out


def _goes_on(words: Sequence[str], i: int) -> bool:
    """After "after that": the next clause, and not a noun ("after that ball")."""
    rest = [w for w in words[i : i + 3] if w not in (",", "is", "done")]
    return not rest or rest[0] in POLITE or base_form(rest[0]) in COMMANDS or rest[0] in ("the", "a")


def _verb(words: Sequence[str]) -> str:
    """The first command; of "give the can a shove" the shove."""
    found = [base_form(w) for i, w in enumerate(words) if base_form(w) in COMMANDS and not _not_meant(words, i)]
    if found[:1] == ["give"] and len(found) > 1:
        return found[1]
    return found[0] if found else ""


def _not_meant(words: Sequence[str], i: int) -> bool:
    """ "like", and "left"-like words that are commands elsewhere: "keep in mind", "go ahead", "the rest"."""
    if words[i] == "like" or (words[i] == "go" and words[i + 1 : i + 2] == ["ahead"]):
        return True
    return words[i] in ("rest", "touch", "land", "stop", "hand", "turn") and words[i - 1 : i] in (
        ["the"],
        ["your"],
        ["a"],
        ["in"],
    )


def _joined(parts: Sequence[_Part], nouns: Collection[str], places: Collection[str]) -> list[_Part]:
    """Parts that are clauses, with those that only go on with the one before them."""
    out: list[_Part] = []
    for part in parts:
        words = part.words
        names = [w for w in words if w in nouns or w.rstrip("s") in nouns or w in COLOURS]
        whole = _says_all(words, nouns, places)
        verb = _verb(words)
        if not verb and part.said in ("when", "once") and not (whole and names):
            continue  # "when that is done"
        if not verb and not names and not set(words) & {"it", "them", "everything", "both", "each"}:
            continue  # "last of all", "in this order"
        if (verb or not out) and not (verb and part.joined == "and" and out and not _verb_begins(words)):
            out.append(part)
            continue
        last = out[-1]
        complete = _says_all(last.words, nouns, places)
        if whole and (complete or not _verb(last.words)):
            out.append(part)
        elif not whole and complete and (part.joined == "then" or words[:1] in (["over"], ["above"], ["to"])):
            out.append(replace(part, words=[*_carried(last.words), *words]))
        else:
            last.words += [",", *words] if part.joined == "," else ["and", *words]
    return out


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
    verb = _verb(words)
    return [verb] if verb else []


def _says_all(words: Sequence[str], nouns: Collection[str], places: Collection[str]) -> bool:
    """Whether it says of a thing where it goes, or asks for no more than the thing."""
    if _verb(words) in {*VERBS_OF["reach"], *VERBS_OF["pick"], *MORE["reach"], *MORE["pick"], *CLEARING, *SORTING, *LETTING_GO} - {
        "move", "bring", "get", "carry", "take"
    }:  # fmt: skip
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
    return any(w in WAYS and words[i + 1 : i + 2] != ["of"] for i, w in enumerate(words)) or "line" in words
