"""What a torque log tells of an arm, as a value: inertias, friction, intervals, errors; and a file that keeps it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from palmar.errors import BadFile, BadValue, UnknownName, regular_file
from palmar.transfer.friction import TERMS, FrictionModel, friction_torque
from palmar.transfer.identification import Estimate
from palmar.transfer.inertia import body_of, consistent
from palmar.transfer.rigid_body import regressor
from palmar.transfer.serial_arm import SerialArm
from palmar.types import Array

FORMAT = "palmar torque identification 1"


@dataclass(frozen=True)
class JointFriction:
    """model, shape: of `friction.FrictionModel`. coefficients: {term: value}."""

    model: str
    shape: float
    coefficients: Mapping[str, float]

    @property
    def form(self) -> FrictionModel:
        return FrictionModel(self.model, self.shape)


@dataclass(frozen=True)
class BaseEstimate:
    """A combination of inertial parameters that torques can tell, with its 95 % interval. formula: in words."""

    formula: str
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class NextMotion:
    """The motion that would tell more. parameter: its name; before, after: half-width of its interval now and then. middle:
    [J]; sine, cosine: [J][K] (`excitation.FourierMotion`)."""

    parameter: str
    before: float
    after: float
    seconds: float
    middle: tuple[float, ...]
    sine: tuple[tuple[float, ...], ...]
    cosine: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class TorqueIdentification:
    """What a log says of an arm.

    inertia: {joint: ten parameters of what it carries, in the joint's frame (`rigid_body.NAMES`)}, each physically consistent;
    rotor: {joint: rotor inertia}, empty where the torques do not hold it. estimates: {joint.parameter: Estimate}; one that is not
    identified keeps its value and interval. base: combinations that the arm's torques tell at all. rms_*: error of each joint's
    torque after the filter at `cutoff` [Hz], N·m: of the stretch fitted, of blocks of it left out, of the test stretch, and of the
    description's inertias without friction there (or on the fitted stretch where there is no test). cannot_tell: sentences.
    """

    robot: str
    source: str
    joints: tuple[str, ...]
    cutoff: float
    fit: tuple[float, float]
    test: tuple[float, float] | None
    inertia: dict[str, tuple[float, ...]]
    rotor: dict[str, float]
    friction: dict[str, JointFriction]
    estimates: dict[str, Estimate]
    base: tuple[BaseEstimate, ...]
    rms_fit: tuple[float, ...]
    rms_held_out: tuple[float, ...]
    rms_test: tuple[float, ...] | None
    rms_described: tuple[float, ...]
    held_out_by_model: dict[str, tuple[float, ...]]
    spread: float
    cannot_tell: tuple[str, ...] = ()
    next_motion: NextMotion | None = None
    notes: tuple[str, ...] = ()
    seconds: float = field(default=0.0, compare=False)

    def predict(self, arm: SerialArm, q: Array, dq: Array, ddq: Array) -> Array:
        """Torques float[T, J] [N·m] of a motion float[T, J], samples in a row. Raises `BadValue` for another arm."""
        if arm.joints != self.joints:
            raise BadValue(
                f"the arm has joints {', '.join(arm.joints)}; this was identified on {', '.join(self.joints)}. Next: that arm"
            )
        Y = regressor(arm.chain, q, dq, ddq).reshape(*q.shape, -1)
        torque = Y @ np.concatenate([self.inertia[j] for j in self.joints])
        load = Y @ arm.inertia.ravel()
        for j, name in enumerate(self.joints):
            own = self.friction[name]
            torque[:, j] += friction_torque(own.form, tuple(own.coefficients.values()), q[:, j], dq[:, j], load[:, j])
            torque[:, j] += self.rotor.get(name, 0.0) * ddq[:, j]
        return np.asarray(torque)

    def bodies(self) -> dict[str, tuple[float, Array, Array]]:
        """{joint: (mass [kg], centre of mass [m], inertia about it xx yy zz xy xz yz [kg·m²])} of what it carries."""
        return {j: body_of(np.array(row)) for j, row in self.inertia.items()}

    def rows(self) -> list[tuple[str, str, str, str, str, str]]:
        """(name, value, low, high, unit, remark) for a table."""
        return [
            (
                n,
                f"{e.value:.4g}",
                f"{e.low:.4g}",
                f"{e.high:.4g}",
                e.unit,
                e.note if e.identified else f"not told. {e.note}".strip(),
            )
            for n, e in self.estimates.items()
        ]

    def to_json(self) -> str:
        return json.dumps({"format": FORMAT, **asdict(self)}, indent=1)

    @classmethod
    def load(cls, path: str | Path) -> TorqueIdentification:
        """Read a file that `palmar sysid --data … --out` wrote. Raises `BadFile`."""
        try:
            text = regular_file(path).read_text("utf-8")
        except FileNotFoundError:
            raise BadFile(
                f"no identification at '{path}'. Next: palmar sysid --robot R --data LOG --out {path}"
            ) from None
        except UnicodeDecodeError as error:
            raise BadFile(
                f"'{path}' is no text; expected JSON. Next: palmar sysid --robot R --data LOG --out FILE"
            ) from error
        return cls.from_json(text)

    @classmethod
    def from_json(cls, text: str) -> TorqueIdentification:
        """Read what `to_json` wrote. Raises `BadFile`."""
        try:
            row: dict[str, Any] = json.loads(text)
            if row.pop("format") != FORMAT:
                raise ValueError("another format")
            row["estimates"] = {n: Estimate(**e) for n, e in row["estimates"].items()}
            row["friction"] = {n: JointFriction(**f) for n, f in row["friction"].items()}
            row["base"] = tuple(BaseEstimate(**b) for b in row["base"])
            row["inertia"] = {n: tuple(map(float, v)) for n, v in row["inertia"].items()}
            if (motion := row["next_motion"]) is not None:
                curves = {k: tuple(tuple(r) for r in motion[k]) for k in ("sine", "cosine")}
                row["next_motion"] = NextMotion(**(motion | curves | {"middle": tuple(motion["middle"])}))
            for name in (
                "joints",
                "fit",
                "test",
                "rms_fit",
                "rms_held_out",
                "rms_test",
                "rms_described",
                "cannot_tell",
                "notes",
            ):
                row[name] = None if row[name] is None else tuple(row[name])
            row["held_out_by_model"] = {n: tuple(v) for n, v in row["held_out_by_model"].items()}
            found = cls(**row)
            for joint, own in found.friction.items():
                if own.model not in TERMS:
                    raise UnknownName(f"friction model of {joint}", own.model, TERMS)
            if set(found.inertia) != set(found.joints) or not consistent(np.array(list(found.inertia.values()))).all():
                raise ValueError("inertias of other joints, or that no body has")
        except (ValueError, KeyError, TypeError, AttributeError, LookupError) as e:
            raise BadFile(
                f"not an identification from torques ({e}); expected the JSON that `TorqueIdentification.to_json` wrote. "
                "Next: palmar sysid --robot R --data LOG --out FILE.json, which writes one"
            ) from None
        return found
