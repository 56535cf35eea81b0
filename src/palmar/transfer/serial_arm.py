"""The arm whose torques are identified: its chain, its limits, and the inertias that its description states for each joint.

Bodies that no joint of the chain moves relative to each other (a flange, a hand, its fingers) count as one with the link that
carries them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

import numpy as np

from palmar.description.build import read_description
from palmar.description.find import find_robot
from palmar.description.gl import import_mujoco
from palmar.description.tree import Tree
from palmar.description.xml import number, numbers, read_xml
from palmar.embodiments import Embodiment
from palmar.errors import BadValue
from palmar.kinematics import Chain, quat_to_matrix, rotvec_to_matrix
from palmar.links import Link
from palmar.robots import mechanics, robots
from palmar.robots import robot as shipped_robot
from palmar.transfer.inertia import believable, link_parameters, moved
from palmar.types import Array

DENSITY, RADIUS, LEAST = 1500.0, 0.05, 0.5  # of a guessed link [kg/m³], [m], [kg]
ROTOR = 0.05  # guessed rotor inertia seen at a joint of 50 N·m [kg·m²]


@dataclass(frozen=True)
class SerialArm:
    """J joints in a row.

    joints: names as the robot's description has them. chain: base frame with gravity along -z. inertia: float[J, 10] stated or
    guessed parameters of what each joint carries (`rigid_body.NAMES`), physically consistent. rotor: float[J] rotor inertia seen
    at the joint [kg·m²] or [kg]. lower, upper, velocity, acceleration: float[J] limits [rad] or [m]; torque: float[J] [N·m] or [N],
    infinite where unknown. stated: whether the inertias come from a description; a guess otherwise. notes: what was assumed.
    """

    robot: str
    joints: tuple[str, ...]
    chain: Chain
    inertia: Array
    rotor: Array
    lower: Array
    upper: Array
    velocity: Array
    acceleration: Array
    torque: Array
    stated: bool
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Part:
    """A rigid body in the zero pose. joint: the chain's joint that carries it, -1 the base. rotation, position: of its frame in
    the base's. parameters: float[10] in its own frame; None where the description states no mass."""

    joint: int
    rotation: Array
    position: Array
    parameters: Array | None


def serial_arm(robot: str | Path | Embodiment, frame: str = "", without_tool: bool = False) -> SerialArm:
    """The arm that leads to a frame of a robot (its only or first one where none is named).

    robot: a name of `palmar.robots`, a robot file, a URDF or an MJCF file, or an embodiment. without_tool: leave out the masses
    of the hand, as of an arm without one mounted. Raises `UnknownName`, `BadFile`, `BadValue` for a tool that cannot be told.
    """
    described = not isinstance(robot, Embodiment) and str(robot) not in robots() and Path(robot).suffix != ".toml"
    options: dict[str, Any] = {"guess": True} | ({"frames": [frame]} if described and frame else {})
    found = robot if isinstance(robot, Embodiment) else find_robot(robot, **options)
    if described and not found.frames:
        raise BadValue(f"'{robot}' does not say where its arm ends. Next: --frame with the name of its last link")
    named = found.frame(frame)
    channels = [found.channels[found.index(n)] for n in named.joints]
    joints = tuple(c.described for c in channels)
    chain, notes = named.chain, []
    rotor = np.full(len(joints), np.nan)
    parts: list[_Part] = []
    if _shipped(found, chain):
        parts, rotor = _of_links(mechanics(found).links, joints, without_tool)
    elif without_tool:
        raise BadValue(
            f"'{robot}' does not say which of its bodies are the tool. Next: a description file without the hand, and "
            "no --without-tool"
        )
    elif described:
        parts = _of_file(Path(str(robot)), joints)
    stated = bool(parts)
    if stated:
        inertia = _carried(parts, chain, len(joints))
        if (empty := [n for n, row in zip(joints, inertia, strict=True) if row[0] <= 0]) != []:
            notes.append(f"the description states no mass for what {', '.join(empty)} carries: it is guessed")
            guess = _guessed(chain)
            inertia = np.where((inertia[:, :1] > 0), inertia, guess)
    else:
        inertia = _guessed(chain)
        notes.append(
            "the description states no inertias: they are guessed from the lengths of the links, and little is taken from them"
        )
    scale = np.array([c.to_si[0] for c in channels])
    effort = np.array([np.inf if c.effort is None else c.effort for c in channels])
    guess_rotor = ROTOR * np.where(np.isfinite(effort), effort, 50.0) / 50.0
    lower, upper = (np.array([getattr(c, w) for c in channels]) for w in ("lower", "upper"))
    to_si = np.array([c.to_si for c in channels])
    ends = np.sort(np.stack([lower, upper]) * to_si[:, 0] + to_si[:, 1], axis=0)
    return SerialArm(
        found.name, joints, chain, believable(inertia), np.where(rotor > 0, rotor, guess_rotor), ends[0], ends[1],
        np.array([c.velocity for c in channels]) * np.abs(scale), np.array([c.acceleration for c in channels]) * np.abs(scale),
        effort, stated, tuple(notes),
    )  # fmt: skip


def _shipped(found: Embodiment, chain: Chain) -> bool:
    """Whether this is a robot that comes with palmar, and not a file of its name with another arm."""
    if found.name not in robots():
        return False
    own = [f.chain for f in shipped_robot(found.name).frames]
    return any(c.offsets.shape == chain.offsets.shape and np.allclose(c.frames(np.zeros(len(c.quats))),
               chain.frames(np.zeros(len(c.quats))), atol=1e-6) for c in own)  # fmt: skip


def _of_links(links: tuple[Link, ...], joints: tuple[str, ...], without_tool: bool) -> tuple[list[_Part], Array]:
    """The parts of a robot of palmar in the zero pose, and the rotor inertias of the chain's joints."""
    poses: dict[str, tuple[int, Array, Array]] = {"": (-1, np.eye(3), np.zeros(3))}
    rotor, parts = np.full(len(joints), np.nan), []
    for link in links:
        joint, R, p = poses[link.parent]
        p, R = p + R @ np.array(link.pos), R @ quat_to_matrix(np.array(link.quat))
        for j in link.joints:
            if j.name in joints:
                joint = joints.index(j.name)
                rotor[joint] = j.armature
        poses[link.name] = joint, R, p
        if link.mass > 0 and not (without_tool and link.tool):
            parts.append(_Part(joint, R, p, link_parameters(link.mass, link.com, link.inertia)))
    return parts, rotor


def _of_file(path: Path, joints: tuple[str, ...]) -> list[_Part]:
    """The parts that a URDF or MJCF file states masses of, in the zero pose; none where it states no mass."""
    root = read_xml(path)
    tree = read_description(path).tree
    stated = _urdf_inertias(root) if root.tag == "robot" else _mjcf_inertias(path)
    return [
        _Part(joint, R, p, stated[name]) for name, (joint, R, p) in _zero_pose(tree, joints).items() if name in stated
    ]


def _zero_pose(tree: Tree, joints: tuple[str, ...]) -> dict[str, tuple[int, Array, Array]]:
    """{body: (joint of the chain that carries it, rotation, position)} with the chain's joints at 0, others where
    they are drawn."""
    out: list[tuple[int, Array, Array]] = []
    for body in tree.bodies:
        joint, R, p = (-1, np.eye(3), np.zeros(3)) if body.parent < 0 else out[body.parent]
        p, R = p + R @ body.pos, R @ quat_to_matrix(body.quat)
        for j in body.joints:
            if j.name not in joints:
                continue
            joint = joints.index(j.name)
            if j.slides:
                p = p - R @ j.axis * j.reference
            else:
                turned = R @ rotvec_to_matrix(-j.reference * j.axis)
                p, R = p + R @ j.anchor - turned @ j.anchor, turned
        out.append((joint, R, p))
    return {b.name: pose for b, pose in zip(tree.bodies, out, strict=True)}


def _urdf_inertias(root: Element) -> dict[str, Array]:
    out = {}
    for link in root.findall("link"):
        inertial = link.find("inertial")
        mass_of = None if inertial is None else inertial.find("mass")
        if inertial is None or mass_of is None or not (mass := number(mass_of, "value", 0.0)) > 0:
            continue
        origin, tensor = inertial.find("origin"), inertial.find("inertia")
        pos, rpy = (np.array(numbers(origin, key, (0.0, 0.0, 0.0))) for key in ("xyz", "rpy"))
        x, y, z = (rotvec_to_matrix(a * angle) for a, angle in zip(np.eye(3), rpy, strict=True))
        moments = [
            0.0 if tensor is None else number(tensor, k, 0.0) for k in ("ixx", "iyy", "izz", "ixy", "ixz", "iyz")
        ]
        out[link.get("name", "")] = moved(link_parameters(mass, (0, 0, 0), moments), z @ y @ x, pos)
    return out


def _mjcf_inertias(path: Path) -> dict[str, Array]:
    """{body: parameters in its frame} as MuJoCo compiles them; none where the file does not compile as it stands (no meshes)."""
    mujoco = import_mujoco()
    try:
        model = mujoco.MjModel.from_xml_path(str(path))
    except ValueError:
        return {}
    out = {}
    for i in range(1, model.nbody):
        if (mass := float(model.body_mass[i])) > 0:
            own = link_parameters(mass, (0, 0, 0), model.body_inertia[i])
            out[model.body(i).name or f"body{i}"] = moved(own, quat_to_matrix(model.body_iquat[i]), model.body_ipos[i])
    return out


def _carried(parts: list[_Part], chain: Chain, count: int) -> Array:
    """float[J, 10]: the parts of each joint as one body, in the joint's frame."""
    frames, out = chain.frames(np.zeros(count)), np.zeros((count, 10))
    for part in parts:
        if part.joint < 0 or part.parameters is None:
            continue
        R, p = frames[part.joint, :3, :3], frames[part.joint, :3, 3]
        out[part.joint] += moved(part.parameters, R.T @ part.rotation, R.T @ (part.position - p))
    return out


def _guessed(chain: Chain) -> Array:
    """float[J, 10]: each link a rod from its joint to the next one, the last to the tool."""
    out = []
    for end in (*chain.offsets[1:], chain.tool_offset):
        length = float(np.linalg.norm(end))
        mass = max(LEAST, DENSITY * np.pi * RADIUS**2 * length)
        along = end / length if length > 1e-6 else np.array([0.0, 0.0, 1.0])
        across = mass * (3 * RADIUS**2 + length**2) / 12
        I = across * np.eye(3) + (mass * RADIUS**2 / 2 - across) * np.outer(along, along)  # noqa: E741
        out.append(link_parameters(mass, end / 2, (I[0, 0], I[1, 1], I[2, 2], I[0, 1], I[0, 2], I[1, 2])))
    return np.array(out)
