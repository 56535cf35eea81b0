"""From the primitive shapes of a description to what a robot keeps apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from palmar.description.distances import touching
from palmar.description.model import Description, listed
from palmar.description.tree import is_finger
from palmar.embodiments import Embodiment
from palmar.kinematics import quat_to_matrix
from palmar.shapes import MOST_SHAPES, Collision, CollisionShape, placed, poses_of
from palmar.types import Array


def with_shapes(robot: Embodiment, said: Description, channel_of: Mapping[str, str]) -> Embodiment:
    """The robot with the primitive collision shapes of a description on the joints of its frames' paths; notes name those that
    are left out, and the pairs that are allowed because they touch where the robot stands. channel_of: {joint: channel}."""
    notes = [robot.notes] if robot.notes else []
    if said.left_out:
        notes.append(
            f"Collision shapes that are no sphere, capsule, box or cylinder are left out: {listed(said.left_out)}."
        )
    tree, places = said.tree, robot.joint_places
    if not said.parts or not places:
        return replace(robot, notes="\n".join(notes))
    references = {channel_of[j.name]: j.reference for b in tree.bodies for j in b.joints if j.name in channel_of}
    links = poses_of(places, references)
    drawn: list[tuple[Array, Array]] = []
    for b in tree.bodies:
        R, p = drawn[b.parent] if b.parent >= 0 else (np.eye(3), np.zeros(3))
        drawn.append((R @ quat_to_matrix(b.quat), p + R @ b.pos))
    moving = {j.name for j in said.joints} | {m for j in said.joints for m in j.moves} | set(said.following)
    shapes: list[CollisionShape] = []
    loose, fingers, names = [], [], set()
    for part in said.parts:
        channel, held, finger = "", False, False
        for b in (tree.bodies[i] for i in tree.line(part.body)):
            for j in b.joints:
                if channel_of.get(j.name, "") in places and channel_of.get(j.name):
                    channel = channel_of[j.name]
                elif j.name in moving:
                    opens = any(c.described == j.name and c.kind == "opening" for c in robot.channels)
                    finger |= opens or is_finger(tree, b, j.name)
                    held |= not (opens or is_finger(tree, b, j.name))
        if held:
            loose.append(part.name)
            continue
        if finger:
            fingers.append(part.name)
        R, p = drawn[part.body]
        at = (R @ quat_to_matrix(part.quat), p + R @ part.pos)
        name, k = part.name, 2
        while name in names:
            name, k = f"{part.name}.{k}", k + 1
        names.add(name)
        shapes.append(placed(name, part.kind, part.size, channel, links[channel], at))
    if loose:
        notes.append(f"Collision shapes that joints move which are on no frame's path are left out: {listed(loose)}.")
    if fingers:
        notes.append(f"Collision shapes of fingers are taken where the description draws them: {listed(fingers)}.")
    if len(shapes) > MOST_SHAPES:
        notes.append(f"It has {len(shapes)} collision shapes, more than {MOST_SHAPES}; none is taken.")
        shapes = []
    robot = replace(robot, collision=Collision(tuple(shapes)))
    if allowed := touching(robot):
        robot = replace(robot, collision=Collision(tuple(shapes), tuple(allowed)))
        said_so = listed([f"{a} and {b}" for a, b in allowed])
        notes.append(f"They touch where the robot stands, so collisions of them are allowed: {said_so}.")
    return replace(robot, notes="\n".join(notes))
