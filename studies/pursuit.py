"""A tool that has to stay on a moving target: a small body without pictures, for questions about delay.

The target runs at a steady speed and turns without warning; nobody can plan it ahead. The tool is commanded by its two speeds. The
policy is a flow head with chunks of 48 actions at 50 Hz, cloned from a reactive expert.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from palmar.data.normalize import Normalizer
from palmar.embodiments import Embodiment
from palmar.mapping import Interface
from palmar.models.acting import NeuralPolicy
from palmar.models.base import Batch, Inputs, Model, Prediction, PriorChunk
from palmar.models.generative import Flow, MLPConfig
from palmar.models.heads import FlowConfig
from palmar.models.tensors import read_tensors, write_tensors
from palmar.robot_parts import Channel, Measurement
from palmar.types import Array, Observation

RATE, HORIZON = 50.0, 48  # [Hz], actions
DT = 1.0 / RATE
SPEED, TURNS, ANGLE = 0.30, 0.8, 2.2  # of the target [m/s], turns a second, largest turn [rad]
FASTEST, GAIN = 0.9, 6.0  # of the tool [m/s], of the expert [1/s]
START = 0.15  # distance of the tool from the target at the beginning [m]
NOISE = 0.4  # standard deviation of what disturbs the tool's speed in demonstrations [m/s]
STATE = ("vx.vel", "vy.vel", "gap.x", "gap.y", "target.vx", "target.vy")


def robot() -> Embodiment:
    """Two speeds; it measures them, the way to the target, and the target's speed."""
    channels = tuple(
        Channel(n, "velocity", "m/s", -1.0, 1.0, 1.0, 20.0, sources=dict.fromkeys(("velocity", "acceleration"), "user"))
        for n in ("vx", "vy")
    )
    state = (
        *(Measurement(f"{c.name}.vel", "m/s", "position", c.name) for c in channels),
        *(Measurement(n, "m" if n.startswith("gap") else "m/s") for n in STATE[2:]),
    )
    return Embodiment("pursuit", channels, state=state, control_rate=RATE, policy_rate=RATE)


def paths(rng: np.random.Generator, count: int, steps: int) -> tuple[Array, Array]:
    """Positions [count, steps, 2] and velocities of as many targets."""
    heading = rng.uniform(-np.pi, np.pi, (count, 1))
    turns = (rng.random((count, steps)) < TURNS * DT) * rng.uniform(-ANGLE, ANGLE, (count, steps))
    heading = heading + np.cumsum(turns, 1)
    velocity = SPEED * np.stack([np.cos(heading), np.sin(heading)], -1)
    return np.cumsum(velocity, 1) * DT, velocity


def expert(gap: Array, velocity: Array) -> Array:
    """The tool's speed [..., 2]: the target's, and towards it."""
    wanted = velocity + GAIN * gap
    fast = np.linalg.norm(wanted, axis=-1, keepdims=True)
    return wanted * np.minimum(1.0, FASTEST / np.maximum(fast, 1e-9))


class Pursuit:
    """The body. gaps: distance to the target after every command [m]. A reset's seed is the whole path."""

    def __init__(self, seconds: float = 4.0) -> None:
        self.embodiment, self.steps = robot(), round(seconds * RATE) + 50

    def reset(self, seed: int | None = None) -> Observation:
        rng = np.random.default_rng([31, seed or 0])
        where, self._speeds = paths(rng, 1, self.steps)
        angle = rng.uniform(-np.pi, np.pi)
        self._where, self._speeds = where[0], self._speeds[0]
        self._tool = self._where[0] + START * np.array([np.cos(angle), np.sin(angle)])
        self._moving, self._index = np.zeros(2), 0
        self.gaps: list[float] = []
        return self.observe()

    def observe(self, images: bool = True) -> Observation:
        i = self._index
        state = np.concatenate([self._moving, self._where[i] - self._tool, self._speeds[i]])
        return Observation({}, state.astype(np.float32), "stay on the target", i * DT)

    def apply(self, command: Array) -> None:
        self._moving = np.array(command, float)
        self._tool = self._tool + self._moving * DT
        self._index += 1
        self.gaps.append(float(np.linalg.norm(self._where[self._index] - self._tool)))

    def close(self) -> None:
        """Nothing to give back."""


@dataclass(frozen=True)
class Piece:
    start: int
    stop: int


class Demonstrations:
    """Of the expert, disturbed so that they show how to come back (DART): what training reads of a data set."""

    cameras: Sequence[str] = ()
    state_names, action_names = STATE, ("vx", "vy")
    privileged_names: Sequence[str] = ()
    tasks: Sequence[str] = ("stay on the target",)
    image_sizes: Mapping[str, tuple[int, int]] = {}
    fps, robot_type = RATE, "pursuit"

    def __init__(self, episodes: int, seed: int, steps: int = 200) -> None:
        rng = np.random.default_rng([32, seed])
        where, velocity = paths(rng, episodes, steps)
        angle = rng.uniform(-np.pi, np.pi, episodes)
        tool = where[:, 0] + START * np.stack([np.cos(angle), np.sin(angle)], -1)
        moving, push = np.zeros_like(tool), np.zeros_like(tool)
        states, actions = [], []
        for i in range(steps):
            gap = where[:, i] - tool
            action = expert(gap, velocity[:, i])
            states.append(np.concatenate([moving, gap, velocity[:, i]], -1))
            actions.append(action)
            push = 0.9 * push + NOISE * np.sqrt(1 - 0.9**2) * rng.normal(size=push.shape)
            moving = action + push
            tool = tool + moving * DT
        self.states = np.stack(states, 1).reshape(-1, len(STATE)).astype(np.float32)
        self.actions = np.stack(actions, 1).reshape(-1, 2).astype(np.float32)
        self.episodes = [Piece(i * steps, (i + 1) * steps) for i in range(episodes)]
        self._stop = np.repeat([p.stop for p in self.episodes], steps)

    def __len__(self) -> int:
        return len(self.states)

    def batch(self, indices: Any, horizon: int) -> dict[str, Any]:
        at = np.asarray(indices)[:, None] + np.arange(horizon)
        stop = self._stop[indices][:, None]
        zeros = np.zeros(len(at), np.int64)
        return {
            "images": {}, "state": self.states[indices], "actions": self.actions[np.minimum(at, stop - 1)],
            "pad": at >= stop, "task": zeros, "done": zeros.astype(bool),
        }  # fmt: skip


@dataclass(frozen=True)
class StateConfig:
    """A state and a flow head. steps, batch: of its training."""

    width: int = 128
    steps: int = 3000
    batch: int = 256
    head: FlowConfig = field(default_factory=lambda: FlowConfig(MLPConfig(256, 2), Flow(5)))
    preset: str = "pursuit"
    max_tokens: int = 0
    offsets: tuple[int, ...] = (0,)

    def for_texts(self, texts: Sequence[str]) -> StateConfig:
        return self

    def build(self, interface: Interface) -> StateModel:
        return StateModel(self, interface)


class StateModel(Model):
    def __init__(self, config: StateConfig, interface: Interface) -> None:
        super().__init__()
        self.config, self.interface = config, interface
        self.look = nn.Sequential(nn.Linear(len(STATE), config.width), nn.SiLU(), nn.Linear(config.width, config.width))
        self.head = config.head.build(config.width, interface)

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        return self.head.loss(self.look(batch.state)[:, None], batch)

    def act(self, inputs: Inputs, prior: PriorChunk | None = None) -> Prediction:
        return Prediction(self.head.act(self.look(inputs.state)[:, None], prior))


def cloned(data: Demonstrations, folder: Path, config: StateConfig | None = None) -> NeuralPolicy:
    """The policy, trained on the demonstrations, or as it lies in the folder."""
    config = config or StateConfig()
    interface = replace(robot().interface(HORIZON), cameras={})
    states, actions = Normalizer.fit(data.states, names=STATE), Normalizer.fit(data.actions, names=("vx", "vy"))
    file = folder / "pursuit.safetensors"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = config.build(interface)
        if file.exists():
            model.load_state_dict(read_tensors(file)[0])
            return NeuralPolicy(model, states, actions)
        rng = np.random.default_rng(0)
        ends = np.array([p.stop for p in data.episodes])
        whole = np.flatnonzero(ends.repeat(ends[0]) - np.arange(len(data)) >= HORIZON)
        optimizer = torch.optim.AdamW(model.parameters(), 1e-3, weight_decay=1e-5)
        falling = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, config.steps)
        for step in range(config.steps):
            raw = data.batch(rng.choice(whole, config.batch), HORIZON)
            state = torch.from_numpy(states.forward(raw["state"]))
            empty = torch.zeros(len(state), 0)
            batch = Batch(
                {}, state, empty, empty.bool(), (), actions=torch.from_numpy(actions.forward(raw["actions"])),
                pad=torch.from_numpy(raw["pad"]), done=torch.from_numpy(raw["done"]), importance=torch.ones(2),
            )  # fmt: skip
            loss, parts = model.loss(batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            falling.step()
            if (step + 1) % 1000 == 0:
                print(f"step {step + 1} · loss {loss.item():.3f} · action {float(parts['action']):.3f}")
    folder.mkdir(parents=True, exist_ok=True)
    write_tensors(file, model.state_dict(), {})
    return NeuralPolicy(model, states, actions)
