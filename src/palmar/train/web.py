"""Questions about pictures beside robot frames, and how many a model still answers (language retention).

A model that can answer has

    language_loss(images, prompts, answers) -> Tensor

with images {camera: float32[B, 3, H, W]} from `models.base.pixels` (one camera of its interface), prompts and answers B
texts each; it gives float32[B], the negative log-likelihood of each answer given picture and prompt, a word on average.
Nothing is generated: of the candidate answers of a question the likeliest a word is taken as the model's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from palmar.data.webdata import WebData
from palmar.errors import BadValue
from palmar.mapping import Interface
from palmar.models.base import Model, pixels
from palmar.pictures import fit
from palmar.types import Array

LanguageLoss = Callable[[Mapping[str, Tensor], Sequence[str], Sequence[str]], Tensor]


@dataclass(frozen=True)
class Questions:
    """images: {camera: float32[B, 3, H, W]}. prompts, answers: B texts."""

    images: Mapping[str, Tensor]
    prompts: Sequence[str]
    answers: Sequence[str]

    def to(self, device: str) -> Questions:
        return replace(self, images={c: x.to(device) for c, x in self.images.items()})


def speaker(model: Model) -> LanguageLoss:
    """The model's `language_loss`. Raises `BadValue` for a model that cannot answer."""
    answer: LanguageLoss | None = getattr(model, "language_loss", None)
    if answer is None:
        name = getattr(getattr(model, "config", None), "preset", type(model).__name__)
        raise BadValue(
            f"'{name}' cannot answer questions (it has no language_loss), so it cannot learn from web data. "
            "Next: a model that speaks, or a recipe with web=0"
        )
    return answer


def ask(web: WebData, questions: Array, interface: Interface, answers: Sequence[str] | None = None) -> Questions:
    """Tensors of some questions, in the size of the camera they are shown through: `front`, or the first."""
    camera = "front" if "front" in interface.cameras else next(iter(interface.cameras))
    pictures = fit(web.pictures(questions), *interface.cameras[camera])
    prompts = tuple(web.prompts[i] for i in questions)
    said = tuple(web.answers[i] for i in questions) if answers is None else tuple(answers)
    return Questions({camera: pixels(torch.from_numpy(np.ascontiguousarray(pictures)))}, prompts, said)


@torch.no_grad()
def retention(model: Model, web: WebData, interface: Interface, device: str = "cpu", limit: int = 128) -> float:
    """Share of held-out questions whose right answer is the likeliest of its candidates. At most `limit`, evenly picked."""
    answer = speaker(model)
    picked = web.held_out[np.linspace(0, len(web.held_out) - 1, min(limit, len(web.held_out))).astype(int)]
    pairs = [(int(q), c) for q in picked for c in web.choices[q]]
    losses: list[float] = []
    for start in range(0, len(pairs), 64):
        part = pairs[start : start + 64]
        asked = ask(web, np.array([q for q, _ in part]), interface, [c for _, c in part]).to(device)
        losses += answer(asked.images, asked.prompts, asked.answers).float().tolist()
    right, at = 0, 0
    for q in picked:
        mine = losses[at : at + len(web.choices[q])]
        right += web.choices[q][int(np.argmin(mine))] == web.answers[q]
        at += len(mine)
    return right / max(1, len(picked))
