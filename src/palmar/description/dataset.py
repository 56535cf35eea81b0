"""A robot from a data set alone: names as recorded, units guessed and said, limits from what was demonstrated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from palmar.description import guesses
from palmar.description.tree import FINGERS, HAND, WRIST, words
from palmar.embodiments import DELTA, Embodiment
from palmar.errors import BadValue, UnknownName
from palmar.robot_parts import Camera, Channel, Kind, Measurement, Source
from palmar.types import Array
from palmar.units import BOUNDS, RATES, check_unit

MARGIN = 0.05  # of the demonstrated range, at both ends
PERCENTILE = 99.9  # of the demonstrated speeds, accelerations and jerks …
FACTOR = 1.5  # … times this is the limit
PERCENT_ARMS = ("so100", "so101", "so_", "koch", "omx", "lekiwi")  # LeRobot's calibration writes -100 … 100 for these
GRIPPER = frozenset(("gripper", "jaw"))
MOST_CHANNELS = 1000


class Recorded(Protocol):
    """What is read of a data set. states: float[frames, S]; actions: float[frames, A]; episodes: each with `start` and
    `stop`, its frames; cameras: names, or {name: (height, width)}; fps: [Hz]. `features` and `camera_keys`, where there
    are some, give the sizes of pictures; `robot_type` helps to guess units, and `action_units`, where the set has them, state
    them."""

    cameras: Any
    state_names: Sequence[str]
    action_names: Sequence[str]
    states: Array
    actions: Array
    episodes: Sequence[Any]
    fps: float


def from_dataset(dataset: Recorded, name: str = "", units: Mapping[str, str] | None = None) -> Embodiment:
    """The robot of a data set: one channel for every number of its actions, called as there.

    units: {channel: unit}, "*" for all that are not named; else those that the data set states for its actions
    (`Recorded.action_units`); the others are guessed from their ranges, which the notes say.
    Position limits are the demonstrated range (actions and states) and 5 % of it at both ends; velocity, acceleration and
    jerk 1.5 × the 99.9th percentile of the actions' differences within episodes; source "data". A channel that never
    moves has no limit to take from data: its are guesses. Rates are the set's. No frames: their kinematics are in no data.

    Raises `BadValue` for a set without actions, with actions that are not finite, or that are steps of an end effector;
    `UnknownName` for a unit or channel that is not known.
    """
    actions = np.asarray(dataset.actions, float)
    names = _names(dataset, actions)
    states = np.asarray(dataset.states, float) if len(dataset.state_names) else np.zeros((len(actions), 0))
    for values, of, what in ((actions, names, "action"), (states, list(dataset.state_names), "state")):
        if bad := [n for n, column in zip(of, values.T, strict=False) if not np.isfinite(column).all()]:
            raise BadValue(
                f"the {what} '{bad[0]}' of the data set is not finite everywhere; expected numbers. "
                "Next: palmar repair SET, or another feature: --keys"
            )
    stated = tuple(getattr(dataset, "action_units", ()))
    units = dict(units or {})
    by_person = tuple(units)
    if stated and "*" not in units and tuple(names) == tuple(dataset.action_names):
        units = {n: u for n, u in zip(names, stated, strict=True) if u} | units
    for n, unit in units.items():
        if n not in (*names, "*"):
            raise UnknownName("channel of the data set", n, names)
        check_unit(unit, f"unit of channel '{n}'")
    ranges = {n: _range(n, actions[:, i], dataset, states) for i, n in enumerate(names)}
    given = {n: units[n] if n in units else units["*"] for n in names if n in units or "*" in units}
    guessed = guess_units(ranges, str(getattr(dataset, "robot_type", "") or ""))
    asked = {n: unit for n, unit in given.items() if n in by_person or "*" in by_person}
    for n, unit in asked.items():
        _check_range(n, unit, ranges[n], guessed[n])
    channels: list[Channel] = []
    still: list[str] = []
    for i, n in enumerate(names):
        unit = given.get(n, guessed[n])
        channel, moves = _channel(n, unit, actions[:, i], ranges[n], dataset)
        channels.append(channel)
        still += [] if moves else [n]
    notes = [
        f"Channels, cameras and rates are those of a data set of {len(dataset.episodes)} episodes, {len(actions)} frames."
    ]
    unlike = [f"{n} in {unit or 'none'} ({guessed[n]})" for n, unit in asked.items() if unit != guessed[n] != ""]
    if unlike:
        notes.append(f"Units as given, where the range of the data looks like another one: {', '.join(unlike)}.")
    by_unit: dict[str, list[str]] = {}
    for n in names:
        if n not in given:
            by_unit.setdefault(guessed[n], []).append(n)
    notes += [f"Unit guessed from the range of the data: {u or 'none'} for {', '.join(by_unit[u])}." for u in by_unit]
    if still:
        notes.append(f"Never move in the data, so that their limits are guesses: {', '.join(still)}.")
    notes.append("No kinematics are known: no frames, and no guards that need them.")
    return Embodiment(
        name or str(getattr(dataset, "robot_type", "") or "") or "recorded", tuple(channels), (), cameras_of(dataset),
        _state(list(dataset.state_names), channels), float(dataset.fps), float(dataset.fps), notes="\n".join(notes),
    )  # fmt: skip


def cameras_of(dataset: Recorded) -> tuple[Camera, ...]:
    """The cameras of a data set with their picture sizes, where it states them."""
    out = []
    for name in dataset.cameras:
        size: Sequence[int] = ()
        if isinstance(dataset.cameras, Mapping):
            size = dataset.cameras[name]
        elif key := getattr(dataset, "camera_keys", {}).get(name):
            shape = [int(x) for x in getattr(dataset, "features", {})[key]["shape"]]
            size = shape[1:] if len(shape) == 3 and shape[0] in (1, 3) and shape[2] not in (1, 3) else shape
        out.append(Camera(name, int(size[0]), int(size[1])) if len(size) >= 2 else Camera(name))
    return tuple(out)


def _names(dataset: Recorded, actions: Array) -> list[str]:
    """Names of the channels: the actions', or the state's where the actions have none and the state as many."""
    if actions.ndim != 2 or not len(actions) or not 0 < actions.shape[1] <= MOST_CHANNELS:
        raise BadValue(
            f"the data set has actions of shape {list(actions.shape)}; expected [frames, 1 … {MOST_CHANNELS}]. "
            "Next: palmar inspect SET, and --keys action=FEATURE"
        )
    width = actions.shape[1]
    names, states = list(dataset.action_names), list(dataset.state_names)
    if len(names) != width or len(set(names)) != width:
        names = states if len(states) == width == len(set(states)) else [f"action_{i}" for i in range(width)]
    steps = [n for n in names if n.split(".")[-1] in DELTA or n.startswith("delta_")]
    if len(steps) >= 3:
        raise BadValue(
            f"the actions {', '.join(steps[:6])} are steps of an end effector; a robot is made from commands of its joints. "
            "Next: palmar robot make DESCRIPTION.urdf, or a data set of joint commands"
        )
    return names


def _range(name: str, action: Array, dataset: Recorded, states: Array) -> tuple[float, float]:
    """Smallest and largest value of a channel, commanded or measured."""
    values = [action]
    if name in dataset.state_names:
        values.append(states[:, list(dataset.state_names).index(name)])
    return float(min(v.min() for v in values)), float(max(v.max() for v in values))


def _check_range(name: str, unit: str, ranged: tuple[float, float], guessed: str) -> None:
    """Raise `BadValue` where values lie well beyond the two ends of a unit that has two."""
    if unit not in BOUNDS:
        return
    (low, high), (lowest, highest) = ranged, BOUNDS[unit]
    room = 0.25 * (highest - lowest)
    if low < lowest - room or high > highest + room:
        raise BadValue(
            f"unit of channel '{name}' is '{unit}', {lowest:g} … {highest:g}; in the data it is {low:.3g} … {high:.3g}. "
            f"Next: another unit{f', such as {guessed}' if guessed and guessed != unit else ''}"
        )


def guess_units(ranges: Mapping[str, tuple[float, float]], robot_type: str = "") -> dict[str, str]:
    """{channel: unit} from the ranges [unit] of all channels. Joints of one robot share their unit.

    Joints: rad where all are within ±2π; range_m100_100 where all are within ±100 and the robot is one that LeRobot
    calibrates so; deg otherwise. Channels named as a gripper: opening within 0 … 1, range_0_100 within 0 … 100; as fingers
    of a hand: opening where all of them are within 0 … 1. Names that end in .vel: m/s, those of angles rad/s or deg/s.
    """
    out = {}
    fingers = {n: r for n, r in ranges.items() if words(n) & (FINGERS | HAND) and not words(n) & (WRIST | GRIPPER)}
    if not all(low >= 0 and high <= 1 for low, high in fingers.values()):
        fingers = {}
    joints = {n: r for n, r in ranges.items() if not n.endswith(".vel") and not words(n) & GRIPPER and n not in fingers}
    largest = max((max(abs(x) for x in r) for r in joints.values()), default=0.0)
    if largest <= 2 * np.pi * 1.01:
        joint_unit = "rad"
    elif largest <= 101 and any(robot_type.lower().find(p) >= 0 for p in PERCENT_ARMS):
        joint_unit = "range_m100_100"
    else:
        joint_unit = "deg"
    for n, (low, high) in ranges.items():
        if n.endswith(".vel"):
            turns = bool(words(n) & {"theta", "yaw", "pitch", "roll", "omega", "angular"})
            out[n] = "m/s" if not turns else "rad/s" if max(-low, high) <= 2 * np.pi else "deg/s"
        elif n in joints:
            out[n] = joint_unit
        elif low >= -0.05 and high <= 1.05:
            out[n] = "opening"
        elif low >= -1 and high <= 101:
            out[n] = "rad" if high <= 2 * np.pi and joint_unit == "rad" else "range_0_100"
        else:
            out[n] = joint_unit
    return out


def _channel(
    name: str, unit: str, action: Array, ranged: tuple[float, float], dataset: Recorded
) -> tuple[Channel, bool]:
    """The channel, and whether it moves in the data."""
    kinds: dict[str, Kind] = {
        "m": "prismatic",
        "mm": "prismatic",
        "opening": "opening",
        "m/s": "velocity",
        "rad/s": "velocity",
        "deg/s": "velocity",
    }
    kind: Kind = kinds.get(unit, "opening" if words(name) & GRIPPER else "revolute")
    low, high = ranged
    moves = bool(np.ptp(action)) and high - low > 1e-9
    source: Source = "data" if moves else "guess"
    top = 100.0 if kind == "opening" else PERCENTILE  # a gripper moves in so few frames that a percentile misses it
    width = high - low if moves else max(abs(low), abs(high), 1.0) * 0.1
    lower, upper = low - MARGIN * width, high + MARGIN * width
    bounds = BOUNDS.get(unit)
    if bounds and bounds[0] <= low and high <= bounds[1]:
        lower, upper = max(lower, bounds[0]), min(upper, bounds[1])
    fastest = _fastest(action, dataset, 1, top) if moves else guesses.velocity(unit, lower, upper)
    if kind == "velocity":
        lower, upper = min(lower, 0.0), max(upper, 0.0)  # a base that only drove on can stop too
        velocity = max(abs(lower), abs(upper))
        rise = _fastest(action, dataset, 1, top) if moves else guesses.acceleration(velocity)
        jerk = _fastest(action, dataset, 2, top) if moves else guesses.jerk(rise)
    else:
        velocity = fastest
        rise = _fastest(action, dataset, 2, top) if moves else guesses.acceleration(velocity)
        jerk = _fastest(action, dataset, 3, top) if moves else guesses.jerk(rise)
    starts = np.array([e.start for e in dataset.episodes if e.stop > e.start], np.int64)
    home = float(np.clip(np.median(action[starts]) if len(starts) else action[0], lower, upper))
    sources: dict[str, Source] = dict.fromkeys(("position", "velocity", "acceleration", "jerk"), source)
    return Channel(name, kind, unit, lower, upper, velocity, rise, jerk, home=home, sources=sources), moves


def _fastest(action: Array, dataset: Recorded, order: int, top: float) -> float:
    """Limit of the `order`th derivative [unit/s^order] as demonstrated: its percentile `top` times the factor."""
    parts = [np.diff(action[e.start : e.stop], order) for e in dataset.episodes if e.stop - e.start > order]
    values = np.abs(np.concatenate(parts)) * float(dataset.fps) ** order if parts else np.zeros(1)
    found = float(np.percentile(values, top)) or float(values.max())
    return FACTOR * found if found > 0 else FACTOR * float(np.ptp(action)) * float(dataset.fps) ** order


def _state(names: Sequence[str], channels: Sequence[Channel]) -> tuple[Measurement, ...]:
    """What the set measures, in its order: positions of the channels of the same names, speeds called NAME.vel, others."""
    units = {c.name: c.unit for c in channels}
    known = {c.name.removesuffix(".pos"): c.name for c in channels if c.moves_joint}
    out, taken = [], set()
    for n in names:
        stem, _, end = n.rpartition(".")
        if n in units:
            out.append(Measurement(n, units[n], "position", n))
        elif f"{n}.pos" in units and f"{n}.pos" not in names:
            out.append(Measurement(n, units[f"{n}.pos"], "position", f"{n}.pos"))
        elif end == "vel" and stem in known and stem not in taken:
            taken.add(stem)
            out.append(Measurement(n, RATES.get(units[known[stem]], ""), "velocity", known[stem]))
        else:
            out.append(Measurement(n, ""))
    return tuple(out)
