"""What the systems on a vision-language model share: they read the instruction themselves, see now alone, and still speak."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, NamedTuple, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from palmar.mapping import Interface
from palmar.models.base import Inputs, Model
from palmar.models.objects import Found, Objects, ObjectsConfig
from palmar.models.transformer import time_features
from palmar.models.vlm import VLM

PLACES = 64
"""The place of a word is divided by this, so that those of usual instructions lie in 0 … 1, as `time_features` wants them."""


@dataclass(frozen=True)
class SpeakingConfig:
    """The part of `ModelConfig` that is the same for all of them. objects: locate the objects that the instruction names, and put a
    token of each before the prompt."""

    objects: ObjectsConfig | None = field(default=None, kw_only=True)

    @property
    def max_tokens(self) -> int:
        return 0

    @property
    def offsets(self) -> tuple[int, ...]:
        return (0,)

    def for_texts(self, texts: Sequence[str]) -> Self:
        """See `ModelConfig`: a language model reads instructions of any length."""
        return self


class Prefix(NamedTuple):
    """The tokens before the first generated one: [B, P, D] and bool[B, P], True where there is a token. found: the objects,
    where the system locates them."""

    embeddings: Tensor
    there: Tensor
    found: Found | None


class Speaking(Model):
    """A model with a `vlm`. roles: vision and language of it; a system adds its own head."""

    alone = True

    vlm: VLM
    objects: Objects | None
    roles: ClassVar[Mapping[str, Sequence[str]]] = {"vision": ("vlm.towers",), "language": ("vlm.language", "vlm.head")}

    def build_objects(self, config: SpeakingConfig, interface: Interface) -> Objects | None:
        """None where the configuration has none."""
        if config.objects is None:
            return None
        width, side = self.vlm.width, self.vlm.config.side
        return Objects(config.objects, width, width, width, dict.fromkeys(interface.cameras, (side, side)))

    def prefix(self, inputs: Inputs, prompt: str, state: Tensor | None = None) -> Prefix:
        """Pictures, the state as a token [B, 1, D] where there is one, a token of each object, and the prompt, in which
        {instruction} stands for the instruction."""
        found: list[Found] = []

        def locate(pictures: Tensor, words: Tensor, mask: Tensor) -> Tensor:
            assert self.objects is not None
            # the embedding of a word does not depend on its place in the sentence
            order = time_features(mask.cumsum(1).flatten() / PLACES, words.shape[-1]).view_as(words)
            context = words + order.to(words.dtype)
            if state is not None:
                context, mask = torch.cat([state.to(words.dtype), context], 1), F.pad(mask, (1, 0), value=True)
            cells = pictures.unflatten(1, (len(self.objects.grids), -1)).unbind(1)
            found.append(self.objects(context, mask, dict(zip(self.objects.grids, cells, strict=True))))
            return found[0].tokens

        texts = [prompt.format(instruction=t) for t in inputs.texts]
        images = {c: inputs.images[c] for c in self.interface.cameras}
        embeddings, there = self.vlm.prefix(images, texts, state, locate if self.objects is not None else None)
        return Prefix(embeddings, there, found[0] if found else None)

    def language_loss(
        self, images: Mapping[str, Tensor] | Tensor, prompts: Sequence[str], answers: Sequence[str]
    ) -> Tensor:
        """What co-fine-tuning on image-text pairs minimises; see `VLM.language_loss`."""
        return self.vlm.language_loss(images, prompts, answers)

    def weights_from(self, path: str | Path) -> list[str]:
        """The VLM's; see `VLM.weights_from`."""
        return self.vlm.weights_from(path)
