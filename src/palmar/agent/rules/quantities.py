"""How many things a name says: "the two red cubes", "3 balls", "the other two"."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from palmar.agent.rules.vocabulary import ANY, JOBS, NUMBERS, PAINT, SMALL


def count_before(words: Sequence[str], i: int) -> int:
    """How many the number before a noun says, 0 for none: "the two red cubes", "3 balls"."""
    at = number_before(words, i)
    return 0 if at is None else NUMBERS.get(words[at]) or int(words[at])


def number_before(words: Sequence[str], i: int) -> int | None:
    """Where the number of what is named at word i stands."""
    for at in range(i - 1, max(-1, i - 4), -1):
        if words[at] in NUMBERS or words[at].isdecimal():
            return at
        if words[at] not in ("small", "little", "big", "other", "of", "the", "single", *PAINT):
            return None
    return None


def counts_a_name(words: Sequence[str], i: int, nouns: Mapping[str, object]) -> bool:
    """Whether the number at word i is that of a name after it, as `count_before` reads it."""
    for at in range(i + 1, min(i + 4, len(words))):
        noun = words[at + 1] if words[at] in PAINT and at + 1 < len(words) else words[at]
        if (is_noun(noun, nouns) or noun in ANY) and number_before(words, at) == i:
            return True
    return False


def counts_something(words: Sequence[str], i: int, nouns: Mapping[str, object]) -> bool:
    """Whether a number is one of things or of jobs: "two red cubes", "the other two"; not "two lines to the left"."""
    if words[i] in NUMBERS and {"the", "other", "all"} & set(words[max(0, i - 2) : i]) and stands_alone(words, i):
        return True
    return counts_a_name(words, i, nouns) or bool({*JOBS} & set(words[i + 1 : i + 3]))


def stands_alone(words: Sequence[str], i: int) -> bool:
    """The number stands for things by itself: "the other two onto …"."""
    after = words[i + 1 : i + 2]
    return not after or after[0] in SMALL or after[0] == ","


def is_noun(word: str, nouns: Collection[str]) -> bool:
    return word in nouns or (word.endswith("s") and word[:-1] in nouns)
