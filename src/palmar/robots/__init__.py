"""Robots that come with palmar, one file each: a function called as the file that returns an `Embodiment`, and a function
`mechanics` that returns what a simulator builds it from."""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import replace

from palmar.embodiments import ActionSpaceName, Embodiment
from palmar.errors import BadValue, UnknownName
from palmar.links import Mechanics
from palmar.mapping import Interface


def robots() -> tuple[str, ...]:
    """Names of the robots that come with palmar: the files of this folder that describe one."""
    return tuple(m.name for m in pkgutil.iter_modules(__path__))


def robot(name: str, action_space: ActionSpaceName | None = None) -> Embodiment:
    """A robot by its name. Raises `UnknownName`."""
    if name not in robots():
        raise UnknownName("robot", name, robots())
    made: Embodiment = getattr(importlib.import_module(f"palmar.robots.{name}"), name)()
    return made if action_space is None else made.with_action_space(action_space)


def with_units(interface: Interface) -> Interface:
    """The interface with its own units, and where it states none, those of the robot of palmar that it names
    (`Interface.embodiment`) if that robot has exactly these state names, or these action names in one of its action spaces."""
    if interface.embodiment not in robots() or (interface.state_units and interface.action_units):
        return interface
    own = robot(interface.embodiment)
    state_units, action_units = interface.state_units, interface.action_units
    if not state_units and interface.state_names == own.state_names:
        state_units = tuple(m.unit for m in own.state)
    if not action_units:
        spaces = (own.with_action_space(s) for s in own.action_spaces)
        action_units = next((r.action_units for r in spaces if r.action_names == interface.action_names), ())
    return replace(interface, state_units=state_units, action_units=action_units)


def mechanics(robot: Embodiment) -> Mechanics:
    """What the simulator builds a robot from. Raises `BadValue` for a robot that palmar has no such description of."""
    if robot.name not in robots():
        raise BadValue(
            f"'{robot.name}' has no description for the simulator; there is one of {', '.join(robots())}. Next: one of these, "
            "or a body of its own (palmar run --body)"
        )
    found: Mechanics = importlib.import_module(f"palmar.robots.{robot.name}").mechanics()
    return found
