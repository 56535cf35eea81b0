"""How long an instruction may be. Nothing is cut: two long instructions that differ in their last words would act alike.

While training, the limit of a model rises to its longest wording (`ModelConfig.for_texts`); where it cannot, and when acting,
a longer one is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from palmar.errors import TooLongInstruction


@dataclass(frozen=True)
class Limit:
    """most: tokens (or words) of an instruction. setting: the field of the configuration that says so."""

    most: int
    setting: str

    def check(self, texts: Sequence[str], lengths: Sequence[int]) -> None:
        """Raise `TooLongInstruction` when a text is longer. lengths: of each text, counted as the encoder does."""
        long = sorted(((n, t) for n, t in zip(lengths, texts, strict=True) if n > self.most), reverse=True)
        if long:
            count = "the instruction has" if len(texts) == 1 else f"{len(long)} of {len(texts)} instructions have"
            raise TooLongInstruction(
                f"{count} more than the {self.most} tokens that this model reads ({self.setting}): "
                f"{long[0][0]} in '{shortened(long[0][1])}'. Next: say it in fewer words, or train with a larger {self.setting}"
            )

    def raised(self, texts: Sequence[str], lengths: Sequence[int], ceiling: int) -> int:
        """The limit with which each text is read whole. ceiling: of the encoder. Raises `TooLongInstruction` beyond it."""
        Limit(max(self.most, ceiling), f"{self.setting}, at most {ceiling}").check(texts, lengths)
        return max([self.most, *lengths])


def shortened(text: str, most: int = 80) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
