"""Reinforcement learning at palmar's table: a stock PPO on a Gymnasium environment, for a thousand steps.

Every task of every simulated robot is one (`task`, `robot`), with pictures or without; actions go through the guards.

    python examples/09_gymnasium.py                      a thousand random steps
    pip install stable-baselines3
    python examples/09_gymnasium.py ppo                  a thousand steps of PPO, on the state alone
"""

import sys

import gymnasium
import numpy as np
from gymnasium.wrappers import RescaleAction

import palmar.sim.registered  # noqa: F401 - makes palmar/Table-v0 known

LOW = np.float32(-1.0)
env = RescaleAction(gymnasium.make("palmar/Table-v0", task="reach", images=False, reward="dense"), LOW, -LOW)
if sys.argv[1:] == ["ppo"]:
    from stable_baselines3 import PPO

    PPO("MultiInputPolicy", env, n_steps=250, verbose=1).learn(1000, progress_bar=False)
else:
    obs, info = env.reset(seed=0)
    ends = 0
    for _ in range(1000):
        obs, reward, terminated, truncated, info = env.step(env.action_space.sample())
        if terminated or truncated:
            ends += 1
            obs, info = env.reset()
    print(f"1000 steps, {ends} episodes; the instruction now: {info['instruction']}")
env.close()
