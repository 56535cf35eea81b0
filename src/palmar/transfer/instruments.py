"""Steps and intervals of a search that solves J' r = 0, with instruments J that hold none of the noise of the residuals r.

How the residuals answer, D, enters by J' D alone. Source: Soderstrom and Stoica 2002, "Instrumental variable methods for system
identification"; intervals by block sums: Newey and West 1987.
"""

from __future__ import annotations

import numpy as np

from palmar.transfer.solver import t95
from palmar.types import Array


def step_inside(H: Array, slope: Array, at: Array, low: Array, high: Array) -> Array:
    """The step [P] that solves (H + 1) step = slope inside bounds: what is at its bound and would go beyond stays there.

    H: J' D [P, P]. slope: J' r [P]. The 1 is a belief of standard deviation 1 in every parameter, on the scale of the search.
    """
    P = len(at)
    H, free, step = H + np.eye(P), np.ones(P, bool), np.zeros(P)
    for _ in range(P):
        step = np.zeros(P)
        step[free] = np.linalg.solve(H[np.ix_(free, free)], slope[free])
        out = free & (((at >= high) & (step > 0)) | ((at <= low) & (step < 0)))
        if not out.any():
            break
        free &= ~out
    return step


def uncertainty(jac: Array, moves: Array, r: Array, block: int) -> tuple[Array, Array]:
    """Covariance [P, P] of white residuals, and 95 % half-widths [P], the wider of theirs and of sums over blocks.

    jac, moves: J and D [M, P]. r: residuals [M]. block: rows that may be correlated. A parameter without a column in J has an
    infinite half-width.
    """
    P = jac.shape[1]
    if not np.any(jac):
        return np.diag(np.full(P, np.inf)), np.full(P, np.inf)
    inverse = np.linalg.pinv(jac.T @ moves, rcond=1e-13)
    white = inverse @ (jac.T @ jac) @ inverse.T * float(np.mean(r**2))
    cuts = range(block, len(r), block)
    sums = np.array([a.T @ b for a, b in zip(np.split(jac, cuts), np.split(r, cuts), strict=True)])
    spare = max(len(sums) - P, 1)
    cov = inverse @ (sums.T @ sums) @ inverse.T * len(sums) / spare
    half = t95(spare) * np.sqrt(np.maximum(np.maximum(np.diag(cov), np.diag(white)), 0))
    return white, np.where(np.linalg.norm(jac, axis=0) > 0, half, np.inf)
