"""A long instruction as clauses, one command each, in the order in which they are to be done.

Words are small letters; commas and stops are words of their own while clauses are cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from palmar.sim.vocabulary import VERBS_OF

OPENING = ("open", "unclose")
LETTING_GO = ("release", "unhand")
CLEARING = ("clear", "tidy", "clean")
LOOKING = ("look", "see", "inspect")
SORTING = ("sort",)
OTHERS = (
    "stack", "pour", "insert", "fold", "cut", "throw", "toss", "wipe", "wash", "open", "close", "rotate", "turn",
    "flip", "break", "eat", "paint", "hide", "swap", "exchange", "screw", "unscrew", "plug", "unplug", "write",
    "draw", "feed", "kick", "roll", "spin", "shake", "squeeze", "crush", "balance", "build", "assemble", "hand",
    "give", "hammer", "heat", "cook", "juggle", "tie", "fill", "empty", "count", "read", "sing", "dance", "walk",
    "drive", "fly", "jump", "hit", "smash", "bend", "peel", "measure", "weigh",
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
    | {
        *OPENING,
        *LETTING_GO,
        *CLEARING,
        *LOOKING,
        *SORTING,
        *OTHERS,
        "set",
        "point",
        "drive",
        "let",
        "position",
        "return",
        "stop",
    }
)
POLITE = (
    "please", "now", "also", "just", "robot", "kindly", "ok", "okay", "well", "thanks", "gently", "carefully",
    "quickly", "slowly", "finally", "lastly", "next", "first", "second", "third", "secondly", "thirdly", "firstly",
    "afterwards", "immediately", "simply", "to", "i", "you", "want", "need", "would", "could", "can", "will", "like",
    "us", "me", "so", "go", "ahead", "try", "then", "and", "start", "begin", "by", "must", "should", "we", "have",
    "let's", "lets", "we'd", "i'd", "once", "done", "that's", "again", "it's",
)  # fmt: skip
"""What may stand before a command and changes nothing."""
STOPS = (",", ";", ".", ":", "!", "?")


@dataclass(frozen=True, slots=True)
class Clause:
    """verb: its command in the base form, "" where none was found. words: all of them, the command's too."""

    verb: str
    words: tuple[str, ...]

    @property
    def text(self) -> str:
        return " ".join(self.words)


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


def clauses_of(text: str) -> list[Clause]:
    """Commands joined by then, and, commas or stops; "before you X, Y", "X after Y" in the order in which they are to be done."""
    found: list[Clause] = []
    turned = False  # the clause that comes now is to be done before the one that stands last
    first_after = False  # "before X, Y": X comes after Y
    for joined, words in _cut(words_of(text)):
        clause = _clause(words)
        if clause is None:
            continue
        if first_after:
            found.insert(len(found) - 1, clause)
            first_after = False
        elif turned or joined == "after":
            found.insert(max(0, len(found) - 1), clause) if found else found.append(clause)
        else:
            found.append(clause)
        turned = False
        first_after = joined == "before" and len(found) == 1
    return found


def _cut(words: Sequence[str]) -> list[tuple[str, list[str]]]:
    """(what joins it to the one before, its words)."""
    out: list[tuple[str, list[str]]] = []
    joined, part = "", list[str]()

    def end(by: str) -> None:
        nonlocal joined, part
        if part:
            out.append((joined, part))
            joined, part = by, []
        elif by:
            joined = by

    for i, word in enumerate(words):
        rest = words[i + 1 :]
        if word in (";", ".", ":", "!", "?"):
            end("then")
        elif word == "then" or (word in ("before", "after") and _commands(rest)):
            end(word if word != "then" else joined if not part else "then")
        elif word in ("and", ",", "but") and _commands(rest):
            end("then")
        else:
            part.append(word)
    end("")
    return out


def _commands(rest: Sequence[str]) -> bool:
    """Whether a command comes next, polite words left out."""
    for i, word in enumerate(rest[:8]):
        if base_form(word) in COMMANDS and not (word == "like" or (word == "go" and rest[i + 1 : i + 2] == ["ahead"])):
            return True
        if word not in POLITE and word not in (",", "that", "this"):
            return False
        if word in ("that", "this") and rest[i + 1 : i + 2] != [","]:
            return False
    return False


def _clause(words: Sequence[str]) -> Clause | None:
    """None for one without content ("after that", "please")."""
    plain = [w for w in words if w not in STOPS]
    if not [w for w in plain if w not in POLITE and w not in ("that", "this", "after", "everything's")]:
        return None
    verb = next((base_form(w) for w in plain if base_form(w) in COMMANDS and w not in ("like",)), "")
    return Clause(verb, tuple(words))
