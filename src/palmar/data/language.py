"""Instructions as training sees them: each may be replaced by one of its paraphrases."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from palmar.types import Array

Paraphrases = Callable[[str], Sequence[str]]


@dataclass(frozen=True)
class Wordings:
    """Every string training may use, and which of them stand for which task.

    texts: all of them, unique. rows[i]: indices into `texts` for task i, the instruction itself first.
    """

    texts: tuple[str, ...]
    rows: tuple[Array, ...]

    @classmethod
    def of(cls, tasks: Sequence[str], paraphrases: Paraphrases | None = None, limit: int = 64) -> Wordings:
        """paraphrases: instruction → other ways to say it; at most `limit` of each are kept (evenly picked)."""
        index: dict[str, int] = {}
        rows = []
        for task in tasks:
            others = [p for p in dict.fromkeys(paraphrases(task)) if p and p != task] if paraphrases else []
            if len(others) > limit:
                others = [others[i] for i in np.linspace(0, len(others) - 1, limit).astype(int)]
            rows.append(np.array([index.setdefault(t, len(index)) for t in (task, *others)]))
        return cls(tuple(index), tuple(rows))

    def draw(self, tasks: Array, rng: np.random.Generator, share: float = 0.7) -> Array:
        """int64[B] indices into `texts` for tasks int64[B]; a paraphrase in `share` of the cases."""
        pick, use = rng.random(len(tasks)), rng.random(len(tasks)) < share
        out = np.empty(len(tasks), np.int64)
        for b, task in enumerate(tasks):
            row = self.rows[task]
            out[b] = row[1 + int(pick[b] * (len(row) - 1))] if use[b] and len(row) > 1 else row[0]
        return out
