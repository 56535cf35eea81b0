"""What an identification found, as a value: estimates with intervals, and a file that keeps them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from palmar.errors import BadFile, UnknownName, regular_file
from palmar.sim.params import GROUPS, SPACE, Group, Randomization, WorldParams
from palmar.sim.space import LISTED


@dataclass(frozen=True)
class Estimate:
    """One parameter: value and 95 % interval. Not identified: value is nominal, and the interval is its whole range.

    found, bound: where the fit ended and the bound of its search, when it ended there; such a parameter is not identified.
    """

    value: float
    low: float
    high: float
    unit: str
    identified: bool
    note: str = ""
    found: float | None = None
    bound: float | None = None


@dataclass(frozen=True)
class Identification:
    """What the recordings say about the body's parameters.

    residual_before, residual_after: RMS error of the joint angles on the held-out motion with nominal and with identified
    parameters [mrad]; the sensor's noise is part of both. sensitivity: {name: how many standard deviations of noise the
    recordings move when the parameter moves by half its range}; correlation: {name: {name: …}} of the arm's estimates;
    condition: of their scaled normal matrix. nuisance: {name: value} estimated so that it does not bias the rest.
    """

    robot: str
    estimates: dict[str, Estimate]
    residual_before: float
    residual_after: float
    sensitivity: dict[str, float] = field(default_factory=dict)
    correlation: dict[str, dict[str, float]] = field(default_factory=dict)
    condition: float = 0.0
    nuisance: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    notes: tuple[str, ...] = ()

    def params(self) -> WorldParams:
        """The identified parameters at their estimates, the rest nominal."""
        return WorldParams({n: e.value for n, e in self.estimates.items() if e.identified})

    def randomization(self, strength: float = 1.0, groups: Sequence[Group] = GROUPS) -> Randomization:
        """Randomisation that draws what is identified from its interval, and everything else as it would have."""
        ranges = {n: (e.low, e.high) for n, e in self.estimates.items() if e.identified}
        return Randomization(strength, tuple(groups), self.params(), ranges)

    def rows(self) -> list[tuple[str, str, str, str, str, str]]:
        """(name, value, low, high, unit, remark) for a table."""
        return [
            (n, f"{e.value:.4g}", f"{e.low:.4g}", f"{e.high:.4g}", e.unit,
             e.note if e.identified else f"not identified. {e.note}".strip())
            for n, e in self.estimates.items()
        ]  # fmt: skip

    def to_json(self) -> str:
        return json.dumps({"format": "palmar identification 1", **asdict(self)}, indent=1)

    @classmethod
    def load(cls, path: str | Path) -> Identification:
        """Read a file that `palmar sysid --out` wrote. Raises `BadFile`."""
        try:
            return cls.from_json(regular_file(path).read_text())
        except FileNotFoundError:
            raise BadFile(f"no identification at '{path}'. Next: palmar sysid --out {path}") from None

    @classmethod
    def from_json(cls, text: str) -> Identification:
        """Read what `to_json` wrote. Raises `BadFile`."""
        try:
            row = json.loads(text)
            if row.pop("format") != "palmar identification 1":
                raise ValueError("another format")
            row["estimates"] = {n: Estimate(**e) for n, e in row["estimates"].items()}
            row["notes"] = tuple(row["notes"])
            found = cls(**row)
        except (ValueError, KeyError, TypeError, AttributeError) as e:
            raise BadFile(
                f"not an identification ({e}); expected the JSON that `Identification.to_json` wrote. "
                "Next: palmar sysid --out FILE.json, which writes one"
            ) from None
        for name in found.estimates:
            if name not in SPACE:
                raise UnknownName("world parameter", name, SPACE, where=LISTED)
        return found
