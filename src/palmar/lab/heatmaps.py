"""Where a policy with grounded heads looks for its target: read from a chunk alone, without a simulator."""

from __future__ import annotations

import numpy as np

from palmar.errors import BadValue
from palmar.types import ActionChunk, Array


def heatmap(chunk: ActionChunk, camera: str) -> Array:
    """float32[h, w]: where in a camera's picture the policy looks for its target."""
    heat = (chunk.attention or {}).get(f"{camera}.target")
    if heat is None:
        have = ", ".join(chunk.attention or {}) or "none"
        raise BadValue(f"the policy shows no heatmap '{camera}.target' (it shows: {have}). Next: a `palmar` preset")
    return heat


def peak(chunk: ActionChunk, camera: str) -> tuple[tuple[float, float], tuple[float, float]]:
    """(u, v) of the target heatmap's largest cell, and the size of a cell, both in 0 … 1 of the image."""
    heat = heatmap(chunk, camera)
    height, width = heat.shape
    row, column = np.unravel_index(int(heat.argmax()), heat.shape)
    return ((float(column) + 0.5) / width, (float(row) + 0.5) / height), (1 / width, 1 / height)
