"""What every body keeps: pictures and numbers as its `Embodiment` says, cheap proprioception, commands that arrive, equal
seeds. Every robot of the package is simulated, simulated under other parameters, met as a twin, and mocked."""

import numpy as np
import pytest

from palmar.errors import BadValue, RobotFault
from palmar.kinematics import quat_to_matrix
from palmar.robots import mechanics, robot, robots
from palmar.runtime.loop import Body
from palmar.runtime.mock import MockBody
from palmar.sim import camera, tasks
from palmar.sim.params import Randomization
from palmar.sim.reality import twin
from palmar.sim.world import World


def scene(name):
    return tasks.sample(tasks.names(name)[-1], "layout", 2)


def randomised(name):
    world = World(robot(name))
    params = Randomization().sample(np.random.default_rng(2)).replace(proprio_noise=0.0)
    world.load(scene(name), params)
    return world


def loaded(name, **more):
    world = World(robot(name), **more)
    world.load(scene(name))
    return world


KINDS = {
    "world": loaded,
    "world, randomised": randomised,
    "twin": lambda name: loaded(name, reality=twin(1)),
    "mock": lambda name: MockBody(robot(name), scene(name).instruction, noise=True),
}
BODIES = [(name, kind) for name in robots() for kind in KINDS]


@pytest.fixture(scope="module", params=BODIES, ids=lambda p: ", ".join(p))
def body(request):
    name, kind = request.param
    made = KINDS[kind](name)
    yield made
    made.close()
    made.close()  # twice does no harm


def hold(obs, robot):
    """The command that keeps the robot where the observation found it, grippers at home, speeds 0."""
    speeds = np.array([c.kind == "velocity" for c in robot.channels])
    return np.where(speeds, 0.0, np.where(robot.moves_joint, robot.measured(obs.state), robot.home))


def si(robot):
    """Joint position or speed a unit of each channel; of openings their range."""
    return np.array([1.0 / (c.upper - c.lower) if c.kind == "opening" else abs(c.to_si[0]) for c in robot.channels])


def test_it_is_a_body(body):
    assert isinstance(body, Body)


def test_an_observation_is_as_the_embodiment_says(body):
    robot, obs = body.embodiment, body.reset(3)
    assert set(obs.images) == {c.name for c in robot.cameras}
    for c in robot.cameras:
        assert (obs.images[c.name].dtype, obs.images[c.name].shape) == (np.uint8, (c.height, c.width, 3))
    assert (obs.state.dtype, obs.state.shape) == (np.float32, (len(robot.state_names),))
    assert np.isfinite(obs.state).all()
    state = dict(zip(robot.state_names, obs.state.tolist(), strict=True))
    measured = robot.measured(obs.state)
    assert np.isfinite(measured).all()
    room = 0.03 / si(robot)
    assert np.all((robot.lower - room < measured) & (measured < robot.upper + room))
    velocity = robot.measured(obs.state, "velocity") * si(robot)
    assert np.abs(np.nan_to_num(velocity)).max() < 0.15  # at rest [rad/s]
    for frame in robot.frames:
        position, rotation = robot.pose(frame, measured)
        if f"{frame.name}.x" in state:
            assert [state[f"{frame.name}.{x}"] for x in "xyz"] == pytest.approx(position, abs=1e-5)
            q = np.array([state[f"{frame.name}.{x}"] for x in ("qw", "qx", "qy", "qz")])
            assert quat_to_matrix(q) == pytest.approx(rotation, abs=1e-5)
            assert np.linalg.norm(q) == pytest.approx(1.0, abs=1e-5)
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
    command, step = hold(obs, robot), 0.1 / si(robot) / robot.control_rate  # of 0.1 rad/s, or a tenth of the speed
    ticks = round(1.2 * robot.control_rate)
    for k in range(ticks):
        command[0] += step[0]
        for i, c in enumerate(robot.channels):
            if c.kind == "opening":
                command[i] = c.lower
        sent = command.copy()
        body.apply(sent)
        assert np.array_equal(sent, command)  # a body does not change its caller's array
        sent[:] = np.nan  # nor does it keep it
        if k % 25 == 0:
            assert body.observe(images=False).time == pytest.approx((k + 1) / robot.control_rate)
    for _ in range(round(0.8 * robot.control_rate)):
        body.apply(command)
    state = body.observe(images=False).state
    assert np.isfinite(state).all()
    away = np.abs(robot.measured(state) - command) * si(robot)
    assert away.max() < 0.1, dict(zip(robot.channel_names, away, strict=True))


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


@pytest.mark.parametrize("name", robots())
def test_the_simulated_robot_is_the_described_one(name):
    """Points of the model are where the kinematics say, joints have the limits of their channels, servos their efforts."""
    world = World(robot(name), images=False)
    world.load(scene(name))
    described, parts = world.embodiment, mechanics(world.embodiment)
    rng = np.random.default_rng(0)
    for _ in range(20):
        command = rng.uniform(described.lower, described.upper)
        world.pose(command, {})
        for frame in described.frames:
            position, rotation = described.pose(frame, command)
            found, turned = world.place(frame.name)
            assert found == pytest.approx(position, abs=1e-6)
            assert turned == pytest.approx(rotation, abs=1e-6)
    servos = {s.channel: s for s in parts.servos}
    for c in described.channels:
        actuator = world.model.actuator(c.name)
        if c.moves_joint:
            scale, offset = c.to_si
            assert world.model.joint(servos[c.name].joints[0]).range == pytest.approx(
                [scale * c.lower + offset, scale * c.upper + offset], abs=1e-6
            )
            assert world.model.jnt_limited[world.model.joint(servos[c.name].joints[0]).id]
        if c.effort is not None:
            assert actuator.forcerange == pytest.approx([-c.effort, c.effort])
    assert {m.camera for m in parts.mounts} == {c.name for c in described.cameras}
    others = {m.name for m in described.state if m.quantity == "other"}
    assert set(parts.sensors) == others
    assert (1 / described.control_rate / parts.timestep) == pytest.approx(
        round(1 / described.control_rate / parts.timestep)
    )


@pytest.mark.parametrize("name", robots())
def test_a_pose_beyond_the_limits_is_refused_by_name(name):
    world = World(robot(name), images=False)
    world.load(scene(name))
    before = world.data.qpos.copy()
    for i, c in enumerate(world.embodiment.channels):
        for wrong in (np.nan, np.inf, c.upper + 1.0, c.lower - 1.0):
            command = world.embodiment.home.copy()
            command[i] = wrong
            with pytest.raises(BadValue, match=rf"'{c.name}' cannot be put at .*; expected .*Next: "):
                world.pose(command, {})
    home = world.embodiment.home
    for wrong in ([True, *home[1:]], np.zeros(len(home), bool), ["a"] * len(home), home[1:]):  # True is not 1 rad
        for verb in (lambda command: world.pose(command, {}), world.apply):
            with pytest.raises(
                BadValue, match=rf"command is .*; expected {len(home)} numbers: {robot(name).channel_names[0]}"
            ):
                verb(wrong)
    assert np.array_equal(world.data.qpos, before)


@pytest.mark.parametrize("name", robots())
@pytest.mark.parametrize(("where", "what"), [("qpos", "positions"), ("qvel", "speeds"), ("command", "commands")])
def test_a_simulation_that_becomes_unstable_says_so(name, where, what, tmp_path, monkeypatch):
    """MuJoCo would put everything back to where it began and go on."""
    monkeypatch.chdir(tmp_path)  # it writes MUJOCO_LOG.TXT
    world = World(robot(name), images=False)
    world.load(scene(name))
    command = world.embodiment.home.copy()
    world.apply(command)
    if where == "command":
        command[0] = np.nan
    else:
        getattr(world.data, where)[0] = 1e12
    with pytest.raises(RobotFault, match=rf"simulation of {name} became unstable at 0\.\d+ s: {what} .*Next: "):
        world.apply(command)
    world.reset()
    world.apply(world.embodiment.home)


@pytest.mark.parametrize("name", robots())
def test_truth_goes_by_the_name_of_the_camera(name):
    """Cameras in another order tell the same of each."""
    plain = robot(name)
    from dataclasses import replace

    swapped = replace(plain, cameras=plain.cameras[::-1])
    rows = []
    for one in (plain, swapped):
        world = World(one, images=False)
        world.load(scene(name))
        rows.append(dict(zip(world.truth_names, world.privileged().tolist(), strict=True)))
    assert rows[0] == rows[1]
    assert any(rows[0][f"{c.name}.target.visible"] for c in plain.cameras)
