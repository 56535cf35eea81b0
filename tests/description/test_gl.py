"""Headless rendering: a backend is chosen when nobody chose one, and its absence names the package to install."""

import builtins
import ctypes
import os
import threading
from pathlib import Path

import pytest

from palmar.description.gl import LIBRARIES, import_mujoco, no_gl
from palmar.errors import MissingPackage
from palmar.sim import camera


def test_egl_without_a_display_unless_somebody_chose(monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    import_mujoco()
    assert os.environ["MUJOCO_GL"] == "egl"
    monkeypatch.setenv("MUJOCO_GL", "osmesa")
    import_mujoco()
    assert os.environ["MUJOCO_GL"] == "osmesa"


def test_no_opengl_says_what_to_install(monkeypatch):
    monkeypatch.setenv("MUJOCO_GL", "egl")
    said = (
        "no OpenGL for headless rendering (MUJOCO_GL=egl: libEGL.so.1 not found). "
        "Next: apt-get install -y libegl1 libegl-mesa0 libgl1-mesa-dri libopengl0 (or: make setup)"
    )
    assert str(no_gl(OSError("libEGL.so.1 not found"))) == said

    def broken(*_: object):
        raise OSError("libEGL.so.1 not found")

    monkeypatch.setattr(camera.GL, "_own", threading.local())  # otherwise the context that earlier tests drew with
    monkeypatch.setattr(camera.mujoco, "GLContext", broken)
    with pytest.raises(MissingPackage) as error:
        camera.check()
    assert str(error.value) == said
    assert error.value.exit_code == 2


def test_check_renders():
    camera.check()


def test_egl_without_opengl_says_what_to_install(monkeypatch):
    """What PyOpenGL raises on a Debian with libegl1 and without libopengl0."""
    usual = builtins.__import__

    def broken(name: str, *rest: object):
        if name == "mujoco":
            raise ctypes.ArgumentError("argument 1: AttributeError: 'NoneType' object has no attribute 'glGetError'")
        return usual(name, *rest)

    monkeypatch.setattr(builtins, "__import__", broken)
    with pytest.raises(MissingPackage, match=f"glGetError.*Next: apt-get install -y {LIBRARIES}"):
        import_mujoco()


@pytest.mark.parametrize("name", ["Makefile", "deploy/Containerfile"])
def test_setup_and_container_install_the_same_libraries(name):
    assert LIBRARIES in (Path(__file__).parents[2] / name).read_text()
