"""Pictures made to one size: the same pixels in training and in acting."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import numpy as np

from palmar.types import Array

Fit = Literal["stretch", "crop", "pad"]


def fit(images: Array, height: int, width: int, how: Fit = "pad") -> Array:
    """uint8[..., H, W, 3] → uint8[..., height, width, 3]; the same array when it has the size already.

    stretch: each side on its own. crop: scaled to cover, the middle kept. pad: scaled to fit inside, black around it.
    Shrinking averages over areas, enlarging interpolates linearly.
    """
    h, w = images.shape[-3:-1]
    if (h, w) == (height, width):
        return images
    if how == "stretch":
        return _scaled(images, height, width)
    scale = max(height / h, width / w) if how == "crop" else min(height / h, width / w)
    inner_h, inner_w = max(1, round(h * scale)), max(1, round(w * scale))
    small = _scaled(images, inner_h, inner_w)
    if how == "crop":
        top, left = (inner_h - height) // 2, (inner_w - width) // 2
        return np.ascontiguousarray(small[..., top : top + height, left : left + width, :])
    out = np.zeros((*images.shape[:-3], height, width, 3), np.uint8)
    top, left = (height - inner_h) // 2, (width - inner_w) // 2
    out[..., top : top + inner_h, left : left + inner_w, :] = small
    return out


def _scaled(images: Array, height: int, width: int) -> Array:
    rows, columns = _weights(images.shape[-3], height), _weights(images.shape[-2], width)
    x = np.einsum("ah,...hwc->...awc", rows, images.astype(np.float32), optimize=True)
    x = np.einsum("bw,...awc->...abc", columns, x, optimize=True)
    return np.clip(np.rint(x), 0, 255).astype(np.uint8)


@lru_cache(maxsize=64)
def _weights(old: int, new: int) -> Array:
    """float32[new, old]: how much each old pixel counts for each new one; rows sum to 1."""
    weights = np.zeros((new, old), np.float32)
    if new <= old:  # the area of each old pixel that a new one covers
        edges = np.arange(new + 1) * (old / new)
        for i in range(new):
            first, last = int(edges[i]), min(int(np.ceil(edges[i + 1])), old)
            pixels = np.arange(first, last)
            weights[i, first:last] = np.minimum(pixels + 1, edges[i + 1]) - np.maximum(pixels, edges[i])
    else:
        at = np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1)
        low = np.minimum(at.astype(int), old - 1)
        high = np.minimum(low + 1, old - 1)
        np.add.at(weights, (np.arange(new), low), 1 - (at - low))
        np.add.at(weights, (np.arange(new), high), at - low)
    return weights / weights.sum(1, keepdims=True)
