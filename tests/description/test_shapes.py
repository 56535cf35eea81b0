"""Primitive collision shapes of description files: on the right joints, at the right places; what is no primitive is named."""

import numpy as np
import pytest

from palmar.description.distances import shape_model
from palmar.description.gl import import_mujoco
from palmar.embodiments import Embodiment

mujoco = import_mujoco()

URDF = """<robot name="r">
<link name="base"><collision><origin xyz="0 0 0.1"/><geometry><cylinder radius="0.05" length="0.2"/></geometry></collision></link>
<link name="a"><collision name="upper"><origin xyz="0.2 0 0" rpy="0 1.5707963 0"/><geometry><cylinder radius="0.04"
 length="0.3"/></geometry></collision><collision><geometry><mesh filename="a.stl"/></geometry></collision></link>
<link name="b"><collision><origin xyz="0.15 0 0"/><geometry><box size="0.3 0.06 0.04"/></geometry></collision></link>
<link name="c"><collision><geometry><sphere radius="0.05"/></geometry></collision></link>
<joint name="j1" type="revolute"><parent link="base"/><child link="a"/><origin xyz="0 0 0.25"/><axis xyz="0 0 1"/>
 <limit lower="-2" upper="2" velocity="1" effort="5"/></joint>
<joint name="j2" type="revolute"><parent link="a"/><child link="b"/><origin xyz="0.4 0 0" rpy="0 0 0.3"/><axis xyz="0 1 0"/>
 <limit lower="-2.5" upper="2.5" velocity="1" effort="5"/></joint>
<joint name="j3" type="revolute"><parent link="b"/><child link="c"/><origin xyz="0.35 0 0"/><axis xyz="0 1 0"/>
 <limit lower="-2" upper="2" velocity="1" effort="5"/></joint></robot>"""

MJCF = """<mujoco model="m"><compiler angle="radian"/><asset><mesh name="shell" file="shell.stl"/><material name="red"/></asset>
<default><default class="see"><geom contype="0" conaffinity="0" group="2" material="red"/></default>
<default class="touch"><geom type="capsule" size="0.03"/></default></default>
<worldbody><geom name="floor" type="plane" size="0 0 0.05"/>
<body name="a" pos="0 0 0.3"><joint name="j1" axis="0 0 1" range="-2 2"/><geom class="touch" name="upper" fromto="0 0 0 0.3 0 0"/>
<geom class="see" type="box" size="1 1 1"/><geom name="shell" type="mesh" mesh="shell"/>
<body name="b" pos="0.35 0 0" euler="0 0 0.4"><joint name="j2" axis="0 1 0" range="-2.5 2.5" ref="0.2"/>
<geom type="box" size="0.1 0.03 0.02" pos="0.15 0 0"/><geom type="ellipsoid" size="0.1 0.1 0.2"/>
<body name="c" pos="0.3 0 0"><joint name="j3" axis="0 1 0" pos="0.02 0 0" range="-2 2"/>
<geom name="tip" size="0.05" pos="0 0 0.02"/>
</body></body></body></worldbody></mujoco>"""


def made(tmp_path, text, name):
    path = tmp_path / name
    path.write_text(text)
    read = Embodiment.from_urdf if name.endswith("urdf") else Embodiment.from_mjcf
    return read(path, guess=True)


def places(body, command):
    """{shape: its centre in the base frame [m]} by the robot's own chains."""
    model = shape_model(body)
    data = mujoco.MjData(model)
    for k in range(model.njnt):
        data.qpos[k] = command[body.index(model.joint(k).name)]
    mujoco.mj_kinematics(model, data)
    return {s.name: data.geom(s.name).xpos.copy() for s in body.collision.shapes}


def test_a_urdf_gives_its_primitives_and_names_its_meshes(tmp_path):
    body = made(tmp_path, URDF, "r.urdf")
    shapes = {s.name: s for s in body.collision.shapes}
    assert {n: (s.kind, s.channel) for n, s in shapes.items()} == {
        "base": ("cylinder", ""), "upper": ("cylinder", "j1"), "b": ("box", "j2"), "c": ("sphere", "j3"),
    }  # fmt: skip
    assert shapes["upper"].size == (0.04, 0.15) and shapes["b"].size == (0.15, 0.03, 0.02)
    assert "are left out: a.2." in body.notes
    at = places(body, np.zeros(3))
    assert at["upper"] == pytest.approx([0.2, 0, 0.25]) and at["base"] == pytest.approx([0, 0, 0.1])
    assert at["b"] == pytest.approx([0.4 + 0.15 * np.cos(0.3), 0.15 * np.sin(0.3), 0.25], abs=1e-6)
    turned = places(body, np.array([np.pi / 2, 0, 0]))
    assert turned["upper"] == pytest.approx([0, 0.2, 0.25], abs=1e-6)


def test_an_mjcf_gives_the_shapes_that_touch(tmp_path):
    body = made(tmp_path, MJCF, "m.xml")
    shapes = {s.name: s for s in body.collision.shapes}
    assert {n: (s.kind, s.channel) for n, s in shapes.items()} == {
        "floor": ("box", ""), "upper": ("capsule", "j1"), "b.1": ("box", "j2"), "tip": ("sphere", "j3"),
    }  # fmt: skip
    assert "are left out: shell, b.2." in body.notes
    assert shapes["floor"].pos[2] == pytest.approx(-0.05)
    model = mujoco.MjModel.from_xml_string(
        MJCF.replace('<mesh name="shell" file="shell.stl"/>', "").replace(
            '<geom name="shell" type="mesh" mesh="shell"/>', ""
        )
    )
    data, rng = mujoco.MjData(model), np.random.default_rng(0)
    for _ in range(5):
        q = rng.uniform(-1.5, 1.5, 3)
        data.qpos[:] = q
        mujoco.mj_kinematics(model, data)
        at = places(body, q)
        for name in ("upper", "tip"):
            assert at[name] == pytest.approx(data.geom(name).xpos, abs=1e-6)


def test_a_file_that_does_not_compile_with_its_shapes_still_makes_a_robot(tmp_path):
    body = made(tmp_path, MJCF.replace('type="ellipsoid" size="0.1 0.1 0.2"', 'type="ellipsoid" size="0.1"'), "m.xml")
    assert not body.collision.shapes
    assert "are left out: floor, upper" in body.notes


def test_what_touches_where_the_robot_stands_is_allowed(tmp_path):
    body = made(tmp_path, URDF.replace('xyz="0.35 0 0"', 'xyz="-0.3 0 0"'), "r.urdf")  # folded back onto the first link
    assert ("upper", "c") in body.collision.allowed or ("c", "upper") in body.collision.allowed
    assert "They touch where the robot stands" in body.notes
