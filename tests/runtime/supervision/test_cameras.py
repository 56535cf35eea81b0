"""A camera that no longer shows what is there holds the robot, and says which and why."""

import numpy as np
import pytest

from palmar.robots.arm7 import arm7
from palmar.runtime.loop import Tick
from palmar.runtime.mock import MockBody
from palmar.runtime.supervision.cameras import CameraWatch
from palmar.runtime.supervision.controller import Controller, Mode
from palmar.types import Observation, Verdict

ROBOT = arm7()
NAMES = [c.name for c in ROBOT.cameras]


def watched(pictures, seconds=2.0, moves=True):
    """The controller after a run in which `pictures(name, i, rng)` were seen; None: no picture."""
    controller, rng = Controller(), np.random.default_rng(0)
    watch, body = CameraWatch(controller), MockBody(ROBOT)
    home, still = ROBOT.home, np.zeros(len(ROBOT.home))
    for i in range(round(10 * seconds)):
        seen = {n: pictures(n, i, rng) for n in NAMES}
        images = {n: p for n, p in seen.items() if p is not None}
        state = ROBOT.state_from(home + (0.05 * i if moves else 0.0) * ROBOT.widths * 0.2, still).astype(np.float32)
        obs = Observation(images, state, time=0.1 * i)
        if i == 0:
            watch.on_start(obs, body)
        else:
            watch.on_tick(Tick(i, 0.1 * i, obs, home, Verdict(home), looked=True))
    return controller


def noise(name, i, rng):
    return rng.integers(0, 256, (32, 32, 3), np.uint8)


def other(name, i, rng):
    return noise(name, i, rng) if name != NAMES[-1] else None


@pytest.mark.parametrize(
    ("pictures", "said"),
    [
        (lambda n, i, rng: np.zeros((32, 32, 3), np.uint8), "black for more than 1 s"),
        (lambda n, i, rng: np.full((32, 32, 3), 90, np.uint8), "frozen: the same picture"),
        (
            lambda n, i, rng: other(n, i, rng) if i > 5 else noise(n, i, rng),
            f"camera {NAMES[-1]} no picture for more than 1 s",
        ),
        (lambda n, i, rng: noise(n, i, rng) if i < 5 else None, f"camera {NAMES[0]} no picture for more than 1 s"),
    ],
)
def test_it_holds(pictures, said):
    controller = watched(pictures)
    assert controller.mode is Mode.HOLD and said in controller.reason


def test_it_does_not_hold():
    assert watched(noise).mode is Mode.RUN
    assert watched(lambda n, i, rng: np.full((32, 32, 3), 90, np.uint8), moves=False).mode is Mode.RUN  # nothing moves
    assert watched(lambda n, i, rng: noise(n, i, rng) if i % 5 == 0 else None).mode is Mode.RUN  # nobody looked
