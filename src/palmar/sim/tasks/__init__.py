"""Tasks, one file each. Whatever file here holds a `TASK` is one: nothing else lists them."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from palmar.choices import Split
from palmar.errors import UnknownName, check_names
from palmar.sim.free_words import free_scenario
from palmar.sim.scenario import Scenario, draw
from palmar.sim.task import Task

ALL = ("all",)  # in place of names: every task that fits the robot, but those that are `Task.extra`


@cache
def _found() -> dict[str, Task]:
    tasks = [importlib.import_module(f"{__name__}.{m.name}").TASK for m in pkgutil.iter_modules(__path__)]
    return {t.name: t for t in sorted(tasks, key=lambda t: t.stream)}


def names(robot: str | None = None) -> tuple[str, ...]:
    """Tasks that fit a robot (None: all), in the order of their streams. Raises `UnknownName` for a robot that none fits."""
    fitting = tuple(n for n, t in _found().items() if robot is None or robot in t.robots)
    if not fitting:
        raise UnknownName("robot", str(robot), sorted({r for t in _found().values() for r in t.robots}))
    return fitting


def usual(robot: str) -> tuple[str, ...]:
    """Tasks that are meant where none is named: those that fit the robot and are not `Task.extra`. Raises what `names` does."""
    return tuple(n for n in names(robot) if not task(n).extra)


def chosen(wanted: tuple[str, ...], robot: str) -> tuple[str, ...]:
    """The tasks that are meant, for a robot. Raises what `check_names` does for one that does not fit it."""
    if wanted == ALL:
        return usual(robot)
    check_names("task", wanted, names(robot))
    return wanted


def task(name: str) -> Task:
    """A task by its name. Raises `UnknownName`."""
    if name not in _found():
        raise UnknownName("task", name, _found())
    return _found()[name]


def sample(name: str, split: Split = "seen", seed: int = 0, distractors: int = 2) -> Scenario:
    """The scenario of a task and a seed (`scenario.draw`, or `free_words.free_scenario`). Raises `UnknownName` for an unknown
    task or split, `BadValue` for a seed out of range."""
    if split == "free":
        return free_scenario(task(name), seed, distractors)
    return draw(task(name), split, seed, distractors)
