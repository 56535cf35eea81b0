"""Things made of several boxes: blocks with holes, cups with balls in them, bowls, drawers and doors.

A builder fills the body of a thing: (spec, body, name, item, look) → nothing. The body's origin is the foot, but for a cup, which
is free and whose origin is its centre.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from palmar.description.gl import import_mujoco
from palmar.kinematics import matrix_to_quat, rotvec_to_matrix
from palmar.sim.things import BALLS, CLEARANCE, PANE, POST, Item

mujoco = import_mujoco()
Vector = tuple[float, float, float]

BALL = 0.007  # their radius [m]
FIRM = (
    0.008,
    1.0,
)  # time constant [s] and damping of contacts of what must not creep between fingers: two steps of the simulation
POST_HEIGHT = 0.068  # of its middle over the ground [m]
TRAVEL = 0.09  # how far a drawer comes out [m]
SWING = 1.25  # how far a door turns [rad]
PANE_HEIGHT = 0.042  # of its underside over the ground [m]
DRAG = {"drawer": (2.0, 6.0), "door": (0.15, 0.25)}  # dry friction and damping: [N], [N·s/m]; [N·m], [N·m·s/rad]


@dataclass(frozen=True)
class Material:
    """What a builder needs of the world: paint, friction and stiffness of its solids, and what scales friction, size and mass."""

    rgba: tuple[float, ...]
    friction: list[float]
    solref: tuple[float, float] = (0.02, 1.0)
    share: float = 1.0
    scale: float = 1.0
    mass: float = 1.0

    @property
    def solid(self) -> dict[str, Any]:
        return {"friction": self.friction, "solref": self.solref, "condim": 4, "rgba": self.rgba}

    @property
    def dark(self) -> dict[str, Any]:
        """Of the part that stands still."""
        return self.solid | {"rgba": [0.35, 0.33, 0.31, 1.0]}


def _box(body: Any, size: Vector, pos: Vector, **more: Any) -> Any:
    return body.add_geom(type=mujoco.mjtGeom.mjGEOM_BOX, size=size, pos=pos, **more)


def _walls(half_x: float, half_y: float, half_z: float, thick: float) -> Iterator[tuple[Vector, Vector]]:
    """(half sides, middle) of four walls around the origin, `thick` their half thickness [m]; half_x, half_y: to their middles."""
    for sign in (-1.0, 1.0):
        yield (thick, half_y + thick, half_z), (sign * half_x, 0.0, half_z)
        yield (half_x - thick, thick, half_z), (0.0, sign * half_y, half_z)


def _zone(spec: Any, body: Any, name: str, item: Item, look: Material) -> None:
    """A painted disc under a pane of glass: only what is flat gets there, and no hand."""
    ghost = {"contype": 0, "conaffinity": 0, "mass": 0.0}
    radius = item.size[0]
    body.add_geom(
        type=mujoco.mjtGeom.mjGEOM_CYLINDER, size=[radius, 2e-4, 0], pos=[0, 0, 3e-4], rgba=look.rgba, **ghost
    )
    half_x, half_y = PANE
    glass = {"rgba": [0.75, 0.9, 1.0, 0.16], "friction": look.friction, "solref": look.solref}
    _box(body, (half_x, half_y, 0.002), (0, 0, PANE_HEIGHT + 0.002), **glass)
    for sign in (-1.0, 1.0):
        _box(body, (0.002, half_y, PANE_HEIGHT / 2), (sign * (half_x - 0.002), 0, PANE_HEIGHT / 2), **glass)


def _socket(spec: Any, body: Any, name: str, item: Item, look: Material) -> None:
    """A block with a square hole down to the ground. size: half side of the block, half side of the hole, half height. The hole
    is cut to its peg: larger by `CLEARANCE` all around, whatever the size of things."""
    half, hole, height = item.size
    hole = (hole - CLEARANCE) * look.scale + CLEARANCE
    wall = (half - hole) / 2
    for size, pos in _walls(hole + wall, hole + wall, height, wall):
        _box(body, size, pos, **look.solid)


def _cup(spec: Any, body: Any, name: str, item: Item, look: Material) -> None:
    """A square cup, open at the top, with balls in it. size: half side, wall, half height."""
    half, wall, height = (look.scale * s for s in item.size)
    heavy = item.mass * look.mass / 5
    firm = look.solid | {"solref": FIRM, "priority": 1}
    _box(body, (half, half, wall / 2), (0, 0, -height + wall / 2), mass=heavy, **firm)
    for size, (x, y, _) in _walls(half - wall / 2, half - wall / 2, height, wall / 2):
        _box(body, size, (x, y, 0.0), mass=heavy, **firm)
    grid = 0.0135
    for k in range(BALLS):
        x, y, z = (k % 2 - 0.5) * grid, (k // 2 % 2 - 0.5) * grid, -height + wall + BALL * (1.1 + 2.05 * (k // 4))
        ball = spec.worldbody.add_body(name=f"{name}_ball{k}", pos=np.array(body.pos) + [x, y, z])
        ball.add_freejoint(name=f"{name}_ball{k}")
        ball.add_geom(
            type=mujoco.mjtGeom.mjGEOM_SPHERE, size=[BALL, 0, 0], rgba=[0.96, 0.95, 0.9, 1.0], mass=0.002 * look.mass,
            friction=[0.5 * look.friction[0], 0.005, 1e-4], solref=look.solref, condim=3,
        )  # fmt: skip


def _bowl(spec: Any, body: Any, name: str, item: Item, look: Material) -> None:
    """A floor and eight walls around it. size: distance of the walls, their half thickness, half height."""
    radius, thick, height = item.size
    body.add_geom(type=mujoco.mjtGeom.mjGEOM_CYLINDER, size=[radius, 0.003, 0], pos=[0, 0, 0.003], **look.solid)
    half = radius * np.tan(np.pi / 8) + thick / 2
    for k in range(8):
        turn = np.pi / 4 * k
        wall = _box(body, (thick, half, height), (radius * np.cos(turn), radius * np.sin(turn), height), **look.solid)
        wall.quat = matrix_to_quat(rotvec_to_matrix(np.array([0, 0, turn])))


def _post(body: Any, name: str, x: float, y: float, look: Material) -> None:
    radius, half = POST
    paint = {
        "friction": look.friction,
        "solref": look.solref,
        "condim": 4,
        "rgba": [0.92, 0.92, 0.9, 1.0],
        "mass": 0.01,
    }
    body.add_geom(type=mujoco.mjtGeom.mjGEOM_CYLINDER, size=[radius, half, 0], pos=[x, y, POST_HEIGHT], **paint)
    body.add_site(name=f"{name}_handle", pos=[x, y, POST_HEIGHT], group=5)


def _part(
    spec: Any, body: Any, name: str, item: Item, look: Material, kind: Any, axis: Vector, way: float, **where: Any
) -> Any:
    """A body that moves on the thing by 0 … `way` [m] or [rad], and does not touch it."""
    part = body.add_body(name=f"{name}_part", **where)
    rub, damping = (look.share * d for d in DRAG[item.kind.geom])
    joint = part.add_joint(
        name=f"{name}_part", type=kind, axis=axis, range=[0.0, way], frictionloss=rub, ref=item.ajar * way
    )
    joint.damping, joint.armature = [damping, 0, 0], 0.001
    spec.add_exclude(bodyname1=body.name, bodyname2=part.name)
    return part


def _drawer(spec: Any, body: Any, name: str, item: Item, look: Material) -> None:
    """A frame, open at the top, with a drawer in it that comes out towards -x. size: half length, half width, half height."""
    x, y, z = item.size
    for sign in (-1.0, 1.0):
        _box(body, (x, 0.003, z), (0, sign * y, z), **look.dark)
    _box(body, (0.003, y, z), (x, 0, z), **look.dark)
    _box(body, (x, y, 0.002), (0, 0, 0.002), **look.dark)
    out = [-TRAVEL * item.ajar, 0.0, 0.006]
    part = _part(spec, body, name, item, look, mujoco.mjtJoint.mjJNT_SLIDE, (-1, 0, 0), TRAVEL, pos=out)
    weight = {"mass": 0.06 * look.mass}
    _box(part, (x - 0.006, y - 0.006, 0.003), (-0.003, 0, 0.003), **look.solid, **weight)
    for size, pos in _walls(x - 0.006, y - 0.008, z - 0.004, 0.003):
        _box(part, size, (pos[0] - 0.003, pos[1], pos[2]), **look.solid, **weight)
    _post(part, name, -x + 0.003, 0.0, look)


def _door(spec: Any, body: Any, name: str, item: Item, look: Material) -> None:
    """A box, open at the top, whose side towards -x is a door with its hinge at +y. size: half length, half width, half height."""
    x, y, z = item.size
    for sign in (-1.0, 1.0):
        _box(body, (x, 0.003, z), (0, sign * y, z), **look.dark)
    _box(body, (0.003, y, z), (x, 0, z), **look.dark)
    _box(body, (x, y, 0.002), (0, 0, 0.002), **look.dark)
    turned = matrix_to_quat(rotvec_to_matrix(np.array([0, 0, -SWING * item.ajar])))
    part = _part(
        spec,
        body,
        name,
        item,
        look,
        mujoco.mjtJoint.mjJNT_HINGE,
        (0, 0, -1),
        SWING,
        pos=[-x - 0.004, y, 0.0],
        quat=turned,
    )
    _box(part, (0.004, y - 0.002, z - 0.002), (0, -y, z + 0.002), mass=0.2 * look.mass, **look.solid)
    _post(part, name, 0.0, -2 * y + 0.018, look)


BUILDERS: dict[str, Callable[[Any, Any, str, Item, Material], None]] = {
    "zone": _zone, "socket": _socket, "cup": _cup, "bowl": _bowl, "drawer": _drawer, "door": _door,
}  # fmt: skip
"""{`Form.geom`: what builds it}."""
