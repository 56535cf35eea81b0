"""PaLM-E: a language model that sees, feels the joint state, answers with a plan in words, and whose next skill acts.

pictures, state, question → VLM → "move to the red cube ; grasp the red cube ; …". What the model has understood when it
ends its first skill steers the action head: the skill library in one network. Source: arXiv 2303.03378.

In training the plan is written by `plans`: what is left of it is told by the gripper command and by whether the
instruction is fulfilled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from palmar.mapping import Interface
from palmar.models.base import Batch, Inputs, Prediction, PriorChunk, check_pictures
from palmar.models.heads import ChunkHead, DoneHead
from palmar.models.layers import divided
from palmar.models.objects import objects_loss
from palmar.models.plans import plan_of, remaining
from palmar.models.speaking import Speaking, SpeakingConfig
from palmar.models.token_vla import DONE
from palmar.models.vlm import VLM, VLMConfig, pad

STOP = ";"  # ends a skill


@dataclass(frozen=True)
class PalmEConfig(SpeakingConfig):
    """hidden: of the action head. plan: how much the words count beside the actions. longest: words of a plan."""

    vlm: VLMConfig = field(default_factory=VLMConfig)
    hidden: int = 256
    plan: float = 0.3
    longest: int = 48
    prompt: str = "How would you {instruction}?"
    preset: str = "palme"

    def build(self, interface: Interface) -> PalmE:
        return PalmE(self, interface)


class PalmE(Speaking):
    """See the module's head."""

    roles: ClassVar[Mapping[str, Sequence[str]]] = {
        **Speaking.roles,
        "head": ("state_in", "skill", "head", "finished"),
    }

    def __init__(self, config: PalmEConfig, interface: Interface) -> None:
        super().__init__()
        check_pictures(interface)
        self.config: PalmEConfig = config
        self.interface = interface
        self.vlm = VLM(config.vlm)
        self.objects = self.build_objects(config, interface)
        self.state_in = nn.Linear(len(interface.state_names), self.vlm.width)
        self.skill = nn.Sequential(nn.Linear(self.vlm.width, config.hidden), nn.GELU())
        self.head = ChunkHead(config.hidden, interface.horizon, len(interface.action_names))
        self.finished = DoneHead(config.hidden)

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """L1 of the actions of the next skill, and the cross-entropy of the plan; parts: action, plan, done, loss."""
        ids, real = (x.to(batch.state.device) for x in self._spell(self.plans(batch)))
        embeddings, there, found = self.prefix(batch, self.config.prompt, self._state(batch))
        start = embeddings.shape[1]
        whole = torch.cat([embeddings, self.vlm.embed(ids).to(embeddings.dtype)], 1)
        hidden, _ = self.vlm.run(whole, torch.cat([there, real], 1), start)
        wrong = F.cross_entropy(self.vlm.logits(hidden[:, start - 1 : -1][real]).float(), ids[real], reduction="sum")
        plan = divided(wrong, real.sum(), len(real), batch.each("plan"))
        skill = self.skill(first(hidden[:, start:], ids == self._stop))
        action, _ = self.head.loss(skill[:, None], batch)
        done = DoneHead.loss(self.finished(skill), batch)
        objects, more = objects_loss(self.objects, found, batch)
        total = action + self.config.plan * plan + DONE * done + objects
        parts = {"action": action, "plan": plan, "done": done, "loss": total} | more
        return total, {k: v.detach() for k, v in parts.items()}

    def masks(self, batch: Batch) -> dict[str, Tensor]:
        """plan: the words of each row's plan."""
        return super().masks(batch) | {"plan": self._spell(self.plans(batch))[1]}

    def act(self, inputs: Inputs, prior: PriorChunk | None = None) -> Prediction:
        """texts: the plan of each row, skills separated by ';'. actions: of its first skill, blended with a running chunk."""
        embeddings, there, _ = self.prefix(inputs, self.config.prompt, self._state(inputs))
        hidden, cache = self.vlm.run(embeddings, there, embeddings.shape[1], keep=True)
        said, states, ended = [], [], torch.zeros(len(there), dtype=torch.bool, device=there.device)
        for _ in range(self.config.longest):
            ids = torch.where(ended, self.vlm.words.end, self.vlm.logits(hidden[:, -1]).argmax(-1))
            ended = ended | (ids == self.vlm.words.end)
            there = F.pad(there, (0, 1), value=True)
            hidden, cache = self.vlm.run(self.vlm.embed(ids)[:, None], there, 0, cache)
            said.append(ids)
            states.append(hidden[:, -1])
            if bool(ended.all()):
                break
        words = torch.stack(said, 1)
        ends = (words == self._stop) | (words == self.vlm.words.end)
        skill = self.skill(first(torch.stack(states, 1), ends))
        return Prediction(
            self.head.act(skill[:, None], prior), self.finished(skill), features=skill, texts=self._plain(words)
        )

    def plans(self, batch: Batch) -> list[tuple[str, ...]]:
        """What is left to do in each row."""
        names = self.interface.action_names
        holding = torch.zeros_like(batch.done)
        if "gripper" in names:  # below its mean: closed
            holding = batch.actions[:, 0, names.index("gripper")] < 0
        rows = zip(batch.texts, holding.tolist(), batch.done.tolist(), strict=True)
        return [remaining(plan_of(text), held, done) for text, held, done in rows]

    @property
    def _stop(self) -> int:
        return self.vlm.words.rows([STOP])[0][-1]

    def _spell(self, plans: Sequence[Sequence[str]]) -> tuple[Tensor, Tensor]:
        spelled = {step: self.vlm.words.rows([step])[0] for step in {s for p in plans for s in p}}
        return pad([[w for step in p for w in (*spelled[step], self._stop)] + [self.vlm.words.end] for p in plans])

    def _plain(self, words: Tensor) -> tuple[str, ...]:
        return tuple(t.strip().rstrip(STOP).strip() for t in self.vlm.words.texts(words))

    def _state(self, inputs: Inputs) -> Tensor:
        return self.state_in(inputs.state)[:, None]


def first(states: Tensor, at: Tensor) -> Tensor:
    """[B, N, D] where bool[B, N] is true for the first time, else the last: [B, D]."""
    last = torch.full_like(at[:, 0], at.shape[1] - 1, dtype=torch.long)
    where = torch.where(at.any(1), at.long().argmax(1), last)
    return states[torch.arange(len(states), device=states.device), where]
