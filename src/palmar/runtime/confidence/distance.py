"""How far an observation's features are from those of training: the distance signals, where a policy shows its features."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from palmar.errors import BadValue
from palmar.types import Array

DISTANCE = "distance"
"""The signal: `Gaussian` of `ActionChunk.features`."""


@dataclass(frozen=True)
class Gaussian:
    """Mahalanobis distance to training features. mean: float64[D]. axes: float64[R, D], orthonormal, along which they vary most,
    and deviations: float64[R] > 0 along each; rest: that along every other direction. The covariance is shrunk towards a multiple
    of the identity, so that fewer features than dimensions are enough."""

    mean: Array
    axes: Array
    deviations: Array
    rest: float

    @classmethod
    def fit(cls, features: Array, shrinkage: float = 0.1, rank: int = 64) -> Gaussian:
        """features: float[N, D], N ≥ 2. shrinkage: in (0, 1]. rank: R at most. Raises `BadValue` for another shape or a value not
        finite."""
        x = _checked(features, 2)
        if not 0 < shrinkage <= 1:
            raise BadValue(f"shrinkage is {shrinkage}; expected (0, 1]. Next: leave it at 0.1")
        if rank < 1:
            raise BadValue(f"rank is {rank}; expected 1 or more. Next: leave it at 64")
        mean = x.mean(0)
        covariance = np.cov(x, rowvar=False).reshape(x.shape[1], x.shape[1])
        scale = max(float(np.trace(covariance)) / len(mean), 1e-12)
        values, vectors = np.linalg.eigh((1 - shrinkage) * covariance + shrinkage * scale * np.eye(len(mean)))
        kept = min(rank, len(mean))
        rest = values[: len(mean) - kept]
        least = float(rest.mean()) if len(rest) else float(values[0])
        return cls(mean, vectors[:, -kept:].T.copy(), np.sqrt(values[-kept:]), float(np.sqrt(least)))

    def __call__(self, feature: Array) -> float:
        """feature: float[D]. Distance ≥ 0; about √D for a feature like those of training."""
        away = _one(feature, len(self.mean)) - self.mean
        along = self.axes @ away
        left = max(float(away @ away - along @ along), 0.0)
        return float(np.sqrt(np.square(along / self.deviations).sum() + left / self.rest**2))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, to six digits; `from_dict` gives a Gaussian back that is as good."""
        return {
            "mean": _rounded(self.mean), "axes": [_rounded(a) for a in self.axes], "deviations": _rounded(self.deviations),
            "rest": self.rest,
        }  # fmt: skip

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Gaussian:
        """Raises `ValueError` and its like when it is none."""
        mean, axes, deviations = (np.array(raw[k], np.float64) for k in ("mean", "axes", "deviations"))
        rest = float(raw["rest"])
        shapes = mean.shape, axes.shape, deviations.shape
        if mean.ndim != 1 or axes.ndim != 2 or axes.shape != (len(deviations), len(mean)) or deviations.ndim != 1:
            raise ValueError(f"features of shapes {shapes}")
        if (
            not all(np.isfinite(x).all() for x in (mean, axes, deviations))
            or not (deviations > 0).all()
            or not rest > 0
        ):
            raise ValueError("features whose numbers are not finite, or deviations not above 0")
        return cls(mean, axes, deviations, rest)


@dataclass(frozen=True)
class Neighbours:
    """Mean distance to the k nearest training features. features: float64[N, D]."""

    features: Array
    k: int = 5

    def __post_init__(self) -> None:
        _checked(self.features, self.k)
        if self.k < 1:
            raise BadValue(f"k is {self.k}; expected 1 or more. Next: leave it at 5")

    def __call__(self, feature: Array) -> float:
        """feature: float[D]."""
        far = np.linalg.norm(self.features - _one(feature, self.features.shape[1]), axis=1)
        return float(np.partition(far, self.k - 1)[: self.k].mean())


def _rounded(x: Array) -> list[float]:
    return [float(f"{v:.6g}") for v in x]


def _checked(features: Array, least: int) -> Array:
    x = np.asarray(features, np.float64)
    if x.ndim != 2 or len(x) < max(least, 1) or not np.isfinite(x).all():
        raise BadValue(
            f"features have shape {list(x.shape)}, finite {bool(np.isfinite(x).all())}; expected finite [N, D] with N ≥ {least}. "
            "Next: take the features of the training observations"
        )
    return x


def _one(feature: Array, width: int) -> Array:
    x = np.asarray(feature, np.float64)
    if x.shape != (width,):
        raise BadValue(
            f"a feature of shape {list(x.shape)}; expected [{width}]. Next: those of the policy that was fitted on"
        )
    return x
