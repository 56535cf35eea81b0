"""Teacher → student: learn what a teacher would do on the same frames, beside what the demonstrator did.

    loss = (1 - weight) · behaviour cloning + weight · distance(student, teacher)

With data that the student collected (`train.dagger`), that is distillation on the states the student visits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from palmar.errors import BadValue
from palmar.mapping import Interface
from palmar.models.acting import NeuralPolicy
from palmar.models.base import Batch, Inputs, Model, pixels
from palmar.models.heads import over_chunk
from palmar.models.privileged import Privileged
from palmar.policy import Policy
from palmar.types import Array, Observation

Distance = Literal["own", "l1", "kl"]


class Teacher(Protocol):
    """Anything that gives actions for frames."""

    def __call__(self, raw: Mapping[str, Any], texts: tuple[str, ...]) -> Array:
        """raw: arrays of the batch (images, state, privileged where the set has it); [B, T, A] in natural units."""
        ...


@dataclass(frozen=True)
class Distill:
    """An objective for `train.loop.train`.

    action: the student's action normaliser, as [offset, scale] arrays (`Normalizer`); None: that of the run, which the run gives
    (`bound`). distance: own, the student's own loss
    against the teacher's chunk, for every head (cross-entropy on the teacher's tokens, flow towards the teacher's chunk);
    l1 of the chunks; kl between Gaussians of deviation `sigma` (normalised) about both chunks, which is their squared
    distance over 2 σ². The last two need a head whose `act` has a gradient. Pictures are given to the teacher as they are
    in the batch, shifts included. A teacher that plans fewer steps than the student is followed for these, the demonstrator for the
    rest of the chunk.
    """

    teacher: Teacher
    action: Any = None
    weight: float = 0.5
    distance: Distance = "own"
    sigma: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.weight <= 1 or not self.sigma > 0 or self.distance not in ("own", "l1", "kl"):
            raise BadValue(
                f"weight {self.weight}, distance '{self.distance}', sigma {self.sigma}; expected 0 … 1, own, l1 or kl, > 0. "
                "Next: leave them out for the defaults"
            )

    def bound(self, action: Any) -> Distill:
        """With the run's action normaliser where none was given."""
        return self if self.action is not None else replace(self, action=action)

    def __call__(self, model: Model, batch: Batch, raw: Mapping[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        self._check(model)
        with torch.no_grad():
            wish = self.teacher(raw, tuple(batch.texts))
        goal = torch.from_numpy(np.asarray(self.action.forward(wish), np.float32)).to(batch.actions.device)
        if (
            goal.ndim == 3
            and 0 < goal.shape[1] < batch.actions.shape[1]
            and goal.shape[::2] == batch.actions.shape[::2]
        ):
            goal = torch.cat([goal, batch.actions[:, goal.shape[1] :]], 1)
        if goal.shape != batch.actions.shape:
            raise BadValue(
                f"the teacher gave {list(goal.shape)}; expected {list(batch.actions.shape)} (B, T, A). "
                "Next: a teacher of the student's chunk and actions"
            )
        cloned, parts = model.loss(batch)
        if self.distance == "own":
            away, _ = model.loss(replace(batch, actions=goal))
        else:
            away = self._away(model.act(batch).actions, goal, batch)
        total = (1 - self.weight) * cloned + self.weight * away
        return total, parts | {"teacher": away.detach(), "loss": total.detach()}

    def _check(self, model: Model) -> None:
        """Raise `BadValue` when the teacher or the normaliser has other names, or the same in another order."""
        if self.action is None:
            raise BadValue(
                "the objective has no action normaliser. Next: train(TrainRequest(objective=…)), which gives it"
            )
        ours = model.interface
        theirs = self.teacher.interface if isinstance(self.teacher, NeuralTeacher) else None
        given: tuple[str, ...] = tuple(getattr(self.action, "names", ()))
        pairs = [("the normaliser's actions", given, ours.action_names)] if given else []
        if theirs is not None:
            pairs += [
                ("the teacher's states", theirs.state_names, ours.state_names),
                ("the teacher's actions", theirs.action_names, ours.action_names),
            ]
            if lacking := [c for c in theirs.cameras if c not in ours.cameras]:
                raise BadValue(
                    f"the teacher looks through '{lacking[0]}'; the student has {', '.join(ours.cameras)}. "
                    "Next: a teacher with the student's cameras"
                )
        for what, its, mine in pairs:
            if tuple(its) != tuple(mine):
                raise BadValue(
                    f"{what} are {', '.join(its)}; the student has {', '.join(mine)}. Next: a teacher of the same robot, or its "
                    "policy behind palmar.mapping.MappedPolicy"
                )

    def _away(self, said: Tensor, goal: Tensor, batch: Batch) -> Tensor:
        if not said.requires_grad:
            raise BadValue(
                f"this head's act has no gradient, so distance='{self.distance}' cannot teach it. Next: distance='own'"
            )
        difference = said - goal
        away = difference.abs() if self.distance == "l1" else difference.square() / (2 * self.sigma**2)
        return over_chunk(away, batch)


class NeuralTeacher:
    """A trained policy on whole batches; it need not have the student's normalisation or size, only its names."""

    def __init__(self, policy: NeuralPolicy) -> None:
        self.policy = policy

    @property
    def interface(self) -> Interface:
        """What the student is compared with."""
        return self.policy.interface

    @torch.no_grad()
    def __call__(self, raw: Mapping[str, Any], texts: tuple[str, ...]) -> Array:
        policy = self.policy
        tokens, mask = (x.to(policy.device) for x in policy.sentences(list(texts)))
        state = torch.from_numpy(np.asarray(policy.normalizers["state"].forward(raw["state"]), np.float32))
        images = {c: pixels(torch.from_numpy(np.ascontiguousarray(raw["images"][c]))) for c in policy.interface.cameras}
        images = {c: x.to(policy.device) for c, x in images.items()}
        out = policy.model.eval().act(Inputs(images, state.to(policy.device), tokens, mask, texts))
        return policy.normalizers["action"].inverse(out.actions.float().cpu().numpy())


class PrivilegedTeacher(NeuralTeacher):
    """A teacher that reads simulator truth, on whole batches. names: of the truth that the student's data set tells
    (`Dataset.privileged_names`). It needs neither the student's cameras nor its state names behind its own. Raises `BadValue`
    where the set lacks a column."""

    def __init__(self, policy: Privileged, names: Sequence[str]) -> None:
        super().__init__(policy.inner)
        self.reads, self.names = policy.among(names), tuple(names)

    @property
    def interface(self) -> Interface:
        """Its own channels, without the truth."""
        return self.reads.interface

    def __call__(self, raw: Mapping[str, Any], texts: tuple[str, ...]) -> Array:
        return super().__call__({**raw, "state": self.reads.rows(raw["state"], raw["privileged"], self.names)}, texts)


class PolicyTeacher:
    """Any `Policy`, frame by frame: slow, and enough for a privileged one that reads `Observation.privileged`."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy

    def __call__(self, raw: Mapping[str, Any], texts: tuple[str, ...]) -> Array:
        chunks = []
        for b, text in enumerate(texts):
            images = {c: np.ascontiguousarray(x[b] if x.ndim == 4 else x[b, -1]) for c, x in raw["images"].items()}
            truth = raw["privileged"][b] if "privileged" in raw else None
            self.policy.reset()
            chunks.append(self.policy.act(Observation(images, raw["state"][b], text, 0.0, truth)).actions)
        horizon = raw["actions"].shape[1]
        if min(len(c) for c in chunks) < horizon:
            raise BadValue(
                f"the teacher plans {min(len(c) for c in chunks)} steps; the student learns {horizon}. "
                "Next: a student with a shorter horizon"
            )
        return np.stack([c[:horizon] for c in chunks])
