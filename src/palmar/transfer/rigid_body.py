"""Inverse dynamics of a serial chain as a matrix: torques = regressor @ inertial parameters, and which parameters torques tell.

Each link has ten parameters in the frame of the joint that moves it: mass [kg], first moment x y z (mass times centre of mass)
[kg·m], inertia xx yy zz xy xz yz about that frame's origin [kg·m²]. Torques are linear in them. Sources: Atkeson, An, Hollerbach
1986, "Estimation of Inertial Parameters of Manipulator Loads and Links"; Gautier, Khalil 1990 and Gautier 1991 (base parameters).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from palmar.kinematics import Chain
from palmar.types import Array

GRAVITY = 9.81  # [m/s²], along -z of the base frame
NAMES = ("mass", "mx", "my", "mz", "ixx", "iyy", "izz", "ixy", "ixz", "iyz")
"""Of the ten parameters of a link, in the order of the regressor's columns."""
UNITS = ("kg", *("kg·m",) * 3, *("kg·m²",) * 6)


def regressor(chain: Chain, q: Array, dq: Array, ddq: Array, gravity: float = GRAVITY) -> Array:
    """float[T, J, J, 10]: torque of joint i [N·m] or [N] for a unit of parameter k of link j.

    q, dq, ddq: float[T, J] position, velocity, acceleration [rad] or [m], and by the second.
    """
    frames = chain.frames(q)
    R, origin = frames[..., :3, :3], frames[..., :3, 3]
    axis, slides = R[..., 2], chain.slides
    T, J = q.shape
    Y = np.zeros((T, J, J, 10))
    spin, turn = np.zeros((T, 3)), np.zeros((T, 3))  # angular velocity and acceleration
    pull = np.tile([0.0, 0.0, gravity], (T, 1))  # acceleration of the frame's origin, less gravity
    before = np.zeros((T, 3))
    for j in range(J):
        arm = origin[:, j] - before
        before = origin[:, j]
        pull = pull + np.cross(turn, arm) + np.cross(spin, np.cross(spin, arm))
        speed, rise = axis[:, j] * dq[:, j, None], axis[:, j] * ddq[:, j, None]
        if slides[j]:
            pull = pull + 2 * np.cross(spin, speed) + rise
        else:
            turn = turn + np.cross(spin, speed) + rise
            spin = spin + speed
        own = R[:, j].swapaxes(-1, -2)
        w, a, p = (np.einsum("tab,tb->ta", own, v) for v in (spin, turn, pull))
        W = _cross_matrix(w)
        force, moment = np.zeros((T, 3, 10)), np.zeros((T, 3, 10))
        force[..., 0], force[..., 1:4] = p, _cross_matrix(a) + W @ W
        moment[..., 1:4], moment[..., 4:] = -_cross_matrix(p), _times_inertia(a) + W @ _times_inertia(w)
        force, moment = R[:, j] @ force, R[:, j] @ moment
        for i in range(j + 1):
            if slides[i]:
                Y[:, i, j] = np.einsum("ta,tab->tb", axis[:, i], force)
            else:
                lever = np.cross(axis[:, i], origin[:, j] - origin[:, i])
                Y[:, i, j] = np.einsum("ta,tab->tb", axis[:, i], moment) + np.einsum("ta,tab->tb", lever, force)
    return Y


def _cross_matrix(v: Array) -> Array:
    """float[..., 3, 3] with matrix @ u = v × u."""
    x, y, z = np.moveaxis(v, -1, 0)
    o = np.zeros_like(x)
    return np.stack([np.stack([o, -z, y], -1), np.stack([z, o, -x], -1), np.stack([-y, x, o], -1)], -2)


def _times_inertia(v: Array) -> Array:
    """float[..., 3, 6] with matrix @ (xx, yy, zz, xy, xz, yz) = inertia @ v."""
    x, y, z = np.moveaxis(v, -1, 0)
    o = np.zeros_like(x)
    return np.stack(
        [np.stack([x, o, o, y, z, o], -1), np.stack([o, y, o, x, o, z], -1), np.stack([o, o, z, o, x, y], -1)], -2
    )


@dataclass(frozen=True)
class BaseParameters:
    """The combinations of parameters that torques can tell: independent columns of a regressor, each with what it takes over.

    columns: int[B] of the kept columns. dependent: int[D] of the others. shares: float[B, D]: base parameter b is parameter
    columns[b] + sum over d of shares[b, d] · parameter dependent[d].
    """

    columns: Array
    dependent: Array
    shares: Array

    def values(self, parameters: Array) -> Array:
        """float[B] of all parameters float[P]."""
        return np.asarray(parameters[self.columns] + self.shares @ parameters[self.dependent])

    @property
    def matrix(self) -> Array:
        """float[B, P] with values = matrix @ parameters."""
        out = np.zeros((len(self.columns), len(self.columns) + len(self.dependent)))
        out[np.arange(len(self.columns)), self.columns] = 1.0
        out[:, self.dependent] = self.shares
        return out

    def formula(self, b: int, names: list[str], least: float = 1e-6) -> str:
        """Base parameter b in words: "joint2.izz + 1·joint1.izz"."""
        terms = [names[self.columns[b]]]
        for share, d in zip(self.shares[b], self.dependent, strict=True):
            if abs(share) > least:
                terms.append(f"{'+' if share > 0 else '-'} {abs(share):.4g}·{names[d]}")
        return " ".join(terms)


KEPT_FIRST = (4, 7, 8, 9, 6, 1, 2, 5, 3, 0)
"""Order in which a link's parameters are kept: its mass, mz and iyy go into combinations, as in Gautier's closed form."""


def base_parameters(X: Array, tolerance: float = 1e-8) -> BaseParameters:
    """Base parameters of a regressor float[N, 10·J], by QR of its columns from the base to the tool.

    tolerance: of a diagonal entry of R, over the largest.
    """
    order = np.concatenate([10 * j + np.array(KEPT_FIRST) for j in range(X.shape[1] // 10)])
    scale = np.linalg.norm(X, axis=0)
    scale = np.where(scale > 1e-9 * scale.max(), scale, np.inf)
    kept: list[int] = []
    basis = np.zeros((len(X), 0))
    for k in order:  # Gram-Schmidt, twice
        column = X[:, k] / scale[k]
        for _ in range(2):
            column = column - basis @ (basis.T @ column)
        if (rest := float(np.linalg.norm(column))) > tolerance:
            basis = np.concatenate([basis, column[:, None] / rest], axis=1)
            kept.append(int(k))
    columns = np.array(sorted(kept))
    dependent = np.setdiff1d(np.arange(X.shape[1]), columns)
    shares = np.linalg.lstsq(X[:, columns] / scale[columns], X[:, dependent], rcond=None)[0] / scale[columns][:, None]
    return BaseParameters(columns, dependent, np.where(np.abs(shares) < 1e-9, 0.0, shares))


def structural_base(chain: Chain, seed: int = 0, samples: int = 60) -> BaseParameters:
    """Base parameters of the arm itself: those that any motion could tell, from random states (all links' parameters in a row)."""
    rng = np.random.default_rng(seed)
    J = len(chain.slides)
    q, dq, ddq = (rng.uniform(-b, b, (samples, J)) for b in (np.pi, 2.0, 5.0))
    return base_parameters(regressor(chain, q, dq, ddq).reshape(samples * J, J * 10))
