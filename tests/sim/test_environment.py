"""Palmar's worlds as Gymnasium environments: its own checker passes on every one, the same seed is the same episode."""

import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from palmar.errors import BadValue, UnknownName
from palmar.robots import robot, robots
from palmar.sim import tasks
from palmar.sim.environment import TableEnv, action_box
from palmar.sim.experts import Expert
from palmar.sim.registered import NAME

WORLDS = [(r, t) for r in robots() for t in tasks.names(r)]


@pytest.mark.parametrize(("name", "task"), WORLDS)
def test_gymnasiums_checker_passes(name, task):
    env = gymnasium.make(NAME, task=task, robot=name, render_mode="rgb_array", disable_env_checker=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".*(infinity|symmetric|minimum value|maximum value).*")
        check_env(env.unwrapped)
    env.close()


def episode(env, seed, steps=6):
    obs, info = env.reset(seed=seed)
    seen = [obs]
    rng = np.random.default_rng(0)
    for _ in range(steps):
        box = env.action_space
        obs, *_ = env.step(rng.uniform(box.low, box.high).astype(np.float32))
        seen.append(obs)
    return seen, info["instruction"]


def test_the_same_seed_is_the_same_episode():
    env = TableEnv(strength=1.0)
    (one, words), (two, again), (other, _) = episode(env, 5), episode(env, 5), episode(env, 6)
    assert words == again
    for a, b in zip(one, two, strict=True):
        assert set(a) == {"state", "front", "wrist"}
        for key in a:
            np.testing.assert_array_equal(a[key], b[key])
    assert not np.array_equal(one[0]["front"], other[0]["front"])
    env.close()


def test_an_expert_is_rewarded_and_ends_the_episode():
    env = TableEnv(images=False, reward="dense")
    env.reset(seed=0, options={"table": 3})
    expert, rewards = Expert(env._world), []
    expert.reset()
    for _ in range(100):
        obs, reward, terminated, truncated, info = env.step(expert.act(env._seen).actions[0])
        assert set(obs) == {"state"}
        rewards.append(reward)
        if terminated or truncated:
            break
    assert terminated and not truncated and info["is_success"] and rewards[-1] > 0.9
    assert sum(rewards[:-1]) > 0.05  # it came nearer
    env.close()


def test_time_ends_it_and_guards_look_at_every_command():
    env = TableEnv(images=False, timeout=0.5)
    env.reset(seed=1)
    still = np.zeros(7, np.float32)
    ends = [env.step(still)[2:4] for _ in range(5)]
    assert ends == [(False, False)] * 4 + [(False, True)]
    env.reset(seed=1)
    before = env._control.command.copy()
    *_, info = env.step(np.full(7, np.nan, np.float32))
    assert info["changed"] == 1.0 and np.allclose(env._control.command, before)
    with pytest.raises(BadValue, match=r"action has shape \[3\]; expected \[7\]"):
        env.step(np.zeros(3))
    env.close()


def test_what_there_is_none_of_is_refused():
    for kwargs, said in (
        ({"task": "dance"}, "task 'dance'"), ({"robot": "r2d2"}, "r2d2"), ({"split": "later"}, "later"),
        ({"reward": "much"}, "reward 'much'"), ({"render_mode": "human"}, "render_mode 'human'"),
        ({"action_space": "torque"}, "action space of arm7 'torque'"),
    ):  # fmt: skip
        with pytest.raises(UnknownName, match=said):
            TableEnv(**kwargs)
    for kwargs, said in (({"strength": 9.0}, "strength"), ({"timeout": 0.0}, "timeout")):
        with pytest.raises(BadValue, match=said):
            TableEnv(**kwargs)


def test_actions_have_the_robots_bounds():
    arm = robot("arm7")
    box = action_box(arm)
    assert box.high[:3] == pytest.approx(arm.frame().max_step[0]) and box.low[-1] == 0 and box.high[-1] == 1
    joints = action_box(arm.with_action_space("channels"))
    assert joints.low[0] == pytest.approx(arm.lower[0]) and joints.shape == (8,)


def test_several_at_once():
    envs = gymnasium.make_vec("palmar/Table-v0", num_envs=2, vectorization_mode="sync", images=False)
    obs, _ = envs.reset(seed=0)
    assert obs["state"].shape == (2, 22)
    obs, reward, terminated, _, info = envs.step(np.zeros((2, 7), np.float32))
    assert reward.shape == (2,) and not terminated.any() and list(info["is_success"]) == [False, False]
    envs.close()


def test_it_is_known_by_one_word():
    env = gymnasium.make("palmar.sim.registered:palmar/Table-v0", images=False)
    assert isinstance(env.unwrapped, TableEnv)
    env.close()
