"""The reality twin: nothing about it is nominal, and nobody can tell it what to be."""

import numpy as np
import pytest

from palmar.sim import reality, tasks
from palmar.sim.params import NOMINAL, SPACE
from palmar.sim.world import World

SCENE = tasks.sample("pick", "layout", 4)


@pytest.fixture(scope="module")
def pair():
    worlds = World(), World(reality=reality.twin(0))
    yield worlds
    for w in worlds:
        w.close()


@pytest.mark.parametrize("seed", range(5))
def test_everything_differs_from_nominal_and_lies_in_the_range(seed):
    hidden = reality.hidden(seed)
    for p in (SPACE[n] for n in reality.TWIN_ROWS):
        assert p.low <= hidden[p.name] <= p.high, p.name
        away = hidden[p.name] - p.nominal
        assert abs(away) > 0.3 * (p.high - p.nominal if away > 0 else p.nominal - p.low), p.name
    assert set(hidden.values) == set(reality.TWIN_ROWS)
    assert hidden == reality.hidden(seed)
    assert hidden != reality.hidden(seed + 1)


def test_its_parameters_are_its_own(pair):
    _, real = pair
    real.load(SCENE, NOMINAL.replace(friction=0.9))
    assert real.params == reality.hidden(0)
    real.load(SCENE)
    assert real.params == reality.hidden(0)


def test_its_pictures_differ(pair):
    sim, real = (w.load(SCENE, seed=4) for w in pair)
    for name in sim.images:
        difference = np.abs(sim.images[name].astype(int) - real.images[name].astype(int))
        assert difference.mean() > 10, name
        assert real.images[name].std() > 15, name  # and still shows something


def test_its_robot_is_not_the_simulated_one(pair):
    for w in pair:
        w.load(SCENE, seed=4)
    grip = [w.model.actuator("gripper").forcerange[1] for w in pair]
    assert grip[1] == pytest.approx(reality.GRIP_FORCE * grip[0])
    compensation = [w.model.body_gravcomp[w.model.body("link4").id] for w in pair]
    assert compensation == [1.0, reality.GRAVITY_COMPENSATION]
    holding = [np.append(w.data.ctrl[:7], 1.0) for w in pair]
    for w, command in zip(pair, holding, strict=True):
        for _ in range(50):
            w.apply(command)
    sag = [np.abs(w.data.qpos[:7] - c[:7]).max() for w, c in zip(pair, holding, strict=True)]
    assert sag[0] < 1e-4 < sag[1] < 0.05


def test_a_lens_darkens_corners_and_blurs():
    grey = np.full((32, 32, 3), 200, np.uint8)
    seen = reality.lens(grey)
    assert (seen.dtype, seen.shape) == (np.uint8, grey.shape)
    assert 180 < seen[16, 16, 0] < 200
    assert seen[0, 0, 0] < 0.8 * seen[16, 16, 0]
    dot = np.zeros((9, 9, 3), np.uint8)
    dot[4, 4] = 255
    assert 0 < reality.lens(dot)[4, 5, 0] < reality.lens(dot)[4, 4, 0] < 255


def test_a_reality_of_one_s_own_is_a_value():
    """A point and effects, told apart from the simulator by its name alone; the parameters a scene is loaded with do not
    matter in it."""
    dark = reality.Effect("dark", picture=lambda image: image // 2)
    own = reality.Reality("basement", NOMINAL.replace(friction=0.7), (dark,))
    plain, real = World(), World(reality=own)
    sim, seen = (w.load(SCENE, NOMINAL.replace(friction=1.3), seed=4) for w in (plain, real))
    assert (plain.params["friction"], real.params["friction"]) == (1.3, 0.7)
    assert all(np.array_equal(seen.images[n], sim.images[n] // 2) for n in sim.images)
    assert reality.reality("sim") is reality.SIMULATION
    assert reality.reality("twin:3").hidden == reality.hidden(3)
    for w in (plain, real):
        w.close()
