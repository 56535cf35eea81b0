"""A robot's numbers in a recording: found by name, converted by unit, both through `Mapping.between`."""

from __future__ import annotations

from collections.abc import Mapping as Dictionary
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from palmar.description.dataset import guess_units
from palmar.embodiments import Embodiment
from palmar.errors import BadValue, UnknownName
from palmar.mapping import Interface, Mapping
from palmar.robot_parts import Measurement
from palmar.types import Array
from palmar.units import RATES, UNKNOWN, check_unit


@dataclass(frozen=True)
class Columns:
    """How a robot's actions and measurements are made of those of a recording.

    robot: in the action space of the recording, with the measurements that the recording has. action, state: mappings of
    the actions and of the measurements alone.
    """

    robot: Embodiment
    action: Mapping
    state: Mapping

    def actions(self, recorded: Array) -> Array:
        """float64[T, actions of the recording] → float64[T, A] in the robot's order and units."""
        return self.action.take_action(np.asarray(recorded, float))

    def states(self, recorded: Array) -> Array | None:
        """float64[T, states of the recording] → float64[T, S] in the robot's order and units; None where it has none."""
        return self.state.take_state(np.asarray(recorded, float)) if self.state.state else None

    @property
    def unchecked(self) -> tuple[str, ...]:
        """Actions and measurements of the robot whose unit one side does not state; they are passed on as they are."""
        return tuple(dict.fromkeys((*self.action.unchecked, *self.state.unchecked)))


def columns_of(robot: Embodiment, recording: Interface, names: Dictionary[str, str] | None = None) -> Columns:
    """Find a robot's channels in a recording by name, or by the joint's name in the robot's description.

    names: {of the robot: of the recording} where they are called otherwise. Measurements that the recording lacks are left
    out, and actions that the robot lacks are not used.

    Raises `BadValue` with the actions of the robot that the recording lacks, or with the first channel whose units do not
    convert; `UnknownName` for a name the robot does not have.
    """
    names = dict(names or {})
    spaces = [robot, *(robot.with_action_space(s) for s in reversed(robot.action_spaces))]
    joints = {c.name: c.joint for c in robot.channels if c.joint}
    known = {n for r in spaces for n in r.action_names} | set(robot.state_names)
    for name, there in names.items():
        if name not in known:
            raise UnknownName(f"channel of {robot.name}", name, sorted(known))
        if there not in (*recording.action_names, *recording.state_names):
            raise BadValue(
                f"names has '{there}' for '{name}'; the recording has actions {', '.join(recording.action_names)} and "
                f"states {', '.join(recording.state_names) or 'none'}. Next: one of those"
            )

    def found(name: str, there: tuple[str, ...], *others: str) -> str:
        return next((n for n in (names.get(name, ""), name, *others) if n in there), "")

    every = [{n: found(n, recording.action_names, joints.get(n, "")) for n in r.action_names} for r in spaces]
    lacking = [[n for n, there in pairs.items() if not there] for pairs in every]
    best = min(range(len(spaces)), key=lambda i: len(lacking[i]))
    chosen, action = spaces[best], every[best]
    if lacking[best]:
        raise BadValue(
            f"the recording has no {', '.join(lacking[best])}: its actions are {', '.join(recording.action_names)}; "
            f"{robot.name} takes {', '.join(chosen.action_names)}. Next: --names {lacking[best][0]}=NAME_IN_THE_RECORDING"
        )
    kept: list[Measurement] = []
    state: dict[str, str] = {}
    for m in robot.state:
        others: tuple[str, ...] = ()
        if m.quantity == "position":
            joint = joints.get(m.of, m.of)
            others = (names.get(m.of, ""), m.of, joint, f"{joint}.pos")
        if (there := found(m.name, recording.state_names, *others)) and there not in state.values():
            kept.append(m)
            state[m.name] = there
    actions = Mapping.between(
        Interface({}, (), recording.action_names, action_units=recording.action_units),
        Interface({}, (), chosen.action_names, action_units=chosen.action_units),
        action,
        held={n: 0.0 for n in recording.action_names if n not in action.values()},  # they are read, never sent back
        spans={c.name: c.span for c in robot.channels if c.span is not None},
    )
    states = Mapping.between(
        Interface({}, recording.state_names, (), state_units=recording.state_units),
        Interface({}, tuple(state), (), state_units=tuple(m.unit for m in kept)),
        state,
        spans={m.name: s for m in kept if m.quantity == "position" and (s := robot.channels[robot.index(m.of)].span)},
    )
    if not kept:
        kept = [Measurement("nothing", "", "other")]
    return Columns(replace(chosen, state=tuple(kept)), actions, states)


def with_stated_units(recording: Interface, units: Dictionary[str, str]) -> Interface:
    """A recording with its units stated. units: {name of an action or a measurement: unit}; "*" for all that are not named,
    of those called NAME.vel the same a second. Raises `UnknownName` for a name or a unit nobody knows."""
    for name, unit in units.items():
        if name != "*" and name not in (*recording.action_names, *recording.state_names):
            raise UnknownName(
                "channel of the recording", name, dict.fromkeys((*recording.action_names, *recording.state_names))
            )
        check_unit(unit, f"unit of '{name}'")

    def stated(what: Literal["state", "action"], names: tuple[str, ...]) -> tuple[str, ...]:
        every = units.get("*")
        for_all = {False: every, True: None if every is None else RATES.get(every, UNKNOWN)}
        out = []
        for i, n in enumerate(names):
            unit = units.get(n, for_all[n.endswith(".vel")])
            out.append(recording.unit(what, i) if unit is None else unit)
        return tuple(out)

    return replace(
        recording,
        state_units=stated("state", recording.state_names),
        action_units=stated("action", recording.action_names),
    )


def check_units(columns: Columns, recorded: Array, robot_type: str = "") -> None:
    """Raise `BadValue` naming the first revolute channel whose recorded actions float[T, actions of the recording] have no
    stated unit and, by their range, are in degrees or shares of a range where the robot takes rad, or the other way round."""
    mapping = columns.action
    values = np.asarray(recorded, float)
    sources = {n: column.index for n, column in zip(mapping.ours.action_names, mapping.action, strict=True)}
    revolute = {c.name: c.unit for c in columns.robot.channels if c.kind == "revolute" and c.name in sources}
    ranges = {}
    for name in revolute:
        k = sources[name]
        column = values[:, k][np.isfinite(values[:, k])]
        if not mapping.theirs.unit("action", k) and len(column):
            ranges[name] = float(column.min()), float(column.max())
    for name, guess in guess_units(ranges, robot_type).items():
        unit, there = revolute[name], mapping.theirs.action_names[sources[name]]
        if (unit == "rad" and guess in ("deg", "range_m100_100")) or (unit == "deg" and guess == "rad"):
            low, high = ranges[name]
            raise BadValue(
                f"the recording states no units; its actions look like '{guess}' ('{there}' from {low:.4g} to {high:.4g}), "
                f"and {columns.robot.name} takes '{name}' in '{unit}'. Next: state them, --unit '*={guess}', or "
                f"--unit '*={unit}' where that is what they are"
            )
