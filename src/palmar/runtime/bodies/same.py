"""Is a body of the robot that is described? By value: names, units, rates and, for one on another computer, limits."""

from __future__ import annotations

import numpy as np

from palmar.embodiments import Embodiment
from palmar.errors import BadValue

LIMITS = ("lower", "upper", "velocity", "acceleration", "jerk", "home")


def check_same(own: Embodiment, robot: Embodiment, where: str) -> None:
    """Raise `BadValue` naming the first thing in which a body and a robot description differ: channels, state, cameras."""
    for what, ours, theirs in (
        ("channels", own.channel_names, robot.channel_names), ("state", own.state_names, robot.state_names),
        ("cameras", tuple(c.name for c in own.cameras), tuple(c.name for c in robot.cameras)),
    ):  # fmt: skip
        if ours != theirs:
            raise BadValue(
                f"the body '{where}' has {what} {', '.join(ours) or 'none'}; the robot '{robot.name}' has "
                f"{', '.join(theirs) or 'none'}. Next: the robot file of this body, or the same names in both"
            )
    for mine, its in zip(own.channels, robot.channels, strict=True):
        if (mine.kind, mine.unit) != (its.kind, its.unit):
            raise BadValue(
                f"the body '{where}' takes '{mine.name}' as {mine.kind} in {mine.unit or 'no unit'}; the robot '{robot.name}' has "
                f"it as {its.kind} in {its.unit or 'no unit'}. Next: one kind and unit in both"
            )
    for here, there in zip(own.state, robot.state, strict=True):
        if here.unit and there.unit and here.unit != there.unit:
            raise BadValue(
                f"the body '{where}' measures '{here.name}' in {here.unit}; the robot '{robot.name}' says {there.unit}. Next: one "
                "unit in both"
            )
    if own.control_rate != robot.control_rate:
        raise BadValue(
            f"the body '{where}' takes {own.control_rate:g} commands a second; the robot '{robot.name}' gives "
            f"{robot.control_rate:g}. Next: control_rate = {own.control_rate:g} in the robot file"
        )


def check_equal(theirs: Embodiment, ours: Embodiment, where: str) -> None:
    """Raise `BadValue` naming the first thing in which the robot that is served and its description here differ."""
    check_same(theirs, ours, where)
    for quantity in LIMITS:
        there, here = theirs.array(quantity), ours.array(quantity)
        if len(differ := np.flatnonzero(~((there == here) | (np.isnan(there) & np.isnan(here))))):
            i = int(differ[0])
            raise BadValue(
                f"{quantity} of '{ours.channels[i].name}' is {here[i]:g} here and {there[i]:g} at {where}. Next: leave --robot "
                "out, for the description that is served"
            )
