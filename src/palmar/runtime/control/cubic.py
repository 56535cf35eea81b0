"""Curves through actions: a cubic for each, with rates that fit where two meet and values that pass neither of its ends.

Source: Fritsch and Carlson 1980, Monotone piecewise cubic interpolation; the rates at the knots after Fritsch and Butland 1984.
"""

from __future__ import annotations

import numpy as np

from palmar.types import Array


def end_slopes(actions: Array, which: int | slice) -> Array:
    """Rates, per action's time, at the ends of some of the actions [T, N] when one is reached after the other: the harmonic mean
    of the ways on both sides, 0 where the way turns round; of the last action that of the way to it, as the chunk's end is not
    the way's end. [N] for an index, [k, N] for a slice."""
    actions = np.asarray(actions, float)
    if not isinstance(which, slice):
        first = max(which - 1, 0)
        return end_slopes(actions[first : which + 2], slice(which - first, which - first + 1))[0]
    way = np.diff(actions, axis=0)
    if not len(way):
        return np.zeros_like(actions)[which]
    before, after = np.concatenate([way[:1], way]), np.concatenate([way, way[-1:]])
    total = before + after
    same = before * after > 0
    return np.where(same, 2.0 * before * after / np.where(same, total, 1.0), 0.0)[which]


def shaped(start: Array, end: Array, first: Array, last: Array, span: float) -> tuple[Array, Array]:
    """The two rates, per action's time, reduced to what a cubic that takes `span` of it from start to end may have at its ends
    without passing them."""
    way = (np.asarray(end, float) - start) / span
    low, high = np.minimum(3.0 * way, 0.0), np.maximum(3.0 * way, 0.0)
    return np.clip(first, low, high), np.clip(last, low, high)


def hermite(a: Array, b: Array, first: Array, last: Array, t: float | Array) -> tuple[Array, Array]:
    """Value and rate at t in 0 … 1 of the cubic from a to b with these rates at its ends."""
    way = b - a
    second = 3.0 * way - 2.0 * first - last
    third = first + last - 2.0 * way
    return a + t * (first + t * (second + t * third)), first + t * (2.0 * second + 3.0 * t * third)
