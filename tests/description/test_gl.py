"""Headless rendering: a backend is chosen when nobody chose one, and its absence names the package to install."""

import os
import threading

import pytest

from palmar.description.gl import import_mujoco, no_gl
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
        "Next: apt-get install -y libegl1 libegl-mesa0 libgl1-mesa-dri (or: make setup)"
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
