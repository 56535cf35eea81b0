import numpy as np

from palmar.robots.arm7 import arm7
from palmar.runtime.chunks import ChunkBuffer
from palmar.runtime.loop import rollout
from palmar.runtime.mock import MockBody
from palmar.runtime.monitor import SafetyCounts, Smoothness
from palmar.runtime.worker import Inline
from palmar.types import ActionChunk

ROBOT = arm7("channels")


class Script:
    """Joint targets by a function of time."""

    interface = ROBOT.interface(8)

    def __init__(self, at):
        self.at = at

    def act(self, obs, prefix=None):
        actions = [np.append(self.at(obs.time + 0.1 * (i + 1)), 1.0) for i in range(8)]
        return ActionChunk(np.array(actions, np.float32), 0.1, obs.time)

    def reset(self):
        pass


def run(at, *subscribers, timeout=3.0):
    body = MockBody(ROBOT)
    rollout(body, Inline(Script(at)), body.reset(), chunks=ChunkBuffer(), subscribers=subscribers, timeout=timeout)


def sway(t):
    return ROBOT.home[:7] + 0.1 * np.array([1, 0.3, 0, 0, 0, 0, 0]) * (1 - np.cos(2 * t))


def shake(t):
    return ROBOT.home[:7] + 0.1 * np.sign(np.sin(20 * t)) * np.array([1, 0.3, 0, 0, 0, 0, 0])


def test_smoothness_tells_swaying_from_shaking():
    calm, rough = Smoothness(), Smoothness()
    run(sway, calm)
    run(shake, rough)
    assert calm.report()["jerk_rms"] < 0.3 * rough.report()["jerk_rms"]
    assert calm.report()["seam_max"] < 0.1
    short = Smoothness()
    run(sway, short, timeout=0.04)
    assert short.report() == {"jerk_rms": 0.0, "jerk_max": 0.0, "seam_mean": 0.0, "seam_max": 0.0}


def test_counts_agree_with_what_was_asked():
    counts = SafetyCounts()
    run(lambda t: ROBOT.home[:7] + (2.0 if t > 1.0 else 0.0), counts)
    assert counts.checked == 150
    assert 0 < counts.changed < 150
    assert counts.counts["acceleration"] > 0
    run(lambda t: ROBOT.home[:7], counts)
    assert (counts.checked, counts.changed) == (150, 0)
