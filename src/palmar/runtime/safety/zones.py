"""Where points of a robot may be: boxes, floors and columns of its frames, checked along whole braking paths."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from palmar.embodiments import Embodiment
from palmar.kinematics import Chain
from palmar.robot_parts import Column, Floor, Frame
from palmar.types import Array, Reason


class Skeleton:
    """Joint origins and the TCP of a serial chain, for a whole braking path in one go."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        lengths = np.linalg.norm(np.vstack([chain.offsets[1:], chain.tool_offset]), axis=1)
        reach = np.cumsum(lengths[::-1])[::-1]
        self.slides = np.array(chain.slides, bool)
        # [J] how far a point can move for a step of joint i: the distance from its axis [m/rad], or 1 where it slides
        self.reach = np.where(self.slides, 1.0, reach)

    def points(self, q: Array) -> Array:
        """Points [N, J+1, 3] [m] in the base frame for joint positions q [N, J]: the joint origins, then the TCP."""
        frames = self._chain.frames(q)
        return np.concatenate([frames[..., :3, 3], self._chain.tcp(frames)[..., None, :]], axis=-2)


@dataclass(frozen=True, slots=True)
class Zone:
    """Where some points of a frame's path must be.

    inside: points [N, J+1, 3] → float[N, M], how far inside each of M bounds [m]; negative is outside. It must not
    change faster than the points move (a distance never does). words: the M quantities; bounds: their values [m];
    over: True where larger is outside. moves: the zone itself changes with time, so `inside` is asked at every command, and
    waiting may help.
    """

    name: str
    inside: Callable[[Array], Array]
    words: tuple[str, ...]
    bounds: Array
    over: tuple[bool, ...]
    moves: bool = False

    def reason(self, inside: Array) -> Reason:
        """The worst of inside [N, M]."""
        depth = inside.min(axis=0)
        i = int(depth.argmin())
        value = self.bounds[i] + (-depth[i] if self.over[i] else depth[i])
        return Reason(self.name, self.words[i], float(value), float(self.bounds[i]), "m", self.over[i])


def zones_of(robot: Embodiment, frame: Frame) -> tuple[Zone, ...]:
    """The frame's workspace and the zones of its robot's description."""
    found = [] if frame.workspace is None else [workspace(frame)]
    for zone in frame.zones:
        found.append(floor(frame, zone) if isinstance(zone, Floor) else column(frame, zone))
    return tuple(found)


def workspace(frame: Frame) -> Zone:
    """The frame's point stays in its workspace box."""
    assert frame.workspace is not None
    lower, upper = frame.workspace
    words = tuple(f"{frame.name}.{axis}" for axis in "xyz")

    def inside(points: Array) -> Array:
        tcp = points[:, -1]
        return np.concatenate([tcp - lower, upper - tcp], axis=1)

    return Zone("workspace", inside, words * 2, np.ravel(frame.workspace), (False,) * 3 + (True,) * 3)


def floor(frame: Frame, zone: Floor) -> Zone:
    """Some joint origins stay above a height of the base frame (a link's radius above the table)."""
    which = _points(frame, zone.points)
    return Zone(
        "floor", lambda p: p[:, which, 2] - zone.height, tuple(f"{j}.z" for j in zone.points),
        np.full(len(which), zone.height), (False,) * len(which),
    )  # fmt: skip


def column(frame: Frame, zone: Column) -> Zone:
    """Self-collision: some joint origins stay out of the column the arm stands on, or above it (link radii included)."""
    which = _points(frame, zone.points)

    def inside(points: Array) -> Array:
        p = points[:, which]
        return np.maximum(np.hypot(p[..., 0], p[..., 1]) - zone.radius, p[..., 2] - zone.height)

    words = tuple(f"{j}.radius" for j in zone.points)
    return Zone("column", inside, words, np.full(len(which), zone.radius), (False,) * len(which))


def keep_out(
    frame: Frame, box: Callable[[], Array], points: tuple[str, ...] = ("tcp",), margin: float = 0.0, moves: bool = True
) -> Zone:
    """Some joint origins, or the tcp, stay out of a box that may move.

    box: answers its lowest and highest corner where it is now, float64[2, 3] [m] in the base frame. margin: distance to keep [m];
    of a box that moves at u m/s at least u times the time the robot takes to brake. moves: False for one that stands still.
    """
    which = _points(frame, points)

    def inside(p: Array) -> Array:
        low, high = box()
        off = np.maximum(low - p[:, which], p[:, which] - high)
        return np.linalg.norm(np.maximum(off, 0.0), axis=-1) + np.minimum(off.max(axis=-1), 0.0) - margin

    words = tuple(f"{j}.obstacle" for j in points)
    return Zone("obstacle", inside, words, np.full(len(which), margin), (False,) * len(which), moves)


def _points(frame: Frame, names: tuple[str, ...]) -> Array:
    order = (*frame.joints, "tcp")
    return np.array([order.index(n) for n in names], np.int64)
