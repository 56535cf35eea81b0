"""A teacher: a small MLP from numbers alone (the robot's state and simulator truth) to a chunk of actions; it has no eyes.

It is trained by cloning (`train.teacher`) or by trial (`train.reinforce`), and drives through `models.privileged`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from palmar.errors import BadValue
from palmar.mapping import Interface
from palmar.models.base import Batch, Inputs, Model, Prediction, PriorChunk
from palmar.models.encoders import TOKEN_WIDTH, enough_tokens
from palmar.models.heads.chunk import ChunkHead
from palmar.models.heads.done import DoneHead

ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh}


@dataclass(frozen=True)
class TeacherConfig:
    """hidden: widths of the layers. words: width that the instruction is reduced to, 0 for a teacher of one task that reads none.
    noise: added to the normalised state in training. clip: actions within ± so much of the normalised scale; None: any. limit: what
    a normalised number is cut at. done: weight of saying when it is fulfilled; None: it does not say."""

    hidden: tuple[int, ...] = (256, 256)
    activation: Literal["relu", "tanh"] = "relu"
    words: int = 16
    noise: float = 0.01
    limit: float = 10.0
    clip: float | None = None
    done: float | None = 0.1
    tokens: int = 32
    preset: str = "teacher-mlp"

    def __post_init__(self) -> None:
        if not self.hidden or min(self.hidden) < 1 or self.words < 0 or not self.limit > 0:
            raise BadValue(
                f"a teacher of layers {self.hidden}, words {self.words}, limit {self.limit}; expected widths ≥ 1, words ≥ 0, a "
                "limit > 0. Next: leave them out for the defaults"
            )

    @property
    def max_tokens(self) -> int:
        return self.tokens if self.words else 0

    @property
    def offsets(self) -> tuple[int, ...]:
        return (0,)

    def for_texts(self, texts: Sequence[str]) -> TeacherConfig:
        """See `ModelConfig`."""
        return replace(self, tokens=enough_tokens(texts, self.tokens)) if self.words else self

    def build(self, interface: Interface) -> Teacher:
        return Teacher(self, interface)


class Teacher(Model):
    """State [B, S], and the mean of the instruction's token vectors → layers → a chunk [B, T, A]."""

    roles: ClassVar[Mapping[str, Sequence[str]]] = {"head": ("head", "finished"), "language": ("words",)}

    def __init__(self, config: TeacherConfig, interface: Interface) -> None:
        super().__init__()
        if not interface.state_names:
            raise BadValue("a teacher acts from numbers, and the data have no state. Next: another preset")
        self.config: TeacherConfig = config
        self.interface = interface
        self.words = nn.Linear(TOKEN_WIDTH, config.words) if config.words else None
        widths = [len(interface.state_names) + config.words, *config.hidden]
        self.body = nn.Sequential()
        for inside, out in pairwise(widths):
            self.body.append(nn.Linear(inside, out))
            self.body.append(ACTIVATIONS[config.activation]())
        self.head = ChunkHead(widths[-1], interface.horizon, len(interface.action_names))
        self.finished = None if config.done is None else DoneHead(widths[-1])

    def think(self, inputs: Inputs) -> Tensor:
        """float32[B, width of the last layer]."""
        state = torch.nan_to_num(inputs.state.float()).clamp(-self.config.limit, self.config.limit)
        if self.training and self.config.noise > 0:
            state = state + self.config.noise * torch.randn_like(state)
        if self.words is not None:
            mask = inputs.mask[..., None].to(state.dtype)
            mean = (inputs.tokens.to(state.dtype) * mask).sum(1) / mask.sum(1).clamp(min=1)
            state = torch.cat([state, self.words(mean)], -1)
        return self.body(state)

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """L1 of the chunk, and the cross-entropy of done. Parts: action, done, loss."""
        seen = self.think(batch)
        total, parts = self.head.loss(seen[:, None], batch)
        if self.finished is not None and self.config.done is not None:
            done = DoneHead.loss(self.finished(seen).float(), batch)
            total, parts = total + self.config.done * done, parts | {"done": done}
        return total, {k: v.detach() for k, v in (parts | {"loss": total}).items()}

    def act(self, inputs: Inputs, prior: PriorChunk | None = None) -> Prediction:
        seen = self.think(inputs)
        actions = self.head.act(seen[:, None], prior)
        if self.config.clip is not None:
            actions = actions.clamp(-self.config.clip, self.config.clip)
        return Prediction(actions, None if self.finished is None else self.finished(seen), features=seen)
