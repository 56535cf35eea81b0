"""How far an observation's features are from those of training: the distance signals, where a policy shows its features."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from palmar.errors import BadValue
from palmar.types import Array


@dataclass(frozen=True)
class Gaussian:
    """Mahalanobis distance to training features. mean: float64[D]. root: float64[D, D], inverse square root of their
    covariance, shrunk towards a multiple of the identity so that fewer features than dimensions are enough."""

    mean: Array
    root: Array

    @classmethod
    def fit(cls, features: Array, shrinkage: float = 0.1) -> Gaussian:
        """features: float[N, D], N ≥ 2. shrinkage: in (0, 1]. Raises `BadValue` for another shape or a value not finite."""
        x = _checked(features, 2)
        if not 0 < shrinkage <= 1:
            raise BadValue(f"shrinkage is {shrinkage}; expected (0, 1]. Next: leave it at 0.1")
        mean = x.mean(0)
        covariance = np.cov(x, rowvar=False).reshape(x.shape[1], x.shape[1])
        scale = max(float(np.trace(covariance)) / len(mean), 1e-12)
        values, vectors = np.linalg.eigh((1 - shrinkage) * covariance + shrinkage * scale * np.eye(len(mean)))
        return cls(mean, (vectors / np.sqrt(values)) @ vectors.T)

    def __call__(self, feature: Array) -> float:
        """feature: float[D]. Distance ≥ 0; about √D for a feature like those of training."""
        return float(np.linalg.norm(self.root @ (_one(feature, len(self.mean)) - self.mean)))


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
        raise BadValue(f"a feature of shape {list(x.shape)}; expected [{width}]. Next: take the layer of training")
    return x
