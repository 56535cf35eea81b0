"""What a person's answer to a question means, by the words of the choices."""

from __future__ import annotations

from collections.abc import Sequence

from palmar.agent.rules.clauses import words_of
from palmar.sim.things import NOUNS
from palmar.sim.vocabulary import NEGATIONS

DENYING = {*NEGATIONS, "but", "rather", "than", "nowhere", "except", "other"}
"""An answer with one of these says what is not meant."""


def chosen(said: str, choices: Sequence[str]) -> str | None:
    """Which of the choices an answer means, by a word that it alone has; None where it denies, or fits none or several."""
    words = set(words_of(said))
    if words & DENYING:
        return None
    fits = [c for c in choices if words & _own(c, choices)]
    return fits[0] if len(fits) == 1 else None


def chosen_several(said: str, choices: Sequence[str]) -> list[str]:
    """Those of the choices that an answer names, each by a word that it alone has; none where it denies."""
    words = set(words_of(said))
    return [] if words & DENYING else [c for c in choices if words & _own(c, choices)]


def _own(choice: str, choices: Sequence[str]) -> set[str]:
    """The words of a choice and their synonyms, without those that another choice has too."""

    def wide(name: str) -> set[str]:
        return {n for w in name.split() for n in next((g for g in NOUNS.values() if w in g), (w,))}

    return wide(choice) - {w for c in choices if c != choice for w in wide(c)}
