"""Some of the parameters, by name, and ranges of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from palmar.errors import BadValue, UnknownName
from palmar.sim.space import GROUPS, LISTED, SPACE


def check_spans(spans: Mapping[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
    """{parameter: (low, high)} in the parameter's unit, as floats.

    Raises `UnknownName` for a parameter that is none, `BadValue` for a range that is not finite, is inside out, or leaves the
    bounds (`Param.least`, `most`).
    """
    out: dict[str, tuple[float, float]] = {}
    for name, (low, high) in spans.items():
        if name not in SPACE:
            raise UnknownName("world parameter", name, SPACE, where=LISTED)
        p = SPACE[name]
        if not (math.isfinite(low) and math.isfinite(high)):
            raise BadValue(f"range of {name} is {low} … {high}; expected finite numbers. Next: {p.low:g} … {p.high:g}")
        if low > high:
            raise BadValue(
                f"range of {name} is {low:g} … {high:g}, inside out; expected low ≤ high. Next: {high:g} … {low:g}"
            )
        if not p.least <= low <= high <= p.most:
            raise BadValue(
                f"range of {name} is {low:g} … {high:g}; expected within {p.least:g} … {p.most:g}{p.unit and ' ' + p.unit} "
                f"({p.meaning}). Next: {p.low:g} … {p.high:g}"
            )
        out[name] = (float(low), float(high))
    return out


def chosen(names: Iterable[str]) -> tuple[str, ...]:
    """Parameters by name, by group (visual, dynamics …) or "all", each once, in the order of `SPACE`.

    Raises `BadValue` for none at all, `UnknownName` for a word that is neither.
    """
    words = tuple(names)
    if not words:
        raise BadValue(
            f"no parameter is named; expected all, one of the groups {', '.join(GROUPS)}, or names of parameters. Next: dynamics"
        )
    for word in words:
        if word != "all" and word not in GROUPS and word not in SPACE:
            raise UnknownName("world parameter or group", word, ["all", *GROUPS, *SPACE], where=LISTED)
    return tuple(p.name for p in SPACE.values() if {"all", p.group, p.name} & set(words))
