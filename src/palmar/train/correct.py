"""Training a residual correction (`models.correction`) on top of a frozen policy.

Each row: the policy is asked at a frame i; k steps later its chunk's action k is there, the observation of frame i + k, and the
demonstration's action of frame i + k is what the corrected action shall be.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from palmar.data.mapped import interface_of
from palmar.data.mixture import check_alike
from palmar.data.normalize import Normalizer
from palmar.errors import BadValue
from palmar.models import correction as c
from palmar.models.base import pixels
from palmar.policy import Policy
from palmar.train.feed import Source, rng_of
from palmar.types import Array, Observation


@dataclass(frozen=True)
class CorrectConfig:
    """frames: at most so many frames at which the policy is asked. steps, batch_size, lr: of AdamW, the rate falling to 0 as a
    cosine. noise: standard deviation added to the normalised state. held_out: share of the episodes for the report."""

    frames: int = 4000
    steps: int = 2000
    batch_size: int = 256
    lr: float = 1e-3
    noise: float = 0.02
    held_out: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("frames", "steps", "batch_size"):
            if getattr(self, name) < 1:
                raise BadValue(f"{name} is {getattr(self, name)}; expected 1 or more. Next: a number above 0")


@dataclass(frozen=True)
class Asked:
    """What the policy answered. frame, stop: int64[N], where in the data set it was asked, and where that episode ends.
    chunks: float32[N, T, A], in the robot's units."""

    source: Source
    frame: Array
    stop: Array
    chunks: Array


def ask(policy: Policy, source: Source, dt: float, frames: int) -> Asked:
    """The policy's chunks at evenly spaced frames of each episode, in the order in which they were recorded. frames: about how
    many. Raises `BadValue` when it answers other channels than the data hold."""
    stride = max(1, len(source) // max(1, frames))
    if policy.interface.offsets != (0,):
        stride = 1  # it remembers pictures of every step
    where: list[int] = []
    stops: list[int] = []
    chunks: list[Array] = []
    for e in source.episodes:
        if len(where) >= frames:
            break
        policy.reset()
        for i in range(int(e.start), int(e.stop), stride):
            raw = source.batch(np.array([i]), 1)
            images = {name: x[0] for name, x in raw["images"].items()}
            text = source.tasks[int(raw["task"][0])]
            chunk = policy.act(Observation(images, np.asarray(raw["state"][0], np.float32), text, (i - e.start) * dt))
            if chunk.actions.shape[1] != len(source.action_names):
                raise BadValue(
                    f"the policy answers {chunk.actions.shape[1]} numbers an action, the data hold "
                    f"{len(source.action_names)}: {', '.join(source.action_names)}. Next: data of the policy's robot"
                )
            where.append(i)
            stops.append(int(e.stop))
            chunks.append(chunk.actions)
    return Asked(source, np.array(where), np.array(stops), np.stack(chunks).astype(np.float32))


def _first_held_out(asked: Asked, share: float) -> int:
    """Where the held-out frames begin: at the episode nearest to that share; of a single episode its last part is held out."""
    cut = int(len(asked.frame) * (1 - share))
    begins = np.flatnonzero(np.diff(asked.stop)) + 1
    return int(begins[np.abs(begins - cut).argmin()]) if len(begins) else cut


def train_correction(
    policy: Policy,
    base: str,
    data: Sequence[Source],
    out: str | Path,
    config: CorrectConfig | None = None,
    model: c.CorrectionConfig | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Train on data sets of the policy's robot and write the correction to the folder `out`.

    base: where the policy was loaded from. Raises `BadValue` for data of another rate or other actions, or of sets that differ.
    Returns the mean absolute error of the actions on held-out episodes, in the standard
    deviations of the data, of the policy's chunks as they are (`before`) and corrected (`after`), over all positions.
    """
    config = config or CorrectConfig()
    check_alike(data)
    asked = [ask(policy, source, policy.interface.dt, config.frames // len(data)) for source in data]
    say(f"asked the policy at {sum(len(a.frame) for a in asked)} frames")
    horizon = min(a.chunks.shape[1] for a in asked)
    states = np.concatenate([s.states for s in data])
    actions = np.concatenate([s.actions for s in data])
    first = data[0]
    interface = interface_of(first, horizon)
    scale_state = Normalizer.fit(states, names=tuple(first.state_names))
    scale_action = Normalizer.fit(actions, names=tuple(first.action_names))
    if abs(interface.dt / policy.interface.dt - 1) > 0.01:
        raise BadValue(
            f"the data hold {1 / interface.dt:g} actions a second, the policy answers {1 / policy.interface.dt:g}; expected one "
            "rate. Next: the data that the policy was trained on"
        )
    split = [_first_held_out(a, config.held_out) for a in asked]

    def rows(rng: np.random.Generator, size: int, held: bool) -> tuple[Any, ...]:
        a = int(rng.choice(len(asked), p=np.array([len(x.frame) for x in asked]) / sum(len(x.frame) for x in asked)))
        low, high = (split[a], len(asked[a].frame)) if held else (0, max(1, split[a]))
        n = rng.integers(min(low, high - 1), high, size)
        length = np.minimum(horizon, asked[a].stop[n] - asked[a].frame[n])
        k = (rng.random(size) * length).astype(np.int64)
        now = asked[a].source.batch(asked[a].frame[n] + k, 1)
        images = {name: pixels(torch.from_numpy(np.ascontiguousarray(x))) for name, x in now["images"].items()}
        state = torch.from_numpy(scale_state.forward(now["state"]))
        said = torch.from_numpy(scale_action.forward(asked[a].chunks[n, k]))
        return images, state, said, torch.from_numpy(k), torch.from_numpy(scale_action.forward(now["actions"][:, 0]))

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        net = (model or c.CorrectionConfig()).build(interface)
        seen = [rows(rng_of(config.seed, i, 9), 1024, False) for i in range(2)]
        net.fit(torch.cat([true - said for _, _, said, _, true in seen]))
        optimizer = torch.optim.AdamW(net.parameters(), config.lr, weight_decay=1e-4)
        falling = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, config.steps)
        for step in range(config.steps):
            images, state, said, k, true = rows(rng_of(config.seed, step, 10), config.batch_size, False)
            residual = net(images, state + config.noise * torch.randn_like(state), said, k)
            loss = F.smooth_l1_loss(said + residual, true, beta=0.1)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
            falling.step()
            if (step + 1) % max(1, config.steps // 5) == 0:
                say(f"correction {step + 1}/{config.steps} · loss {loss.item():.4f}")
    net.eval()
    with torch.no_grad():
        images, state, said, k, true = rows(rng_of(config.seed, 0, 11), 2048, True)
        before, after = (
            float((said - true).abs().mean()),
            float((said + net(images, state, said, k) - true).abs().mean()),
        )
    told = {"before": before, "after": after}
    c.save(out, net, scale_state, scale_action, base, {"train": asdict(config)} | told)
    return told
