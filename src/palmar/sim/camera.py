"""Pictures of a world: fast rendering, and where in them a point is seen."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from palmar.description.gl import import_mujoco, no_gl
from palmar.errors import BadValue
from palmar.robot_parts import Camera
from palmar.sim.decor import Drawn, draw
from palmar.sim.lens import distort
from palmar.types import Array

mujoco = import_mujoco()

SPARE = 100
"""Shapes that a picture may show beside those of the model (lights, decorations)."""


class GL:
    """An OpenGL context that all renderers made on one thread share: a new one costs Mesa a tenth of a second at its first picture.
    It is current only while something is drawn, so that renderers may be used, and freed, on another thread."""

    _own = threading.local()

    def __init__(self) -> None:
        # re-entrant: the garbage collector may free a renderer while another one draws
        self._context, self._lock = mujoco.GLContext(16, 16), threading.RLock()

    @classmethod
    def here(cls) -> GL:
        """The one of this thread."""
        if not hasattr(cls._own, "gl"):
            cls._own.gl = cls()
        found: GL = cls._own.gl
        return found

    @contextmanager
    def current(self) -> Iterator[None]:
        with self._lock, self._context.as_current():
            yield


class Renderer:
    """One camera size of one model, with shadows and reflections off (about ten times faster on Mesa).

    Raises `BadValue` for a picture larger than the model's offscreen buffer, `MissingPackage` where there is no OpenGL.
    """

    def __init__(self, model: Any, height: int, width: int, quality: bool = False) -> None:
        self._context: Any = None  # first, for `close`
        most = model.vis.global_.offheight, model.vis.global_.offwidth
        if height > most[0] or width > most[1]:
            raise BadValue(
                f"a picture of {height}×{width} px; expected at most {most[0]}×{most[1]}, the model's offscreen buffer. "
                "Next: a smaller picture"
            )
        self._model, self._picture = model, mujoco.MjrRect(0, 0, width, height)
        self._scene, self._option = mujoco.MjvScene(model, model.ngeom + SPARE), mujoco.MjvOption()
        try:
            self._gl = GL.here()
            with self._gl.current():
                self._context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_50)
                mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._context)
        except (AttributeError, OSError, RuntimeError, mujoco.FatalError) as error:
            raise no_gl(error) from error
        if not quality:
            for flag in (mujoco.mjtRndFlag.mjRND_SHADOW, mujoco.mjtRndFlag.mjRND_REFLECTION):
                self._scene.flags[flag] = 0

    def __call__(self, data: Any, camera: str | Any, drawn: Sequence[Drawn] = ()) -> Array:
        """uint8[H, W, 3] RGB. camera: a name, or an `MjvCamera`. drawn: what is seen beside the model."""
        self._update(data, camera, drawn)
        seen = np.empty((self._picture.height, self._picture.width, 3), np.uint8)
        self._read(seen, None)
        return np.ascontiguousarray(seen[::-1])  # OpenGL's rows go up

    def depth(self, data: Any, camera: str | Any) -> Array:
        """float32[H, W]: distance from the camera's plane [m] of what each pixel shows."""
        self._update(data, camera, ())
        seen = np.empty((self._picture.height, self._picture.width), np.float32)
        self._read(None, seen)
        return self._metres(seen)

    def _metres(self, buffer: Array) -> Array:
        """float32[H, W], rows from the top: distance from the camera's plane [m] of a depth buffer as OpenGL has it."""
        extent, clip = self._model.stat.extent, self._model.vis.map
        near, far = clip.znear * extent, clip.zfar * extent
        return np.ascontiguousarray(near / (1 - buffer[::-1] * (1 - near / far)))

    def upload(self) -> None:
        """Give the graphics side the model's textures again, after they were changed."""
        with self._gl.current():
            for i in range(self._model.ntex):
                mujoco.mjr_uploadTexture(self._model, self._context, i)

    def _update(self, data: Any, camera: str | Any, drawn: Sequence[Drawn]) -> None:
        view = camera
        if isinstance(camera, str):
            view = mujoco.MjvCamera()
            view.type, view.fixedcamid = mujoco.mjtCamera.mjCAMERA_FIXED, self._model.camera(camera).id
        everything = mujoco.mjtCatBit.mjCAT_ALL
        mujoco.mjv_updateScene(self._model, data, self._option, None, view, everything, self._scene)
        draw(self._scene, drawn, mujoco)

    def _read(self, colours: Array | None, depth: Array | None) -> None:
        with self._gl.current():
            mujoco.mjr_restoreBuffer(self._context)  # another renderer may have drawn last
            mujoco.mjr_render(self._picture, self._scene, self._context)
            mujoco.mjr_readPixels(colours, depth, self._picture, self._context)

    def close(self) -> None:
        """Free what it holds on the graphics side. It draws nothing after that."""
        if self._context is not None:
            with self._gl.current():
                self._context.free()
            self._context = None

    def __del__(self) -> None:
        self.close()


def project(
    data: Any, model: Any, camera: Camera, point: Array, bend: tuple[float, float] = (0.0, 0.0)
) -> tuple[Array, Array, Array]:
    """Image coordinates u (right), v (down) in 0 … 1 and depth [m] of world points [..., 3] [m] (pinhole, vertical field of
    view; bend: k1, k2 of `lens.distort`); each has the shape [...]."""
    i = model.camera(camera.name).id
    R = data.cam_xmat[i].reshape(3, 3)
    x, y, z = np.moveaxis((point - data.cam_xpos[i]) @ R, -1, 0)
    f = 0.5 / np.tan(np.deg2rad(model.cam_fovy[i]) / 2)
    if any(bend):
        away = np.maximum(-z, 1e-6)
        x, y = distort(x / away, y / away, *bend)
        return 0.5 + x * f * camera.height / camera.width, 0.5 - y * f, -z
    scale = f / np.maximum(-z, 1e-6)
    return 0.5 + x * scale * camera.height / camera.width, 0.5 - y * scale, -z


def check() -> None:
    """Render one picture of an empty world. Raises `MissingPackage` with the install command when there is no OpenGL."""
    model = mujoco.MjModel.from_xml_string("<mujoco><worldbody><geom size='1'/></worldbody></mujoco>")
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    renderer = Renderer(model, 16, 16)
    renderer(data, mujoco.MjvCamera())
    renderer.close()
