"""Where the things of a scene are, as `sim.truth` names it: positions, pixels in each camera, boxes in its picture, turns."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np

from palmar.robot_parts import Camera
from palmar.sim import camera as cameras
from palmar.sim import tasks
from palmar.sim.derived import item_scale
from palmar.sim.scenes import mujoco
from palmar.sim.things import half_extent
from palmar.types import Array

if TYPE_CHECKING:
    from palmar.sim.world import World

CORNERS = np.array(list(itertools.product((-1.0, 1.0), repeat=3)))  # of a cuboid of half sides 1
AT_LENS = 0.01  # nearer to the camera than this a thing has no box [m]


def values(w: World) -> dict[str, float]:
    """By the names of `truth.names`, without physics; boxes and turns where the world tells its extents."""
    s = w.scenario
    things = {"target": s.target, "goal": s.goal}
    points = {"target": w.item(s.target), "goal": tasks.task(s.task).goal(w)}
    if w.embodiment.frames:
        points["tool"] = w.tcp
    out = {f"{t}.{axis}": float(x) for t, p in points.items() for axis, x in zip("xyz", _from_base(w, p), strict=True)}
    for c in w.embodiment.cameras:
        for t, i in things.items():
            at = [0.5, 0.5, 0.0] if i is None else pixel(w, c, i)
            out |= {f"{c.name}.{t}.{n}": x for n, x in zip(("u", "v", "visible"), at, strict=True)}
    if w.extents:
        for t, i in things.items():
            out |= {f"{t}.turn.{n}": x for n, x in zip(("cos", "sin"), turn(w, i), strict=True)}
            for c in w.embodiment.cameras:
                out |= {f"{c.name}.{t}.box.{n}": x for n, x in zip("uvwh", seen(w, c, i), strict=True)}
    return out


def pixel(w: World, c: Camera, i: int) -> list[float]:
    """u, v, visible of a thing: inside the picture and the first on the line of sight."""
    body = w.body_of(i)
    point = w.data.xpos[body]
    u, v, depth = cameras.project(w.data, w.model, c, point, _bend(w))
    inside = depth > 0 and 0 <= u <= 1 and 0 <= v <= 1
    if inside:
        eye = w.data.cam_xpos[w.model.camera(c.name).id]
        hit = np.zeros(1, np.int32)
        mujoco.mj_ray(w.model, w.data, eye, point - eye, None, 1, -1, hit)
        inside = hit[0] >= 0 and w.model.geom_bodyid[hit[0]] == body
    return [float(np.clip(u, 0, 1)), float(np.clip(v, 0, 1)), float(inside)]


def around(w: World, camera: Camera, i: int) -> tuple[tuple[float, float, float, float], float]:
    """(left, top, right, bottom) of the box around a thing, in 0 … 1 of the picture and beyond it, and how far before the lens its
    nearest corner is [m]."""
    u, v, depth = cameras.project(w.data, w.model, camera, _corners(w, i), _bend(w))
    return (float(u.min()), float(v.min()), float(u.max()), float(v.max())), float(depth.min())


def seen(w: World, camera: Camera, i: int | None) -> list[float]:
    """u, v, w, h of the part of the box that lies in the picture; zeros when there is none, or the thing is at the lens."""
    if i is None:
        return [0.0] * 4
    box, depth = around(w, camera, i)
    left, top, right, bottom = (min(max(x, 0.0), 1.0) for x in box)
    if depth < AT_LENS or right <= left or bottom <= top:
        return [0.0] * 4
    return [(left + right) / 2, (top + bottom) / 2, right - left, bottom - top]


def turn(w: World, i: int | None) -> list[float]:
    """cos 4ψ, sin 4ψ of the yaw ψ of whichever axis of the thing lies flattest; zeros for nothing and for round things."""
    if i is None or not w.scenario.items[i].kind.square:
        return [0.0, 0.0]
    axes = w.rotation(i)
    x, y = axes[:2, np.abs(axes[2]).argmin()]
    yaw = np.arctan2(y, x)
    return [np.cos(4 * yaw), np.sin(4 * yaw)]


def _bend(w: World) -> tuple[float, float]:
    return w.params["lens_k1"], w.params["lens_k2"]


def _corners(w: World, i: int) -> Array:
    """float64[8, 3] of the cuboid around a thing, base frame [m]. A destination's origin is its foot."""
    item = w.scenario.items[i]
    foot = item.kind.foot
    half = half_extent(item) * (1.0 if foot else item_scale(i, w.params))
    lift = np.array([0, 0, half[2]]) if foot else np.zeros(3)
    return w.item(i) + (CORNERS * half + lift) @ w.rotation(i).T


def _from_base(w: World, p: Array) -> Array:
    """A point [m] in the frame of the base where that is now: of a robot that drives about."""
    if not w.mechanics.moving:
        return p
    i = w.model.body(w.mechanics.moving).id
    return (p - np.array(w.data.xpos[i])) @ np.array(w.data.xmat[i]).reshape(3, 3)
