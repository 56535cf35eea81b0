"""What a camera makes of light, and that truth about pictures is bent as they are."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from palmar.robots.arm7 import arm7
from palmar.sim import decor, lens, tasks
from palmar.sim.params import NOMINAL
from palmar.sim.scenario import Scenario
from palmar.sim.scenes import mujoco
from palmar.sim.things import Item
from palmar.sim.world import World

RNG = np.random.default_rng(0)
GREY = np.full((48, 64, 3), 100, np.uint8)


@settings(max_examples=30)
@given(st.floats(-0.2, 0.3), st.floats(-0.05, 0.1))
def test_the_bent_picture_inverts_the_distortion(k1, k2):
    row, column = lens.bent(96, 96, 60.0, k1, k2)
    f = 0.5 * 96 / np.tan(np.deg2rad(30))
    x, y = lens.distort((column + 0.5 - 48) / f, (row + 0.5 - 48) / f, k1, k2)
    v, u = np.mgrid[0:96, 0:96]
    inside = (row > 0) & (row < 95) & (column > 0) & (column < 95)
    assert inside.mean() > 0.6
    assert np.abs(x * f + 48 - 0.5 - u)[inside].max() < 0.05
    assert np.abs(y * f + 48 - 0.5 - v)[inside].max() < 0.05


def test_light_is_exposed_balanced_and_lost_in_the_corners():
    more = lens.develop(GREY, NOMINAL.replace(exposure=1.0), RNG)
    assert more[0, 0, 0] == round(100 * 2 ** (1 / 2.2))
    assert (
        lens.develop(np.full_like(GREY, 250), NOMINAL.replace(exposure=1.0), RNG).max() == 255
    )  # full, not wrapped round
    warm = lens.develop(GREY, NOMINAL.replace(white_balance=0.3), RNG)[0, 0].astype(int)
    assert warm[0] > 100 > warm[2] and warm[1] == 100
    dark = lens.develop(GREY, NOMINAL.replace(vignetting=0.5), RNG)
    assert dark[24, 32, 0] >= 99 and dark[0, 0, 0] == pytest.approx(50, abs=1)


def test_a_person_walks_by():
    shaded = [lens.develop(GREY, NOMINAL.replace(people=0.4), RNG, time=t).astype(int) for t in np.arange(0, 6, 0.5)]
    darkest = np.array([s.min() for s in shaded])
    assert darkest.min() == pytest.approx(60, abs=2) and darkest.max() >= 95
    assert max(s.max() for s in shaded) == 100


@pytest.mark.parametrize("bend", [(0.25, 0.05), (-0.2, 0.0)])
def test_truth_is_bent_as_the_picture_is(bend):
    """Where a thing is said to be is where the bent picture shows it."""
    world = World()
    camera = arm7().cameras[0]
    params = NOMINAL.replace(lens_k1=bend[0], lens_k2=bend[1])
    try:
        world.load(Scenario("pick", "", (Item("ball", "red", 0.43, -0.18),), 0), params, 4)
        there, seen = (
            world.photograph(camera).astype(int),
            dict(zip(world.truth_names, world.privileged(), strict=True)),
        )
        world.data.qpos[world.model.joint("item0").qposadr[0] + 2] = -3.0
        mujoco.mj_forward(world.model, world.data)
        rows, columns = np.nonzero(np.abs(world.photograph(camera).astype(int) - there).sum(axis=2) > 12)
        u, v = seen["front.target.u"], seen["front.target.v"]
        assert abs(columns.mean() + 0.5 - 96 * u) < 1.5 and abs(rows.mean() + 0.5 - 96 * v) < 1.5
        world.load(Scenario("pick", "", (Item("ball", "red", 0.43, -0.18),), 0), NOMINAL, 4)
        straight = dict(zip(world.truth_names, world.privileged(), strict=True))
        assert np.hypot(u - straight["front.target.u"], v - straight["front.target.v"]) * 96 > 0.4
    finally:
        world.close()


def test_depth_is_the_distance_from_the_camera_s_plane():
    world = World()
    camera = arm7().cameras[0]
    try:
        world.load(Scenario("pick", "", (Item("cube", "red", 0.5, 0.1),), 0))
        depth = world.depth(camera)
        assert (depth.dtype, depth.shape) == (np.float32, (96, 96))
        i = world.model.camera("front").id
        eye, R = world.data.cam_xpos[i], world.data.cam_xmat[i].reshape(3, 3)
        f = 0.5 * 96 / np.tan(np.deg2rad(30))
        for row, column in ((80, 20), (85, 75), (70, 60)):  # the table, left, right and before the thing
            ray = R @ np.array([(column + 0.5 - 48) / f, -(row + 0.5 - 48) / f, -1.0])
            at = eye + depth[row, column] * ray
            assert -0.005 < at[2] < 0.06, (row, column, at)
    finally:
        world.close()


def test_shadows_lie_under_things_and_clutter_aside():
    room = tasks.task("pick").scene.room
    params = NOMINAL.replace(shadow=0.4, clutter=3, light_x=0.4)
    discs = decor.shadows(room, params, [(np.array([0.5, 0.1, 0.02]), 0.02)])
    assert len(discs) == decor.RINGS and all(d.disc for d in discs)
    assert all(np.linalg.norm(d.pos[:2] - [0.5, 0.1]) < 0.01 for d in discs)
    high = decor.shadows(room, params, [(np.array([0.5, 0.1, 0.30]), 0.02)])
    assert high[0].rgba[3] < discs[0].rgba[3] and high[0].pos[1] < 0.1  # fainter, away from the lamp
    assert decor.shadows(room, NOMINAL, [(np.zeros(3), 0.02)]) == []
    boxes = decor.clutter(room, params)
    assert len(boxes) == 3 and len(decor.clutter(room, NOMINAL)) == 0
    for b in decor.clutter(room, NOMINAL.replace(clutter=8)):
        assert not (0.37 < b.pos[0] < 0.62 and abs(b.pos[1]) < 0.22)  # where things stand
