"""Headless OpenGL for MuJoCo: choose a backend before `import mujoco`, and say what to install when there is none."""

from __future__ import annotations

import ctypes
import os
from types import ModuleType

from palmar.errors import MissingPackage, need

LIBRARIES = "libegl1 libegl-mesa0 libgl1-mesa-dri libopengl0"
"""The Debian packages of Mesa that drawing without a display needs."""


def import_mujoco() -> ModuleType:
    """MuJoCo, with `MUJOCO_GL=egl` chosen when no display is there and nobody chose otherwise.

    Raises `MissingPackage` with the install command when MuJoCo or the GL library is not installed.
    """
    need("mujoco", "sim")
    if "MUJOCO_GL" not in os.environ and not os.environ.get("DISPLAY"):
        os.environ["MUJOCO_GL"] = "egl"
    os.environ.setdefault("LP_NUM_THREADS", "1")  # Mesa: one thread a process; palmar runs one process a core
    try:
        import mujoco
    except (ImportError, OSError, AttributeError, ctypes.ArgumentError) as error:  # the last: libEGL without libOpenGL
        raise no_gl(error) from error
    return mujoco


def no_gl(error: Exception) -> MissingPackage:
    backend = os.environ.get("MUJOCO_GL", "default")
    return MissingPackage(
        f"no OpenGL for headless rendering (MUJOCO_GL={backend}: {error}). "
        f"Next: apt-get install -y {LIBRARIES} (or: make setup)"
    )
