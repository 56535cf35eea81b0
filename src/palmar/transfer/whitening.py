"""Whitening filters: residuals that are correlated from tick to tick become white (generalised least squares).

Source: Ljung 1999, "System Identification", ch. 7.
"""

from __future__ import annotations

import numpy as np

from palmar.types import Array


def whitening(z: Array, lags: int) -> tuple[Array, Array]:
    """A vector autoregression of z [T, C] as (coefficients [lags·C, C], L [C, C]): innovations e = z_t - past @ coefficients
    have covariance L Lᵀ."""
    past = _past(z, lags)
    coefficients = np.linalg.lstsq(past, z[lags:], rcond=None)[0]
    e = z[lags:] - past @ coefficients
    floor = 1e-12 * np.eye(z.shape[1])
    return coefficients, np.linalg.cholesky(e.T @ e / len(e) + floor)


def whiten(z: Array, coefficients: Array, L: Array) -> Array:
    """Unit-variance innovations [..., T - lags, C] of z [..., T, C] under `whitening`'s model."""
    lags = len(coefficients) // z.shape[-1]
    e = z[..., lags:, :] - _past(z, lags) @ coefficients
    return np.linalg.solve(L, np.swapaxes(e, -1, -2)).swapaxes(-1, -2)


def _past(z: Array, lags: int) -> Array:
    T = z.shape[-2]
    return np.concatenate([z[..., lags - k : T - k, :] for k in range(1, lags + 1)], axis=-1)
