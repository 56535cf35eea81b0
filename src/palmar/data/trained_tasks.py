"""Which tasks a checkpoint was trained on: names that it keeps, so that whoever tries it on another is told."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from palmar.data.split import OTHERS
from palmar.types import STILL

TASKS = "tasks"
"""Where a checkpoint's info holds them."""
MOST = 100
"""Names that are kept; of data with more, such as a sentence for each episode, none are."""


def task_names(episodes: Iterable[Any]) -> tuple[str, ...]:
    """Of the episodes in which somebody acts, sorted: the task's name, or the sentence where none was recorded. `OTHERS` alone for
    more than `MOST`."""
    names = {str(getattr(e, "task", "")) for e in episodes if getattr(e, "source", "") != STILL} - {""}
    return tuple(sorted(names)) if len(names) <= MOST else (OTHERS,)


def said_tasks(info: Mapping[str, Any]) -> tuple[str, ...]:
    """What a checkpoint (its `info`) says; `OTHERS` alone when it says nothing, or no list of texts."""
    listed = info.get(TASKS)
    if not isinstance(listed, list | tuple) or not all(isinstance(name, str) for name in listed):
        return (OTHERS,)
    return tuple(listed)


def never_trained(info: Mapping[str, Any], asked: Sequence[str], known: Collection[str]) -> tuple[str, ...]:
    """Those of the tasks `asked` that a checkpoint was never trained on. None where it cannot be told: it does not say all, or
    none of its tasks is called by a name that is `known` here."""
    told = said_tasks(info)
    if OTHERS in told or not set(told) & set(known):
        return ()
    return tuple(name for name in asked if name not in told)
