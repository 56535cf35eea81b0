"""Arms that are trained several times: their seeds, what was tried over trainings and tables, and what may be said of it.

Training k of every arm has the same seed, and is tried on the same tables, so that differences are paired. Intervals are those of
`palmar.eval.crossed`: they cover chance between trainings as well as between tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from study import Row, Rows, outcomes

from palmar.eval.crossed import Crossed, gained, rate
from palmar.eval.results import Results
from palmar.eval.stats import Rate

if TYPE_CHECKING:
    from making import Lab

SEEDS = (0, 1, 2)
QUICK = 2  # trainings of a quick run: the fewest that have an interval
APART = 20_000  # seeds of tables between two trainings


def seeds(lab: Lab) -> tuple[int, ...]:
    """Of the trainings at this size."""
    return SEEDS if lab.size.data == 1 else SEEDS[:QUICK]


def tried(each: Mapping[int, Results]) -> dict[str, bool]:
    """{TRAINING/TABLE: success} of {training: its results}."""
    return {table: good for seed, results in each.items() for table, good in outcomes(results, seed).items()}


def total(found: Mapping[str, bool]) -> Rate:
    """All trials of all trainings; its interval takes them for independent, which they are not (`palmar.eval.crossed`)."""
    return Rate(sum(found.values()), len(found))


def over(rows: Rows, name: str) -> dict[str, Crossed]:
    """{arm: success} of a column {TRAINING/TABLE: success}."""
    return {arm: rate(row[name]) for arm, row in rows.items()}


def gain(rows: Rows, a: str, b: str, name: str) -> Crossed:
    """Success of arm b less that of arm a."""
    return gained(rows[a][name], rows[b][name])


def by_training(row: Row, name: str) -> str:
    """ "53 61 48": successes of each training."""
    counts: dict[str, int] = {}
    for key, good in row[name].items():
        seed = key.partition("/")[0]
        counts[seed] = counts.get(seed, 0) + good
    return " ".join(map(str, counts.values()))
