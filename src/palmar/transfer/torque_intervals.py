"""How sure the parameters of a torque fit are, which of them the motion cannot tell, and whether any motion could.

The covariance is the sandwich H⁻¹ (M + 2 P) H⁻¹: H the curvature of the cost, P that of its penalty (`UNSURE`), M the variance
of the data's
slope with residuals as correlated in time as they are found (Newey, West 1987), as large as on blocks left out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from palmar.eval.stats import Z95
from palmar.transfer.inertia import divergence
from palmar.transfer.rigid_body import NAMES, BaseParameters
from palmar.transfer.torque_fit import Prior
from palmar.types import Array

TOLD = 0.5  # half-width of the interval over the size such a parameter has, up to which it is called identified
UNSURE = 2.0  # variance of the truth about the description, over that of the chosen spread, which is known to a factor of two alone


@dataclass(frozen=True)
class Uncertainty:
    """covariance: float[P, P]. hessian: float[P, P] of the cost. size: float[P] what such a parameter is about as large as: of an
    inertia the spread of its link's description at 100 %, of friction the prior's."""

    covariance: Array
    hessian: Array
    size: Array

    @property
    def deviation(self) -> Array:
        """float[P] standard deviations."""
        return np.sqrt(np.maximum(np.diag(self.covariance), 0.0))

    @property
    def told(self) -> Array:
        """bool[P]: whether the interval is narrow enough to say something."""
        return np.asarray(Z95 * self.deviation <= TOLD * self.size)

    def of(self, combinations: Array) -> Array:
        """float[B] standard deviations of combinations float[B, P]."""
        return np.sqrt(np.maximum(np.einsum("bp,pq,bq->b", combinations, self.covariance, combinations), 0.0))


def uncertainty(X: Array, residual: Array, weights: Array, prior: Prior, scale: Array) -> Uncertainty:
    """Of the parameters of a fit. X: float[N, J, P]; residual: float[N, J]; scale: float[J] variance of blocks left out over
    that of the residual."""
    _, _, bend = prior.terms(
        prior.mean
    )  # of the description: that of a fit at the edge of consistency would be sure of itself
    data, meat = np.zeros_like(bend), np.zeros_like(bend)
    for j in range(X.shape[1]):
        rows = X[:, j]
        data += weights[j] * rows.T @ rows
        meat += weights[j] ** 2 * rows.T @ _correlated(rows, autocovariance(residual[:, j]) * max(1.0, scale[j]))
    H = data + bend
    unit = 1 / np.sqrt(np.diag(H))
    inverse = np.linalg.inv(H * unit[:, None] * unit) * unit[:, None] * unit
    covariance = inverse @ (meat + UNSURE * bend) @ inverse
    sizes = [np.sqrt(np.diag(np.linalg.inv(divergence(row, row)[2]))) for row in prior.inertia]
    return Uncertainty(0.5 * (covariance + covariance.T), H, np.concatenate([*sizes, prior.rotor, prior.friction]))


def autocovariance(residual: Array) -> Array:
    """float[L] of a residual float[N] at lags 0 … L - 1, tapered to 0 at a quarter of its length (Bartlett), so that it is that of
    a process."""
    N = len(residual)
    size = 2 * N
    spectrum = np.fft.rfft(residual, size)
    raw = np.fft.irfft(np.abs(spectrum) ** 2, size)[: max(2, N // 4)] / N
    return np.asarray(raw * (1 - np.arange(len(raw)) / len(raw)))


def _correlated(rows: Array, covariance: Array) -> Array:
    """float[N, P]: the Toeplitz matrix of an autocovariance times the columns of rows float[N, P]."""
    N, L = len(rows), len(covariance)
    size = N + 2 * L
    kernel = np.zeros(size)
    kernel[:L], kernel[-L + 1 :] = covariance, covariance[:0:-1]
    out = np.fft.irfft(np.fft.rfft(rows, size, axis=0) * np.fft.rfft(kernel)[:, None], size, axis=0)
    return np.asarray(out[:N])


def separable(base: BaseParameters) -> Array:
    """bool[10·J]: which inertial parameters some motion could tell by themselves, not only in a combination with others."""
    B = base.matrix
    scale = np.linalg.norm(B, axis=1, keepdims=True)
    _, s, V = np.linalg.svd(B / scale, full_matrices=False)
    V = V[s > 1e-9 * s.max()]
    return np.asarray(np.linalg.norm(V, axis=0) > 1 - 1e-6)


WORDS = dict(
    zip(
        NAMES,
        ("mass", "first moment along x", "first moment along y", "first moment along z", "inertia about x", "inertia about y",
         "inertia about z", "product of inertia xy", "product of inertia xz", "product of inertia yz"),
        strict=True,
    )
)  # fmt: skip


def in_words(name: str) -> str:
    """ "joint2.izz" as "the inertia about z of what joint2 carries"."""
    joint, _, what = name.rpartition(".")
    if what in WORDS:
        return f"the {WORDS[what]} of what {joint} carries"
    return f"the rotor inertia of {joint}" if what == "rotor" else f"the friction term '{what}' of {joint}"
