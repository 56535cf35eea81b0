"""Everything that may differ between simulation and reality: one named, bounded vector, and how it is drawn.

Randomisation samples it, identification estimates it, a reality is a hidden point of it. The rows are in `space.py`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from palmar.errors import BadValue, UnknownName
from palmar.ranges import Strength, check_ranges
from palmar.sim.choosing import check_spans, chosen
from palmar.sim.space import GROUPS, LISTED, SPACE, Group, Param

__all__ = ["GROUPS", "NOMINAL", "NO_RANDOMIZATION", "SPACE", "Group", "Param", "Randomization", "WorldParams"]


@dataclass(frozen=True)
class WorldParams:
    """A point of the space. `values` holds what differs from nominal; read with `params["friction"]`.

    Raises `UnknownName` for a parameter that is none, `BadValue` for a value outside its bounds (`Param.least`, `most`).
    """

    values: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, value in self.values.items():
            if name not in SPACE:
                raise UnknownName("world parameter", name, SPACE, where=LISTED)
            p = SPACE[name]
            if isinstance(value, bool) or not np.isfinite(value):
                raise BadValue(
                    f"world parameter {name} is {value}; expected a finite number. "
                    "Next: leave it out, or a number within its range"
                )
            if not p.least <= value <= p.most:
                raise BadValue(
                    f"world parameter {name} is {value:g}; expected {p.least:g} … {p.most:g}{p.unit and ' ' + p.unit} "
                    f"({p.meaning}). Next: a value near {p.nominal:g}, which is plain simulation"
                )

    def __getitem__(self, name: str) -> float:
        if name not in SPACE:
            raise UnknownName("world parameter", name, SPACE, where=LISTED)
        return float(self.values.get(name, SPACE[name].nominal))

    def replace(self, **values: float) -> WorldParams:
        return WorldParams({**self.values, **values})


@dataclass(frozen=True)
class Randomization:
    """How a world is drawn for each episode.

    strength: 0 … 2, the share of each parameter's range around nominal (at 2 the range is doubled, but signs and physical
    minima hold). groups: which parameters move; names: where given, these alone move, of whatever group. centre: the point
    the ranges are around (nominal, or an identified one). ranges: {name: (low, high)} replaces the range of a parameter,
    unscaled: intervals from identification go here.

    Raises `BadValue` for no groups or no names at all, and for a range that is not finite, inside out or outside the
    parameter's bounds; `UnknownName` for a group or a parameter that is none.
    """

    strength: Strength = 1.0
    groups: tuple[Group, ...] = GROUPS
    centre: WorldParams = field(default_factory=WorldParams)
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    names: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        check_ranges(self)
        if not self.groups:
            raise BadValue(
                f"groups of the parameters that move are empty; expected at least one. Next: {', '.join(GROUPS)}, or strength 0"
            )
        for g in self.groups:
            if g not in GROUPS:
                raise UnknownName("parameter group", g, GROUPS)
        if self.names is not None:
            object.__setattr__(self, "names", chosen(self.names))
        check_spans(self.ranges)

    def sample(self, rng: np.random.Generator) -> WorldParams:
        """One world, uniform in every range. Takes one number from `rng`, the seed of the world; each parameter is drawn from
        that seed and its own name, so that neither what else moves nor another row changes it."""
        return self.drawn(int(rng.integers(2**63)))

    def drawn(self, seed: int) -> WorldParams:
        """The world of a seed, uniform in every range."""
        values = dict(self.centre.values)
        for p in SPACE.values():
            if p.name in self.ranges:
                low, high = self.ranges[p.name]
            elif self.strength > 0 and self.moves(p):
                low, high = self._range(p)
            else:
                continue
            values[p.name] = min(low + uniform(seed, p.name) * (high - low), high)
        return WorldParams(values)

    def moves(self, p: Param) -> bool:
        """Whether it is among the parameters that are drawn."""
        return p.name in self.names if self.names is not None else p.group in self.groups

    def _range(self, p: Param) -> tuple[float, float]:
        c = self.centre[p.name]
        low, high = c + self.strength * (p.low - p.nominal), c + self.strength * (p.high - p.nominal)
        positive = p.low >= 0
        return max(0.1 * p.low if positive else low, low, p.least), min(high, p.most)


def uniform(seed: int, name: str) -> float:
    """0 ≤ u < 1, a function of a whole number and a word alone (BLAKE2b, 53 bits)."""
    digest = hashlib.blake2b(f"{seed}:{name}".encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> 11) * 2.0**-53


def subset(words: Sequence[str], strength: float = 1.0) -> Randomization:
    """Randomisation of groups and parameters by their names, mixed: `subset(["visual", "friction"])`. Raises what `chosen` does."""
    return Randomization(strength, names=chosen(words))


def randomized(strength: float, words: Sequence[str] = ()) -> Randomization:
    """`subset` of the words, or of everything where there are none. Raises what it does, and `BadValue` for words at strength 0,
    where nothing moves."""
    if not words:
        return Randomization(strength)
    if not strength:
        raise BadValue(
            f"strength is 0, and {', '.join(words)} should vary; expected more than 0. Next: --strength 1, or nothing to vary"
        )
    return subset(words, strength)


NOMINAL = WorldParams()
NO_RANDOMIZATION = Randomization(strength=0.0)
