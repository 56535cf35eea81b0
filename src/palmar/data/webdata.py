"""Pictures with questions and answers on disk: what a model learns language from, and is asked.

A plain folder, readable by anything:

    questions.parquet   picture, kind, prompt, answer, choices (list of texts, the answer among them), split (train, held-out)
    pictures/000000.png one for each table

`palmar questions` writes one from the simulator (`lab/questions.py`).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from palmar.data.format import read_parquet
from palmar.errors import BadFile, regular_file
from palmar.types import Array

TABLE, PICTURES = "questions.parquet", "pictures"


class WebData:
    """A folder that `make` wrote, or another of the same columns. Pictures are read when asked for and remembered."""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        if not (self.root / TABLE).exists():
            raise BadFile(f"no {TABLE} in '{self.root}'. Next: palmar questions --out '{self.root}'")
        table = read_parquet(self.root / TABLE)
        if lacking := {"picture", "prompt", "answer", "choices", "split"} - set(table.column_names):
            raise BadFile(
                f"'{self.root / TABLE}' lacks the columns {', '.join(sorted(lacking))}. "
                "Next: write the questions anew: palmar questions --out FOLDER"
            )
        rows = table.to_pylist()
        self.prompts: list[str] = [r["prompt"] for r in rows]
        self.answers: list[str] = [r["answer"] for r in rows]
        self.kinds: list[str] = [r.get("kind", "") for r in rows]
        self.choices: list[tuple[str, ...]] = [tuple(r["choices"]) for r in rows]
        self._picture = np.array([r["picture"] for r in rows], np.int64)
        held = np.array([r["split"] == "held-out" for r in rows], bool)
        asked = held & np.array([len(c) > 1 for c in self.choices], bool)
        self.training, self.held_out = np.flatnonzero(~held), np.flatnonzero(asked)
        kinds = np.array(self.kinds)[self.training]
        self._pools = [self.training[kinds == kind] for kind in np.unique(kinds)]
        self._seen: dict[int, Array] = {}
        if not len(self.training) or not len(self.held_out):
            raise BadFile(
                f"'{self.root}' has {len(self.training)} training and {len(self.held_out)} held-out questions. "
                "Next: write the questions anew: palmar questions --out FOLDER"
            )

    def __len__(self) -> int:
        return len(self.prompts)

    @property
    def chance(self) -> float:
        """Share of held-out questions that guessing would answer."""
        return float(np.mean([1 / len(self.choices[i]) for i in self.held_out]))

    def draw(self, count: int, rng: np.random.Generator) -> Array:
        """int64[count] training questions, kinds in equal shares."""
        pools = self._pools
        which = rng.permutation(count) % len(pools)
        return np.array([pools[k][rng.integers(len(pools[k]))] for k in which], np.int64)

    def pictures(self, questions: Array) -> Array:
        """uint8[B, H, W, 3]."""
        from PIL import Image

        out = []
        for i in self._picture[questions].tolist():
            if i not in self._seen:
                path = self.root / PICTURES / f"{i:06d}.png"
                if not path.exists():
                    raise BadFile(f"'{path}' is missing. Next: copy the folder again")
                self._seen[i] = np.asarray(Image.open(regular_file(path)).convert("RGB"))
            out.append(self._seen[i])
        return np.stack(out)
