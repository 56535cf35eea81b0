"""Any Gymnasium environment with the robot's actions as a body: the same loop, guards and check as for a robot."""

from dataclasses import replace

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from palmar.errors import BadValue, RobotFault
from palmar.robots.arm7 import arm7
from palmar.runtime.bodies.find import find_body
from palmar.runtime.deploy import deploy
from palmar.runtime.loop import resting_command
from palmar.types import ActionChunk

ARM = arm7("channels")
ROBOT = replace(ARM, state=tuple(m for m in ARM.state if m.quantity in ("position", "velocity")))


class Following(gymnasium.Env):
    """Channels that are where they were told to be."""

    def __init__(self, width=8, key="state", ends=10_000, nested=False, render_mode=None):
        self.action_space = spaces.Box(np.full(width, -7.0, np.float32), np.full(width, 7.0, np.float32))
        picture = spaces.Box(0, 255, (96, 96, 3), np.uint8)
        seen = {c: picture for c in ("front", "wrist")}
        cameras = {"pixels": spaces.Dict(seen)} if nested else seen
        self.observation_space = spaces.Dict(
            {key: spaces.Box(-np.inf, np.inf, (len(ROBOT.state),), np.float32)} | cameras
        )
        self.key, self.ends, self.nested, self.at = key, ends, nested, ARM.home[:width].astype(np.float32)

    def seen(self):
        state = ROBOT.state_from(self.at, np.zeros(8)).astype(np.float32)
        cameras = {c: np.full((96, 96, 3), self.steps % 255, np.uint8) for c in ("front", "wrist")}
        return {self.key: state} | ({"pixels": cameras} if self.nested else cameras)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return self.seen(), {}

    def step(self, action):
        self.at, self.steps = np.asarray(action, np.float32), self.steps + 1
        return self.seen(), 0.0, self.steps >= self.ends, False, {}


@pytest.fixture(autouse=True)
def registered():
    for name, kwargs in (
        ("Good", {}),
        ("Nested", {"nested": True}),
        ("Odd", {"key": "joints"}),
        ("Ends", {"ends": 30}),
    ):
        gymnasium.register(id=f"test/{name}-v0", entry_point=Following, kwargs=kwargs)
    gymnasium.register(id="test/Narrow-v0", entry_point=Following, kwargs={"width": 3})
    yield
    for name in ("Good", "Nested", "Odd", "Ends", "Narrow"):
        del gymnasium.registry[f"test/{name}-v0"]


class Nod:
    interface = ROBOT.interface(8)

    def reset(self):
        """Nothing to forget."""

    def act(self, obs, prefix=None):
        target = ARM.home.copy()
        target[3] += 0.2 * np.sin(2 * obs.time)
        return ActionChunk(np.tile(target.astype(np.float32), (8, 1)), 0.1, obs.time)


@pytest.mark.parametrize("name", ["Good", "Nested"])
def test_a_policy_drives_it(name):
    body = find_body(f"gym:test/{name}-v0").connect(ROBOT)
    first = body.reset(3)
    assert set(first.images) == {"front", "wrist"} and first.state.shape == (len(ROBOT.state),)
    report = deploy(body, Nod(), "nod", first, timeout=1.5)
    assert report.outcome.reason == "timeout" and report.mode == 0
    after = body.observe(images=False)
    assert not after.images and after.time > 1.0
    np.testing.assert_allclose(resting_command(ROBOT, after)[:7], ARM.home[:7], atol=0.5)
    body.close()


def test_one_that_is_over_takes_no_commands_until_it_is_reset():
    body = find_body("gym:test/Ends-v0").connect(ROBOT)
    body.reset(0)
    with pytest.raises(RobotFault, match=r"has terminated.*reset it"):
        for _ in range(40):
            body.apply(ARM.home)
    body.reset(0)
    body.apply(ARM.home)
    with pytest.raises(RobotFault, match=r"command 9 of joint1 is outside the environment's -7 … 7"):
        body.apply(np.full(8, 9.0))
    body.close()


def test_what_does_not_fit_is_refused():
    for name, said in (("test/Narrow-v0", "arm7 gives 8 numbers"), ("test/Nowhere-v0", "there is no environment")):
        with pytest.raises((BadValue, RobotFault), match=said):
            find_body(f"gym:{name}").connect(ROBOT)
    with pytest.raises((BadValue, RobotFault), match="observes joints, front, wrist; expected one of state"):
        find_body("gym:test/Odd-v0").connect(ROBOT)
    with pytest.raises(BadValue, match=r"no robot is named|none is named"):
        find_body("gym:test/Good-v0").connect()
