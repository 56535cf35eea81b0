"""Worlds drawn from what an identification knows and does not know.

Identified parameters come from their joint posterior: a Gaussian with the correlation of the estimates, each margin with the
half-widths of its interval on either side (equal ones make a multivariate normal), cut off at the physical bounds. The rest is
drawn as ranges say; what the motions could not tell keeps its range, or gets a wider one. A fit that ended at a bound of its
search stretches the range to that bound: the truth lies there or beyond.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated

import numpy as np

from palmar.errors import BadFile, BadValue
from palmar.eval.stats import Z95
from palmar.ranges import Range, check_ranges
from palmar.sim.choosing import check_spans
from palmar.sim.params import GROUPS, SPACE, Group, Randomization, WorldParams
from palmar.transfer.identification import Identification
from palmar.types import Array

TRIES = 200  # draws outside the physical bounds before the nearest inside is taken
WIDEN = Range(1, 10)
CONTAINED = {"action_delay": ("servo_lag",)}
"""Parameters that show in a motion as another one does. The delay that is identified is all of what a command waits, the lag of
the servos with it (`transfer.arm_fit`): a world that had the lag beside it would have it twice."""


@dataclass(frozen=True)
class Posterior:
    """A `sim.draws.Worlds`. names, values: the identified parameters and their estimates. below, above: standard deviations on
    either side of each. correlation: P × P. rest: where every other parameter comes from.

    Raises `BadValue` where the correlation is none (not symmetric, no ones on its diagonal, not positive semidefinite).
    """

    names: tuple[str, ...] = ()
    values: tuple[float, ...] = ()
    below: tuple[float, ...] = ()
    above: tuple[float, ...] = ()
    correlation: tuple[tuple[float, ...], ...] = ()
    rest: Randomization = field(default_factory=Randomization)

    def __post_init__(self) -> None:
        P = len(self.names)
        sizes = {len(self.values), len(self.below), len(self.above), len(self.correlation), *map(len, self.correlation)}
        if sizes != {P}:
            raise BadValue(
                f"{P} names, {len(self.values)} values, correlation of {len(self.correlation)} rows; expected {P} of each. "
                "Next: posterior(Identification.load(FILE))"
            )
        rho = np.array(self.correlation, float).reshape(P, P)
        good = np.isfinite(rho).all() and np.allclose(rho, rho.T, atol=1e-6) and np.allclose(np.diag(rho), 1, atol=1e-6)
        if P and not (good and np.linalg.eigvalsh(rho)[0] > -1e-6):
            raise BadValue(
                "correlation of the estimates is none: expected symmetric, ones on its diagonal, positive semidefinite. "
                "Next: palmar sysid --out FILE.json, which writes one"
            )
        check_spans({n: (v, v) for n, v in zip(self.names, self.values, strict=True)})

    @property
    def centre(self) -> WorldParams:
        """The world at the estimates themselves."""
        return self.rest.centre.replace(**dict(zip(self.names, self.values, strict=True)))

    def sample(self, rng: np.random.Generator) -> WorldParams:
        """One world. The rest takes as many numbers of `rng` as without an identification, so that it is the same world but for
        what is known."""
        world = self.rest.sample(rng)
        own = np.random.default_rng(rng.integers(2**63))
        return world.replace(**dict(zip(self.names, self._joint(own).tolist(), strict=True)))

    def _joint(self, rng: np.random.Generator) -> Array:
        """float64[P] inside the physical bounds."""
        if not self.names:
            return np.zeros(0)
        least, most = (np.array([getattr(SPACE[n], side) for n in self.names]) for side in ("least", "most"))
        w, v = np.linalg.eigh(np.array(self.correlation))
        z = rng.normal(size=(TRIES, len(w))) * np.sqrt(np.maximum(w, 0)) @ v.T
        x = np.array(self.values) + z * np.where(z < 0, self.below, self.above)
        inside = ((least <= x) & (x <= most)).all(1)
        return np.asarray(np.clip(x[int(np.argmax(inside))], least, most))

    def ranges(self) -> dict[str, tuple[float, float]]:
        """{identified parameter: its 95 % interval}, within the physical bounds."""
        return {
            n: (max(v - Z95 * b, SPACE[n].least), min(v + Z95 * a, SPACE[n].most))
            for n, v, b, a in zip(self.names, self.values, self.below, self.above, strict=True)
        }


def posterior(
    found: Identification, strength: float = 1.0, groups: Sequence[Group] = GROUPS, widen: Annotated[float, WIDEN] = 1.0
) -> Posterior:
    """What an identification leaves possible. strength, groups: of the parameters that it says nothing about, as of
    `Randomization`; at strength 0 nothing but the identified ones moves. widen: factor, 1 … 10, on the range around
    nominal of each parameter that was looked for and not identified.

    Raises `BadValue` for a factor outside its range and an estimate outside its interval, `BadFile` for a correlation that
    names other parameters on one side than on the other.
    """
    check_ranges(_Widened(widen))
    known = [n for n, e in found.estimates.items() if e.identified]
    for n in known:
        e = found.estimates[n]
        if not e.low <= e.value <= e.high:
            raise BadValue(
                f"{n} is {e.value:g}, outside its interval {e.low:g} … {e.high:g}; expected it inside. "
                "Next: palmar sysid --out FILE.json, which writes both"
            )
    rows = found.correlation
    try:
        rho = [[1.0 if a == b else rows[a][b] if a in rows and b in rows else 0.0 for b in known] for a in known]
    except KeyError as error:
        raise BadFile(
            f"the correlation of the estimates lacks {error}; expected every parameter with every other. "
            "Next: palmar sysid --out FILE.json, which writes it"
        ) from None
    spans = {}
    for n, e in found.estimates.items():
        if not e.identified and strength > 0 and SPACE[n].group in groups:
            spans[n] = _unknown(n, strength * widen, e.bound)
    spans |= {n: (SPACE[n].nominal,) * 2 for k in known for n in CONTAINED.get(k, ())}
    rest = Randomization(strength, tuple(groups), WorldParams(), check_spans(spans))
    down, up = (
        [(abs(getattr(found.estimates[n], side) - found.estimates[n].value)) / Z95 for n in known]
        for side in ("low", "high")
    )
    return Posterior(
        tuple(known),
        tuple(found.estimates[n].value for n in known),
        tuple(down),
        tuple(up),
        tuple(map(tuple, rho)),
        rest,
    )


@dataclass(frozen=True)
class _Widened:
    widen: Annotated[float, WIDEN]


def _unknown(name: str, factor: float, bound: float | None) -> tuple[float, float]:
    """The range of a parameter around nominal, `factor` times as wide, and at least to where its fit ended."""
    p = SPACE[name]
    low, high = p.nominal + factor * (p.low - p.nominal), p.nominal + factor * (p.high - p.nominal)
    if bound is not None:
        low, high = min(low, bound), max(high, bound)
    floor = 0.1 * p.low if p.low >= 0 else p.least  # as of `Randomization`
    return max(low, floor, p.least), min(high, p.most)
