"""Friction of a joint, by the name of its model; every model is linear in its coefficients once its shape is fixed.

| model | torque |
|---|---|
| `viscous` | Coulomb + viscous + offset: c·sgn(v) + d·v + o |
| `asymmetric` | another c and d in each direction |
| `stribeck` | `viscous` + s·sgn(v)·exp(-(v / shape)²); Armstrong-Hélouvry 1994 |
| `sigmoid` | c·tanh(v / shape) + o, as Gaz et al. 2019 found on a Panda (a logistic curve is a tanh) |
| `presliding` | `viscous` with sgn(v) replaced by Dahl's state: it turns over within a displacement `shape` [rad]; Dahl 1968 |
| `load` | `viscous` + l·sgn(v)·|torque of the links|; Hamon, Gautier, Garrec 2010 |

sgn(v) is tanh(v / 0.02 rad/s): a filtered velocity does not jump.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from palmar.types import Array

STEEP = 0.02  # [rad/s] or [m/s]


@dataclass(frozen=True)
class FrictionModel:
    """name: of the table above. shape: its fixed number, in the unit the table says; 0 for none."""

    name: str
    shape: float = 0.0

    @property
    def terms(self) -> tuple[str, ...]:
        """Names of its coefficients, in the order of `features`."""
        return TERMS[self.name]

    @property
    def units(self) -> tuple[str, ...]:
        """Of its coefficients, for a joint that turns."""
        return tuple({"viscous": "N·m·s/rad", "viscous_forward": "N·m·s/rad", "viscous_backward": "N·m·s/rad", "load": "1"}.get(
            t, "N·m") for t in self.terms)  # fmt: skip

    def __str__(self) -> str:
        return f"{self.name} {self.shape:g}" if self.shape else self.name


TERMS: dict[str, tuple[str, ...]] = {
    "viscous": ("coulomb", "viscous", "offset"),
    "asymmetric": ("coulomb_forward", "coulomb_backward", "viscous_forward", "viscous_backward"),
    "stribeck": ("coulomb", "viscous", "offset", "stribeck"),
    "sigmoid": ("coulomb", "offset"),
    "presliding": ("coulomb", "viscous", "offset"),
    "load": ("coulomb", "viscous", "offset", "load"),
}
MODELS: tuple[FrictionModel, ...] = (
    FrictionModel("viscous"),
    *(FrictionModel("sigmoid", v) for v in (0.05, 0.1, 0.2, 0.4)),
    *(FrictionModel("presliding", x) for x in (0.001, 0.003, 0.01)),
    *(FrictionModel("stribeck", v) for v in (0.1, 0.3, 0.8)),
    FrictionModel("asymmetric"),
    FrictionModel("load"),
)
"""What is chosen from, the plainest first."""


def features(model: FrictionModel, q: Array, dq: Array, load: Array) -> Array:
    """float[T, K]: torque of one joint for a unit of each coefficient (`FrictionModel.terms`).

    q, dq, load: float[T] position, velocity, and torque of the links alone, all of samples in a row.
    """
    sign, one = np.tanh(dq / STEEP), np.ones_like(dq)
    if model.name == "asymmetric":
        return np.stack([np.maximum(sign, 0), np.minimum(sign, 0), np.maximum(dq, 0), np.minimum(dq, 0)], 1)
    if model.name == "sigmoid":
        return np.stack([np.tanh(dq / model.shape), one], 1)
    if model.name == "presliding":
        return np.stack([presliding(q, dq, model.shape), dq, one], 1)
    columns = [sign, dq, one]
    if model.name == "stribeck":
        columns.append(sign * np.exp(-((dq / model.shape) ** 2)))
    elif model.name == "load":
        columns.append(sign * np.abs(load))
    return np.stack(columns, 1)


def presliding(q: Array, dq: Array, displacement: float) -> Array:
    """float[T] in -1 … 1: Dahl's friction state over Coulomb friction, dz/dx = (1 - z·sgn(v)) / displacement; it begins where
    sliding in the first direction leaves it."""
    step = np.diff(q)
    way = np.sign(step)
    decay = np.exp(-np.abs(step) / displacement)
    z = np.empty(len(q))
    moving = way[way != 0]
    z[0] = state = np.tanh(dq[0] / STEEP) if len(moving) else 0.0
    for k, (s, e) in enumerate(zip(way.tolist(), decay.tolist(), strict=True), 1):
        state = s + (state - s) * e if s else state
        z[k] = state
    return z


def friction_torque(model: FrictionModel, coefficients: Sequence[float], q: Array, dq: Array, load: Array) -> Array:
    """float[T]: the friction torque of one joint; arguments as those of `features`."""
    return np.asarray(features(model, q, dq, load) @ np.asarray(coefficients))
