"""One action after the other from a recurrent state, by regression."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from palmar.mapping import Interface
from palmar.models.base import PriorChunk
from palmar.models.heads.base import Head, Regression

if TYPE_CHECKING:
    pass


@dataclass(frozen=True)
class GRUConfig:
    """A recurrent trajectory: each action is fed back to make the next."""

    recurrent: int = 128

    def build(self, width: int, interface: Interface) -> Head:
        return GRUHead(self, width, interface)


class GRUHead(Regression):
    """Trained as it acts, on its own previous actions, so that it learns to correct them. Committed actions of a running chunk
    take the place of its own: what follows is conditioned on them."""

    def __init__(self, config: GRUConfig, width: int, interface: Interface) -> None:
        super().__init__()
        actions = len(interface.action_names)
        self.horizon, self.actions = interface.horizon, actions
        self.begin = nn.Linear(width, config.recurrent)
        self.cell = nn.GRUCell(actions, config.recurrent)
        self.out = nn.Linear(config.recurrent, actions)

    def act(self, context: Tensor, prior: PriorChunk | None = None) -> Tensor:
        return self(context, prior).float()

    def forward(self, context: Tensor, prior: PriorChunk | None = None) -> Tensor:
        state = torch.tanh(self.begin(context.mean(1)))
        action, steps = state.new_zeros(len(state), self.actions), []
        known = 0 if prior is None else prior.committed
        for i in range(self.horizon):
            state = self.cell(action, state)
            action = action + self.out(state) if prior is None or i >= known else prior.actions[:, i].to(action)
            steps.append(action)
        return torch.stack(steps, 1)
