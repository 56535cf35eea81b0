"""A data set drawn on the spot: coloured squares on noise; the instruction names one, the action goes there."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

COLOURS = {"red": (220, 40, 40), "green": (40, 200, 60), "blue": (50, 70, 230), "yellow": (230, 210, 40)}


class Squares:
    """`frames` pictures of `size` px with two squares of different colours. Episodes are 10 frames long.

    state: (x, y) of the hand, 0 … 1 as `tcp.x`, `tcp.y`, and a constant `tcp.z`. actions [dx, dy, still]: a tenth of
    the way to the named square at every step; the last dimension never moves. ragged: frames have 1 … horizon real steps.
    """

    fps = 10
    state_names = ("tcp.x", "tcp.y", "tcp.z")
    action_names = ("dx", "dy", "still")

    def __init__(
        self,
        frames: int = 2000,
        size: int = 48,
        seed: int = 0,
        cameras: tuple[str, ...] = ("front",),
        ragged: bool = False,
    ) -> None:
        rng = np.random.default_rng(seed)
        self.ragged = ragged
        self.cameras = cameras
        names = list(COLOURS)
        self.tasks = [f"reach the {n} square" for n in names]
        both = np.stack([rng.permutation(len(names))[:2] for _ in range(frames)])
        places = rng.uniform(0.12, 0.88, (frames, 2, 2))
        places[:, 1] = (
            places[:, 0] + rng.uniform(0.3, 0.5, (frames, 2)) * rng.choice([-1, 1], (frames, 2))
        ) % 0.76 + 0.12
        places[:, 1] = places[:, 1].clip(0.12, 0.88)
        self.places = places
        self._task = both[:, 0]
        self.other = both[:, 1]
        self.images = rng.integers(60, 140, (frames, size, size, 3)).astype(np.uint8)
        half = max(2, size // 16)
        for i in range(frames):
            for k in (1, 0):
                u, v = (places[i, k] * size).astype(int)
                self.images[i, max(0, v - half) : v + half, max(0, u - half) : u + half] = COLOURS[names[both[i, k]]]
        hand = rng.uniform(0, 1, (frames, 2))
        self.states = np.concatenate([hand, np.full((frames, 1), 0.3)], -1).astype(np.float32)
        step = 0.1 * (places[:, 0] - hand)
        self.actions = np.concatenate([step, np.full((frames, 1), 0.5)], -1).astype(np.float32)
        self._done = np.linalg.norm(places[:, 0] - hand, axis=-1) < 0.25
        self.privileged_names = (
            "target.x",
            "target.y",
            "target.z",
            "goal.x",
            "goal.y",
            "goal.z",
            *tuple(f"{c}.{g}.{part}" for c in cameras for g in ("target", "goal") for part in ("u", "v", "visible")),
        )
        xyz = np.concatenate([places[:, 0], np.full((frames, 1), 0.1)], -1)
        nothing = np.full((frames, 3), np.nan)
        views = [np.concatenate([places[:, 0], np.ones((frames, 1)), nothing], -1)] * len(cameras)
        self.privileged = np.concatenate([xyz, nothing, *views], -1).astype(np.float32)
        self.episodes = [
            SimpleNamespace(index=i, start=s, stop=min(s + 10, frames), success=True)
            for i, s in enumerate(range(0, frames, 10))
        ]

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, indices, horizon: int) -> dict:
        indices = np.asarray(indices)
        pad = np.zeros((len(indices), horizon), bool)
        pad[:, horizon // 2 + 1 :] = True
        if self.ragged:
            pad = np.arange(horizon) > (indices * 7 % horizon)[:, None]
        return {
            "images": {c: self.images[indices] for c in self.cameras},
            "state": self.states[indices],
            "actions": np.repeat(self.actions[indices, None], horizon, 1),
            "pad": pad,
            "task": self._task[indices],
            "done": self._done[indices],
            "privileged": self.privileged[indices],
        }
