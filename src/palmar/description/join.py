"""A robot and a description joined: channels as the robot (or its data set) calls them, geometry and limits of the file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from palmar.description.build import frames_of, read_description
from palmar.description.collide import with_shapes
from palmar.description.model import Description, Joint, listed
from palmar.embodiments import Embodiment
from palmar.errors import BadValue, UnknownName
from palmar.robot_parts import Channel, Source
from palmar.shapes import Collision
from palmar.units import UNITS, conversion

FRACTIONS = ("range_m100_100", "range_0_100", "%", "opening")
SWEPT = ("data", "guess")  # sources of limits that a description's own replaces


def joined(
    robot: Embodiment, description: str | Path | Description, frames: Sequence[str] | None = None, every: bool = False
) -> Embodiment:
    """The robot with what a URDF or MJCF knows of its joints: position, velocity and effort limits where the file states
    them and the robot's own come from data or are guesses, and frames.

    A channel's joint is `Channel.joint`, else the one of its name. every: each channel must have one. Channels without one
    keep their limits; joints without a channel are held where the description draws them. A channel in percent of a
    calibrated range whose `span` is not given takes the joint's range for it, which the notes say.
    Raises `BadFile`, `UnknownName` for a `joint` the file lacks, `BadValue` when names do not match.
    """
    said = description if isinstance(description, Description) else read_description(description)
    by_name = {j.name: j for j in said.joints}
    for c in robot.channels:
        if c.joint and c.joint not in by_name:
            raise UnknownName(f"joint of channel '{c.name}' in '{said.path}'", c.joint, by_name)
    of_channel = {c.name: by_name[c.described] for c in robot.channels if c.described in by_name}
    described = [j.name for j in of_channel.values()]
    if twice := sorted({n for n in described if described.count(n) > 1}):
        raise BadValue(
            f"two channels are joint '{twice[0]}' of '{said.path}'; expected one each. "
            'Next: another joint for one of them, joint = "…" in the robot file'
        )
    alone = [c.name for c in robot.channels if c.name not in of_channel]
    if not of_channel or (every and alone):
        raise BadValue(
            f"{listed(alone)} of {robot.name} {'is no joint' if len(alone) == 1 else 'are no joints'} of '{said.path}', which "
            f"has {listed(list(by_name), 40)}; expected the same names. Next: palmar robot make SET --out FILE.toml, write "
            'joint = "…" (its name in the description) into each [[channel]] of it, then palmar robot make FILE.toml '
            f"--description {said.path.name} --out robot.toml"
        )
    notes = [n for n in robot.notes.split("\n") if n and not n.startswith("No kinematics")]
    spans: list[str] = []
    channels = tuple(_with(c, of_channel[c.name], spans) if c.name in of_channel else c for c in robot.channels)
    channel_of = {of_channel[c.name].name: c.name for c in channels if c.name in of_channel and c.moves_joint}
    made, about = frames_of(said, channel_of, frames)
    held = [n for n in by_name if n not in described]
    notes += [*said.notes, *about]
    if held:
        notes.append(f"Joints without a channel, held where the description draws them: {listed(held, 40)}.")
    if alone:
        notes.append(f"Channels that are no joint of the description: {listed(alone, 40)}.")
    if spans:
        notes.append(
            f"Their calibrated range is taken to be the joint's range of the description (check span): {listed(spans, 40)}."
        )
    made_of = replace(robot, channels=channels, frames=tuple(made), notes="\n".join(notes), collision=Collision())
    return with_shapes(made_of, said, channel_of)


def _with(c: Channel, j: Joint, spans: list[str]) -> Channel:
    """A channel with the limits of its joint, in the channel's unit."""
    if not j.unit or c.kind == "velocity" or j.kind == "velocity":
        return c
    stated = math.isfinite(j.lower) and math.isfinite(j.upper)
    span = c.span
    if c.unit in FRACTIONS and span is None and stated:
        span = (j.lower, j.upper)
        spans.append(c.name)
    kind = c.kind
    if kind in ("revolute", "continuous", "prismatic") and UNITS.get(c.unit) and UNITS[c.unit].dimension != "fraction":
        kind = j.kind if j.kind in ("revolute", "continuous", "prismatic") else kind
        kind = "revolute" if kind == "continuous" and math.isfinite(c.lower) else kind
    if not c.unit or (c.unit in FRACTIONS and span is None):
        return replace(c, joint=c.joint or ("" if j.name == c.name else j.name))
    try:
        scale, offset = conversion(j.unit, c.unit, span)
    except BadValue as error:
        raise BadValue(f"channel '{c.name}' is joint '{j.name}' [{j.unit}]: {error}") from error
    new: dict[str, Any] = {}
    sources: dict[str, Source] = dict(c.sources)
    if stated and c.unit not in FRACTIONS and sources.get("position", "data") in SWEPT:
        ends = sorted((scale * j.lower + offset, scale * j.upper + offset))
        new |= {"lower": ends[0], "upper": ends[1], "home": min(max(c.home, ends[0]), ends[1])}
        sources["position"] = "description file"
    if not math.isnan(j.velocity) and sources.get("velocity", "data") in SWEPT:
        new["velocity"], sources["velocity"] = abs(scale) * j.velocity, "description file"
    if not math.isnan(j.effort) and c.effort is None:
        new["effort"], sources["effort"] = j.effort, "description file"
    return replace(c, kind=kind, span=span, sources=sources, **new)


def with_data(robot: Embodiment, recorded: Embodiment) -> Embodiment:
    """The robot with limits as demonstrated (`from_dataset`) in place of its guesses, and the set's cameras where it has none.

    Raises `BadValue` when a channel of the data is none of the robot's, or has a unit that does not convert.
    """
    theirs = {c.name: c for c in recorded.channels}
    if foreign := [n for n in theirs if n not in robot.channel_names]:
        raise BadValue(
            f"{listed(foreign)} of the data set {'is no channel' if len(foreign) == 1 else 'are no channels'} of {robot.name}, "
            f"which has {listed(list(robot.channel_names), 40)}; expected the same names. Next: rename the channels in the "
            'robot file, with joint = "…" for the name in the description'
        )
    channels = tuple(_demonstrated(c, theirs[c.name]) if c.name in theirs else c for c in robot.channels)
    return replace(robot, channels=channels, cameras=robot.cameras or recorded.cameras)


def _demonstrated(c: Channel, seen: Channel) -> Channel:
    scale, offset = (1.0, 0.0) if not c.unit or not seen.unit else conversion(seen.unit, c.unit, c.span)
    new: dict[str, Any] = {}
    sources: dict[str, Source] = dict(c.sources)
    for q in (q for q in c.guessed() if seen.sources.get(q) == "data"):
        sources[q] = "data"
        if q == "position":
            ends = sorted((scale * seen.lower + offset, scale * seen.upper + offset))
            new |= {"lower": ends[0], "upper": ends[1], "home": min(max(c.home, ends[0]), ends[1])}
        else:
            new[q] = abs(scale) * getattr(seen, q)
    return replace(c, sources=sources, **new)
