"""The kinematic tree of a description: bodies, joints and points, and the serial chain that leads to a point."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from palmar.errors import BadValue, UnknownName
from palmar.kinematics import Chain, matrix_to_quat, quat_to_matrix, rotvec_to_matrix
from palmar.types import Array

FINGERS = frozenset(["finger", "fingers", "thumb", "jaw", "jaws", "gripper", "claw", "knuckle", "fingertip"])
HAND = frozenset(
    ["hand", "index", "middle", "ring", "pinky", "little"]
)  # of a finger only where the robot has a thumb as well
WRIST = frozenset(["wrist", "roll", "pitch", "yaw"])  # "gripper_yaw" turns the gripper, it does not close it
TIPS = (
    "tcp",
    "tool",
    "ee",
    "eef",
    "effector",
    "tip",
    "grasp",
    "pinch",
    "hand",
    "palm",
    "gripper",
    "flange",
    "sole",
    "foot",
)
DECIMALS = 12  # of the numbers of a chain: shorter to read in a robot file, exact to far below a nanometre


@dataclass(frozen=True)
class TreeJoint:
    """One joint of a body: it turns about, or slides along, `axis` [3] through `anchor` [3], both in the body's frame.

    reference: joint position [rad] or [m] at which the body is where the description draws it.
    """

    name: str
    axis: Array
    anchor: Array
    reference: float
    slides: bool


@dataclass(frozen=True)
class Body:
    """pos, quat (wxyz): in the parent's frame. parent: index into the tree's bodies; -1: none (the world)."""

    name: str
    parent: int
    pos: Array
    quat: Array
    joints: tuple[TreeJoint, ...]


@dataclass(frozen=True)
class Tree:
    """bodies: parents before children, the world first. sites: {name: (body index, pos [3], quat [4])}."""

    bodies: tuple[Body, ...]
    sites: Mapping[str, tuple[int, Array, Array]]

    @cached_property
    def points(self) -> dict[str, tuple[int, Array, Array]]:
        """Every named body and site: (body index, pos, quat) in that body's frame."""
        still = np.zeros(3), np.array([1.0, 0.0, 0.0, 0.0])
        return dict(self.sites) | {b.name: (i, *still) for i, b in enumerate(self.bodies) if i}

    def line(self, body: int) -> list[int]:
        """Bodies from the world to this one."""
        out = []
        while body >= 0:
            out.append(body)
            body = self.bodies[body].parent
        return out[::-1]

    @cached_property
    def has_thumb(self) -> bool:
        return any("thumb" in words(j.name) for b in self.bodies for j in b.joints)

    @cached_property
    def above(self) -> list[tuple[str, ...]]:
        """For every body the joints on its path, root first."""
        out: list[tuple[str, ...]] = []
        for b in self.bodies:
            own = tuple(j.name for j in b.joints)
            out.append(own if b.parent < 0 else out[b.parent] + own)
        return out


def chain_to(
    tree: Tree, point: str, channels: Mapping[str, str], following: Mapping[str, str]
) -> tuple[tuple[str, ...], Chain]:
    """The channels on the path to a body or site, root first, and the chain of their joints in the world frame.

    channels: {joint: channel}; other joints are held at their reference. following: {joint that moves with others: why}.
    Raises `UnknownName`; `BadValue` when a joint of the path follows another, or none is a channel.
    """
    if point not in tree.points:
        raise UnknownName("frame (a body, link or site of the description)", point, tree.points)
    body, at, turned = tree.points[point]
    names: list[str] = []
    offsets, quats, slides = [], [], []
    R, p = np.eye(3), np.zeros(3)  # from the last joint's frame to where we are
    for b in (tree.bodies[i] for i in tree.line(body)):
        p, R = p + R @ b.pos, R @ quat_to_matrix(b.quat)
        for j in b.joints:
            if j.name in following:
                raise BadValue(
                    f"frame '{point}' is moved by joint '{j.name}', {following[j.name]}; expected a path of channels only. "
                    "Next: --frames with another link"
                )
            if j.name not in channels:
                continue
            A = _to_z(j.axis)
            anchor = np.zeros(3) if j.slides else j.anchor
            names.append(channels[j.name])
            offsets.append(p + R @ anchor)
            quats.append(matrix_to_quat(R @ A))
            slides.append(j.slides)
            if j.slides:
                R, p = A.T, np.array([0.0, 0.0, -j.reference])
            else:
                R = rotvec_to_matrix(np.array([0.0, 0.0, -j.reference])) @ A.T
                p = -R @ anchor
    if not names:
        raise BadValue(
            f"frame '{point}' is moved by no channel; expected a point beyond a joint. "
            "Next: --frames with a link beyond a joint"
        )
    tool, tool_quat = p + R @ at, matrix_to_quat(R @ quat_to_matrix(turned))
    chain = Chain(_tidy(offsets), _tidy(quats), _tidy(tool), _tidy(tool_quat), tuple(slides) if any(slides) else ())
    return tuple(names), chain


def _tidy(values: object) -> Array:
    """Rounded to `DECIMALS`; adding 0.0 makes -0.0 a plain zero."""
    return np.round(np.array(values, float), DECIMALS) + 0.0


def _to_z(axis: Array) -> Array:
    """Rotation matrix that takes z to the axis."""
    axis = axis / np.linalg.norm(axis)
    across = np.array([-axis[1], axis[0], 0.0])
    length = float(np.linalg.norm(across))
    if length < 1e-12:
        return np.eye(3) if axis[2] > 0 else np.diag([1.0, -1.0, -1.0])
    return rotvec_to_matrix(across / length * np.arctan2(length, axis[2]))


def words(name: str) -> set[str]:
    """The words of a name in lower case: `L_FingerJoint2` → l, finger, joint."""
    return {w.lower() for w in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)}


def is_finger(tree: Tree, body: Body, joint: str) -> bool:
    """Whether a joint, or the body it moves, is named as part of a gripper or a hand."""
    named, moved = words(joint), words(body.name)
    if named & WRIST and not named & (FINGERS - {"gripper"}):
        return False
    if named & FINGERS or (moved & (FINGERS - {"gripper"}) and "fixed" not in moved):
        return True
    return bool(named & HAND) and tree.has_thumb


def tips(tree: Tree, channels: Mapping[str, str], following: Mapping[str, str], least: int = 3) -> list[str]:
    """Names of the points that are the ends of limbs: one for every longest path of at least `least` channels.

    Fingers and joints that follow others are left out with all beyond them (fingers only where something else is left).
    Of the points that one joint moves, the one whose name says so is taken (`TIPS`), else the body of the joint itself.
    """
    for fingers_too in (False, True):
        found = _tips(tree, channels, following, least, fingers_too)
        if found:
            return found
    return []


def _tips(
    tree: Tree, channels: Mapping[str, str], following: Mapping[str, str], least: int, fingers_too: bool
) -> list[str]:
    out: list[bool] = []
    paths: list[tuple[str, ...]] = []
    for b in tree.bodies:
        left_out = b.parent >= 0 and out[b.parent]
        path = paths[b.parent] if b.parent >= 0 else ()
        for j in b.joints:
            left_out |= j.name in following or (not fingers_too and is_finger(tree, b, j.name))
            path += (j.name,) if j.name in channels else ()
        out.append(left_out)
        paths.append(path)
    groups: dict[tuple[str, ...], list[str]] = {}
    for name, (i, _, _) in tree.points.items():
        if not out[i] and len(paths[i]) >= least:
            groups.setdefault(paths[i], []).append(name)
    longest = [p for p in groups if not any(len(q) > len(p) and q[: len(p)] == p for q in groups)]
    order = {name: k for k, name in enumerate(tree.points)}
    return [
        _named_best(tree, sorted(groups[p], key=order.__getitem__), p[-1])
        for p in sorted(longest, key=lambda p: order[groups[p][0]])
    ]


def _named_best(tree: Tree, names: Sequence[str], joint: str) -> str:
    ranked = [
        (min((TIPS.index(w) for w in words(n) if w in TIPS), default=len(TIPS)), k, n) for k, n in enumerate(names)
    ]
    best = min(ranked)
    if best[0] < len(TIPS):
        return best[2]
    own = [b.name for b in tree.bodies if any(j.name == joint for j in b.joints) and b.name in names]
    return (own or list(names))[0]
