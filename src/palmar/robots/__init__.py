"""Robots that come with palmar, one file each: a function called as the file that returns an `Embodiment`, and a function
`mechanics` that returns what a simulator builds it from."""

from __future__ import annotations

import importlib
import pkgutil

from palmar.embodiments import ActionSpaceName, Embodiment
from palmar.errors import BadValue, UnknownName
from palmar.links import Mechanics


def robots() -> tuple[str, ...]:
    """Names of the robots that come with palmar: the files of this folder that describe one."""
    return tuple(m.name for m in pkgutil.iter_modules(__path__))


def robot(name: str, action_space: ActionSpaceName | None = None) -> Embodiment:
    """A robot by its name. Raises `UnknownName`."""
    if name not in robots():
        raise UnknownName("robot", name, robots())
    made: Embodiment = getattr(importlib.import_module(f"palmar.robots.{name}"), name)()
    return made if action_space is None else made.with_action_space(action_space)


def mechanics(robot: Embodiment) -> Mechanics:
    """What the simulator builds a robot from. Raises `BadValue` for a robot that palmar has no such description of."""
    if robot.name not in robots():
        raise BadValue(
            f"'{robot.name}' has no description for the simulator; there is one of {', '.join(robots())}. Next: one of these, "
            "or a body of its own (palmar run --body)"
        )
    found: Mechanics = importlib.import_module(f"palmar.robots.{robot.name}").mechanics()
    return found
