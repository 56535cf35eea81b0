"""What a teacher may know of a world: exact state, contacts, mass, friction, parameters; and nothing of it unless asked for."""

import numpy as np
import pytest

from palmar.errors import BadValue
from palmar.lab.worlds import Loaded
from palmar.robots import robot, robots
from palmar.robots.arm7 import GRIPPER_WIDTH
from palmar.sim import privileged, rewards, tasks, truth
from palmar.sim.environment import TableEnv
from palmar.sim.params import WorldParams
from palmar.sim.world import World


def told(world: World) -> dict[str, float]:
    return dict(zip(world.truth_names, world.privileged().tolist(), strict=True))


@pytest.fixture(scope="module")
def world() -> World:
    made = World(images=False)
    made.physics = True
    made.load(tasks.sample("pick", seed=3), WorldParams({"mass": 1.5, "friction": 0.5, "proprio_noise": 0.01}))
    return made


@pytest.mark.parametrize("name", robots())
def test_the_columns_come_behind_those_there_were(name):
    made = robot(name)
    before, after = truth.names(made), truth.names(made, physics=True)
    assert after[: len(before)] == before and len(set(after)) == len(after)
    assert after[len(before) :] == privileged.names(made)


def test_nothing_is_told_unless_asked_for():
    plain = World(images=False)
    seen = plain.load(tasks.sample("reach", seed=1))
    assert len(seen.privileged) == len(truth.names(plain.embodiment))


def test_mass_friction_size_and_parameters_are_those_of_the_world(world):
    found = told(world)
    item = world.scenario.items[world.scenario.target]
    assert found["target.mass"] == pytest.approx(1.5 * item.mass)
    assert found["target.friction"] == pytest.approx(0.4) and found["world.mass"] == 1.5
    assert found["touch.ground"] == 1 and found["touch.force"] == 0
    assert found["target.quat.w"] ** 2 + found["target.quat.z"] ** 2 == pytest.approx(1, abs=1e-3)


def test_the_size_is_that_of_the_thing_and_not_of_all_things():
    made = World(images=False)
    made.physics = True
    made.load(tasks.sample("pick", seed=3), WorldParams({"object_scale": 1.1, "size_spread": 0.05}))
    ball = made.scenario.target
    assert made.scenario.items[ball].shape == "ball"
    assert told(made)["target.half.x"] == pytest.approx(made.model.geom_size[made.model.geom(f"item{ball}").id, 0])


def test_the_state_is_told_without_noise(world):
    a, b = told(world), told(world)
    one, two = world.observe().state, world.observe().state
    assert a == b and not np.array_equal(one, two)
    names = world.embodiment.state_names
    np.testing.assert_allclose([a[f"true.{n}"] for n in names], (one + two) / 2, atol=0.1)
    assert [a[f"hand.{x}"] for x in "xyz"] == pytest.approx(world.tcp, abs=1e-6)


def test_a_thing_between_the_pads_touches_both(world):
    target = world.scenario.target
    half = told(world)["target.half.y"]
    command = world.embodiment.home.copy()
    world.pose(command, {})
    command[world.embodiment.index("gripper")] = 2 * half / GRIPPER_WIDTH - 0.02
    before = rewards.held(world)
    world.pose(command, {target: world.tcp})
    world.apply(command)
    found = told(world)
    assert found["touch.finger_left"] == found["touch.finger_right"] == 1 and found["touch.ground"] == 0
    assert found["touch.force"] > 0 and rewards.held(world) > before
    world.reset()


def test_who_is_put_somewhere_is_not_pulled_back(world):
    """Commands under way are forgotten with the pictures; depth is as late as they are."""
    home, camera = world.embodiment.home, world.embodiment.cameras[0]
    params = WorldParams({"action_delay": 3, "image_latency": 4})
    world.load(world.scenario, params)
    there = home.copy()
    there[0] += 0.4
    world.pose(there, {})
    before = world.depth(camera)
    for _ in range(3):
        world.apply(home)
    assert world.data.ctrl[0] == pytest.approx(there[0], abs=1e-6)
    assert np.array_equal(world.depth(camera), before)
    for _ in range(12):
        world.apply(home)
    assert world.data.ctrl[0] == pytest.approx(home[0], abs=1e-6) and not np.array_equal(world.depth(camera), before)
    world.load(world.scenario)


def test_a_reality_tells_none_of_it():
    with pytest.raises(BadValue, match=r"a reality tells no contacts, masses or frictions\. Next"):
        Loaded().world("twin:0", physics=True)


def test_the_shaped_reward_is_the_potential_and_a_bonus():
    env = TableEnv("reach", images=False, reward="shaped", truth=True)
    seen, info = env.reset(seed=0)
    assert env.observation_space.contains(seen) and len(seen["privileged"]) == len(info["truth_names"])
    before = rewards.potential(env.world)
    assert before == pytest.approx(-np.linalg.norm(env.world.tcp - tasks.task("reach").goal(env.world)))
    _, reward, *_ = env.step(np.array([0.03, 0, 0, 0, 0, 0, 1], np.float32))
    assert reward == pytest.approx(10 * (rewards.potential(env.world) - before) - 0.02)
    assert rewards.shaped(0.0, 0.0, True) == pytest.approx(4.98)
    env.close()
