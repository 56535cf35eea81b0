"""Write a robot file: TOML with comments, for a person to read and edit. What is written is read back as the same robot."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from palmar.embodiments import Embodiment
from palmar.errors import BadFile, unusable
from palmar.robot_parts import POSE, Camera, Channel, Column, Floor, Frame, Measurement, state_of
from palmar.shapes import Collision, CollisionShape
from palmar.thresholds import RANGES, Thresholds

HEAD = """# A robot for palmar.{made}
# Every limit says where it comes from: "description file", "data sheet", "data", "user" or "guess". A policy moves no robot
# that has a guess left: put the true number there and write source = "user" or "data sheet".
"""
CHANNELS = """
# Channels: what the robot is commanded by, in the order of a command. Limits are in the channel's unit, a second, a second
# squared and a second cubed. joint: its name in the description file, where it is another. kind: revolute, continuous (no
# position limits), prismatic, opening (a gripper or a switch), velocity. unit: rad, deg, m, mm, m/s, rad/s, opening (0 closed
# … 1 open), range_m100_100, range_0_100, %. span: the joint's position [rad] or [m] at both ends of a calibrated range.
"""
FRAMES = """
# Frames: points of the robot, in its base frame [m]. chain: its joints from the base on; each turns about (or, with
# slides = true, slides along) the z axis of a joint frame that lies at offset [m] and orientation quat (w, x, y, z) in the
# joint frame before. tool: the point in the last joint frame. workspace: the box it may be in [m]. zones: where origins of
# the path's joints ("tcp": the point itself) may not be, below a floor or within a column [m].
"""
CAMERAS = "\n# Cameras: pictures as the policy sees them [px]; fov: vertical field of view [deg].\n"
SHAPES = """
# Collision: these shapes keep `margin` [m] apart, but for allowed pairs; shapes of one link, and of two links that a joint
# connects, may always touch. kind and size [m]: sphere [radius], capsule and cylinder [radius, half length along z], box [half
# sides]. channel: whose joint frame it moves with; without one it stands in the base frame, as a table does. pos [m] and quat
# (w, x, y, z): its centre there.
"""
THRESHOLDS = """
# Thresholds of guards. effort: share of a channel's effort limit it may feel. stall_effort: share of it with which a channel
# that does not move is blocked. jump: times its velocity limit a reading may change by. saturated, window: share of the
# commands of the last seconds that limits may clip. forces: largest absolute value of other measurements.
"""
STATE = """
# State: what the robot measures, in this order. quantity: position, velocity or effort of a channel, a component of a
# frame's pose, or other.
"""


def write_robot(robot: Embodiment, path: str | Path, made: str = "") -> None:
    """Write a new robot file. made: where the numbers come from, for the first line. Raises `BadFile` where there is
    something already, or when it cannot be written."""
    path = Path(path)
    text = robot_text(robot, made)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    except FileExistsError as error:
        raise BadFile(
            f"'{path}' is there already; a robot file may hold a person's work. Next: another name"
        ) from error
    except (OSError, ValueError) as error:
        if isinstance(error, OSError):
            raise unusable(error, path, writing=True) from error
        raise BadFile(f"{str(path)!r} is no path ({error}). Next: another path") from error
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)


def robot_text(robot: Embodiment, made: str = "") -> str:
    """The text of a robot file."""
    made = f" Made from {' '.join(made.split())}." if made else ""
    lines = [HEAD.format(made=made)]
    lines += _pairs(
        name=robot.name, control_rate=float(robot.control_rate), policy_rate=float(robot.policy_rate),
        action_space=robot.action_space,
    )  # fmt: skip
    lines[-3] += "  # commands a second the body takes [Hz]"
    lines[-2] += "  # actions a second a policy gives [Hz]"
    if robot.notes:
        lines.append(f"notes = {_notes(robot.notes)}")
    if robot.cameras:
        lines.append(CAMERAS)
    for camera in robot.cameras:
        lines += _camera(camera)
    lines.append(CHANNELS)
    for channel in robot.channels:
        lines += _channel(channel)
    if robot.frames:
        lines.append(FRAMES)
    for frame in robot.frames:
        lines += _frame(frame)
    if robot.collision != Collision():
        lines += [SHAPES, *_collision(robot.collision)]
    if robot.thresholds != Thresholds():
        lines += [THRESHOLDS, *_thresholds(robot.thresholds)]
    if robot.state != state_of(robot.channels, robot.frames):
        lines.append(STATE)
        for m in robot.state:
            lines += _measurement(m)
    return "\n".join(lines).rstrip("\n") + "\n"


def _camera(c: Camera) -> list[str]:
    return ["[[camera]]", *_pairs(name=c.name, height=c.height, width=c.width, fov=float(c.fov)), ""]


def _channel(c: Channel) -> list[str]:
    out = ["[[channel]]", *_pairs(name=c.name)]
    if c.joint:
        out += _pairs(joint=c.joint)
    out += _pairs(kind=c.kind, unit=c.unit)
    if np.isfinite(c.lower) or np.isfinite(c.upper) or "position" in c.sources:
        out += _pairs(position=_sourced(c, "position", lower=float(c.lower), upper=float(c.upper)))
    for q in ("velocity", "acceleration", "jerk", "effort"):
        value = getattr(c, q)
        if value is not None and (np.isfinite(value) or q in c.sources):
            out += _pairs(**{q: _sourced(c, q, value=float(value))})
    out += _pairs(home=float(c.home))
    if c.tolerance is not None:
        out += _pairs(tolerance=_sourced(c, "tolerance", value=float(c.tolerance)))
    if c.span is not None:
        out += _pairs(span=[float(x) for x in c.span])
    if c.coupling:
        out += _pairs(coupling=c.coupling)
    return [*out, ""]


def _sourced(c: Channel, quantity: str, **values: float) -> dict[str, Any]:
    return values | ({"source": c.sources[quantity]} if quantity in c.sources else {})


def _frame(f: Frame) -> list[str]:
    step = {"translation": float(f.max_step[0]), "rotation": float(f.max_step[1])}
    out = ["[[frame]]", *_pairs(name=f.name, max_step=step, rotates=bool(f.rotates))]
    if f.workspace is not None:
        low, high = np.asarray(f.workspace, float).tolist()
        out += _pairs(workspace={"lower": low, "upper": high})
    if f.zones:
        out += ["zones = [", *(f"  {_value(_zone(z))}," for z in f.zones), "]"]
    out.append("chain = [")
    for name, offset, quat, slides in zip(f.joints, f.chain.offsets, f.chain.quats, f.chain.slides, strict=True):
        link: dict[str, Any] = {"channel": name, "offset": [float(x) for x in offset], "quat": [float(x) for x in quat]}
        out.append(f"  {_value(link | ({'slides': True} if slides else {}))},")
    tool = {"offset": [float(x) for x in f.chain.tool_offset], "quat": [float(x) for x in f.chain.tool_quat]}
    return [*out, "]", *_pairs(tool=tool), ""]


def _zone(z: Floor | Column) -> dict[str, Any]:
    if isinstance(z, Floor):
        return {"kind": "floor", "height": float(z.height), "points": list(z.points)}
    return {"kind": "column", "radius": float(z.radius), "height": float(z.height), "points": list(z.points)}


def _collision(c: Collision) -> list[str]:
    out = ["[collision]", *_pairs(margin=float(c.margin))]
    if c.allowed:
        out += ["allowed = [", *(f"  {_value(list(pair))}," for pair in c.allowed), "]"]
    return [*out, "", *(line for shape in c.shapes for line in _shape(shape))]


def _shape(s: CollisionShape) -> list[str]:
    out = ["[[shape]]", *_pairs(name=s.name)]
    if s.channel:
        out += _pairs(channel=s.channel)
    out += _pairs(kind=s.kind, size=[float(x) for x in s.size], pos=[float(x) for x in s.pos])
    return [*out, *_pairs(quat=[float(x) for x in s.quat]), ""]


def _thresholds(t: Thresholds) -> list[str]:
    out = ["[thresholds]", *_pairs(**{name: float(getattr(t, name)) for name in RANGES})]
    if t.forces:
        out += ["[thresholds.forces]", *(f"{_text(name)} = {float(value)!r}" for name, value in t.forces.items())]
    return [*out, ""]


def _measurement(m: Measurement) -> list[str]:
    out = ["[[state]]", *_pairs(name=m.name, unit=m.unit, quantity=m.quantity)]
    if m.of:
        out += _pairs(of=m.of)
    if m.quantity == "pose":
        out += _pairs(component=POSE[m.component])
    return [*out, ""]


# ------------------------------------------------------------------------------------------------ TOML


def _pairs(**values: Any) -> list[str]:
    return [f"{key} = {_value(value)}" for key, value in values.items()]


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{k} = {_value(v)}" for k, v in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    return repr(value)  # whole numbers, and floats: 0.1, 1e-05, inf


def _text(value: str) -> str:
    escapes = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r"}
    return '"' + "".join(escapes.get(c) or (c if c.isprintable() else f"\\U{ord(c):08x}") for c in value) + '"'


def _notes(value: str) -> str:
    """A text of several lines as TOML's long form, one sentence a line."""
    return '"""\n' + "\n".join(_text(line)[1:-1] for line in value.split("\n")) + '"""'
