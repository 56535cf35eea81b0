"""Passages compared with a question by the words they share: BM25, of words without their endings."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from palmar.errors import need
from palmar.types import Array

WORD = re.compile(r"[^\W_]+")
LITTLE = """
a an and are as at be but by for if in into is it of on or such that the their then there these they this to was will with i my me
you your we our he she his her do does did can could should would may must have has had am been how what which who where when why
than so its from one some any all anything something somebody anybody no not
"""
COMMON = frozenset(LITTLE.split())
"""Words that are in every text, and tell nothing of what it is about."""
ENDINGS = ("ing", "ed", "es", "s", "ly")
SHORTEST = 3  # letters that an ending leaves


def words(text: str) -> list[str]:
    """The words of a text that tell what it is about. Parts of a name such as `--image-size` count as words of their own."""
    return [stem(w) for w in WORD.findall(text.lower()) if w not in COMMON]


def stem(word: str) -> str:
    """The word without an English ending: "cameras" and "camera" are one, and so are "stopped" and "stop"."""
    if word.endswith("ss") or not word.isalpha():
        return word
    for ending in ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= SHORTEST:
            word = word.removesuffix(ending)
            break
    if len(word) > SHORTEST and word[-1] == word[-2] and word[-1] not in "lsz":
        word = word[:-1]
    return word.removesuffix("e") if len(word) > SHORTEST else word


class WordIndex:
    """BM25 over texts (package `bm25s`). Raises `MissingPackage` where palmar[agent] is not installed."""

    def __init__(self, texts: Sequence[str]) -> None:
        need("bm25s", "agent")
        import bm25s

        self._n = len(texts)
        tokens = [words(t) for t in texts]
        self._bm25 = bm25s.BM25() if any(tokens) else None
        if self._bm25 is not None:
            self._bm25.index(tokens, show_progress=False)
            self._known = {w for t in tokens for w in t}

    def scores(self, question: str) -> Array:
        """float32[N], 0 of a text that shares no word with the question."""
        if self._bm25 is None:
            return np.zeros(self._n, np.float32)
        asked = [w for w in words(question) if w in self._known]
        return np.asarray(self._bm25.get_scores(asked), np.float32) if asked else np.zeros(self._n, np.float32)
