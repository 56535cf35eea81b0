"""Pieces of plans that several tasks share: taking hold of a thing."""

from __future__ import annotations

import numpy as np

from palmar.sim.task import Go, State

OPEN, CLOSED = 1.0, 0.0
SAFE_HEIGHT = 0.10  # sideways motion happens this far over the grasp [m]


def grasp(w: State, i: int) -> Go:
    """Come down on an object through a funnel: high while far aside, at the object when over it; then close."""
    item = w.item(i)
    target = np.array([item[0], item[1], max(item[2], w.table + 0.018)])
    off = target - w.tcp
    aside = float(np.linalg.norm(off[:2]))
    at_grasp = aside < 0.012 and abs(off[2]) < 0.012
    if at_grasp or (w.opening < 0.8 and aside < 0.02 and abs(off[2]) < 0.015 and w.opening > gripped(w, i) - 0.25):
        return Go(target, CLOSED, 0.02)
    height = np.clip(3.0 * (aside - 0.008), 0.0, SAFE_HEIGHT)
    return Go(target + [0, 0, height], OPEN, 0.035)


def holds(w: State, i: int) -> bool:
    """The object is between the pads and the pads have closed on it."""
    near = np.linalg.norm(w.item(i) - w.tcp) < 0.028
    return bool(near and gripped(w, i) - 0.2 < w.opening < gripped(w, i) + 0.18)


def gripped(w: State, i: int) -> float:
    """Opening at which the pads touch both sides of an object."""
    return w.scenario.items[i].width * w.params["object_scale"] / w.grip_width
