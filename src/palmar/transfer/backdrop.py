"""A scanned scene behind MuJoCo's robot and things: which pixels are the simulator's, and splats in all others.

world = World()
world.backdrop = Backdrop(read_splats("room.ply").moved(*aligned(scan_corners, table_corners)))
"""

from __future__ import annotations

from typing import Any

import numpy as np

from palmar.errors import BadValue
from palmar.robot_parts import Camera
from palmar.sim.camera import Renderer
from palmar.sim.scenes import mujoco
from palmar.transfer.pinhole import PinholeLens, camera_pose
from palmar.transfer.splat_render import SplatPicture, draw
from palmar.transfer.splats import Splats
from palmar.transfer.starts import posed
from palmar.types import Array

SCENERY = ("wall", "floor")
"""Geoms whose names begin so are only seen, and a scan takes their place."""


class Segments(Renderer):
    """Which geom each pixel shows, and how far away it is; no antialiasing, whatever the model has."""

    def __init__(self, model: Any, height: int, width: int) -> None:
        samples = model.vis.quality.offsamples
        model.vis.quality.offsamples = 0
        try:
            super().__init__(model, height, width)
        finally:
            model.vis.quality.offsamples = samples
        for flag in (mujoco.mjtRndFlag.mjRND_SEGMENT, mujoco.mjtRndFlag.mjRND_IDCOLOR):
            self._scene.flags[flag] = 1

    def look(self, data: Any, camera: str) -> tuple[Array, Array]:
        """(int64[H, W] id of the geom, −1 for none; float32[H, W] depth along the camera's axis [m])."""
        coded = self(data, camera).astype(np.int64)
        number = coded[..., 0] + (coded[..., 1] << 8) + (coded[..., 2] << 16)
        geoms = np.full(self._scene.ngeom + 1, -1)
        for i in range(self._scene.ngeom):
            g = self._scene.geoms[i]
            if g.objtype == mujoco.mjtObj.mjOBJ_GEOM and g.segid >= 0:
                geoms[g.segid + 1] = g.objid
        buffer = np.empty((self._picture.height, self._picture.width), np.float32)
        with self._gl.current():
            mujoco.mjr_readPixels(None, buffer, self._picture, self._context)
        return geoms[np.minimum(number, self._scene.ngeom)], self._metres(buffer)


class Backdrop:
    """Puts splats behind a world's pictures (`World.backdrop`).

    splats: in the base frame of the robot at the start [m]. scenery: beginnings of the names of geoms that the scan replaces,
    such as "wall"; add "table" for a scanned table. occludes: splats that are nearer than a thing of the simulator, by more than
    `margin` [m], cover it. A camera that stands still costs one drawing of the splats a scene.
    """

    def __init__(
        self, splats: Splats, scenery: tuple[str, ...] = SCENERY, occludes: bool = False, margin: float = 0.03
    ) -> None:
        if not len(splats):
            raise BadValue(
                "there are no splats. Next: a scan of the room, in metres and in the robot's base frame (`aligned`)"
            )
        self.splats, self.scenery, self.occludes, self.margin = splats, scenery, occludes, margin
        self._segments: dict[tuple[int, int], tuple[Any, Segments]] = {}
        self._drawn: dict[str, tuple[Array, SplatPicture]] = {}

    def __call__(self, model: Any, data: Any, camera: Camera, picture: Array) -> Array:
        """uint8[H, W, 3]: the picture of a camera of the robot, with the splats."""
        size = picture.shape[0], picture.shape[1]
        geom, depth = self._renderer(model, size).look(data, camera.name)
        keep = foreground(model, geom, self.scenery)
        i = model.camera(camera.name).id
        pose = posed(camera_pose(data.cam_xmat[i].reshape(3, 3)), data.cam_xpos[i])
        lens = PinholeLens.of(Camera(camera.name, *size, float(model.cam_fovy[i])))
        behind = self._behind(camera.name, pose, lens)
        out = composite(picture, keep, behind)
        if self.occludes:
            nearer = draw(self.splats, lens, pose, np.where(keep, depth - self.margin, 0.0))
            out = np.where(keep[..., None], nearer.over(out), out)
        return out

    def _behind(self, name: str, pose: Array, lens: PinholeLens) -> SplatPicture:
        key = np.concatenate([pose.ravel(), lens.numbers, [lens.height, lens.width]])
        if name not in self._drawn or not np.array_equal(self._drawn[name][0], key):
            self._drawn[name] = key, draw(self.splats, lens, pose)
        return self._drawn[name][1]

    def _renderer(self, model: Any, size: tuple[int, int]) -> Segments:
        kept = self._segments.get(size)
        if kept is None or kept[0] is not model:
            if kept is not None:
                kept[1].close()
            kept = self._segments[size] = model, Segments(model, *size)
        return kept[1]

    def close(self) -> None:
        for _, renderer in self._segments.values():
            renderer.close()
        self._segments = {}


def foreground(model: Any, geom: Array, scenery: tuple[str, ...]) -> Array:
    """bool[H, W]: pixels of geoms, int[H, W], that no scan replaces."""
    names = [model.geom(i).name for i in range(model.ngeom)]
    stays = np.array([*(not n.startswith(scenery) for n in names), False])  # the last is −1: nothing was hit
    return np.asarray(stays[geom])


def composite(picture: Array, keep: Array, behind: SplatPicture) -> Array:
    """uint8[H, W, 3]: the picture where `keep`, untouched; elsewhere the splats before the picture."""
    return np.where(keep[..., None], picture, behind.over(picture))
