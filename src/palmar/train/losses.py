"""From a batch to gradients: what is minimised, in how many pieces, and what a model said about itself.

The plain case is `model.loss(batch)` and one backward. Everything else is that same call on parts of the batch, so that it
works with every model: tasks with weights of their own, accumulation, mixup, and questions about pictures.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from palmar.models.base import Batch, Model, Prediction
from palmar.train.web import Questions, speaker
from palmar.train.world import World
from palmar.types import Array

Parts = dict[str, Tensor]
D = TypeVar("D")


class Objective(Protocol):
    """What to minimise on a batch; raw: the arrays it was made of, un-normalised."""

    def __call__(self, model: Model, batch: Batch, raw: Mapping[str, Any]) -> tuple[Tensor, Parts]: ...


def own_loss(model: Model, batch: Batch, raw: Mapping[str, Any]) -> tuple[Tensor, Parts]:
    """The model's own."""
    return model.loss(batch)


@dataclass(frozen=True)
class Asked:
    """One step's arrays: robot frames, and perhaps questions about pictures."""

    raw: Mapping[str, Any]
    questions: Questions | None = None


@dataclass(frozen=True)
class Descent:
    """One step down: batch → gradients on the model's parameters.

    weights: loss weight of each task (`Feed.families`). pieces: how many backward passes a batch is cut into, to need less
    memory. bf16: compute in bfloat16. world: the processes whose gradients will be averaged.

    The gradient (averaged over the processes) is that of the loss of the whole batch: masked means are divided by what the
    whole batch has (`Batch.density`), means over rows are weighted by rows.
    """

    objective: Objective = own_loss
    weights: Sequence[float] = ()
    pieces: int = 1
    bf16: bool = False
    world: World = field(default_factory=World)

    def __call__(self, model: Model, batch: Batch, asked: Asked) -> Parts:
        """Adds to the gradients; the parts of the loss by name, averaged over the rows as the loss is."""
        rows, questions = len(batch.state), asked.questions
        total = rows + (len(questions.prompts) if questions is not None else 0)
        sums: Parts = {}
        device = batch.state.device.type
        pieces = list(self._split(rows, np.asarray(asked.raw["family"])))
        if len(pieces) > 1 or self.world.size > 1:
            batch = replace(batch, density=self._density(model, batch))
        for piece, weight in pieces:
            part = batch if piece is None else take(batch, piece)
            raw = asked.raw if piece is None else take_raw(asked.raw, piece)
            with torch.autocast(device, torch.bfloat16) if self.bf16 else nullcontext():
                loss, parts = self.objective(model, part, raw)
            share = len(part.state) / total
            (loss if share == weight == 1.0 else loss * (weight * share)).backward()
            of_robot = len(part.state) / rows
            for name, value in parts.items():
                sums[name] = sums.get(name, value.new_zeros(())) + value * of_robot if of_robot < 1 else value
        if questions is not None:
            with torch.autocast(device, torch.bfloat16) if self.bf16 else nullcontext():
                said = speaker(model)(questions.images, questions.prompts, questions.answers).mean()
            (said * (len(questions.prompts) / total)).backward()
            sums["language"] = said.detach()
        return sums

    def _density(self, model: Model, batch: Batch) -> dict[str, float]:
        """How many true entries each of the model's masks has a row, over all processes, which have equally many rows."""
        counts = {name: float(mask.sum()) / len(batch.state) for name, mask in model.masks(batch).items()}
        return self.world.means(counts, str(batch.state.device))

    def _split(self, rows: int, family: Array) -> Iterator[tuple[Array | None, float]]:
        """(rows, weight) of each backward pass; None for all rows."""
        weight = np.ones(rows) if not self.weights else np.asarray(self.weights)[family]
        if self.pieces == 1 and (weight == weight[0]).all():
            yield None, float(weight[0])
            return
        for value in np.unique(weight):
            alike = np.flatnonzero(weight == value)
            pieces = min(len(alike), max(1, round(self.pieces * len(alike) / rows)))
            for piece in np.array_split(alike, pieces):
                yield piece, float(value)


def take(batch: D, rows: Array) -> D:
    """Some rows of a batch (or of any dataclass of tensors whose first axis is the batch). `importance` has no rows."""
    index = torch.from_numpy(np.asarray(rows, np.int64))

    def pick(name: str, value: Any) -> Any:
        if name == "importance" or value is None:
            return value
        if isinstance(value, Tensor):
            return value[index.to(value.device)] if value.ndim else value
        if isinstance(value, Mapping):
            return {k: pick(k, v) for k, v in value.items()}
        if is_dataclass(value) and not isinstance(value, type):
            return take(value, rows)
        return tuple(value[int(i)] for i in rows) if isinstance(value, tuple | list) and value else value

    picked = {f.name: pick(f.name, getattr(batch, f.name)) for f in fields(batch)}  # type: ignore[arg-type]
    return replace(batch, **picked)  # type: ignore[type-var]


def take_raw(raw: Mapping[str, Any], rows: Array) -> dict[str, Any]:
    def pick(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {k: pick(v) for k, v in value.items()}
        return value[rows] if isinstance(value, np.ndarray) else value

    return {k: pick(v) for k, v in raw.items()}


def mixed(batch: Batch, alpha: float, family: Array, rng: np.random.Generator) -> Batch:
    """Mixup (Zhang et al. 2018, arXiv 1710.09412): every row with a little of another of its task.

    Pictures, state and actions are mixed, λ ~ Beta(alpha, alpha) towards the row itself; words, labels and `done` stay the
    row's own, and a step is padding when it is so in either.
    """
    partner = np.arange(len(family))
    for f in np.unique(family):
        alike = np.flatnonzero(family == f)
        partner[alike] = alike[rng.permutation(len(alike))]
    drawn = rng.beta(alpha, alpha, len(family))
    share = torch.from_numpy(np.maximum(drawn, 1 - drawn).astype(np.float32)).to(batch.state.device)
    other = take(batch, partner)

    def mix(a: Tensor, b: Tensor) -> Tensor:
        w = share.view(-1, *[1] * (a.ndim - 1)).to(a.dtype)
        return torch.lerp(b, a, w)

    images = {c: mix(x, other.images[c]) for c, x in batch.images.items()}
    return replace(
        batch, images=images, state=mix(batch.state, other.state), actions=mix(batch.actions, other.actions),
        pad=batch.pad | other.pad,
    )  # fmt: skip


def jiggled(batch: Batch, std: float) -> Batch:
    """Noise of `std` (normalised) on the actions. Uses torch's generator."""
    noise = std * torch.randn(batch.actions.shape, device=batch.actions.device)
    return replace(batch, actions=batch.actions + noise)


# ---------------------------------------------------------------------------------------------- how good it is


@dataclass
class Judged:
    """Sums over validation batches of what a prediction shows by itself, whatever the model's loss.

    spread: standard deviation of the predictions over that of the labels: near 0 when all answers are alike.
    jitter: root mean square second difference along the chunk, over the labels' (plus a tenth, in normalised units).
    error: mean absolute error of each task.
    """

    predicted: list[Tensor]
    labels: list[Tensor]
    errors: list[Tensor]
    family: list[Array]
    bends: Array

    @classmethod
    def empty(cls) -> Judged:
        return cls([], [], [], [], np.zeros(3))

    def add(self, out: Prediction, batch: Batch, family: Array) -> None:
        active = batch.importance > 0
        said, truth = out.actions.float()[..., active], batch.actions[..., active]
        real = ~batch.pad
        self.predicted.append(said[:, 0].cpu())
        self.labels.append(truth[:, 0].cpu())
        steps = real.sum(1).clamp(min=1)
        error = ((said - truth).abs().mean(-1) * real).sum(1) / steps
        error = torch.where(real.any(1), error, torch.full_like(error, torch.nan))
        self.errors.append(error.cpu())
        self.family.append(family)
        if said.shape[1] > 2:
            inner = (real[:, 2:]).float()
            squares = [(x.diff(n=2, dim=1).square().mean(-1) * inner).sum() for x in (said, truth)]
            self.bends += [float(squares[0]), float(squares[1]), float(inner.sum())]

    def row(self, families: Sequence[str]) -> dict[str, float]:
        """For metrics.jsonl: val_spread, val_jitter, val_error/TASK (with two tasks or more)."""
        if not self.predicted:
            return {}
        said, truth = torch.cat(self.predicted), torch.cat(self.labels)
        out: dict[str, float] = {}
        if len(said) > 1 and said.shape[1]:
            out["val_spread"] = float((said.std(0) / truth.std(0).clamp(min=1e-3)).mean())
        if self.bends[2]:
            mine, theirs = np.sqrt(self.bends[:2] / self.bends[2])
            out["val_jitter"] = float(mine / (theirs + 0.1))
        family, error = np.concatenate(self.family), torch.cat(self.errors).numpy()
        named = [i for i in np.unique(family) if families[i] and np.isfinite(error[family == i]).any()]
        if len(named) > 1:
            out |= {f"val_error/{families[i]}": float(np.nanmean(error[family == i])) for i in named}
        return out
