"""A teacher by trial: PPO from the reward of its task, on numbers alone, in the registered Gymnasium environment.

The learning is Stable-Baselines3's (extra `rl`). Its own files are pickles and are neither written nor read: the weights of the
mean action, and the means and spreads of what it saw, become a checkpoint of palmar (`models.teacher`), which acts without it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import gymnasium
import numpy as np
import torch
from gymnasium import spaces

from palmar.data.normalize import Normalizer
from palmar.data.privileged import PREFIX, without_pictures
from palmar.data.trained_tasks import TASKS
from palmar.errors import BadValue, need
from palmar.mapping import Interface
from palmar.models import checkpoint
from palmar.models.teacher import TeacherConfig
from palmar.ranges import BATCH, RATE, SHARE, STRENGTH, Count, Range, Seed, check_ranges
from palmar.sim import tasks
from palmar.sim.environment import TableEnv
from palmar.types import Array

if TYPE_CHECKING:
    from stable_baselines3 import PPO

CLIP = 10.0  # of the normalised state, as Stable-Baselines3's VecNormalize cuts it


@dataclass(frozen=True)
class Reinforce:
    """task, robot: one of each. steps: of the environment, each an action of 1 / policy rate. strength: of the randomised worlds.
    rollout: steps between two updates, each `epochs` passes over them in batches of `batch_size`. lr, gamma, entropy: of PPO
    (Schulman et al. 2017, arXiv 1707.06347). spread: of the first actions, in shares of half their range. hidden: widths of the
    layers. timeout: of an episode [s]."""

    task: str = "reach"
    robot: str = "arm7"
    steps: Count = 100_000
    strength: Annotated[float, STRENGTH] = 0.5
    rollout: Annotated[int, Range(2, 10**6)] = 1024
    batch_size: Annotated[int, BATCH] = 128
    epochs: Count = 10
    lr: Annotated[float, RATE] = 1e-3
    gamma: Annotated[float, SHARE] = 0.97
    entropy: Annotated[float, Range(0, 1)] = 0.0
    spread: Annotated[float, Range(0, 10, above=True)] = 0.5
    hidden: tuple[int, ...] = (64, 64)
    timeout: Annotated[float, Range(0, 86_400, above=True, unit="seconds")] = 8.0
    seed: Seed = 0

    def __post_init__(self) -> None:
        check_ranges(self)
        tasks.chosen((self.task,), self.robot)
        if self.rollout % self.batch_size:
            raise BadValue(
                f"rollout is {self.rollout}, batch size {self.batch_size}; expected a multiple of it. Next: 1024 and 128"
            )


class TruthEnv(gymnasium.Env[Array, Array]):
    """A table whose observation is one vector, the state and the truth without pictures (`names`), and whose actions are −1 … 1
    of the action box. info: also `is_success`."""

    def __init__(self, table: TableEnv) -> None:
        self.table = table
        told = table.world.truth_names
        cameras = [c.name for c in table.robot.cameras]
        self.columns = without_pictures(told, cameras)
        self._at = [told.index(n) for n in self.columns]
        self.names = (*table.robot.state_names, *(PREFIX + n for n in self.columns))
        box = table.action_space
        assert isinstance(box, spaces.Box)
        self.middle, self.half = (box.high + box.low) / 2, (box.high - box.low) / 2
        ones = np.ones(box.shape, np.float32)
        self.action_space = spaces.Box(-ones, ones)
        self.observation_space = spaces.Box(-np.inf, np.inf, (len(self.names),), np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        super().reset(seed=seed)
        seen, info = self.table.reset(seed=seed, options=options)
        return self._vector(seen), info

    def step(self, action: Array) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        wanted = self.middle + np.clip(action, -1, 1) * self.half
        seen, reward, ended, cut, info = self.table.step(wanted.astype(np.float32))
        return self._vector(seen), reward, ended, cut, info

    def close(self) -> None:
        self.table.close()

    def _vector(self, seen: dict[str, Array]) -> Array:
        return np.concatenate([seen["state"], seen["privileged"][self._at]]).astype(np.float32)


def environment(trial: Reinforce) -> TruthEnv:
    """What the trial learns in."""
    return TruthEnv(TableEnv(
        trial.task, trial.robot, strength=trial.strength, images=False, reward="shaped", timeout=trial.timeout, truth=True,
    ))  # fmt: skip


def reinforce(trial: Reinforce, out: str | Path, watch: Callable[[dict[str, float]], None] | None = None) -> Path:
    """Learn, and write a checkpoint to the folder `out`. watch: told after each rollout: step, reward of an episode and its share
    of successes over the last 100. Raises `MissingPackage` without Stable-Baselines3."""
    need("stable_baselines3", "rl")
    from stable_baselines3 import PPO
    from stable_baselines3.common.callbacks import BaseCallback
    from stable_baselines3.common.monitor import Monitor
    from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

    class Told(BaseCallback):
        def _on_step(self) -> bool:
            return True

        def _on_rollout_end(self) -> None:
            if watch is not None:
                episodes = list(self.model.ep_info_buffer or [])
                watch({
                    "step": float(self.num_timesteps), "episodes": float(len(episodes)),
                    "reward": float(np.mean([e["r"] for e in episodes])) if episodes else float("nan"),
                    "success": float(np.mean([e["is_success"] for e in episodes])) if episodes else float("nan"),
                })  # fmt: skip

    table = environment(trial)
    with torch.random.fork_rng(devices=[]):
        normal = VecNormalize(
            DummyVecEnv([lambda: Monitor(table, info_keywords=("is_success",))]), gamma=trial.gamma, clip_obs=CLIP
        )
        learner = PPO(
            "MlpPolicy", normal, learning_rate=trial.lr, n_steps=trial.rollout, batch_size=trial.batch_size, n_epochs=trial.epochs,
            gamma=trial.gamma, ent_coef=trial.entropy, seed=trial.seed, device="cpu",
            policy_kwargs={"net_arch": list(trial.hidden), "log_std_init": float(np.log(trial.spread))},
        )  # fmt: skip
        learner.learn(trial.steps, callback=Told())
        folder = export(
            learner, normal, table, out, {"reinforce": asdict(trial), "step": trial.steps, TASKS: [trial.task]}
        )
    normal.close()
    return folder


def export(learner: PPO, normal: Any, table: TruthEnv, out: str | Path, info: dict[str, Any] | None = None) -> Path:
    """The mean action of a PPO policy as a checkpoint: same layers, same tanh, same normalisation, safetensors and JSON."""
    policy, robot = learner.policy, table.table.robot
    layers = [m for m in policy.mlp_extractor.policy_net if isinstance(m, torch.nn.Linear)]
    config = TeacherConfig(
        tuple(m.out_features for m in layers),
        "tanh",
        words=0,
        noise=0.0,
        limit=CLIP,
        clip=1.0,
        done=None,
        preset="teacher-ppo",
    )
    ours = robot.interface(1)
    interface = Interface(
        {}, table.names, ours.action_names, 1, ours.dt, robot.name, action_units=ours.action_units,
        state_units=(*ours.state_units, *("" for _ in table.columns)) if ours.state_units else (),
    )  # fmt: skip
    model = config.build(interface)
    with torch.no_grad():
        ours_in_order: list[Any] = [*(m for m in model.body if isinstance(m, torch.nn.Linear)), model.head.out]
        theirs_in_order: list[Any] = [*layers, policy.action_net]
        for mine, theirs in zip(ours_in_order, theirs_in_order, strict=True):
            mine.weight.copy_(theirs.weight)
            mine.bias.copy_(theirs.bias)
    seen = normal.obs_rms
    scales = {
        "state": Normalizer(np.array(seen.mean), np.sqrt(np.array(seen.var) + normal.epsilon), names=table.names),
        "action": Normalizer(
            table.middle.astype(np.float64), table.half.astype(np.float64), names=tuple(ours.action_names)
        ),
    }
    return checkpoint.save(out, model.state_dict(), config, interface, scales, info)
