"""Distances between the shapes of a robot, and between them and what stands around it, along whole braking paths.

A pair's distance changes no faster than the joints between its shapes move its points (`_Pairs.reach`), so most pairs and most
ticks of a path need no distance: from one that was computed it is known how far the joints may move before another is needed.
MuJoCo computes the rest (`mj_geomDistance`) on a model of the shapes alone; it is imported when the first robot with shapes is.
"""

from __future__ import annotations

import numpy as np

from palmar.description.distances import shape_model
from palmar.description.gl import import_mujoco
from palmar.embodiments import Embodiment
from palmar.errors import MissingPackage
from palmar.runtime.safety.limits import Limits
from palmar.types import Array, Reason

SLACK = 1e-5
"""Beyond the margin [m]: ten times what a computed distance may be wrong by."""

FARTHEST = 1.0
"""Distances are computed up to here [m]."""

BESIDE = 2e-3
"""Pairs within this of their bound are slid along together with those that are crossed [m]."""


def clearance(robot: Embodiment, limits: Limits) -> tuple[Clearance | None, str]:
    """What keeps the robot's shapes apart, None where nothing can, and why not: "" where the robot states no shapes at all."""
    if not robot.collision.shapes:
        return None, "no collision shapes are given"
    pairs = robot.collision.pairs({name: place.before for name, place in robot.joint_places.items()})
    if not pairs:
        return None, "no two shapes move against each other that may not touch"
    try:
        return Clearance(robot, limits, pairs), ""
    except MissingPackage as error:
        return None, " ".join(str(error).split())


class Clearance:
    """How far the pairs of shapes are beyond the margin, and how far each may still be inside it.

    pairs: P pairs of names. channels: int[J], channels of a command that move shapes.
    """

    def __init__(self, robot: Embodiment, limits: Limits, pairs: list[tuple[int, int]]) -> None:
        self._mujoco = import_mujoco()
        self._limits, collision = limits, robot.collision
        self.pairs = [(collision.shapes[i].name, collision.shapes[j].name) for i, j in pairs]
        self._least = collision.margin + SLACK
        self._margin = collision.margin
        model = shape_model(robot)
        self._model, self._data = model, self._mujoco.MjData(model)
        self._geoms = [(model.geom(a).id, model.geom(b).id) for a, b in self.pairs]
        self._first, self._second = (np.array(ids, np.int64) for ids in zip(*self._geoms, strict=True))
        self._around = np.array([collision.shapes[i].radius + collision.shapes[j].radius for i, j in pairs])
        names = [model.joint(k).name for k in range(model.njnt)]
        self.channels = np.array([robot.index(n) for n in names], np.int64)
        scales = np.array([robot.channels[i].to_si for i in self.channels])
        self._scale, self._offset = scales[:, 0], scales[:, 1]
        self._reach, self._sign = _reaches(robot, pairs, names)
        self._reach = self._reach * np.abs(self._scale)  # [P, J] m a unit of the channel
        self._slides = np.array([robot.joint_places[n].slides for n in names], bool)
        self._points, self._nearest = np.zeros(6), FARTHEST
        self.reset(robot.home)

    def reset(self, command: Array) -> None:
        """The robot rests at this command. What is nearer than the margin there may stay so near, and no nearer."""
        at = command[self.channels]
        self._found = np.empty(len(self.pairs))
        self._marked = np.repeat(at[None], len(self.pairs), axis=0)
        self._bound = np.zeros(len(self.pairs))
        self._place(at)
        for p in range(len(self.pairs)):
            self._found[p] = self._distance(p)
        self._bound = np.minimum(self._found - self._least, 0.0)

    @property
    def state(self) -> tuple[list[Array], Array, float]:
        """As one of `filter.State.bounds`: [bounds [P], distances [P]], where these were computed [P·J], 0."""
        return [self._bound, self._found.copy()], self._marked.ravel().copy(), 0.0

    @state.setter
    def state(self, state: tuple[list[Array], Array, float]) -> None:
        (bound, found), marked, _ = state
        if bound.shape == self._bound.shape and marked.size == self._marked.size:
            self._bound, self._found = bound.copy(), found.copy()
            self._marked = marked.reshape(self._marked.shape).copy()

    def far(self, ahead: Array, v: Array, a: Array) -> bool:
        """Whether no pair can get to its bound before the robot rests, from distances at the command `ahead` or before it."""
        at, further = ahead[self.channels], self._limits.farthest(v, a)[self.channels]
        near = np.flatnonzero(self._low(at, further) < self._bound)
        if not len(near):
            return True
        self._place(at)
        centres = self._data.geom_xpos
        way = centres[self._first[near]] - centres[self._second[near]]
        # spheres around the shapes: the shapes themselves are no nearer
        self._found[near], self._marked[near] = np.sqrt((way * way).sum(axis=1)) - self._around[near], at
        near = near[self._found[near] - self._least - self._reach[near] @ further < self._bound[near]]
        if not len(near):
            return True
        self._found[near] = self._away(near)
        return bool((self._found[near] - self._least - self._reach[near] @ further >= self._bound[near]).all())

    def keeps(self, path: Array, first: int = -1) -> tuple[bool, int, Array]:
        """Whether no pair crosses its bound on a path of commands [n, N], a pair that does (-1: none), and of pairs that rested
        inside the margin the least depth on it (float[P], infinite for others). first: pair to look at before the others."""
        path = path[:, self.channels]
        least, watched = (
            np.full(len(self.pairs), np.inf),
            self._bound < 0,
        )  # these may come out, so every tick says how far
        near = np.flatnonzero(self._low(path[0], np.abs(path - path[0]).max(axis=0)) < self._bound)
        if first >= 0 and first in near:
            near = near[np.argsort(near != first, kind="stable")]
        ways = (np.abs(path[:, None] - self._marked[near]) * self._reach[near]).sum(axis=2)
        # [n, K] ticks at which a pair is known to be beyond its bound
        covered = (ways <= self._found[near] - self._least - self._bound[near]) & ~watched[near]
        left = ~covered.all(axis=0)
        near, covered = near[left], covered[:, left]
        while len(near):
            gaps = np.flatnonzero(~covered[:, 0])
            k = int(gaps[0] if gaps[0] == 0 else gaps[-1] if gaps[-1] == len(path) - 1 else gaps[len(gaps) // 2])
            self._place(path[k])
            away = self._away(near)
            if k == 0:
                self._found[near], self._marked[near] = away, path[0]
            depth = away - self._least
            room = depth - self._bound[near]
            if (room < 0).any():
                i = int((room < 0).argmax())
                self._nearest = float(away[i])
                return False, int(near[i]), least
            least[near] = np.minimum(least[near], depth)
            covered |= (np.abs(path - path[k]) @ self._reach[near].T <= room) & ~watched[near]
            covered[k] = True
            left = ~covered.all(axis=0)
            near, covered = near[left], covered[:, left]
        return True, -1, np.where(watched, least, np.inf)

    def came(self, least: Array) -> None:
        """A path with these least depths (of `keeps`) was begun: what was inside the margin may not go back in."""
        if np.isfinite(least).any():
            self._bound = np.maximum(self._bound, np.where(np.isfinite(least), np.minimum(least, 0.0), self._bound))

    def reason(self, pair: int) -> Reason:
        """Of the pair that `keeps` has just found."""
        a, b = self.pairs[pair]
        bound = self._margin + float(self._bound[pair])
        return Reason("collision", f"{a} to {b}", self._nearest, bound, "m", False)

    def slopes(self, command: Array, pair: int) -> tuple[Array, Array, Array]:
        """Of the pair and of all within 2 mm of their bounds: depth [M] beyond the bound at a command, its slope [M, J] along
        the channels [m a unit], and bool[M], which is the pair."""
        at = command[self.channels]
        near = np.flatnonzero(self._low(at, np.zeros(len(at))) - self._bound < BESIDE)
        which = [pair, *(int(p) for p in near if p != pair)]
        self._place(at)
        anchors, axes = self._data.xanchor, self._data.xaxis
        depths, slopes = np.empty(len(which)), np.zeros((len(which), len(self.channels)))
        for i, p in enumerate(which):
            distance = self._distance(p)
            depths[i] = distance - self._least - self._bound[p]
            a, b = self._points[:3], self._points[3:]
            apart = a - b
            length = float(np.linalg.norm(apart))
            if length < 1e-9 or distance >= FARTHEST:
                continue
            normal = apart / length * (1.0 if distance > 0 else -1.0)
            arms = np.where(self._sign[p][:, None] > 0, a, b) - anchors
            # normal · (axis × arm) = axis · (arm × normal)
            x, y, z = normal
            across = np.stack(
                [arms[:, 1] * z - arms[:, 2] * y, arms[:, 2] * x - arms[:, 0] * z, arms[:, 0] * y - arms[:, 1] * x], 1
            )
            turns = (axes * across).sum(axis=1)
            slopes[i] = self._sign[p] * np.where(self._slides, axes @ normal, turns) * self._scale
        keep = np.array([i == 0 or depths[i] < BESIDE for i in range(len(which))])
        return depths[keep], slopes[keep], np.arange(int(keep.sum())) == 0

    def distances(self, command: Array) -> Array:
        """float[P]: distances of all pairs at a command [m], up to `FARTHEST`; below 0 where they overlap."""
        self._place(np.asarray(command, float)[self.channels])
        return np.array([self._distance(p) for p in range(len(self.pairs))])

    def _low(self, at: Array, further: Array) -> Array:
        """float[P] below which no depth can be within `further` [J] of `at` [J]."""
        return self._found - self._least - (self._reach * (np.abs(at - self._marked) + further)).sum(axis=1)

    def _place(self, at: Array) -> None:
        self._data.qpos[:] = at * self._scale + self._offset
        self._mujoco.mj_kinematics(self._model, self._data)

    def _away(self, which: Array) -> Array:
        """float[K]: distances of these pairs."""
        distance, model, data, geoms = self._mujoco.mj_geomDistance, self._model, self._data, self._geoms
        return np.array([distance(model, data, *geoms[p], FARTHEST, None) for p in which.tolist()])

    def _distance(self, pair: int) -> float:
        """Of one pair; `_points` then has its two nearest points."""
        a, b = self._geoms[pair]
        return float(self._mujoco.mj_geomDistance(self._model, self._data, a, b, FARTHEST, self._points))


def _reaches(robot: Embodiment, pairs: list[tuple[int, int]], names: list[str]) -> tuple[Array, Array]:
    """float[P, J]: how far a joint moves any point of one shape of a pair against the other [m/rad, m/m]; and its sign: 1 where
    it moves the first shape, -1 the second, 0 neither or both."""
    places, shapes = robot.joint_places, robot.collision.shapes
    slid = {n: float(max(np.abs(_ends(robot, n)))) if places[n].slides else 0.0 for n in names}
    levers: list[dict[str, float]] = []
    for s in shapes:
        lever: dict[str, float] = {}
        joint, length, across = s.channel, float(np.linalg.norm(s.pos)), float(np.hypot(s.pos[0], s.pos[1]))
        beyond = (
            s.radius
        )  # from the joint's origin: the shape's centre is `length` away, `across` of it beside the axis
        while joint:
            place = places[joint]
            lever[joint] = 1.0 if place.slides else across + beyond
            beyond += length + slid[joint]
            length, across = float(np.linalg.norm(place.offset)), float(np.hypot(place.offset[0], place.offset[1]))
            joint = place.before
        levers.append(lever)
    reach, sign = np.zeros((len(pairs), len(names))), np.zeros((len(pairs), len(names)))
    for k, (i, j) in enumerate(pairs):
        for c, n in enumerate(names):
            if (n in levers[i]) != (n in levers[j]):
                sign[k, c] = 1.0 if n in levers[i] else -1.0
                reach[k, c] = levers[i].get(n, 0.0) + levers[j].get(n, 0.0)
    return reach, sign


def _ends(robot: Embodiment, channel: str) -> Array:
    """Joint positions at both ends of a channel, an eighth of its range further out on each side."""
    c = robot.channels[robot.index(channel)]
    scale, offset = c.to_si
    room = 0.125 * (c.upper - c.lower)
    return np.array([c.lower - room, c.upper + room]) * scale + offset
