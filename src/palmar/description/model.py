"""What a description file says, whichever language it is written in; and MuJoCo's compiler, entered late."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from palmar.description.gl import import_mujoco
from palmar.description.tree import Body, Tree, TreeJoint
from palmar.errors import BadFile
from palmar.robot_parts import Kind
from palmar.shapes import ShapeKind
from palmar.types import Array

MOST_BODIES = 5000


@dataclass(frozen=True)
class Joint:
    """Something a description lets move on its own: a joint, or a tendon that one actuator pulls.

    lower … upper, velocity, effort: NaN where the file does not state them. home: None where it states none.
    moves: the joints it moves, when it is a tendon.
    """

    name: str
    kind: Kind
    unit: str
    lower: float = math.nan
    upper: float = math.nan
    velocity: float = math.nan
    effort: float = math.nan
    home: float | None = None
    moves: tuple[str, ...] = ()


@dataclass(frozen=True)
class Part:
    """A primitive shape a description gives a body for collisions. body: index into the tree's bodies. size [m], as of a
    `CollisionShape`. pos [3], quat (wxyz): its centre in the body's frame."""

    name: str
    body: int
    kind: ShapeKind
    size: tuple[float, ...]
    pos: Array
    quat: Array


@dataclass(frozen=True)
class Description:
    """joints: what can be commanded, of an MJCF in the order of its actuators, of a URDF from the root outwards.
    following: {joint that is no channel: why}. notes: what was left out, one sentence each. parts: its primitive collision
    shapes; left_out: names of other ones, such as meshes."""

    path: Path
    name: str
    joints: tuple[Joint, ...]
    tree: Tree
    following: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    parts: tuple[Part, ...] = ()
    left_out: tuple[str, ...] = ()


def compiled(text: str, path: Path) -> Any:
    """`mujoco.MjModel` of the cleaned XML of a file. Raises `BadFile` with the compiler's message, `MissingPackage`."""
    mujoco = import_mujoco()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about dynamics, which no robot file has
            model = mujoco.MjSpec.from_string(text).compile()
    except (ValueError, TypeError, mujoco.FatalError) as error:
        said = " ".join(str(error).split())
        raise BadFile(f"'{path}' does not compile: MuJoCo says '{said}'. Next: mend the file") from error
    if model.nbody > MOST_BODIES:
        raise BadFile(
            f"'{path}' has {model.nbody} bodies; expected a robot of at most {MOST_BODIES}. "
            "Next: the robot alone, without its scene"
        )
    return model


def tree_of(model: Any, joint_names: Mapping[int, str]) -> Tree:
    """The tree of a compiled model. joint_names: {joint index: its name} of the hinges and slides; others are held."""
    mujoco = import_mujoco()
    slide = int(mujoco.mjtJoint.mjJNT_SLIDE)
    bodies = []
    for i in range(model.nbody):
        first = int(model.body_jntadr[i])
        own = range(first, first + int(model.body_jntnum[i]))
        joints = tuple(
            TreeJoint(
                joint_names[k], np.array(model.jnt_axis[k]), np.array(model.jnt_pos[k]),
                float(model.qpos0[model.jnt_qposadr[k]]), int(model.jnt_type[k]) == slide,
            )
            for k in own
            if k in joint_names
        )  # fmt: skip
        parent = int(model.body_parentid[i]) if i else -1
        bodies.append(
            Body(
                model.body(i).name or f"body{i}",
                parent,
                np.array(model.body_pos[i]),
                np.array(model.body_quat[i]),
                joints,
            )
        )
    sites = {
        model.site(i).name: (int(model.site_bodyid[i]), np.array(model.site_pos[i]), np.array(model.site_quat[i]))
        for i in range(model.nsite)
        if model.site(i).name
    }
    return Tree(tuple(bodies), sites)


def listed(names: list[str] | tuple[str, ...], most: int = 12) -> str:
    """Names in one line, the first `most` of them."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
