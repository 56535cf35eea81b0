"""Small sets with one fault each, to be found by name."""

from __future__ import annotations

import itertools
from types import SimpleNamespace
from typing import Any

import numpy as np


class Arm:
    """Episodes of an arm of two joints and a gripper: the command leads the measured state by two frames. One camera sees a
    bright square where the first joint is."""

    action_names = ("joint1", "joint2", "gripper")
    state_names = ("joint1.pos", "joint2.pos", "gripper.pos")
    cameras = ("front",)
    privileged_names = ()
    robot_type = "arm"

    def __init__(self, episodes: int = 6, length: int = 40, fps: int = 20) -> None:
        self.fps, self.length = fps, length
        edges = np.arange(episodes + 1) * length
        self.tasks = ["open the box", "close the box"]
        self.episodes = [
            SimpleNamespace(
                index=i, start=int(a), stop=int(b), success=True, source="", instruction=self.tasks[i % 2], task="box"
            )
            for i, (a, b) in enumerate(itertools.pairwise(edges))
        ]
        t = np.arange(length + 2) / length
        paths = [
            np.stack([np.sin(2.5 * t + k), 0.5 * np.cos(3.1 * t - k), (t > 0.3 + 0.05 * (k % 4)) * 1.0], -1)
            for k in range(episodes)
        ]
        self.actions = np.concatenate([p[2:] for p in paths]).astype(np.float32)
        self.states = np.concatenate([p[:-2] for p in paths]).astype(np.float32)
        self.times = np.concatenate([np.arange(length) / fps for _ in range(episodes)])
        self.features: dict[str, Any] = {
            "observation.state": {"dtype": "float32", "shape": [3]},
            "action": {"dtype": "float32", "shape": [3]},
            "observation.images.front": {"dtype": "video", "shape": [24, 32, 3]},
        }
        self.stats = {"action": {"mean": np.zeros(3)}, "observation.state": {"mean": np.zeros(3)}}
        self.picture = self.draw

    def __len__(self) -> int:
        return len(self.actions)

    def column(self, name: str) -> np.ndarray:
        return {"timestamp": self.times}[name]

    def draw(self, i: int) -> np.ndarray:
        shot = np.full((24, 32, 3), 90, np.uint8)
        x = int(np.clip(14 + 12 * self.states[i, 0], 0, 26))
        shot[8:14, x : x + 6] = 250
        return shot

    def batch(self, indices: np.ndarray, horizon: int, **_: Any) -> dict[str, Any]:
        indices = np.asarray(indices)
        which = indices // self.length
        return {
            "images": {c: np.stack([self.picture(int(i)) for i in indices]) for c in self.cameras},
            "state": self.states[indices],
            "task": which % 2,
        }
