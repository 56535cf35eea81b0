"""What the channels of a data set are, as far as names and values tell: openings, differences, commands of a measured value."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from palmar.types import Array

DELTAS = ("dx", "dy", "dz", "drx", "dry", "drz")
OPENING_RANGES = (1.0, 100.0)  # of an opening 0 … 1, and as LeRobot's calibration writes it


def openings(names: Sequence[str], values: Array) -> dict[str, str]:
    """{channel: how it is known} of grippers and other openings, which are opened and closed and not moved along a path.

    values: [frames, width]. A channel is one by its name (it holds "gripper"), or by its values: a range of about 1 or
    100 and nine of ten values within 5 % of one of its two ends.
    """
    found = {}
    for i, name in enumerate(names):
        if "gripper" in name.lower():
            found[name] = "by its name"
        elif two_levels(np.asarray(values[:, i], np.float64)):
            low, high = np.nanmin(values[:, i]), np.nanmax(values[:, i])
            found[name] = f"by its values: two levels, {low:.3g} and {high:.3g}"
    return found


def two_levels(values: Array) -> bool:
    """Whether values [frames] lie at two levels that are about 1 or about 100 apart, each at least one time in a hundred."""
    values = values[np.isfinite(values)]
    if len(values) < 2:
        return False
    low, high = float(values.min()), float(values.max())
    span = high - low
    if span <= 0 or not any(abs(span - r) <= 0.1 * r for r in OPENING_RANGES):
        return False
    below, above = (values - low < 0.05 * span).mean(), (high - values < 0.05 * span).mean()
    return bool(below + above >= 0.9 and min(below, above) >= 0.01)


def is_delta(name: str) -> bool:
    """Whether a channel's name says that it is a difference: dx … drz, or a name with "delta" in it."""
    return name in DELTAS or "delta" in name.lower()


def partners(
    action_names: Sequence[str], state_names: Sequence[str], actions: Array | None = None, states: Array | None = None
) -> dict[int, int]:
    """{action column: state column} of what is commanded and measured under one name: `joint1` and `joint1.pos`, `gripper`
    and `gripper.pos`, `action.arm` and `observation.arm`. Names that say a difference have none.

    Names that are only numbers count when the values agree too (correlation of 0.5 or more): actions, states [frames, width].
    """
    at = {canonical(n): i for i, n in reversed(list(enumerate(state_names)))}
    found = {}
    for i, name in enumerate(action_names):
        if is_delta(name) or (j := at.get(canonical(name))) is None:
            continue
        if canonical(name).isdigit():
            if actions is None or states is None or len(action_names) != len(state_names):
                continue
            if not correlation(actions[:, i], states[:, j]) >= 0.5:
                continue
        found[i] = j
    return found


def canonical(name: str) -> str:
    """A channel's name without what says only whether it is commanded or measured."""
    name = re.sub(r"^(observation|action|actions|state|states|cmd|command|target)[._/]", "", name.lower())
    return re.sub(r"[._/](pos|position|cmd|command|target)$", "", name)


def correlation(a: Array, b: Array) -> float:
    """Pearson's, of [n] and [n]; NaN when one of them does not change."""
    a, b = np.asarray(a, np.float64) - np.mean(a), np.asarray(b, np.float64) - np.mean(b)
    size = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum() / size) if size > 1e-12 else float("nan")


def some(names: Sequence[str], most: int = 4) -> str:
    """'a, b, c, d and 3 more'."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
