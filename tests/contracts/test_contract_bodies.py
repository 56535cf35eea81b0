"""What every body keeps: pictures and numbers as its `Embodiment` says, cheap proprioception, commands that arrive, equal seeds.

A new body is one row of `BODIES`; the rest follows.
"""

import numpy as np
import pytest
from palmar.sim.twin import Twin

from palmar.kinematics import quat_to_matrix
from palmar.robots.arm7 import arm7
from palmar.runtime.loop import Body
from palmar.runtime.mock import MockBody
from palmar.sim import camera, tasks
from palmar.sim.params import Randomization
from palmar.sim.world import World

SCENE = tasks.sample("pick", "layout", 2)


def randomised():
    world = World()
    world.load(SCENE, Randomization().sample(np.random.default_rng(2)).replace(proprio_noise=0.0))
    return world


def loaded(world):
    world.load(SCENE)
    return world


BODIES = {
    "world": lambda: loaded(World()),
    "world, randomised": randomised,
    "twin": lambda: loaded(Twin(1)),
    "mock": lambda: MockBody(arm7(), SCENE.instruction, noise=True),
}


@pytest.fixture(scope="module", params=BODIES)
def body(request):
    made = BODIES[request.param]()
    yield made
    made.close()
    made.close()  # twice does no harm


def hold(obs, robot):
    """The command that keeps the arm where the observation found it, gripper open."""
    return np.where(robot.moves_joint, robot.measured(obs.state), robot.home)


def test_it_is_a_body(body):
    assert isinstance(body, Body)


def test_an_observation_is_as_the_embodiment_says(body):
    robot, obs = body.embodiment, body.reset(3)
    J = len(robot.frame().joints)
    assert set(obs.images) == {c.name for c in robot.cameras}
    for c in robot.cameras:
        assert (obs.images[c.name].dtype, obs.images[c.name].shape) == (np.uint8, (c.height, c.width, 3))
    assert (obs.state.dtype, obs.state.shape) == (np.float32, (len(robot.state_names),))
    assert np.isfinite(obs.state).all()
    state = dict(zip(robot.state_names, obs.state, strict=True))
    q = obs.state[:J].astype(float)
    assert np.all((robot.lower[:J] - 0.03 < q) & (q < robot.upper[:J] + 0.03))
    assert np.abs(obs.state[J : 2 * J]).max() < 0.1  # at rest [rad/s]
    assert -0.02 <= state["gripper.pos"] <= 1.02
    position, rotation = robot.frame().chain.forward(q)
    assert [state[f"tcp.{x}"] for x in "xyz"] == pytest.approx(position, abs=1e-5)
    assert quat_to_matrix(obs.state[-4:]) == pytest.approx(rotation, abs=1e-5)
    assert np.linalg.norm(obs.state[-4:]) == pytest.approx(1.0, abs=1e-5)
    assert obs.time == 0.0
    assert isinstance(obs.instruction, str)


def test_proprioception_opens_no_camera(body, monkeypatch):
    def opened(*_: object):
        raise AssertionError("images=False must not render")

    body.reset(0)
    monkeypatch.setattr(camera.Renderer, "__call__", opened)
    obs = body.observe(images=False)
    assert obs.images == {}
    assert obs.state.shape == (len(body.embodiment.state_names),)


def test_a_command_lasts_a_tick_and_arrives(body):
    robot, obs = body.embodiment, body.reset(1)
    command = hold(obs, robot)
    for k in range(75):
        command[0] += 0.002  # 0.1 rad/s
        command[-1] = 0.0
        sent = command.copy()
        body.apply(sent)
        assert np.array_equal(sent, command)  # a body does not change its caller's array
        sent[:] = np.nan  # nor does it keep it
        if k % 25 == 0:
            assert body.observe(images=False).time == pytest.approx((k + 1) / robot.control_rate)
    for _ in range(40):
        body.apply(command)
    state = body.observe(images=False).state
    assert np.isfinite(state).all()
    reached = robot.measured(state)
    assert np.abs(reached - command)[robot.moves_joint].max() < 0.05
    assert reached[-1] < 0.1  # the gripper closed


def test_looking_changes_nothing(body):
    obs = body.reset(4)
    before = {name: image.copy() for name, image in obs.images.items()}, obs.state.copy()
    body.apply(hold(obs, body.embodiment) + 0.02)
    again = body.observe()
    assert again.time == body.observe().time
    assert all(np.array_equal(obs.images[n], image) for n, image in before[0].items())
    assert np.array_equal(obs.state, before[1])


def test_equal_seeds_are_equal_episodes(body):
    def episode(seed):
        first = body.reset(seed)
        for k in range(10):
            body.apply(hold(first, body.embodiment) + 0.01 * np.sin(k))
        return first, body.observe()

    for one, two in zip(episode(5), episode(5), strict=True):
        assert np.array_equal(one.state, two.state)
        assert one.time == two.time
        assert all(np.array_equal(one.images[n], two.images[n]) for n in one.images)
