from types import SimpleNamespace

import numpy as np
from synthetic import ROBOT, episode

from palmar.data.reader import Dataset
from palmar.data.recorder import EpisodeRecorder
from palmar.data.writer import DatasetWriter
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
