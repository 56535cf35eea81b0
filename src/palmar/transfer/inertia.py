"""Inertias that a body can have: the pseudo-inertia matrix, its positive definiteness, and a distance between two of them.

The pseudo-inertia of a link is the 4×4 matrix [[S, h], [hᵀ, m]] with S = ½ trace(I)·1 - I, first moment h, mass m. A distribution
of mass exists exactly where it is positive definite (Wensing, Kim, Slotine 2018, "Linear Matrix Inequalities for Physically
Consistent Inertial Parameter Identification"). The distance is the entropic (log-det Bregman) divergence of Lee, Wensing, Park
2020, "Geometric Robot Dynamic Identification: A Convex Programming Approach": convex, and infinite at the edge of consistency.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from palmar.types import Array

SLIMMEST = 0.02
"""Radius of gyration [m] below which no link of a description is believed: some publish inertias at the edge of consistency."""


def _basis() -> Array:
    """float[10, 4, 4]: pseudo-inertia of one unit of each parameter."""
    E = np.zeros((10, 4, 4))
    E[0, 3, 3] = 1.0
    for a in range(3):
        E[1 + a, a, 3] = E[1 + a, 3, a] = 1.0
        E[4 + a, range(3), range(3)] = 0.5
        E[4 + a, a, a] = -0.5
    for k, (a, b) in enumerate(((0, 1), (0, 2), (1, 2))):
        E[7 + k, a, b] = E[7 + k, b, a] = -1.0
    return E


BASIS = _basis()


def pseudo_inertia(parameters: Array) -> Array:
    """float[..., 4, 4] of parameters float[..., 10] (`rigid_body.NAMES`)."""
    return np.einsum("...k,kab->...ab", np.asarray(parameters, float), BASIS)


def parameters_of(P: Array) -> Array:
    """float[..., 10] of pseudo-inertias float[..., 4, 4]."""
    S = P[..., :3, :3]
    I = np.trace(S, axis1=-2, axis2=-1)[..., None, None] * np.eye(3) - S  # noqa: E741
    diagonal = [I[..., a, a] for a in range(3)]
    return np.stack(
        [P[..., 3, 3], *(P[..., a, 3] for a in range(3)), *diagonal, I[..., 0, 1], I[..., 0, 2], I[..., 1, 2]], -1
    )


def consistent(parameters: Array) -> Array:
    """bool[...]: whether a body of parameters [..., 10] can exist."""
    return np.asarray(np.linalg.eigvalsh(pseudo_inertia(parameters))[..., 0] > 0)


def link_parameters(mass: float, com: Sequence[float] | Array, inertia: Sequence[float] | Array) -> Array:
    """float[10] about the frame's origin, of a mass [kg], centre of mass [3] [m] and inertia about it, xx yy zz or
    xx yy zz xy xz yz [kg·m²]."""
    c = np.asarray(com, float)
    moments = np.zeros(6)
    moments[: len(inertia)] = inertia
    shift = mass * (c @ c * np.eye(3) - np.outer(c, c))
    moments += [shift[0, 0], shift[1, 1], shift[2, 2], shift[0, 1], shift[0, 2], shift[1, 2]]
    return np.concatenate([[mass], mass * c, moments])


def body_of(parameters: Array) -> tuple[float, Array, Array]:
    """(mass [kg], centre of mass [3] [m], inertia about it [6] [kg·m²]) of parameters [10]; the inverse of `link_parameters`."""
    mass = float(parameters[0])
    com = np.asarray(parameters[1:4]) / mass
    return mass, com, np.asarray(parameters[4:]) - link_parameters(mass, com, (0.0, 0.0, 0.0))[4:]


def moved(parameters: Array, rotation: Array, translation: Array) -> Array:
    """float[10] in another frame, in which the body's frame has this rotation [3, 3] and translation [3] [m]."""
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = rotation, translation
    return parameters_of(pose @ pseudo_inertia(parameters) @ pose.T)


def believable(parameters: Array) -> Array:
    """float[J, 10]: with every axis's second moment about the centre of mass at least mass · `SLIMMEST`², so that a description
    at the edge of consistency does not hold a fit there."""
    out = []
    for row in np.asarray(parameters, float):
        mass, com, _ = body_of(row)
        P = pseudo_inertia(row)
        values, vectors = np.linalg.eigh(P[:3, :3] - mass * np.outer(com, com))
        P[:3, :3] = vectors @ np.diag(np.maximum(values, mass * SLIMMEST**2)) @ vectors.T + mass * np.outer(com, com)
        out.append(parameters_of(P))
    return np.array(out)


def divergence(parameters: Array, prior: Array) -> tuple[float, Array, Array]:
    """Entropic divergence of one link's parameters [10] from a prior's: value, gradient [10], Hessian [10, 10].

    log det P₀ - log det P + trace(P₀⁻¹ P) - 4. The value is infinite where no body has the parameters.
    """
    P, P0 = pseudo_inertia(parameters), pseudo_inertia(prior)
    try:
        np.linalg.cholesky(P)
    except np.linalg.LinAlgError:
        return np.inf, np.zeros(10), np.zeros((10, 10))
    inverse, prior_inverse = np.linalg.inv(P), np.linalg.inv(P0)
    value = np.linalg.slogdet(P0)[1] - np.linalg.slogdet(P)[1] + np.trace(prior_inverse @ P) - 4.0
    A = np.einsum("ab,kbc->kac", inverse, BASIS)
    gradient = np.einsum("ab,kba->k", prior_inverse, BASIS) - np.einsum("kaa->k", A)
    return float(value), gradient, np.einsum("kab,lba->kl", A, A)
