"""Where the fits search, and whether an estimate with its interval may be claimed.

A box-constrained fit answers with the bound when the truth lies beyond it. An estimate at a bound of its search, or with an
interval that reaches the bound, is therefore not identified. Physical minima (a delay or a noise of 0) are no such bounds.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from palmar.errors import BadValue, UnknownName
from palmar.sim.params import SPACE
from palmar.transfer.identification import Estimate

ARM_PARAMETERS = ("gain", "damping", "link_mass", "action_delay")
NOISES = ("action_noise", "proprio_noise")
PARAMETERS = (*ARM_PARAMETERS, "friction", "mass", *NOISES)
GRAVITY = "gravity_compensation"  # nuisance: the share of its own weight the real controller takes off
SEARCHED = (*ARM_PARAMETERS, "friction")  # by a fit inside bounds; the noises are computed without a search
MOST = 0.5  # of its range an interval may span for a parameter to count as identified
NEAR = 0.02  # share of the search's width: an estimate as close as this to its bound counts as at the bound
Bounds = tuple[float, float]


def bounds_of(given: Mapping[str, Bounds] | None = None) -> dict[str, Bounds]:
    """{parameter: (low, high)} of every search, in the parameter's unit; `given` replaces the ordinary ones.

    Ordinary: twice the range of `SPACE` around nominal, so that an estimate inside the range is never near a bound.
    Raises `UnknownName`, and `BadValue` for bounds that are not finite, not ascending, or below a physical minimum.
    """
    out: dict[str, Bounds] = {}
    for name in ARM_PARAMETERS:
        p = SPACE[name]
        out[name] = (p.low if p.low == p.nominal else 2 * p.low - p.nominal, 2 * p.high - p.nominal)
    out["friction"], out[GRAVITY] = (0.2, 2.5), (0.8, 1.2)
    for name, (low, high) in (given or {}).items():
        if name not in SEARCHED:
            raise UnknownName("parameter with a search", name, SEARCHED)
        least = (
            0.0 if name == "action_delay" else 0.05
        )  # a motor without gain or a link without mass cannot be simulated
        if not (np.isfinite([low, high]).all() and least <= low < high):
            raise BadValue(
                f"bounds of {name} are {low} … {high}; expected finite numbers, {least:g} ≤ low < high. "
                f"Next: bounds={{'{name}': {out[name]}}}, the ordinary ones, or wider"
            )
        out[name] = (float(low), float(high))
    return out


def half_range(name: str) -> float:
    """Half the width of a parameter's range: the unit in which sensitivities are compared."""
    low, high = (SPACE[name].low, SPACE[name].high) if name in SPACE else bounds_of()[name]
    return (high - low) / 2


def touched(low: float, value: float, high: float, bounds: Bounds) -> float | None:
    """The bound that an estimate `value` [low, high] is at: within `NEAR` of it, or with its interval across it.

    None inside. A lower bound of 0 is a physical minimum of every searched parameter: the truth cannot lie beyond it.
    """
    near = NEAR * (bounds[1] - bounds[0])
    if value >= bounds[1] - near or high >= bounds[1]:
        return bounds[1]
    if bounds[0] > 0 and (value <= bounds[0] + near or low <= bounds[0]):
        return bounds[0]
    return None


def judge(name: str, value: float, low: float, high: float, note: str = "", bounds: Bounds | None = None) -> Estimate:
    """Claimed when it is inside its search and its interval spans less than `MOST` of the range.

    bounds: of the search, None where there was none. Limits that have physical minima keep them.
    """
    p = SPACE[name]
    widest, reach = MOST * (p.high - p.low), ""
    finite = bool(np.isfinite([value, low, high]).all())
    if bounds is not None and finite:
        bound = touched(low, value, high, bounds)
        if bound is not None and (high - low <= widest or touched(value, value, value, bounds) is not None):
            return at_bound(name, value, low, high, bound, bounds, note)
        reach = "" if bound is None else f" and reaches the bound of the search, {bound:.3g}"
    if not finite or high - low > widest:
        return unknown(name, f"interval {low:.3g} … {high:.3g} spans more than {MOST:.0%} of its range{reach}. {note}")
    floor = 0.0 if p.low >= 0 else -np.inf
    return Estimate(max(value, floor), max(low, floor), max(high, floor), p.unit, True, note)


def at_bound(name: str, value: float, low: float, high: float, bound: float, bounds: Bounds, note: str) -> Estimate:
    """Not identified, with where the fit ended, the bound, and the next step."""
    wider = f"{bounds[0]:.3g}, {2 * bounds[1]:.3g}" if bound == bounds[1] else f"{bounds[0] / 2:.3g}, {bounds[1]:.3g}"
    said = (
        f"at the bound: the truth may lie beyond. The fit ended at {value:.3g} [{low:.3g}, {high:.3g}], its search "
        f"at {bound:.3g} {SPACE[name].unit}. Next: check the robot's description, then "
        f"identify(…, bounds={{'{name}': ({wider})}}). {note}"
    )
    p = SPACE[name]
    return Estimate(p.nominal, p.low, p.high, p.unit, False, said.strip(), value, bound)


def unknown(name: str, note: str) -> Estimate:
    """Not identified: nominal, and the whole range."""
    p = SPACE[name]
    return Estimate(p.nominal, p.low, p.high, p.unit, False, note.strip())
