"""Action spaces reach what is asked of them through the whole loop."""

import numpy as np
import pytest

from palmar.kinematics import matrix_to_rotvec, rotvec_to_matrix
from palmar.robots.arm7 import arm7
from palmar.runtime.control.actions import Absolute, EndEffectorDelta, action_space
from palmar.runtime.loop import rollout
from palmar.runtime.mock import MockBody
from palmar.runtime.worker import Inline
from palmar.types import ActionChunk


class Servo:
    """Closes on a pose by the deltas it still takes."""

    def __init__(self, robot, position, rotation):
        self.interface = robot.interface(1)
        self.robot, self.position, self.rotation = robot, position, rotation

    def reset(self):
        pass

    def act(self, obs, prefix=None):
        here, turned = self.robot.frame().chain.forward(obs.state[:7])
        way = 0.25 * np.concatenate([self.position - here, matrix_to_rotvec(self.rotation @ turned.T)])
        return ActionChunk(np.append(way, 0.0)[None].astype(np.float32), 0.1, obs.time)


@pytest.mark.parametrize(
    ("position", "turn"),
    [([0.5, 0.2, 0.1], [0, 0, 0.6]), ([0.4, -0.25, 0.3], [0.3, 0, 0]), ([0.6, 0.0, 0.02], [0, -0.2, -0.8])],
)
def test_deltas_reach_a_commanded_pose(position, turn):
    from palmar.runtime.chunks import ChunkBuffer

    robot = arm7()
    body = MockBody(robot)
    obs = body.reset()
    rotation = rotvec_to_matrix(np.array(turn, float)) @ robot.frame().chain.forward(robot.home[:7])[1]
    policy = Servo(robot, np.array(position), rotation)
    rollout(body, Inline(policy), obs, chunks=ChunkBuffer(execute=1), timeout=8.0)
    end, turned = robot.frame().chain.forward(body.commands[-1][:-1])
    assert np.linalg.norm(end - position) < 2e-3
    assert np.linalg.norm(matrix_to_rotvec(rotation @ turned.T)) < 0.02
    assert body.commands[-1][-1] == pytest.approx(0.0, abs=1e-5)


def test_the_sum_of_deltas_is_the_way_travelled():
    robot = arm7()
    body = MockBody(robot)
    obs = body.reset()

    class Once(Servo):
        def act(self, obs, prefix=None):
            actions = np.zeros((30, 7), np.float32)
            actions[:10, 0], actions[:10, 2] = 0.008, -0.01
            return ActionChunk(actions, 0.1, 0.0)

    rollout(body, Inline(Once(robot, None, None)), obs, timeout=3.0)
    moved = robot.frame().chain.forward(body.commands[-1][:-1])[0] - robot.frame().chain.forward(robot.home[:7])[0]
    assert moved == pytest.approx([0.08, 0.0, -0.1], abs=2e-3)


def test_the_reference_cannot_wind_up():
    robot = arm7()
    space, command = EndEffectorDelta(robot, leash=0.03), robot.home
    space.reset(command)
    for _ in range(100):  # held back: the command never moves
        target = space.target(np.array([0.04, 0, 0, 0, 0, 0, 1.0]), 0.2, 0.2, command)
    way = robot.frame().chain.forward(target[:-1])[0] - robot.frame().chain.forward(robot.home[:7])[0]
    assert np.linalg.norm(way) < 0.04


def test_a_nan_reaches_the_safety_layer():
    robot = arm7()
    space = EndEffectorDelta(robot)
    space.reset(robot.home)
    assert np.isnan(space.target(np.full(7, np.nan), 0.2, 0.2, robot.home)).all()


def test_joint_positions_interpolate():
    robot = arm7("channels")
    space, start = action_space(robot), robot.home
    assert isinstance(space, Absolute)
    space.reset(start)
    goal = start + 0.1
    command = start
    for k in range(1, 6):
        command = space.target(goal, 0.2, 0.2 * k, command)
        assert command[:-1] == pytest.approx(start[:-1] + 0.02 * k)


def test_a_joint_position_spliced_in_mid_step_does_not_jump():
    robot = arm7("channels")
    space, command = action_space(robot), robot.home
    space.reset(command)
    steps = []
    for k in range(1, 6):
        before = command
        command = space.target(robot.home + (0.1 if k <= 3 else -0.1), 0.2, 0.2 * k, command)
        steps.append(command[0] - before[0])
    assert steps == pytest.approx([0.02] * 3 + [-0.08] * 2)
    assert command[:-1] == pytest.approx(robot.home[:7] - 0.1)


def test_the_reference_cannot_wind_up_its_rotation():
    robot = arm7()
    space, command = EndEffectorDelta(robot), robot.home
    space.reset(command)
    for _ in range(100):  # held back: the command never turns
        space.target(np.array([0, 0, 0, 0, 0, 0.2, 1.0]), 0.2, 0.2, command)
    for _ in range(5):  # one action back; what was asked for and never done is forgotten
        target = space.target(np.array([0, 0, 0, 0, 0, -0.2, 1.0]), 0.2, 0.2, command)
    turned = robot.frame().chain.forward(target[:-1])[1] @ robot.frame().chain.forward(robot.home[:7])[1].T
    assert np.linalg.norm(matrix_to_rotvec(turned)) < 0.02
