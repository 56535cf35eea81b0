"""What a simulator needs of a robot beside its `Embodiment`, as plain values: links, shapes, servos, cameras, start pose.

A robot of `palmar.robots` states both in one file; `palmar.sim.scenes` builds any robot from them. Lengths in m, angles in
rad, masses in kg; quaternions wxyz.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from palmar.embodiments import Embodiment
from palmar.errors import BadValue
from palmar.kinematics import quat_to_matrix, rotvec_to_matrix
from palmar.shapes import CollisionShape, placed, poses_of
from palmar.types import Array

Vector = tuple[float, float, float]
Quaternion = tuple[float, float, float, float]
Colour = tuple[float, float, float, float]
NOWHERE: Vector = (0.0, 0.0, 0.0)
STRAIGHT: Quaternion = (1.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Shape:
    """A simple body that is seen, and touches things where `solid`.

    kind and size: capsule (radius,) from `at` to `end`; cylinder (radius, half length) along z; box half sides; sphere
    (radius,). at: its centre in the link's frame. grip: its friction over that of the objects.
    """

    kind: Literal["capsule", "cylinder", "box", "sphere"]
    size: tuple[float, ...]
    at: Vector = NOWHERE
    end: Vector | None = None
    colour: Colour = (0.92, 0.92, 0.93, 1.0)
    solid: bool = False
    grip: float = 1.0
    quat: Quaternion = STRAIGHT


@dataclass(frozen=True)
class LinkJoint:
    """One degree of freedom of a link about (or, where it slides, along) `axis` of the link's frame.

    lower … upper: None where it has no end. damping [N·m·s/rad] or [N·s/m]; armature: rotor inertia seen at the joint
    [kg·m²] or [kg]; friction: dry [N·m] or [N].
    """

    name: str
    axis: Vector = (0.0, 0.0, 1.0)
    lower: float | None = None
    upper: float | None = None
    damping: float = 0.0
    armature: float = 0.0
    friction: float = 0.0
    slides: bool = False


@dataclass(frozen=True)
class Link:
    """A rigid part.

    pos, quat: of its frame in the parent's; parent "": the robot's base. com: centre of mass. inertia: about it, xx yy zz
    or xx yy zz xy xz yz [kg·m²]. tool: whether it belongs to the gripper, which the parameters `link_mass` and `damping`
    leave alone. floats: its weight is taken off by the robot's own controller.
    """

    name: str
    parent: str = ""
    pos: Vector = NOWHERE
    quat: Quaternion = STRAIGHT
    joints: tuple[LinkJoint, ...] = ()
    mass: float = 0.0
    com: Vector = NOWHERE
    inertia: tuple[float, ...] = ()
    shapes: tuple[Shape, ...] = ()
    tool: bool = False
    floats: bool = False


@dataclass(frozen=True)
class Point:
    """A named point of a link: of each frame of the embodiment (same name), or another that tasks go by."""

    name: str
    link: str
    pos: Vector = NOWHERE
    quat: Quaternion = STRAIGHT


@dataclass(frozen=True)
class Servo:
    """A position servo that moves one joint, or several alike, to the command of a channel.

    force = kp · (wanted - position) - kd · speed, at most `force` [N·m] or [N]. travel: joint positions at the channel's
    lower and upper command; None where the channel's unit says it (`Channel.to_si`). width: of a gripper that turns, between
    its pads at the upper command [m]; None where it is not known, or its joints slide, which travel tells.
    """

    channel: str
    joints: tuple[str, ...]
    kp: float
    kd: float
    force: float
    travel: tuple[float, float] | None = None
    width: float | None = None


@dataclass(frozen=True)
class Drive:
    """A velocity servo at a point: pushes along `axis` of it, or turns about it, until the channel's speed is reached.

    force = kd · (wanted - speed), at most `force` [N] or [N·m].
    """

    channel: str
    point: str
    axis: Vector
    kd: float
    force: float
    turns: bool = False


@dataclass(frozen=True)
class Mount:
    """Where a camera of the embodiment sits; link "": beside the robot, in its base frame. rotation: float[3, 3], its axes in
    that frame: x right, y up, z backwards."""

    camera: str
    link: str
    pos: Vector
    rotation: Array


@dataclass(frozen=True)
class Start:
    """Where a frame waits at reset: about `centre` [m], each coordinate drawn from `low` … `high` away from it.

    rotation: float[3, 3] of the frame there, None: any.
    """

    frame: str
    centre: Vector
    low: Vector = NOWHERE
    high: Vector = NOWHERE
    rotation: Array | None = None


@dataclass(frozen=True)
class Mechanics:
    """A robot as a simulator builds it.

    links: each after its parent. servos, drives: one for each channel, in any order. starts: of frames. scatter: {joint:
    (low, high)} drawn at reset, of joints that no channel moves, such as where a base stands. grippers: {frame: opening
    channel}. sensors: {measurement of quantity "other": joint whose position it is}. moving: link the base frame of a robot
    that drives about rides on, "" for one that stands still. timestep: of the physics [s], a whole part of a control tick.
    """

    links: tuple[Link, ...]
    points: tuple[Point, ...]
    servos: tuple[Servo, ...] = ()
    drives: tuple[Drive, ...] = ()
    mounts: tuple[Mount, ...] = ()
    starts: tuple[Start, ...] = ()
    scatter: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    grippers: Mapping[str, str] = field(default_factory=dict)
    sensors: Mapping[str, str] = field(default_factory=dict)
    moving: str = ""
    timestep: float = 0.004

    def __post_init__(self) -> None:
        known = {""}
        for link in self.links:
            if link.parent not in known:
                raise BadValue(
                    f"link '{link.name}' hangs on '{link.parent}'; expected a link stated before it. "
                    "Next: state the parent first"
                )
            known.add(link.name)
        joints = {j.name for link in self.links for j in link.joints}
        points = {p.name for p in self.points}
        for what, needed, there in (
            ("point", [p.link for p in self.points], known - {""}),
            ("camera mount", [m.link for m in self.mounts], known),
            ("servo", [j for s in self.servos for j in s.joints], joints),
            ("drive", [d.point for d in self.drives], points),
            ("sensor", list(self.sensors.values()), joints),
            ("scatter", list(self.scatter), joints),
        ):
            if lost := sorted(set(needed) - there):
                raise BadValue(
                    f"a {what} names '{lost[0]}'; expected one of {', '.join(sorted(there))}. Next: one of those"
                )


SWEPT = (0.0, 0.5, 1.0)
"""Shares of its travel at which a finger is taken that turns; one that slides is taken as the box it sweeps."""


def collision_shapes(links: Sequence[Link], robot: Embodiment) -> tuple[CollisionShape, ...]:
    """The shapes of links, each on the last joint of its path that is on a frame's path of the robot. A link that other joints
    move (a finger) is taken at all places between the ends of its travel."""
    links_at = poses_of(robot.joint_places, {})
    channels = {robot.channels[robot.index(n)].described: n for n in robot.joint_places}
    poses: dict[str, tuple[str, list[tuple[Array, Array, Array]]]] = {"": ("", [(np.eye(3), np.zeros(3), np.zeros(3))])}
    out = []
    for link in links:
        channel, before = poses[link.parent]
        fixed = quat_to_matrix(np.array(link.quat))
        at = [(R @ fixed, p + R @ np.array(link.pos), slid) for R, p, slid in before]
        for joint in link.joints:
            if joint.name in channels:
                channel = channels[joint.name]
            elif joint.lower is None or joint.upper is None:
                continue
            elif joint.slides:
                way = np.array(joint.axis) * (joint.upper - joint.lower)
                at = [(R, p + R @ np.array(joint.axis) * joint.lower, slid + way) for R, p, slid in at]
            else:
                angles = [joint.lower + s * (joint.upper - joint.lower) for s in SWEPT]
                at = [(R @ rotvec_to_matrix(np.array(joint.axis) * a), p, slid) for R, p, slid in at for a in angles]
        poses[link.name] = (channel, [(R, p, np.zeros(3)) for R, p, _ in at])
        many = len(link.shapes) * len(at) > 1
        for k, (shape, (R, p, slid)) in enumerate((s, a) for s in link.shapes for a in at):
            name = f"{link.name}.{k + 1}" if many else link.name
            kind, size, turn, centre = _solid(shape)
            if slid.any():  # the box it sweeps
                half = np.abs(turn.T @ slid) / 2
                kind, size = "box", tuple(_halves(kind, size) + half)
                centre = centre + slid / 2
            out.append(placed(name, kind, size, channel, links_at[channel], (R @ turn, p + R @ centre)))
    return tuple(out)


def _solid(shape: Shape) -> tuple[Literal["capsule", "cylinder", "box", "sphere"], tuple[float, ...], Array, Array]:
    """Kind, size as of a `CollisionShape`, rotation and centre of a shape in its link's frame."""
    if shape.end is None:
        return shape.kind, shape.size, quat_to_matrix(np.array(shape.quat)), np.array(shape.at)
    start, end = np.array(shape.at), np.array(shape.end)
    length = float(np.linalg.norm(end - start))
    way = (end - start) / max(length, 1e-9)
    across = np.cross([0.0, 0.0, 1.0], way)
    sine = float(np.linalg.norm(across))
    if sine < 1e-9:
        turn = np.eye(3) if way[2] >= 0 else np.diag([1.0, -1.0, -1.0])
    else:
        turn = rotvec_to_matrix(across / sine * np.arctan2(sine, way[2]))
    return shape.kind, (shape.size[0], max(length / 2, 1e-4)), turn, (start + end) / 2


def _halves(kind: str, size: tuple[float, ...]) -> Array:
    """Half sides of the box around a shape."""
    if kind == "box":
        return np.array(size)
    tall = {"sphere": size[0], "capsule": size[0] + size[-1]}.get(kind, size[-1])
    return np.array([size[0], size[0], tall])


def looking(eye: Vector, at: Vector, up: Vector = (0.0, 0.0, 1.0)) -> Array:
    """float[3, 3]: rotation of a camera at `eye` that looks at a point, `up` upwards in the picture (`Mount.rotation`)."""
    forward = np.array(at) - np.array(eye)
    forward /= np.linalg.norm(forward)
    right = np.cross(forward, up)
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(right, forward), -forward], axis=1)


def rod(mass: float, length: float, radius: float, axis: int) -> tuple[float, float, float]:
    """Inertia xx yy zz [kg·m²] about the centre of a solid cylinder along axis 0, 1 or 2."""
    along, across = 0.5 * mass * radius**2, mass * (3 * radius**2 + length**2) / 12
    out = [across, across, across]
    out[axis] = along
    return (out[0], out[1], out[2])


def cuboid(mass: float, half: Vector) -> tuple[float, float, float]:
    """Inertia xx yy zz [kg·m²] about the centre of a solid box of these half sides."""
    x, y, z = (mass * h * h / 3 for h in half)
    return (y + z, x + z, x + y)
