"""From what a description says to an `Embodiment`: what is missing is asked for, or guessed and marked."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from palmar.description import guesses
from palmar.description.collide import with_shapes
from palmar.description.mjcf import read_mjcf
from palmar.description.model import Description, Joint, listed
from palmar.description.tree import WRIST, chain_to, is_finger, tips, words
from palmar.description.urdf import read_urdf
from palmar.description.xml import read_xml
from palmar.embodiments import Embodiment
from palmar.errors import BadFile, BadValue, UnknownName
from palmar.robot_parts import Channel, Frame, Source

Limits = Mapping[str, Mapping[str, float]]
"""{joint: {quantity: value}}: quantities are lower, upper, velocity, acceleration, jerk, effort. "rad" and "m" in place of a
joint: all joints of that unit whose limit the file does not state."""
QUANTITIES = ("lower", "upper", "velocity", "acceleration", "jerk", "effort")
UNITS = ("rad", "m")
IMPLAUSIBLE = 60.0  # a velocity limit beyond this says "none" [rad/s]


def read_description(path: str | Path) -> Description:
    """What a URDF or MJCF file says; which it is, its first element tells. Raises `BadFile`."""
    path = Path(path)
    root = read_xml(path)
    readers = {"robot": read_urdf, "mujoco": read_mjcf}
    if root.tag not in readers:
        raise BadFile(
            f"'{path}' begins with <{root.tag}>; expected <robot> (URDF) or <mujoco> (MJCF). Next: a URDF or MJCF file"
        )
    return readers[root.tag](root, path)


def from_urdf(path: str | Path, **options: Any) -> Embodiment:
    """A robot from a URDF file; options as `from_description`. Raises `BadFile` for another kind of file as well."""
    return _of_kind(path, "robot", "URDF", options)


def from_mjcf(path: str | Path, **options: Any) -> Embodiment:
    """A robot from an MJCF file; options as `from_description`. Raises `BadFile` for another kind of file as well."""
    return _of_kind(path, "mujoco", "MJCF", options)


def _of_kind(path: str | Path, tag: str, what: str, options: dict[str, Any]) -> Embodiment:
    if (found := read_xml(Path(path)).tag) != tag:
        raise BadFile(f"'{path}' begins with <{found}>; expected <{tag}> ({what}). Next: the file of that format")
    return from_description(path, **options)


def from_description(
    path: str | Path | Description,
    name: str = "",
    limits: Limits | None = None,
    guess: bool = False,
    frames: Sequence[str] | None = None,
    openings: Sequence[str] = (),
    control_rate: float = 50.0,
    policy_rate: float = 10.0,
) -> Embodiment:
    """A robot from a URDF or MJCF file. Meshes need not be there.

    limits: what the file does not state, or states wrongly (source "user"). guess: guess the rest (source "guess"; such a
    robot is not deployed, see `guesses.check_deployable`). Acceleration and jerk are in no such file and always a guess
    where `limits` has none. frames: links, bodies or sites that become frames; by default the end of every limb
    (`tree.tips`). openings: joints that are grippers, beside those that are named "gripper" and are the only one there.
    Raises `BadFile`, `BadValue` naming every joint that lacks a limit, `UnknownName`.
    """
    said = path if isinstance(path, Description) else read_description(path)
    limits = limits or {}
    known = [j.name for j in said.joints]
    for joint, values in limits.items():
        if joint not in (*known, *UNITS):
            raise UnknownName(f"joint of '{said.path}'", joint, known)
        for q in values:
            if q not in QUANTITIES:
                raise UnknownName(f"limit of joint '{joint}'", q, QUANTITIES)
            if not math.isfinite(values[q]) or (q not in ("lower", "upper") and values[q] <= 0):
                raise BadValue(
                    f"limit of '{joint}': {q} is {values[q]:g}; expected a finite number"
                    f"{'' if q in ('lower', 'upper') else ' above 0'}. Next: that of the data sheet"
                )
    for joint in openings:
        if joint not in known:
            raise UnknownName(f"joint of '{said.path}'", joint, known)
    grippers = {*openings, *_grippers(said)}
    notes, lacking = [*said.notes], {}
    channels = []
    for j in said.joints:
        channel, missing = _channel(j, limits, guess, j.name in grippers)
        if channel is None:
            lacking[j.name] = missing
        else:
            channels.append(channel)
    if lacking:
        raise BadValue(_asks(said, lacking))
    if fast := [c.name for c in channels if c.unit == "rad" and c.velocity > IMPLAUSIBLE]:
        notes.append(
            f"Their velocity limit is over {IMPLAUSIBLE:g} rad/s, which hardly any joint reaches: {listed(fast)}."
        )
    notes += _doubts(said, channels, limits)
    if unstated := [c.name for c in channels if not c.unit]:
        notes.append(f"The file does not state the unit of {listed(unstated)}.")
    made, about = _frames(said, channels, frames)
    notes += about
    if any({"acceleration", "jerk"} & set(c.guessed()) for c in channels):
        notes.append("No description file states accelerations and jerks: those without another source are guesses.")
    robot = Embodiment(
        name or said.name, tuple(_coupled(channels, made)), tuple(made), control_rate=control_rate, policy_rate=policy_rate,
        notes="\n".join(notes),
    )  # fmt: skip
    return with_shapes(robot, said, {c.described: c.name for c in channels if c.moves_joint})


# ------------------------------------------------------------------------------------------------ channels


def _doubts(said: Description, channels: Sequence[Channel], limits: Limits) -> list[str]:
    """Of the limits that a person gave: what looks like degrees, and what no joint took."""
    out = []
    wide = [
        c.name for c in channels
        if c.unit == "rad" and c.sources.get("position") == "user" and max(-c.lower, c.upper) > 4 * math.pi
    ]  # fmt: skip
    if wide:
        out.append(
            f"Their given position limits are beyond two turns, so look like degrees; expected rad: {listed(wide)}."
        )
    for unit in (u for u in UNITS if u in limits):
        joints = [j for j in said.joints if j.unit == unit]
        taken = any(
            math.isnan(getattr(j, q, math.nan)) and q not in limits.get(j.name, {})
            for j in joints
            for q in limits[unit]
        )
        if not taken:
            out.append(
                f"{unit}=VALUE was taken by no joint: all state theirs, or none is in {unit}. JOINT=VALUE replaces one."
            )
    return out


def _channel(j: Joint, limits: Limits, guess: bool, opening: bool) -> tuple[Channel | None, list[str]]:
    """The channel of a joint, or the names of the limits nobody states."""
    given, every = limits.get(j.name, {}), limits.get(j.unit, {})
    stated = {"lower": j.lower, "upper": j.upper, "velocity": j.velocity, "effort": j.effort}
    value: dict[str, float] = {}
    source: dict[str, Source] = {}
    for q in QUANTITIES:
        group = "position" if q in ("lower", "upper") else q
        if q in given:
            value[q], source[group] = float(given[q]), "user"
        elif not math.isnan(stated.get(q, math.nan)):
            value[q] = stated[q]
            source.setdefault(group, "description file")
        elif q in every:
            value[q], source[group] = float(every[q]), "user"
    kind = j.kind
    if kind == "continuous" and {"lower", "upper"} & set(given):
        kind = "revolute"
    if kind == "velocity" and {"lower", "upper"} <= set(value):
        value.setdefault("velocity", max(abs(value["lower"]), abs(value["upper"])))
    missing = []
    if not {"lower", "upper"} <= set(value):
        if guess and j.unit == "rad":
            value |= {"lower": -math.pi, "upper": math.pi}
            source["position"] = "guess"
        else:
            missing.append("position")
    if "velocity" not in value:
        if guess and not missing:
            value["velocity"], source["velocity"] = guesses.velocity(j.unit, value["lower"], value["upper"]), "guess"
        else:
            missing.append("velocity")
    if missing:
        return None, missing
    for q, rule, of in (("acceleration", guesses.acceleration, "velocity"), ("jerk", guesses.jerk, "acceleration")):
        if q not in value:
            value[q], source[q] = rule(value[of]), "guess"
    if kind == "continuous":
        source.pop("position", None)
    if opening and kind != "continuous" and j.unit in ("rad", "m"):
        kind = "opening"
    lower, upper = value["lower"], value["upper"]
    home = j.home if j.home is not None else 0.0
    if not lower <= home <= upper:
        home = float(np.clip(home, lower, upper)) if j.home is not None else (lower + upper) / 2
    return Channel(
        j.name, kind, j.unit, lower, upper, value["velocity"], value["acceleration"], value["jerk"], value.get("effort"),
        home, sources=source,
    ), []  # fmt: skip


def _asks(said: Description, lacking: Mapping[str, list[str]]) -> str:
    """What to say when limits are missing: which, and the three ways to give them."""
    by_limit: dict[str, list[str]] = {}
    for joint, missing in lacking.items():
        for q in missing:
            by_limit.setdefault(q, []).append(joint)
    parts = [f"the {q} limit of {listed(names)}" for q, names in by_limit.items()]
    first = next(iter(lacking))
    ways = []
    if "velocity" in by_limit:
        j = by_limit["velocity"][0]
        ways.append(f"--velocity {j}=VALUE ([rad/s] or [m/s]; rad=VALUE m=VALUE for all that lack it)")
    if "position" in by_limit:
        ways.append(f"--position {by_limit['position'][0]}=LOWER:UPPER ([rad] or [m])")
    return (
        f"'{said.path}' does not state {', nor '.join(parts)} (0, -1 and a missing attribute state none); expected both of every "
        f"joint. Next: {' and '.join(ways)}, limits={{'{first}': {{…}}}} in Python, or --guess: guesses are marked, and block "
        "deployment until the robot file says otherwise"
    )


def _grippers(said: Description) -> list[str]:
    """Joints named "gripper" of which there is one only beyond the same joints."""
    place: dict[str, tuple[str, ...]] = {}
    for above, body in zip(said.tree.above, said.tree.bodies, strict=True):
        place |= {j.name: above[: above.index(j.name)] for j in body.joints}
    named = [j for j in said.joints if "gripper" in words(j.name) and not words(j.name) & WRIST and not j.moves]
    places = [place.get(j.name) for j in named]
    return [j.name for j, p in zip(named, places, strict=True) if places.count(p) == 1]


# ------------------------------------------------------------------------------------------------ frames


def _frames(
    said: Description, channels: Sequence[Channel], wanted: Sequence[str] | None
) -> tuple[list[Frame], list[str]]:
    of_joint = {c.described: c.name for c in channels if c.moves_joint}
    return frames_of(said, of_joint, wanted)


def frames_of(
    said: Description, channel_of: Mapping[str, str], wanted: Sequence[str] | None = None
) -> tuple[list[Frame], list[str]]:
    """The frames that are wanted (None: the end of every limb), and notes about them. channel_of: {joint: channel}."""
    following = dict(said.following)
    for body in said.tree.bodies:  # joints that turn on their own or are a gripper's are on no frame's path
        for j in body.joints:
            if any(j.name == s.name and s.kind == "velocity" for s in said.joints):
                following[j.name] = "which is commanded by its speed"
    if wanted is None:
        names = tips(said.tree, channel_of, following)
    else:
        names = list(dict.fromkeys(wanted))
    frames = []
    for n in names:
        joints, chain = chain_to(said.tree, n, channel_of, following)
        frames.append(Frame(n, joints, chain, rotates=len(joints) >= 6))
    notes = []
    fingers = sorted({j.name for b in said.tree.bodies for j in b.joints if is_finger(said.tree, b, j.name)})
    if wanted is None and names:
        left = f" Fingers have no frames: {listed(fingers)}." if fingers else ""
        notes.append(f"Frames are the ends of the limbs of three or more joints.{left}")
    elif wanted is None:
        notes.append("No limb has three or more joints, so there are no frames.")
    return frames, notes


def _coupled(channels: Sequence[Channel], frames: Sequence[Frame]) -> list[Channel]:
    """Channels on the path of one frame only are coupled: they are slowed together."""
    from dataclasses import replace

    paths = {c.name: [f.name for f in frames if c.name in f.joints] for c in channels}
    return [replace(c, coupling=paths[c.name][0] if len(paths[c.name]) == 1 else "") for c in channels]
