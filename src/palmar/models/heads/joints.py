"""Joint positions and velocities within limits, by regression."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from palmar.errors import BadValue
from palmar.mapping import Interface
from palmar.models.heads.base import Head, Regression

if TYPE_CHECKING:
    from palmar.data.normalize import Normalizer
    from palmar.types import Array


@dataclass(frozen=True)
class JointPositionConfig:
    """Joint targets inside limits, and no faster than a velocity.

    low, high: limits; one number for all or one an action [rad or m]; empty: the range of the training actions and MARGIN
    of it on either side. max_velocity [rad/s or m/s] between the steps of a chunk, 0 for none; displacements of an
    `ee_delta` interface and the gripper are not held to it. Before `fit` the units are the normalised ones, the limits
    of an empty range ±5.
    """

    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    max_velocity: float = 0.0
    hidden: int = 256

    def build(self, width: int, interface: Interface) -> Head:
        return JointPositionHead(self, width, interface)


class JointPositionHead(Regression):
    """tanh scaled to the limits; later steps of a velocity-limited joint are the first plus bounded increments."""

    def __init__(self, config: JointPositionConfig, width: int, interface: Interface) -> None:
        super().__init__()
        self.low: Tensor
        self.high: Tensor
        self.step: Tensor
        actions = len(interface.action_names)
        self.shape = (interface.horizon, actions)
        self.out = nn.Sequential(
            nn.Linear(width, config.hidden), nn.ReLU(), nn.Linear(config.hidden, interface.horizon * actions)
        )
        low, high = (
            per_action(config.low or (-5.0,), actions, "limits"),
            per_action(config.high or (5.0,), actions, "limits"),
        )
        if not all(a < b for a, b in zip(low, high, strict=True)):
            raise BadValue(f"limits from {config.low} to {config.high}; expected low < high")
        self.config, self.dt, self.names = config, interface.dt, interface.action_names
        self.register_buffer("low", torch.tensor(low))
        self.register_buffer("high", torch.tensor(high))
        self.register_buffer("step", torch.full((actions,), config.max_velocity * interface.dt))
        self.limited = [config.max_velocity > 0 and n not in UNLIMITED for n in interface.action_names]

    @torch.no_grad()
    def fit(self, actions: Array, normalizer: Normalizer) -> None:
        """Limits in the units that the normaliser makes of the robot's; a constant dimension stays 0. Raises `BadValue` for
        data beyond them."""
        config = self.config
        low, high = limits_of(actions, config.low, config.high, self.names)
        self.low.copy_(torch.from_numpy(normalizer.forward(low)))
        self.high.copy_(torch.from_numpy(normalizer.forward(high)))
        step = config.max_velocity * self.dt / np.where(normalizer.constant, np.inf, normalizer.scale)
        self.step.copy_(torch.from_numpy(step))

    def forward(self, context: Tensor) -> Tensor:
        raw = self.out(context.mean(1)).unflatten(-1, self.shape).float().tanh()
        inside = (self.high + self.low) / 2 + (self.high - self.low) / 2 * raw
        if not any(self.limited) or self.shape[0] == 1:
            return inside
        moves = torch.cat([inside[:, :1], self.step * raw[:, 1:]], 1)
        slow = moves.cumsum(1)
        slow = torch.minimum(torch.maximum(slow, self.low), self.high)  # clipping never makes a step longer
        return torch.where(torch.tensor(self.limited, device=raw.device), slow, inside)


MARGIN = 0.05


UNLIMITED = ("dx", "dy", "dz", "drx", "dry", "drz", "gripper")  # actions that are no joint positions


def limits_of(actions: Array, low: Sequence[float], high: Sequence[float], names: Sequence[str]) -> tuple[Array, Array]:
    """Lowest and highest answer, float[A]: as given, or (empty) the range of training actions [n, A] and MARGIN of it on
    either side. Raises `BadValue` for training actions that lie further than that outside what is given."""
    least, most = actions.min(0).astype(float), actions.max(0).astype(float)
    margin = MARGIN * (most - least)
    lowest = np.ones_like(least) * low if low else least - margin
    highest = np.ones_like(most) * high if high else most + margin
    beyond = np.flatnonzero((least < lowest - margin - 1e-6) | (most > highest + margin + 1e-6))
    if len(beyond):
        i = int(beyond[0])
        raise BadValue(
            f"the head answers {lowest[i]:g} … {highest[i]:g} for action '{names[i]}', and the data reach from {least[i]:g} to "
            f"{most[i]:g}: it could never do what was shown. Next: wider limits, or none (the range of the data is taken)"
        )
    return lowest, highest


def per_action(values: Sequence[float], actions: int, what: str) -> list[float]:
    """A numbers from one for all or one each."""
    if len(values) not in (1, actions):
        raise BadValue(f"{len(values)} {what} for {actions} actions; expected 1 or {actions}")
    return [*values] * (actions // len(values))


@dataclass(frozen=True)
class JointVelocityConfig:
    """max_velocity: one for all or one an action [rad/s or m/s]; empty: the range of the training actions and MARGIN of it on
    either side. Before `fit` the units are the normalised ones, and an empty limit is 5."""

    max_velocity: tuple[float, ...] = ()
    hidden: int = 256

    def build(self, width: int, interface: Interface) -> Head:
        return JointVelocityHead(self, width, interface)


class JointVelocityHead(Regression):
    """tanh scaled to the lowest and highest velocity."""

    def __init__(self, config: JointVelocityConfig, width: int, interface: Interface) -> None:
        super().__init__()
        self.low: Tensor
        self.high: Tensor
        actions = len(interface.action_names)
        most = per_action(config.max_velocity or (5.0,), actions, "velocities")
        if min(most) <= 0:
            raise BadValue(f"largest velocities {config.max_velocity}; expected numbers above 0")
        self.config, self.names, self.shape = config, interface.action_names, (interface.horizon, actions)
        self.register_buffer("low", -torch.tensor(most))
        self.register_buffer("high", torch.tensor(most))
        self.out = nn.Sequential(
            nn.Linear(width, config.hidden), nn.ReLU(), nn.Linear(config.hidden, interface.horizon * actions)
        )

    def forward(self, context: Tensor) -> Tensor:
        raw = self.out(context.mean(1)).unflatten(-1, self.shape).float().tanh()
        return (self.high + self.low) / 2 + (self.high - self.low) / 2 * raw

    @torch.no_grad()
    def fit(self, actions: Array, normalizer: Normalizer) -> None:
        """Limits in the units that the normaliser makes of the robot's. Raises `BadValue` for data beyond them."""
        most = self.config.max_velocity
        low, high = limits_of(actions, tuple(-v for v in most), most, self.names)
        self.low.copy_(torch.from_numpy(normalizer.forward(low)))
        self.high.copy_(torch.from_numpy(normalizer.forward(high)))
