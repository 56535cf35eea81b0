"""Commands outside a robot's limits are counted, each once."""

import numpy as np
import pytest

from palmar.agent.outside_limits import OutsideLimits
from palmar.robots.arm7 import arm7
from palmar.runtime.loop import Tick, rollout
from palmar.runtime.mock import MockBody
from palmar.types import ActionChunk, Verdict

ROBOT = arm7("channels")


class Wild:
    interface = ROBOT.interface(8)

    def act(self, obs, prefix=None):
        return ActionChunk(np.full((8, len(ROBOT.channels)), 99.0, np.float32), 0.1, obs.time)

    def reset(self):
        pass


def counted(*commands):
    watch, body = OutsideLimits(ROBOT), MockBody(ROBOT)
    obs = body.reset()
    watch.on_start(obs, body)
    for i, command in enumerate(commands):
        watch.on_tick(Tick(i, 0.02 * i, obs, command, Verdict(command)))
    return watch.count, watch.commands


def test_what_the_guards_let_through_is_inside():
    watch, body = OutsideLimits(ROBOT), MockBody(ROBOT)
    rollout(body, Wild(), body.reset(), subscribers=(watch,), timeout=2.0)
    assert (watch.count, watch.commands) == (0, 100)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 99.0])
def test_a_position_outside_is_counted(value):
    wrong = ROBOT.home.copy()
    wrong[2] = value
    assert counted(ROBOT.home, wrong)[0] == 1


def test_a_step_that_is_too_fast_is_counted():
    step = np.zeros(len(ROBOT.channels))
    step[0] = ROBOT.channels[0].velocity / ROBOT.control_rate
    assert counted(ROBOT.home, ROBOT.home + step) == (0, 2)
    assert counted(ROBOT.home, ROBOT.home + 1.1 * step, ROBOT.home + 1.2 * step) == (1, 3)
