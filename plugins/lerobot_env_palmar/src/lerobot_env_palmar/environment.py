"""palmar's `TableEnv` with the observations, attributes and seeds that LeRobot's evaluation looks for."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from palmar.sim.environment import TABLES, TableEnv

Array = np.ndarray
Seen = dict[str, Any]


class LeRobotTable(gymnasium.Env[Seen, Array]):
    """Observation: `agent_pos` float32[S] and `pixels`, {camera: uint8[H, W, 3]}. `task_description` is the instruction of the
    episode, `_max_episode_steps` the steps after which it is truncated, `info["is_success"]` whether the task is fulfilled.

    Options as `TableEnv`. reset(seed=S) lays table S (mod 1 000 000) of the split; without a seed a table is drawn.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012 - as Gymnasium declares it

    def __init__(self, task: str = "reach", render_mode: str | None = None, **options: Any) -> None:
        self._table = TableEnv(task=task, render_mode=render_mode, **options)
        self.task, self.task_description, self.render_mode = task, "", render_mode
        self.metadata = self._table.metadata
        self._max_episode_steps = round(self._table.timeout * self._table.robot.policy_rate)
        self.action_space = self._table.action_space
        inside = dict(self._table.observation_space.spaces)  # type: ignore[attr-defined]
        state = inside.pop("state")
        self.observation_space = spaces.Dict({"agent_pos": state, "pixels": spaces.Dict(inside)})  # type: ignore[assignment]

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Seen, dict[str, Any]]:
        super().reset(seed=seed)
        if seed is not None:
            options = {"table": seed % TABLES} | (options or {})
        seen, info = self._table.reset(seed=seed, options=options)
        self.task_description = str(info["instruction"])
        return self._shown(seen), self._told(info)

    def step(self, action: Array) -> tuple[Seen, float, bool, bool, dict[str, Any]]:
        seen, reward, terminated, truncated, info = self._table.step(action)
        return self._shown(seen), float(reward), bool(terminated), bool(truncated), self._told(info)

    def render(self) -> Array | None:
        return self._table.render()

    def close(self) -> None:
        self._table.close()

    @staticmethod
    def _shown(seen: dict[str, Array]) -> Seen:
        images = dict(seen)
        return {"agent_pos": np.asarray(images.pop("state"), np.float32), "pixels": images}

    @staticmethod
    def _told(info: dict[str, Any]) -> dict[str, Any]:
        """Numbers alone: a vector of environments makes an array of each."""
        return {"is_success": bool(info["is_success"]), "changed": float(info["changed"])}
