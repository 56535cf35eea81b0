from types import SimpleNamespace

import numpy as np
from synthetic import ROBOT, episode

from palmar.data.reader import Dataset
from palmar.data.recorder import EpisodeRecorder
from palmar.data.writer import DatasetWriter
from palmar.runtime.control.path import Control
from palmar.runtime.loop import Subscriber, rollout
from palmar.runtime.mock import MockBody
from palmar.runtime.safety.filter import Safety
from palmar.runtime.safety.guards import GUARDS
from palmar.runtime.supervision.controller import Controller
from palmar.runtime.worker import Inline
from palmar.types import ActionChunk


class Expert:
    interface = ROBOT.with_action_space("channels").interface(2)

    resets = 0

    def reset(self):
        self.resets += 1

    def act(self, obs, prefix=None):
        return ActionChunk(np.stack([obs.state[:7], obs.state[7:14]]), 0.1, obs.time)


def drive(recorder, seed=0, length=5):
    played = episode(length, seed=seed)
    recorder.on_start(played.steps[0].observation, SimpleNamespace())
    shared = {cam.name: np.empty((96, 96, 3), np.uint8) for cam in ROBOT.cameras}
    for step in played.steps:  # a body that draws every picture into the same buffer
        for cam, image in step.observation.images.items():
            shared[cam][:] = image
        recorder.on_frame(type(step.observation)(shared, step.observation.state, "go", 0.0), step.action)
    recorder.on_end("timeout")
    return played


def test_without_a_labeler_the_label_is_what_was_done():
    recorder = EpisodeRecorder()
    played = drive(recorder)
    got = recorder.episode("pick", 3, "policy", success=True, duration=0.5)
    assert (got.instruction, got.task, got.seed, got.source, got.success, got.reason) == (
        "go", "pick", 3, "policy", True, "timeout",
    )  # fmt: skip
    for mine, theirs in zip(got.steps, played.steps, strict=True):
        np.testing.assert_array_equal(mine.action, theirs.action)
        np.testing.assert_array_equal(mine.executed, theirs.action)
        np.testing.assert_array_equal(mine.observation.images["front"], theirs.observation.images["front"])


def test_the_label_is_the_experts_first_action(tmp_path):
    expert = Expert()
    recorder = EpisodeRecorder(labeler=expert)
    drive(recorder, seed=1)
    played = drive(recorder, seed=2, length=4)  # a new start forgets the last episode
    got = recorder.episode("pick", 0, "policy")
    assert expert.resets == 2 and len(got.steps) == 4
    for mine, theirs in zip(got.steps, played.steps, strict=True):
        np.testing.assert_array_equal(mine.action, theirs.observation.state[:7])
        np.testing.assert_array_equal(mine.executed, theirs.action)
    with DatasetWriter(tmp_path / "set", ROBOT, 10) as writer:
        writer.add(got)
    np.testing.assert_array_equal(Dataset(tmp_path / "set").actions, [s.action for s in got.steps])


def test_what_the_guards_held_is_recorded_as_what_was_done():
    """A policy that is paused asks for motion all the time; the robot stays."""

    class Ahead:
        interface = ROBOT.interface(8)

        def reset(self):
            """Nothing to forget."""

        def act(self, obs, prefix=None):
            actions = np.zeros((8, 7), np.float32)
            actions[:, 0] = 0.005
            return ActionChunk(actions, 0.1, obs.time)

    class Paused(Subscriber):
        def on_tick(self, tick):
            if tick.index == 50:
                controller.pause("not sure")
            if tick.index == 100:
                controller.go_on()

    controller, recorder, body = Controller(), EpisodeRecorder(), MockBody(ROBOT)
    control = Control(ROBOT, Safety(ROBOT, guards=(*GUARDS, controller)))
    rollout(
        body,
        Inline(Ahead()),
        body.observe(),
        control=control,
        subscribers=(controller, Paused(), recorder),
        timeout=3.0,
    )
    asked = np.array([s.executed[0] for s in recorder.steps])
    assert len(asked) == 30 and (asked[:10] > 0).all() and not asked[11:20].any() and (asked[21:] > 0).all()
    np.testing.assert_array_equal(asked, [s.action[0] for s in recorder.steps])
