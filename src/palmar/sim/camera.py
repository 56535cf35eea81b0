"""Pictures of a world: fast rendering, and what a real camera adds to them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from palmar.description.gl import import_mujoco, no_gl
from palmar.errors import BadValue
from palmar.robot_parts import Camera
from palmar.sim.params import WorldParams
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

    def __call__(self, data: Any, camera: str | Any) -> Array:
        """uint8[H, W, 3] RGB. camera: a name, or an `MjvCamera`."""
        view = camera
        if isinstance(camera, str):
            view = mujoco.MjvCamera()
            view.type, view.fixedcamid = mujoco.mjtCamera.mjCAMERA_FIXED, self._model.camera(camera).id
        everything = mujoco.mjtCatBit.mjCAT_ALL
        mujoco.mjv_updateScene(self._model, data, self._option, None, view, everything, self._scene)
        seen = np.empty((self._picture.height, self._picture.width, 3), np.uint8)
        with self._gl.current():
            mujoco.mjr_restoreBuffer(self._context)  # another renderer may have drawn last
            mujoco.mjr_render(self._picture, self._scene, self._context)
            mujoco.mjr_readPixels(seen, None, self._picture, self._context)
        return np.ascontiguousarray(seen[::-1])  # OpenGL's rows go up

    def close(self) -> None:
        """Free what it holds on the graphics side. It draws nothing after that."""
        if self._context is not None:
            with self._gl.current():
                self._context.free()
            self._context = None

    def __del__(self) -> None:
        self.close()


def develop(image: Array, params: WorldParams, rng: np.random.Generator) -> Array:
    """What the camera makes of the light: contrast, brightness, hue and noise. uint8[H, W, 3] in and out."""
    brightness, contrast, hue, noise = (params[n] for n in ("brightness", "contrast", "hue", "image_noise"))
    if brightness == 1.0 and contrast == 1.0 and hue == 0.0 and noise == 0.0:
        return image
    x = image.astype(np.float32) / 255.0
    if hue:
        x = x @ _hue_matrix(hue).T
    x = (x - 0.5) * contrast + 0.5
    x *= brightness
    if noise:
        x += rng.standard_normal(x.shape, dtype=np.float32) * noise
    return (np.clip(x, 0, 1) * 255 + 0.5).astype(np.uint8)


def project(data: Any, model: Any, camera: Camera, point: Array) -> tuple[Array, Array, Array]:
    """Image coordinates u (right), v (down) in 0 … 1 and depth [m] of world points [..., 3] [m] (pinhole, vertical field of
    view); each has the shape [...]."""
    i = model.camera(camera.name).id
    R = data.cam_xmat[i].reshape(3, 3)
    x, y, z = np.moveaxis((point - data.cam_xpos[i]) @ R, -1, 0)
    f = 0.5 / np.tan(np.deg2rad(model.cam_fovy[i]) / 2)
    scale = f / np.maximum(-z, 1e-6)
    return 0.5 + x * scale * camera.height / camera.width, 0.5 - y * scale, -z


def _hue_matrix(turn: float) -> Array:
    """Rotation [3, 3] of RGB about the grey axis by `turn` of a full turn: a hue shift that keeps the mean of R, G, B."""
    c, s = np.cos(2 * np.pi * turn), np.sin(2 * np.pi * turn)
    k = 1 / 3
    K = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) * np.sqrt(k)
    return (c * np.eye(3) + (1 - c) * k * np.ones((3, 3)) + s * K).astype(np.float32)


def check() -> None:
    """Render one picture of an empty world. Raises `MissingPackage` with the install command when there is no OpenGL."""
    model = mujoco.MjModel.from_xml_string("<mujoco><worldbody><geom size='1'/></worldbody></mujoco>")
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    renderer = Renderer(model, 16, 16)
    renderer(data, mujoco.MjvCamera())
    renderer.close()
