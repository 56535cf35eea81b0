"""The command of a clause: the verb that says what is to be done, in its base form."""

from __future__ import annotations

from collections.abc import Sequence

from palmar.agent.rules.vocabulary import COMMANDS


def base_form(word: str) -> str:
    """ "putting", "puts" → "put", where that is a command; else the word."""
    if word in COMMANDS:
        return word
    stems = [word.removesuffix("ing"), word.removesuffix("ed"), word.removesuffix("es"), word.removesuffix("s")]
    stems += [s[:-1] for s in stems[:2] if len(s) > 2 and s[-1] == s[-2]] + [f"{s}e" for s in stems[:2]]
    return next((s for s in stems if s != word and s in COMMANDS), word)


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
    return base_form(words[i]) in COMMANDS and not not_meant(words, i)


def not_meant(words: Sequence[str], i: int) -> bool:
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
