"""What a robot can collide with, as a value: simple shapes on its links and around its base, and the pairs that may touch.

A shape moves with the joint frame of a channel as the chains of the robot's frames have it (z along the joint's axis), or
stands in the base frame. Lengths in m, quaternions wxyz.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from palmar.errors import BadValue, UnknownName
from palmar.kinematics import Chain, matrix_to_quat, quat_to_matrix
from palmar.magnitudes import check_lengths
from palmar.types import Array

ShapeKind = Literal["sphere", "capsule", "cylinder", "box"]
SHAPE_KINDS: tuple[ShapeKind, ...] = get_args(ShapeKind)
SIZES = {
    "sphere": ("radius",),
    "capsule": ("radius", "half length"),
    "cylinder": ("radius", "half length"),
    "box": ("half x", "half y", "half z"),
}
MOST_SHAPES = 300
WIDEST_MARGIN = 0.5  # [m]


@dataclass(frozen=True)
class CollisionShape:
    """A simple body for distances.

    kind and size [m]: sphere (radius), capsule and cylinder (radius, half length along z; a capsule's without its caps), box
    (half sides). channel: whose joint frame it moves with, "" for the base frame (the base itself, a table). pos, quat: its
    centre and orientation in that frame.
    """

    name: str
    kind: ShapeKind
    size: tuple[float, ...]
    channel: str = ""
    pos: tuple[float, float, float] = (0.0, 0.0, 0.0)
    quat: tuple[float, float, float, float] = (1.0, 0.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        if not self.name or not isinstance(self.name, str):
            raise BadValue(f"a collision shape is called {self.name!r}; expected a name. Next: give it one")
        if self.kind not in SHAPE_KINDS:
            raise UnknownName(f"kind of collision shape '{self.name}'", str(self.kind), SHAPE_KINDS)
        names = SIZES[self.kind]
        if len(self.size) != len(names) or not all(np.isfinite(x) and x > 0 for x in self.size):
            raise BadValue(
                f"collision shape '{self.name}' ({self.kind}) has size {list(self.size)}; expected {len(names)} numbers > 0: "
                f"{', '.join(names)} [m]. Next: mend its size"
            )
        norm = float(np.linalg.norm(self.quat))
        if len(self.pos) != 3 or len(self.quat) != 4 or not 1e-3 < norm < 1e3:
            raise BadValue(
                f"collision shape '{self.name}' is at {list(self.pos)}, turned by {list(self.quat)}; expected x, y, z [m] and a "
                "quaternion w, x, y, z. Next: mend its pose"
            )
        check_lengths(f"collision shape '{self.name}'", np.array([*self.size, *self.pos]))

    @property
    def radius(self) -> float:
        """Of a sphere around its centre that it lies in [m]."""
        if self.kind == "capsule":
            return self.size[0] + self.size[1]
        return float(np.linalg.norm(self.size))


@dataclass(frozen=True)
class Collision:
    """shapes: of the robot and what stands around its base. allowed: pairs of shapes that may touch; those of one link and of
    two links that a joint connects always may. margin: smallest distance of all other pairs [m]."""

    shapes: tuple[CollisionShape, ...] = ()
    allowed: tuple[tuple[str, str], ...] = ()
    margin: float = 0.005

    def __post_init__(self) -> None:
        names = [s.name for s in self.shapes]
        if len(names) > MOST_SHAPES:
            raise BadValue(
                f"{len(names)} collision shapes; expected at most {MOST_SHAPES}. Next: fewer, simpler shapes"
            )
        if len(set(names)) != len(names):
            twice = sorted({n for n in names if names.count(n) > 1})[0]
            raise BadValue(f"two collision shapes are called '{twice}'; expected different names. Next: rename one")
        for pair in self.allowed:
            if len(pair) != 2:
                raise BadValue(f"an allowed pair is {list(pair)}; expected two names of shapes. Next: two names each")
            for name in pair:
                if name not in names:
                    raise UnknownName("collision shape of an allowed pair", name, names)
        if not 0 <= self.margin <= WIDEST_MARGIN:
            raise BadValue(
                f"the collision margin is {self.margin:g} m; expected 0 … {WIDEST_MARGIN:g}. Next: such as 0.005"
            )

    def pairs(self, parents: Mapping[str, str]) -> list[tuple[int, int]]:
        """Indices of the pairs of shapes that are kept apart. parents: {channel: the channel before it on its path, "" the
        base}."""
        allowed = {frozenset(p) for p in self.allowed}
        found = []
        for i, a in enumerate(self.shapes):
            for j, b in enumerate(self.shapes[:i]):
                if a.channel == b.channel or frozenset((a.name, b.name)) in allowed:
                    continue
                if parents.get(a.channel) == b.channel or parents.get(b.channel) == a.channel:
                    continue
                found.append((j, i))
        return found


@dataclass(frozen=True)
class JointPlace:
    """Where a joint frame lies in that of the channel before it ("": the base): offset [3] [m], quat [4]; whether it slides."""

    before: str
    offset: Array
    quat: Array
    slides: bool


def joint_places(paths: Iterable[tuple[Sequence[str], Chain]]) -> dict[str, JointPlace]:
    """Of every channel on these paths (joints and chain of frames), each after the one before it."""
    found: dict[str, JointPlace] = {}
    for joints, chain in paths:
        before = ""
        for name, offset, quat, slides in zip(joints, chain.offsets, chain.quats, chain.slides, strict=True):
            found.setdefault(name, JointPlace(before, offset, quat, slides))
            before = name
    return found


def poses_of(places: Mapping[str, JointPlace], positions: Mapping[str, float]) -> dict[str, tuple[Array, Array]]:
    """{channel: rotation [3, 3] and position [3] of its joint frame in the base frame} at joint positions [rad], [m], 0 where not
    given; "" is the base."""
    out = {"": (np.eye(3), np.zeros(3))}
    for name, place in places.items():
        R, p = out[place.before]
        p, R = p + R @ place.offset, R @ quat_to_matrix(np.asarray(place.quat, float))
        q = positions.get(name, 0.0)
        if place.slides:
            p = p + R[:, 2] * q
        else:
            c, s = np.cos(q), np.sin(q)
            R = R @ np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]])
        out[name] = R, p
    return out


def placed(
    name: str, kind: ShapeKind, size: Sequence[float], channel: str, link: tuple[Array, Array], at: tuple[Array, Array]
) -> CollisionShape:
    """A shape that the base frame sees at `at` (rotation [3, 3], position [3]), on the joint frame that is at `link` then."""
    R, p = link
    turned, where = R.T @ at[0], R.T @ (at[1] - p)
    pos, quat = np.round(where, 9) + 0.0, np.round(matrix_to_quat(turned), 9) + 0.0
    return CollisionShape(
        name, kind, tuple(float(x) for x in size), channel,
        (float(pos[0]), float(pos[1]), float(pos[2])), tuple(float(x) for x in quat),  # type: ignore[arg-type]
    )  # fmt: skip
