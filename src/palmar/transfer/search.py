"""Where the fits search, and whether an estimate with its interval may be claimed.

A box-constrained fit answers with the bound when the truth lies beyond it. An estimate at a bound of its search, or with an
interval that reaches the bound, is therefore not identified. Physical minima (a delay or a noise of 0) are no such bounds.
Factors (unit ×) are searched in their logarithm, and so wide that a quarter and four times lie well inside.
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
MOST = 0.5  # of its range an interval may span for a parameter to count as identified; of a factor, of its range at that size
NEAR = 0.02  # share of the search's width: an estimate as close as this to its bound counts as at the bound
Bounds = tuple[float, float]
SEARCH: dict[str, Bounds] = {
    "gain": (1 / 16, 16.0), "damping": (0.25, 4.0), "link_mass": (0.25, 4.0), "action_delay": (0.0, 12.0),
    "friction": (0.1, 5.0), GRAVITY: (0.5, 2.0),
}  # fmt: skip
"""The ordinary bounds: far beyond every range of `SPACE`."""


def scaled(name: str, value: float) -> float:
    """A value on the scale of its search: a factor's logarithm, a delay as it is. At or under 0 a factor is minus infinity."""
    if name == "action_delay":
        return value
    return float(np.log(value)) if value > 0 else -np.inf


def unscaled(name: str, x: float) -> float:
    """The value at a place of the search: `scaled` backwards."""
    return x if name == "action_delay" else float(np.exp(min(x, 700.0)))


def bounds_of(given: Mapping[str, Bounds] | None = None) -> dict[str, Bounds]:
    """{parameter: (low, high)} of every search, in the parameter's unit; `given` replaces the ordinary ones.

    Ordinary: `SEARCH`.
    Raises `UnknownName`, and `BadValue` for bounds that are not finite, not ascending, or below a physical minimum.
    """
    out = dict(SEARCH)
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
    low, high = (SPACE[name].low, SPACE[name].high) if name in SPACE else (0.8, 1.2)
    return (high - low) / 2


def touched(low: float, value: float, high: float, bounds: Bounds, name: str) -> float | None:
    """The bound that an estimate `value` [low, high] is at: within `NEAR` of it, or with its interval across it; the width of
    the search is on the scale of the parameter's.

    None inside. A lower bound of 0 is a physical minimum of every searched parameter: the truth cannot lie beyond it.
    """
    least, most = (scaled(name, b) for b in bounds)
    at, near = scaled(name, value), NEAR * (most - least)
    if at >= most - near or high >= bounds[1]:
        return bounds[1]
    if bounds[0] > 0 and (at <= least + near or low <= bounds[0]):
        return bounds[0]
    return None


def judge(name: str, value: float, low: float, high: float, note: str = "", bounds: Bounds | None = None) -> Estimate:
    """Claimed when it is inside its search and its interval spans less than `MOST` of the range; that of a factor's grows and
    shrinks with it.

    bounds: of the search, None where there was none. Limits that have physical minima keep them.
    """
    p = SPACE[name]
    size = value / p.nominal if p.unit == "×" and bounds is not None and value > 0 else 1.0
    widest, reach = MOST * (p.high - p.low) * size, ""
    finite = bool(np.isfinite([value, low, high]).all())
    if bounds is not None and finite:
        bound = touched(low, value, high, bounds, name)
        if bound is not None and (high - low <= widest or touched(value, value, value, bounds, name) is not None):
            return at_bound(name, value, low, high, bound, bounds, note)
        reach = "" if bound is None else f" and reaches the bound of the search, {bound:.3g}"
    if not finite or high - low > widest:
        wide = f"{value:.3g} [{low:.3g}, {high:.3g}] spans more than {MOST:.0%} of its range{reach}"
        return unknown(name, f"{wide}. {note}")
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
