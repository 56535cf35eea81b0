"""`--env.type=palmar` inside LeRobot: what it observes, which table a seed lays, and what its evaluation reads."""

from collections.abc import Iterator

import gymnasium
import numpy as np
import pytest
from lerobot_standin import EnvConfig, FeatureType, lerobot_standin

from palmar.errors import BadValue, UnknownName
from palmar.sim import tasks


@pytest.fixture(scope="module", autouse=True)
def lerobot() -> Iterator[None]:
    with lerobot_standin():
        import lerobot_env_palmar  # noqa: F401

        yield


@pytest.fixture(scope="module")
def worlds() -> Iterator[gymnasium.vector.SyncVectorEnv]:
    """Two, made as LeRobot makes them."""
    config = EnvConfig.known["palmar"](task="reach", timeout=1.0)
    made = gymnasium.vector.SyncVectorEnv(
        [lambda: gymnasium.make(config.gym_id, disable_env_checker=True, **config.gym_kwargs) for _ in range(2)],
        autoreset_mode=gymnasium.vector.AutoresetMode.SAME_STEP,
    )
    yield made
    made.close()


def test_the_features_are_those_of_the_observation(worlds: gymnasium.vector.SyncVectorEnv) -> None:
    config = EnvConfig.known["palmar"](task="reach")
    space = worlds.single_observation_space
    assert config.fps == 10 and config.type == "palmar"
    assert config.features["action"].shape == worlds.single_action_space.shape
    assert config.features["agent_pos"].shape == space["agent_pos"].shape  # type: ignore[index]
    for camera in ("front", "wrist"):
        feature = config.features[f"pixels/{camera}"]
        assert feature.type is FeatureType.VISUAL and feature.shape == space["pixels"][camera].shape  # type: ignore[index]
        assert config.features_map[f"pixels/{camera}"] == f"observation.images.{camera}"
    assert config.features_map["agent_pos"] == "observation.state" and config.features_map["action"] == "action"


def test_a_seed_is_the_number_of_a_table(worlds: gymnasium.vector.SyncVectorEnv) -> None:
    seen, _ = worlds.reset(seed=[7, 8])
    texts = [tasks.sample("reach", "layout", seed).instruction for seed in (7, 8)]
    assert list(worlds.call("task_description")) == texts and worlds.call("task") == ("reach", "reach")
    assert hasattr(worlds.envs[0], "task_description")  # LeRobot 0.4 asks the environment itself
    again, _ = worlds.reset(seed=[7, 8])
    np.testing.assert_array_equal(seen["pixels"]["front"], again["pixels"]["front"])
    other, _ = worlds.reset(seed=[9, 8])
    assert not np.array_equal(seen["pixels"]["front"][0], other["pixels"]["front"][0])
    np.testing.assert_array_equal(seen["pixels"]["front"][1], other["pixels"]["front"][1])


def test_the_end_of_an_episode_says_whether_it_succeeded(worlds: gymnasium.vector.SyncVectorEnv) -> None:
    worlds.reset(seed=[1, 2])
    steps = worlds.call("_max_episode_steps")[0]
    assert steps == 10
    still = np.zeros((2, *worlds.single_action_space.shape), np.float32)  # type: ignore[misc]
    for _ in range(steps - 1):
        info = worlds.step(still)[-1]
        assert "final_info" not in info
    *_, truncated, info = worlds.step(still)
    assert truncated.all() and info["final_info"]["is_success"].tolist() == [False, False]
    assert worlds.envs[0].render().shape == (240, 320, 3)  # type: ignore[union-attr]
    assert worlds.metadata["render_fps"] == 10


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"task": "juggle"}, UnknownName, "unknown task 'juggle'"),
        ({"task": "reach,pick"}, BadValue, "task is 'reach,pick'; expected one task"),
        ({"task": "all"}, BadValue, "task is 'all'; expected one task"),
        ({"task": None}, BadValue, "expected one task"),
        ({"robot": "arm8"}, UnknownName, "Did you mean 'arm7'"),
        ({"robot": "mobile3", "task": "stack"}, UnknownName, "unknown task"),
        ({"split": "test"}, UnknownName, "unknown split 'test'"),
        ({"strength": 3.0}, BadValue, "strength is 3.0; expected 0 … 2"),
        ({"timeout": float("nan")}, BadValue, "timeout is nan; expected"),
        ({"action_space": "torque"}, UnknownName, "unknown action space of arm7 'torque'"),
    ],
)
def test_an_option_without_sense_is_told(options: dict, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        EnvConfig.known["palmar"](**options)
