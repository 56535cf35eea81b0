"""A study as a value: a question, the arms that answer it, what was expected, how an arm is measured, and what may be said.

`run.py` runs any of them; a new study is one new file in this folder with a value `STUDY`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from palmar.errors import BadValue
from palmar.eval.crossed import Crossed
from palmar.eval.results import Results
from palmar.eval.stats import Paired, Rate, paired

if TYPE_CHECKING:
    from making import Lab

# What an arm was measured to be: numbers, text, `Rate`s, lists and dicts of them. A name that begins with "_" is kept in the
# result file and not shown in the table.
Row = dict[str, Any]
Rows = Mapping[str, Row]  # {arm: its row}


@dataclass(frozen=True)
class Size:
    """How much an arm gets. trials: test tables of each task. steps: of training, batches of 64; or minutes of it.
    data: share of the demonstrations that the study names."""

    trials: int
    steps: int = 0
    minutes: float = 0.0
    data: float = 1.0

    def __post_init__(self) -> None:
        if self.trials < 1 or self.steps < 0 or self.minutes < 0 or not 0 < self.data <= 1:
            raise BadValue(f"{self}; expected trials ≥ 1, steps and minutes ≥ 0, data in (0, 1]. Next: mend the study")


def as_measured(rows: Rows) -> list[Row]:
    """The table of a study whose arms are its lines."""
    return [{"arm": arm} | row for arm, row in rows.items()]


@dataclass(frozen=True)
class Study:
    """One question.

    arms: names, in the order of the table. expectation: what was expected before the first run, in one sentence.
    measure(lab, arm): trains and tests one arm; equal settings give equal rows. answer(rows), figure(rows), table(rows): one
    paragraph, one SVG, and the lines of the table, from the rows of all arms. full, quick: what an arm gets; quick shows that
    the study runs, its figures say nothing. settings: every other constant that the rows depend on (seeds, tasks, presets);
    kept beside each row. page: where the table and the answer stand.
    """

    question: str
    arms: tuple[str, ...]
    expectation: str
    measure: Callable[[Lab, str], Row]
    answer: Callable[[Rows], str]
    figure: Callable[[Rows], str]
    full: Size
    quick: Size
    settings: Mapping[str, Any] = field(default_factory=dict)
    table: Callable[[Rows], list[Row]] = as_measured
    page: str = "docs/studies.md"

    def __post_init__(self) -> None:
        if not self.question.endswith("?"):
            raise BadValue(f"the question '{self.question}' does not end with '?'. Next: ask one question")
        if len(self.arms) < 2 or len({slug(a) for a in self.arms}) < len(self.arms):
            raise BadValue(
                f"arms {list(self.arms)}; expected two or more, each with a name of its own. Next: name them"
            )

    def size(self, name: str) -> Size:
        return {"full": self.full, "quick": self.quick}[name]


def slug(arm: str) -> str:
    """The name of an arm's files: lower case, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", arm.lower()).strip("-") or "arm"


def outcomes(results: Results, training: int | None = None) -> dict[str, bool]:
    """{task, split and seed of a trial: success}, so that arms can be compared on the same tables. training: which of an arm's it
    is; then it stands in front, as `eval.crossed` wants it."""
    front = "" if training is None else f"{training}/"
    return {f"{front}{t.task}/{t.split}/{t.seed}": t.success for t in results.trials}


def compared(a: Mapping[str, bool], b: Mapping[str, bool]) -> Paired:
    """b against a on the tables that both have (`outcomes`)."""
    keys = [k for k in a if k in b]
    return paired([a[k] for k in keys], [b[k] for k in keys])


def points(p: Paired | Crossed) -> str:
    """ "+33 points [+22, +42], p < 0.001"; of several trainings "+33 points [+22, +42]" """
    if isinstance(p, Crossed):
        return f"{100 * p.value:+.0f} points [{100 * p.low:+.0f}, {100 * p.high:+.0f}]"
    chance = "p < 0.001" if p.p < 0.001 else f"p = {p.p:.3f}"
    return f"{100 * p.difference:+.0f} points [{100 * p.low:+.0f}, {100 * p.high:+.0f}], {chance}"


def verdict(p: Paired | Crossed) -> str:
    """What a paired comparison allows to be said of b: b `verdict` a."""
    unsure = p.low <= 0 <= p.high if isinstance(p, Crossed) else not p.told
    if unsure:
        return "cannot be told from"
    return "is better than" if p.difference > 0 else "is worse than"


def rates(rows: Rows, name: str) -> dict[str, Rate]:
    """{arm: its rate} of one column."""
    return {arm: row[name] for arm, row in rows.items()}
