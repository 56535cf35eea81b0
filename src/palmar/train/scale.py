"""Do numbers fit a normaliser that was fitted to others?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from palmar.data.channels import some
from palmar.types import Array

FAR = 5.0  # standard deviations beyond which hardly a value lies when a normaliser fits


def beyond(offset: Array, scale: Array, values: Array) -> float:
    """Largest share of the values [n, width] of a channel that lie further than FAR standard deviations from the mean."""
    live = scale > 0
    unit = (values - offset) / np.where(live, scale, 1.0)
    return float((np.abs(unit) > FAR).mean(0)[live].max(initial=0.0))


def misfit(names: Sequence[str], offset: Array, scale: Array, values: Array) -> str:
    """What is wrong with finite values [n, width] under (x - offset) / scale, in words; "" when they fit.

    Refused are: a channel with 1 % of its values beyond 5 σ whose spread or mean is beyond 2.5 σ too (not only a long tail,
    which the training data have as well), a channel that was constant in training and moves here, and more than half of
    the channels with a spread below 0.15 σ.
    """
    live, values = scale > 0, np.asarray(values, np.float64)
    unit = (values - offset) / np.where(live, scale, 1.0)
    share, spread = (np.abs(unit) > FAR).mean(0), unit.std(0)
    off = (spread > 2.5) | (np.abs(unit.mean(0)) > 2.5)
    out = [i for i in np.flatnonzero(live).tolist() if share[i] > 0.01 and off[i]]
    if out:
        worst = max(out, key=lambda i: (share[i], spread[i]))
        return (
            f"{some([names[i] for i in out])}: {100 * share[worst]:.0f} % of {names[worst]} are beyond {FAR:g} σ of the "
            f"checkpoint (spread {spread[worst]:.2g} σ, mean {unit[:, worst].mean():.2g} σ; expected about 1 and 0)"
        )
    moves = values.std(0) > 1e-3 * np.maximum(np.abs(offset), 1.0)
    if constant := [i for i in np.flatnonzero(~live).tolist() if moves[i]]:
        return f"{some([names[i] for i in constant])} never moved in training and move here"
    narrow = [i for i in np.flatnonzero(live).tolist() if 1e-3 < spread[i] < 0.15]
    if len(narrow) > len(names) / 2:
        return (
            f"{some([names[i] for i in narrow])} move {spread[narrow].max():.2g} σ of the checkpoint; expected about 1"
        )
    return ""
