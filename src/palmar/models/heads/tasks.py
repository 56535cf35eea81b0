"""One head a task, and a classifier of the task."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from palmar.mapping import Interface
from palmar.models.base import Batch, PriorChunk
from palmar.models.guidance import blended
from palmar.models.heads.base import Head, Parts, heads_in, over_chunk
from palmar.models.heads.chunk import ChunkConfig
from palmar.models.heads.regression import RegressionConfig
from palmar.models.layers import mean_where

if TYPE_CHECKING:
    from palmar.data.normalize import Normalizer
    from palmar.types import Array


TASK_WORDS = {
    "pick": ("pick", "grasp", "grab", "lift", "take", "fetch", "raise"),
    "place": ("place", "put", "set", "drop", "lay", "deposit", "stow", "stack"),
    "push": ("push", "slide", "shove", "nudge", "sweep"),
    "pull": ("pull", "drag", "tug", "draw"),
    "open": ("open", "unlatch"),
    "close": ("close", "shut"),
}


def task_of(text: str, tasks: Sequence[str]) -> int:
    """Which of `tasks` an instruction names by its first telling word; -100 (nothing to learn from) for none."""
    for word in re.findall(r"[a-z]+", text.lower()):
        for i, task in enumerate(tasks):
            if word in TASK_WORDS.get(task, (task,)):
                return i
    return -100


@dataclass(frozen=True)
class TaskHeadsConfig:
    """tasks: names; those of `TASK_WORDS` are known by several words, another by its own. head: what each task has."""

    head: RegressionConfig = field(default_factory=ChunkConfig)
    tasks: tuple[str, ...] = tuple(TASK_WORDS)
    classify: float = 0.1

    def build(self, width: int, interface: Interface) -> Head:
        return TaskHeads(self, width, interface)


class TaskHeads(Head):
    """A classifier of the task and a regression head for each; the likeliest task acts.

    Trained with every head weighted by the true task, or by the classifier where the words name none; the classifier with
    cross-entropy on the tasks that the words name.
    """

    def __init__(self, config: TaskHeadsConfig, width: int, interface: Interface) -> None:
        super().__init__()
        self.config = config
        self.classifier = nn.Sequential(nn.Linear(width, 64), nn.ReLU(), nn.Linear(64, len(config.tasks)))
        self.heads = nn.ModuleList(config.head.build(width, interface) for _ in config.tasks)

    def fit(self, actions: Array, normalizer: Normalizer) -> None:
        for head in heads_in(self.heads):
            head.fit(actions, normalizer)

    def answers(self, context: Tensor) -> tuple[Tensor, Tensor]:
        """Logits [B, K] of the tasks, and what each head says [B, K, T, A]."""
        said = torch.stack([head(context).float() for head in self.heads], 1)
        return self.classifier(context.mean(1)).float(), said

    def named(self, batch: Batch) -> Tensor:
        """int64[B]: the task that the words of each row name, -100 for none."""
        if len(batch.texts) != len(batch.state):
            return torch.full((len(batch.state),), -100, device=batch.state.device)
        return torch.tensor([task_of(t, self.config.tasks) for t in batch.texts], device=batch.state.device)

    def masks(self, batch: Batch) -> dict[str, Tensor]:
        return {"named": self.named(batch) >= 0}

    def loss(self, context: Tensor, batch: Batch) -> tuple[Tensor, Parts]:
        logits, said = self.answers(context)
        task = self.named(batch)
        named = task >= 0
        chosen = torch.where(named[:, None], F.one_hot(task.clamp(min=0), logits.shape[1]).float(), logits.softmax(-1))
        error = (chosen[:, :, None, None] * (said - batch.actions[:, None]).abs()).sum(1)
        action = over_chunk(error, batch)
        each = batch.each("named")
        wrong = mean_where(F.cross_entropy(logits, task, ignore_index=-100, reduction="none"), named, each)
        right = mean_where((logits.argmax(-1) == task).float(), named, each)
        return action + self.config.classify * wrong, {"action": action, "task": wrong, "task_accuracy": right}

    def act(self, context: Tensor, prior: PriorChunk | None = None) -> Tensor:
        logits, said = self.answers(context)
        return blended(said[torch.arange(len(said), device=said.device), logits.argmax(-1)], prior)
