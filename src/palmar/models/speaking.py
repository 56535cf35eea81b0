"""What the systems on a vision-language model share: they read the instruction themselves, see now alone, and still speak."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Self

from torch import Tensor

from palmar.models.base import Model
from palmar.models.vlm import VLM


class SpeakingConfig:
    """The part of `ModelConfig` that is the same for all of them."""

    @property
    def max_tokens(self) -> int:
        return 0

    @property
    def offsets(self) -> tuple[int, ...]:
        return (0,)

    def for_texts(self, texts: Sequence[str]) -> Self:
        """See `ModelConfig`: a language model reads instructions of any length."""
        return self


class Speaking(Model):
    """A model with a `vlm`. roles: vision and language of it; a system adds its own head."""

    alone = True

    vlm: VLM
    roles: ClassVar[Mapping[str, Sequence[str]]] = {"vision": ("vlm.towers",), "language": ("vlm.language", "vlm.head")}

    def language_loss(
        self, images: Mapping[str, Tensor] | Tensor, prompts: Sequence[str], answers: Sequence[str]
    ) -> Tensor:
        """What co-fine-tuning on image-text pairs minimises; see `VLM.language_loss`."""
        return self.vlm.language_loss(images, prompts, answers)

    def weights_from(self, path: str | Path) -> list[str]:
        """The VLM's; see `VLM.weights_from`."""
        return self.vlm.weights_from(path)
