"""Parameters that are physics do what they say: bounces, tilted tables, joints that stick, weak servos, wrong zeros."""

import numpy as np
import pytest

from palmar.sim import tasks
from palmar.sim.actuators import STRIBECK
from palmar.sim.params import NOMINAL
from palmar.sim.scenario import Scenario
from palmar.sim.scenes import mujoco
from palmar.sim.space import DEAD
from palmar.sim.things import Item
from palmar.sim.world import World

BALL = Scenario("pick", "", (Item("ball", "red", 0.5, 0.1),), 0)


@pytest.fixture(scope="module")
def world():
    return World(images=False)


@pytest.mark.parametrize("kept", [DEAD, 0.3, 0.5])
def test_a_ball_keeps_about_the_share_of_its_speed_that_is_said(world, kept):
    world.load(BALL, NOMINAL.replace(restitution=kept))
    m, d = world.model, world.data
    joint = m.joint("item0")
    d.qpos[joint.qposadr[0] + 2] += 0.1
    d.qvel[joint.dofadr[0] : joint.dofadr[0] + 6] = 0
    speeds = []
    for _ in range(120):
        mujoco.mj_step(m, d)
        speeds.append(float(d.qvel[joint.dofadr[0] + 2]))
    rebound = max(speeds) / -min(speeds)
    assert rebound == pytest.approx(kept, abs=0.12)


def test_things_lie_on_a_tilted_table(world):
    scene = tasks.sample("place", "seen", 5)
    tilt = NOMINAL.replace(table_roll=1.0, table_pitch=-1.0)
    world.load(scene, tilt, 1)
    up = world.model.geom("table").pos, world.data.geom("table").xmat.reshape(3, 3)[:, 2]
    assert np.rad2deg(np.arccos(up[1][2])) == pytest.approx(np.sqrt(2), abs=0.01)
    for _ in range(25):
        world.apply(world.embodiment.home)
    for i, item in enumerate(scene.items):
        height = (world.item(i) - world.data.geom("table").xpos) @ up[1] - 0.02
        rest = 0.0 if item.shape in ("plate", "tray") else item.rest_height
        assert height == pytest.approx(rest, abs=0.0015), item.name
    assert abs(world.item(0)[2] - world.item(1)[2]) > 1e-4 or len(scene.items) < 2


def test_objects_stand_where_they_are_shifted_to_and_differ_by_their_spread(world):
    scene = tasks.sample("push", "seen", 2)
    world.load(scene, NOMINAL.replace(object_x=0.01, object_y=-0.005, mass_spread=0.1, friction_spread=0.2))
    for i, item in enumerate(scene.items):
        assert world.item(i)[:2] == pytest.approx([item.x + 0.01, item.y - 0.005], abs=1e-3)
    shares = [1.0, -1.0, 0.5][: len(scene.items)]
    for i, (item, share) in enumerate(zip(scene.items, shares, strict=False)):
        if item.mass:
            assert world.model.body(f"item{i}").mass[0] == pytest.approx(item.mass * (1 + 0.1 * share))
            assert world.model.geom(f"item{i}").friction[0] == pytest.approx(0.8 * (1 + 0.2 * max(share, 0)))


def test_joints_stick_when_they_rest(world):
    """Coulomb friction always, Stribeck's only near rest, from the speed of each joint."""
    world.load(BALL, NOMINAL.replace(joint_friction=0.02, stribeck=0.01))
    dof = world.model.joint("joint2").dofadr[0]
    force = 87.0
    assert world.model.dof_frictionloss[dof] == pytest.approx(0.03 * force, rel=1e-3)
    world.data.qvel[dof] = 5 * STRIBECK
    world._actuators.stick(world.model, world.data, 0.01)
    assert world.model.dof_frictionloss[dof] == pytest.approx(0.02 * force, rel=1e-6)
    world.load(BALL)
    assert world.model.dof_frictionloss[dof] == 0


def test_a_wrong_zero_is_told_and_done_alike(world):
    """The robot reads two degrees too much at its second joint: it goes where it thinks, and its gripper is elsewhere."""
    scene = tasks.sample("reach", "seen", 1)
    plain = world.load(scene, NOMINAL, 1).state[:7]
    truth = world.data.qpos[:7].copy()
    zero = np.deg2rad(2.0)
    told = world.load(scene, NOMINAL.replace(zero_2=2.0), 1).state[:7]
    assert told == pytest.approx(plain, abs=1e-4)
    assert world.data.qpos[1] - truth[1] == pytest.approx(-zero, abs=1e-4)
    command = np.append(told, 1.0).astype(float)
    command[1] += 0.1
    for _ in range(60):
        world.apply(command)
    assert world.observe(images=False).state[1] == pytest.approx(command[1], abs=2e-3)
    assert world.data.qpos[1] == pytest.approx(command[1] - zero, abs=2e-3)


def test_weak_servos_and_grippers_have_less_force(world):
    world.load(BALL)
    before = world.model.actuator_forcerange.copy()
    world.load(BALL, NOMINAL.replace(servo_strength=0.5, grip_strength=0.6))
    share = world.model.actuator_forcerange[:, 1] / before[:, 1]
    names = [world.model.actuator(i).name for i in range(world.model.nu)]
    assert dict(zip(names, share, strict=True)) == pytest.approx({n: 0.6 if n == "gripper" else 0.5 for n in names})
