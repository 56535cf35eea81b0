"""The model has the limits and masses it was given, and each physical parameter scales what it names."""

import numpy as np
import pytest

from palmar.robots import arm7 as parts
from palmar.robots.arm7 import GRIPPER_WIDTH, arm7
from palmar.sim import derived, scenes, tasks
from palmar.sim.params import NOMINAL, SPACE
from palmar.sim.scenario import Scenario
from palmar.sim.things import SHAPES, Item

ROBOT = arm7()
PARTS = parts.mechanics()
SCENE = Scenario("pick", "", tuple(Item(s, "red", 0.42 + 0.07 * i, 0.0) for i, s in enumerate(SHAPES)), 0)


@pytest.fixture(scope="module")
def model():
    return scenes.build(ROBOT, PARTS, SCENE, NOMINAL)


def test_joints_have_the_robot_s_limits(model):
    for i, name in enumerate(ROBOT.frame().joints):
        assert model.joint(name).range.tolist() == [ROBOT.lower[i], ROBOT.upper[i]]
        assert model.jnt_limited[model.joint(name).id]
        assert model.actuator(name).forcerange.tolist() == [-ROBOT.channels[i].effort, ROBOT.channels[i].effort]
    assert model.joint("finger_left").range.tolist() == [0.0, GRIPPER_WIDTH / 2]
    assert model.actuator("gripper").ctrlrange.tolist() == [0.0, GRIPPER_WIDTH / 2]


def test_masses_are_the_identified_ones(model):
    for i, (mass, _, inertia) in enumerate(parts.LINK_INERTIA):
        link = model.body(f"link{i + 1}")
        assert link.mass[0] == pytest.approx(mass)
        xx, yy, zz, xy, xz, yz = inertia
        principal = np.linalg.eigvalsh([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
        assert np.sort(link.inertia) == pytest.approx(principal, rel=1e-6)
    for i, item in enumerate(SCENE.items):
        assert model.body(f"item{i}").mass[0] == pytest.approx(item.mass)
    arm = sum(model.body(f"link{i}").mass[0] for i in range(1, 8))
    assert 15 < arm < 18  # a Panda's moving mass


def test_shapes_are_as_large_as_they_say(model):
    for i, item in enumerate(SCENE.items):
        size = model.geom(f"item{i}").size
        assert 2 * size[0] == pytest.approx(item.width)
        assert size[{"cube": 2, "cylinder": 1, "ball": 0}[item.shape]] == pytest.approx(item.rest_height)
        assert item.width < GRIPPER_WIDTH * 0.75


SCALES = {
    "friction": lambda m: m.geom("table").friction[0],
    "mass": lambda m: m.body("item0").mass[0],
    "link_mass": lambda m: m.body("link3").mass[0],
    "damping": lambda m: m.dof_damping[m.joint("joint2").dofadr[0]],
    "gain": lambda m: m.actuator("joint4").gainprm[0],
    "object_scale": lambda m: m.geom("item1").size[1],
}


@pytest.mark.parametrize("name", SCALES)
def test_a_physical_parameter_scales_what_it_names(model, name):
    p = SPACE[name]
    for value in (p.low, p.high):
        changed = scenes.build(ROBOT, PARTS, SCENE, NOMINAL.replace(**{name: value}))
        assert SCALES[name](changed) / SCALES[name](model) == pytest.approx(value / p.nominal)


def test_the_table_and_all_on_it_rise_together(model):
    raised = scenes.build(ROBOT, PARTS, SCENE, NOMINAL.replace(table_height=0.01))
    for name in ("item0", "item1", "item2"):
        assert raised.body(name).pos[2] - model.body(name).pos[2] == pytest.approx(0.01)
    assert raised.geom("table").pos[2] - model.geom("table").pos[2] == pytest.approx(0.01)


def test_the_front_camera_goes_where_it_is_put(model):
    moved = scenes.build(ROBOT, PARTS, SCENE, NOMINAL.replace(camera_x=0.01, camera_y=-0.02, camera_z=0.005, fov=70.0))
    assert moved.camera("front").pos - model.camera("front").pos == pytest.approx([0.01, -0.02, 0.005])
    assert (model.camera("front").fovy[0], moved.camera("front").fovy[0]) == (60.0, 70.0)
    assert model.camera("wrist").fovy[0] == moved.camera("wrist").fovy[0] == 75.0


def test_paint_stays_a_colour_however_bright(model):
    assert derived.paint("yellow", NOMINAL.replace(object_value=1.3))[:3] <= (1.0, 1.0, 1.0)
    bright = scenes.build(ROBOT, PARTS, SCENE, NOMINAL.replace(table_value=1.15))  # strength 2 reaches it
    table = bright.tex_data[bright.tex_adr[0] : bright.tex_adr[0] + 3]
    assert table.min() > 230, "MuJoCo wraps what is over 1 round to dark"


@pytest.mark.parametrize("task", tasks.names("arm7"))
def test_every_scenario_compiles(task):
    for seed in range(3):
        s = tasks.sample(task, "seen", seed)
        m = scenes.build(ROBOT, PARTS, s, NOMINAL)
        assert m.nu == len(ROBOT.channels)
        assert [m.body(f"item{i}").id for i in range(len(s.items))]
