"""Pieces of plans that several tasks share: taking hold of a thing."""

from __future__ import annotations

import numpy as np

from palmar.sim.task import Go, State
from palmar.types import Array

OPEN, CLOSED = 1.0, 0.0
SAFE_HEIGHT = 0.10  # sideways motion happens this far over the grasp [m]


def grasp(w: State, i: int, above: float = 0.0, within: float = 0.012) -> Go:
    """Come down on an object through a funnel: high while far aside, at the object when over it; then close.

    above: its centre, where it is taken hold of [m]; within: of that place aside, at most, before the gripper closes [m].
    """
    item = w.item(i)
    return take(w, np.array([item[0], item[1], max(item[2] + above, w.table + 0.018)]), gripped(w, i), within)


def take(w: State, target: Array, width: float, within: float = 0.012) -> Go:
    """Take hold of what is at a point [3] [m]. width: of it, as an opening 0 … 1."""
    off = target - w.tcp
    aside = float(np.linalg.norm(off[:2]))
    at_grasp = aside < within and abs(off[2]) < 0.012
    if at_grasp or (w.opening < 0.8 and aside < 0.02 and abs(off[2]) < 0.015 and w.opening > width - 0.25):
        return Go(target, CLOSED, 0.02)
    height = np.clip(3.0 * (aside - min(0.008, within)), 0.0, SAFE_HEIGHT)
    return Go(target + [0, 0, height], OPEN, 0.035)


def holds(w: State, i: int, above: float = 0.0) -> bool:
    """The object is between the pads and the pads have closed on it. above: its centre, where it is held [m]."""
    near = np.linalg.norm(w.item(i) + [0, 0, above] - w.tcp) < 0.028
    across = 0.27 if w.scenario.items[i].kind.square else 0.18  # a cube may be held by its edges
    return bool(near and gripped(w, i) - 0.2 < w.opening < gripped(w, i) + across)


def gripped(w: State, i: int) -> float:
    """Opening at which the pads touch both sides of an object."""
    return w.scenario.items[i].width * w.params["object_scale"] / w.grip_width
