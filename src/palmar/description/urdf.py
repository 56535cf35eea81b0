"""URDF files: what they say of joints and limits; the kinematics are what MuJoCo's compiler makes of them."""

from __future__ import annotations

import math
from pathlib import Path
from xml.etree.ElementTree import Element, SubElement, tostring

import numpy as np

from palmar.description.model import MOST_BODIES, Description, Joint, Part, compiled, listed, tree_of
from palmar.description.xml import number, numbers
from palmar.errors import BadFile
from palmar.kinematics import matrix_to_quat, rotvec_to_matrix

KINDS = {"revolute": "rad", "continuous": "rad", "prismatic": "m"}
HELD = ("floating", "planar")


def read_urdf(root: Element, path: Path) -> Description:
    """What a URDF says. Meshes, visual shapes and inertias are not read; collision meshes are named. Raises `BadFile`."""
    if any(str(e.tag).startswith("xacro:") for e in root.iter()):
        raise BadFile(f"'{path}' is a xacro template; expected a URDF. Next: xacro {path.name} > robot.urdf")
    links, joints = root.findall("link"), root.findall("joint")
    _check_tree(path, links, joints)
    held = [j.get("name", "") for j in joints if j.get("type") in HELD]
    movable = [j for j in joints if j.get("type") in KINDS]
    names = [j.get("name", "") for j in movable]
    following = {}
    for j in movable:
        mimic = j.find("mimic")
        if mimic is not None:
            leader = mimic.get("joint", "")
            if leader not in names or leader == j.get("name"):
                raise BadFile(
                    f"'{path}': joint '{j.get('name')}' mimics '{leader}'; expected one of {listed(names)}. "
                    "Next: mend it in the file"
                )
            following[j.get("name", "")] = f"which follows joint '{leader}' (mimic)"
    commanded = [j for j in movable if j.get("name") not in following]
    if not commanded:
        raise BadFile(
            f"'{path}' has no joint that moves; expected revolute, continuous or prismatic joints. "
            "Next: a description of a robot that moves"
        )
    model = compiled(_kinematics(root.get("name") or path.stem, links, joints), path)
    by_index = {k: model.joint(k).name for k in range(model.njnt)}
    commanded.sort(key=lambda j: model.joint(j.get("name", "")).id)  # from the root outwards, whatever the file's order
    notes = []
    if held:
        notes.append(f"Held, since free and planar joints are no channels: {listed(held)}.")
    if following:
        notes.append(f"Follow other joints and are no channels: {listed(list(following))}.")
    tree = tree_of(model, by_index)
    parts, left_out = _parts(links, {b.name: i for i, b in enumerate(tree.bodies)})
    return Description(
        path, root.get("name") or path.stem, tuple(map(_joint, commanded)), tree, following, tuple(notes), tuple(parts),
        tuple(left_out),
    )  # fmt: skip


def _parts(links: list[Element], bodies: dict[str, int]) -> tuple[list[Part], list[str]]:
    """The primitive collision shapes, and the names of the meshes among them. Raises `BadFile` for a size that is no number."""
    parts, left_out = [], []
    for link in links:
        found = link.findall("collision")
        for k, element in enumerate(found, 1):
            of = link.get("name", "")
            name = element.get("name") or (of if len(found) == 1 else f"{of}.{k}")
            geometry = element.find("geometry")
            shape = None if geometry is None else next(iter(geometry), None)
            size: tuple[float, ...] = ()
            if shape is not None and shape.tag == "box":
                size = tuple(x / 2 for x in numbers(shape, "size", (0.0, 0.0, 0.0)))
            elif shape is not None and shape.tag in ("cylinder", "capsule"):
                size = (number(shape, "radius", 0.0), number(shape, "length", 0.0) / 2)
            elif shape is not None and shape.tag == "sphere":
                size = (number(shape, "radius", 0.0),)
            if shape is None or not size or not all(x > 0 for x in size):
                left_out.append(name)
                continue
            origin = element.find("origin")
            pos, rpy = (np.array(numbers(origin, key, (0.0, 0.0, 0.0))) for key in ("xyz", "rpy"))
            x, y, z = (rotvec_to_matrix(axis * angle) for axis, angle in zip(np.eye(3), rpy, strict=True))
            parts.append(Part(name, bodies.get(of, 0), shape.tag, size, pos, matrix_to_quat(z @ y @ x)))  # type: ignore[arg-type]
    return parts, left_out


def _joint(element: Element) -> Joint:
    kind = element.get("type")
    limit = element.find("limit")
    safety = element.find("safety_controller")
    lower = upper = velocity = effort = math.nan
    if limit is not None:
        lower, upper = number(limit, "lower"), number(limit, "upper")
        velocity, effort = number(limit, "velocity"), number(limit, "effort")
    if not (velocity > 0):  # 0, -1 and a missing attribute all say that nobody knows
        velocity = math.nan
    if not (effort > 0):
        effort = math.nan
    if kind == "continuous":
        lower, upper = -math.inf, math.inf
    else:
        if math.isnan(lower) != math.isnan(upper):  # by the letter of the format the one that is missing is 0
            lower, upper = (0.0 if math.isnan(x) else x for x in (lower, upper))
        if not lower < upper:  # 0 … 0 and reversed ends are no range
            lower = upper = math.nan
    if safety is not None and kind != "continuous":  # the narrower range in which commands are allowed
        low, high = number(safety, "soft_lower_limit", lower), number(safety, "soft_upper_limit", upper)
        if max(low, lower) < min(high, upper):
            lower, upper = max(low, lower), min(high, upper)
    return Joint(element.get("name", ""), kind, KINDS[kind or ""], lower, upper, velocity, effort)  # type: ignore[arg-type]


def _check_tree(path: Path, links: list[Element], joints: list[Element]) -> None:
    """Raise `BadFile` unless links and joints are a tree with one root, with names of their own and types that are known."""
    for what, elements in (("link", links), ("joint", joints)):
        names = [e.get("name") for e in elements]
        if not all(names):
            raise BadFile(f"'{path}': a {what} has no name; expected <{what} name=\"…\">. Next: mend it in the file")
        if twice := sorted({str(n) for n in names if names.count(n) > 1}):
            raise BadFile(
                f"'{path}': two {what}s are called '{twice[0]}'; expected different names. Next: mend it in the file"
            )
    if not links or len(links) > MOST_BODIES:
        raise BadFile(
            f"'{path}' has {len(links)} links; expected 1 … {MOST_BODIES}. Next: the robot alone, without its scene"
        )
    known, parent_of = {e.get("name") for e in links}, {}
    for j in joints:
        name, kind = j.get("name"), j.get("type")
        if kind in ("spherical", "ball"):
            raise BadFile(
                f"'{path}': joint '{name}' is a ball joint; a channel is one number. Next: write it as three revolute "
                "joints, or as fixed"
            )
        if kind not in (*KINDS, *HELD, "fixed"):
            raise BadFile(
                f"'{path}': joint '{name}' is of type '{kind}'; expected one of {', '.join((*KINDS, 'fixed', *HELD))}. "
                "Next: mend it in the file"
            )
        ends = {}
        for end in ("parent", "child"):
            link = j.find(end)
            ends[end] = None if link is None else link.get("link")
            if ends[end] not in known:
                raise BadFile(
                    f"'{path}': joint '{name}' has the {end} link '{ends[end]}'; expected the name of a link. "
                    "Next: mend it in the file"
                )
        if ends["child"] in parent_of:
            raise BadFile(
                f"'{path}': link '{ends['child']}' has two parents; expected a tree. Next: mend it in the file"
            )
        parent_of[ends["child"]] = ends["parent"]
    roots = [e.get("name") for e in links if e.get("name") not in parent_of]
    reached = set(roots)
    children: dict[str | None, list[str | None]] = {}
    for child, parent in parent_of.items():
        children.setdefault(parent, []).append(child)
    front = list(roots)
    while front:
        for child in children.get(front.pop(), []):
            reached.add(child)
            front.append(child)
    if len(roots) != 1 or len(reached) != len(known):
        found = ", ".join(f"'{r}'" for r in roots) or "none (a loop)"
        raise BadFile(
            f"'{path}': root links are {found}; expected one tree with one root. "
            "Next: joints that connect them, or the file of one robot"
        )


def _kinematics(name: str, links: list[Element], joints: list[Element]) -> str:
    """A URDF of the links, origins and axes only, each number checked: nothing in it refers to another file."""
    robot = Element("robot", name=name)
    SubElement(SubElement(robot, "mujoco"), "compiler", fusestatic="false", strippath="false")
    for link in links:
        inertial = SubElement(SubElement(robot, "link", name=link.get("name", "")), "inertial")
        SubElement(inertial, "mass", value="1")
        SubElement(inertial, "inertia", ixx="1", iyy="1", izz="1", ixy="0", ixz="0", iyz="0")
    for j in joints:
        kind = j.get("type", "")
        plain = "prismatic" if kind == "prismatic" else "continuous" if kind in KINDS else "fixed"
        out = SubElement(robot, "joint", name=j.get("name", ""), type=plain)
        for end in ("parent", "child"):
            SubElement(out, end, link=j.find(end).get("link", ""))  # type: ignore[union-attr]
        origin = j.find("origin")
        xyz, rpy = (" ".join(map(repr, numbers(origin, k, (0.0, 0.0, 0.0)))) for k in ("xyz", "rpy"))
        SubElement(out, "origin", xyz=xyz, rpy=rpy)
        axis = numbers(j.find("axis"), "xyz", (1.0, 0.0, 0.0))
        if plain == "fixed":
            continue
        if not any(axis):
            raise BadFile(
                f"joint '{j.get('name')}' has the axis 0 0 0; expected a direction. Next: mend it in the file"
            )
        SubElement(out, "axis", xyz=" ".join(map(repr, axis)))
        if plain == "prismatic":
            SubElement(out, "limit", lower="-1", upper="1")
    return tostring(robot, encoding="unicode")
