"""A compiled scene that is edited is the scene that would have been compiled, field by field, however often it was edited."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from palmar.robots import mechanics, robot, robots
from palmar.sim import scenes, tasks
from palmar.sim.edits import ModelEdits, kind_of
from palmar.sim.params import NOMINAL, Randomization
from palmar.sim.scenario import Scenario
from palmar.sim.things import Item
from palmar.sim.world import World

UNLIKE = {"meansize"}  # by which MuJoCo sizes what it draws for people
EVERY = [(name, task) for name in robots() for task in tasks.names(name)]


def fields(model):
    """{name: array} of a compiled model and of what it keeps apart."""
    out = {}
    for prefix, part in (("", model), ("stat.", model.stat), ("headlight.", model.vis.headlight), ("opt.", model.opt)):
        for name in dir(part):
            value = getattr(part, name) if not name.startswith("_") else None
            numbers = isinstance(value, np.ndarray) and value.dtype.kind in "iufb"
            if name not in UNLIKE and (numbers or isinstance(value, int | float)):
                out[prefix + name] = np.asarray(value)
    return out


def differing(one, two, tolerance=1e-12):
    assert set(one) == set(two)
    return {
        n: float(np.abs(a.astype(float) - two[n]).max())
        for n, a in one.items()
        if a.shape != two[n].shape or (a.size and not np.allclose(a, two[n], rtol=tolerance, atol=tolerance))
    }


def parts(name, task, seed=3):
    return robot(name), mechanics(robot(name)), tasks.sample(task, "layout", seed)


@pytest.fixture(scope="module")
def table():
    return ModelEdits(*parts("arm7", "place"))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**62), st.sampled_from([0.0, 0.5, 1.0, 2.0]), st.integers(0, 40))
def test_an_edited_scene_is_the_compiled_one(table, seed, strength, place):
    """Under drawn parameters, with the same kinds of things elsewhere and in other colours."""
    one, made, first = parts("arm7", "place")
    moved = tasks.sample("place", "layout", place)
    scenario = moved if kind_of(moved) == kind_of(first) else first
    params = Randomization(strength).drawn(seed)
    table.apply(params, scenario)
    assert differing(fields(table.model), fields(scenes.build(one, made, scenario, params)), 1e-10) == {}


@pytest.mark.parametrize(("name", "task"), EVERY)
def test_so_it_is_of_every_robot_and_task(name, task):
    made = parts(name, task)
    if kind_of(made[2]) is None:
        return  # compiled anew each time
    edits = ModelEdits(*made)
    for seed, strength in ((1, 1.0), (2, 2.0)):
        params = Randomization(strength).drawn(seed)
        edits.apply(params, made[2])
        assert differing(fields(edits.model), fields(scenes.build(*made, params)), 1e-10) == {}, (seed, strength)


def test_a_thousand_edits_do_not_drift(table):
    _, _, scenario = parts("arm7", "place")
    fresh = ModelEdits(*parts("arm7", "place"))
    fresh.apply(NOMINAL, scenario)
    for seed in range(1000):
        table.apply(Randomization(1.5).drawn(seed), scenario)
    table.apply(NOMINAL, scenario)
    assert differing(fields(table.model), fields(fresh.model), 0.0) == {}
    assert differing(fields(table.model), fields(scenes.build(*parts("arm7", "place"), NOMINAL))) == {}


def test_inertia_follows_mass_and_size(table):
    scenario = parts("arm7", "place")[2]
    i = table.model.body("item0").id
    table.apply(NOMINAL, scenario)
    before = table.model.body_inertia[i].copy()
    table.apply(NOMINAL.replace(mass=1.5, object_scale=1.2), scenario)
    assert table.model.body_inertia[i] == pytest.approx(before * 1.5 * 1.2**2)
    table.apply(NOMINAL.replace(mass_spread=0.2, size_spread=-0.1), scenario)  # of the first thing, all of the spread
    assert table.model.body_inertia[i] == pytest.approx(before * 1.2 * 0.9**2)


def test_things_of_an_unknown_kind_are_compiled_anew(monkeypatch):
    scenario = Scenario("pick", "", (Item("cube", "red", 0.5, 0.0),), 0)
    assert kind_of(scenario) is not None
    monkeypatch.setattr("palmar.sim.edits.EDITABLE", ("sphere",))
    assert kind_of(scenario) is None
    world = World(images=False)
    world.load(scenario)
    before = world.model
    world.load(scenario)
    assert world.model is not before


def test_a_world_edits_what_it_has_and_pictures_follow():
    """Equal pictures and motions to those of a world that never saw another table, texture and all."""
    scene = tasks.sample("pick", "seen", 3)
    params = NOMINAL.replace(table_hue=0.6, table_value=0.5, table_pattern=0.9, object_scale=1.08, camera_y=0.015)
    used, fresh = World(), World()
    try:
        used.load(scene)
        before = used.model
        for seed in range(3):
            used.load(scene, Randomization().drawn(seed))
        again, first = used.load(scene, params, 4), fresh.load(scene, params, 4)
        assert used.model is before
        for name, picture in first.images.items():
            np.testing.assert_array_equal(again.images[name], picture)
        for w in (used, fresh):
            for _ in range(20):
                w.apply(w.embodiment.home)
        assert np.array_equal(used.data.qpos, fresh.data.qpos)
        plain = used.load(scene).images["front"].astype(int)
        assert np.abs(plain - first.images["front"]).mean() > 5
    finally:
        used.close()
        fresh.close()


def test_a_world_keeps_few_scenes_of_many():
    world = World(images=False)
    for seed in range(30):
        world.load(tasks.sample("place", "seen", seed))
    assert len(world._scenes._kept) == 6
    world.close()
