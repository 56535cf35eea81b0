"""Weighted least squares of torques on a chain's parameters, with inertias that stay physically consistent: a convex problem.

minimise  ½ Σ_j w_j |torque_j - X_j θ|² + Σ_links divergence(inertia, description) / spread² + the same of the rotors + a wide
Gaussian on friction. Newton's method with backtracking; the divergence keeps every pseudo-inertia positive definite.
Sources: Lee, Wensing, Park 2020 (entropic divergence); Swevers, Verdonck, De Schutter 2007 (filtering both sides alike).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from palmar.errors import BadValue
from palmar.transfer.friction import FrictionModel, features
from palmar.transfer.inertia import divergence
from palmar.transfer.rigid_body import NAMES, UNITS, regressor
from palmar.transfer.serial_arm import SerialArm
from palmar.transfer.smoothing import lowpass
from palmar.transfer.torque_log import Sampled
from palmar.types import Array

SAMPLES = 6.0  # of a filtered signal in a period of its cutoff
ROTOR_SPREAD = 3.0  # relative, of the description's rotor inertias: a sensor behind the gear does not see them
FRICTION_SPREAD = 0.02  # of the joint's largest torque: Coulomb, or viscous at 1 rad/s
OFFSET_SPREAD = 0.003  # of the joint's largest torque: the sensor's zero
EDGE = 0.25  # periods of the cutoff at either end of a stretch that are not fitted
STEPS, SMALL = 60, 1e-9
Choice = tuple[FrictionModel, ...]
"""The friction model of each joint."""


@dataclass
class Stretch:
    """A stretch of a log as equations: filtered and thinned to `dt` [s].

    rigid: float[N, J, 10·J] regressor; acceleration, torque: float[N, J]; time: float[N].
    """

    arm: SerialArm
    time: Array
    dt: float
    rigid: Array
    acceleration: Array
    torque: Array
    rotors: bool
    _motion: Sampled
    _load: Array
    _cutoff: float
    _keep: slice
    _friction: dict[tuple[int, FrictionModel], Array] = field(default_factory=dict)

    @classmethod
    def of(cls, arm: SerialArm, motion: Sampled, cutoff: float, rotors: bool = False, trimmed: bool = True) -> Stretch:
        """Both sides filtered at `cutoff` [Hz]. rotors: whether the torques hold what accelerates the motors, as those of motors do
        and those of sensors behind the gear do not. trimmed: without the ends, where the filter has guessed what came before."""
        J = len(arm.joints)
        thin = max(1, int(1.0 / (SAMPLES * cutoff * motion.dt)))
        Y = regressor(arm.chain, motion.q, motion.dq, motion.ddq).reshape(len(motion), J, 10 * J)
        load = Y @ arm.inertia.ravel()
        inner = round(EDGE / (cutoff * motion.dt)) if trimmed else 0
        keep = slice(inner, len(motion) - inner, thin)
        rigid, acceleration, torque = (lowpass(x, cutoff, motion.dt)[keep] for x in (Y, motion.ddq, motion.torque))
        dt = motion.dt * thin
        return cls(arm, motion.time[keep], dt, rigid, acceleration, torque, rotors, motion, load, cutoff, keep)

    def friction(self, joint: int, model: FrictionModel) -> Array:
        """float[N, K] filtered features of one joint."""
        key = joint, model
        if key not in self._friction:
            m = self._motion
            raw = features(model, m.q[:, joint], m.dq[:, joint], self._load[:, joint])
            self._friction[key] = lowpass(raw, self._cutoff, m.dt)[self._keep]
        return self._friction[key]

    def design(self, choice: Choice) -> Array:
        """float[N, J, P]: the parameters are the links' inertias, the rotors' where they count, and each joint's
        friction, in a row."""
        N, J, R = self.rigid.shape
        widths = [len(m.terms) for m in choice]
        at = R + J * self.rotors
        X = np.zeros((N, J, at + sum(widths)))
        X[:, :, :R] = self.rigid
        if self.rotors:
            X[:, range(J), range(R, at)] = self.acceleration
        for j, model in enumerate(choice):
            X[:, j, at : at + widths[j]] = self.friction(j, model)
            at += widths[j]
        return X


def parameter_names(arm: SerialArm, choice: Choice, rotors: bool) -> tuple[list[str], list[str]]:
    """(names, units) of the columns of `Stretch.design`."""
    names = [f"{j}.{n}" for j in arm.joints for n in NAMES]
    units = [u for _ in arm.joints for u in UNITS]
    if rotors:
        names += [f"{j}.rotor" for j in arm.joints]
        units += ["kg" if slides else "kg·m²" for slides in arm.chain.slides]
    for j, model in zip(arm.joints, choice, strict=True):
        names += [f"{j}.{t}" for t in model.terms]
        units += list(model.units)
    return names, units


@dataclass(frozen=True)
class Prior:
    """inertia: float[J, 10]; rotor: float[J] or of none; spread: float[J], and rotor_spread: their relative standard deviations;
    friction: float[F] standard
    deviations about 0."""

    inertia: Array
    rotor: Array
    friction: Array
    spread: Array
    rotor_spread: float = ROTOR_SPREAD

    @property
    def mean(self) -> Array:
        return np.concatenate([self.inertia.ravel(), self.rotor, np.zeros(len(self.friction))])

    def terms(self, theta: Array) -> tuple[float, Array, Array]:
        """Penalty, gradient and Hessian at parameters float[P]; infinite where no body has the inertias."""
        J, at_rotor = len(self.inertia), 10 * len(self.inertia)
        at_friction = at_rotor + len(self.rotor)
        gradient, hessian, value = np.zeros(len(theta)), np.zeros((len(theta), len(theta))), 0.0
        rotor, friction = theta[at_rotor:at_friction], theta[at_friction:]
        if (rotor <= 0).any():
            return np.inf, gradient, hessian
        for j in range(J):
            at = slice(10 * j, 10 * j + 10)
            one, slope, bend = divergence(theta[at], self.inertia[j])
            if not np.isfinite(one):
                return np.inf, gradient, hessian
            trust = 1.0 / self.spread[j] ** 2
            value += trust * one
            gradient[at], hessian[at, at] = trust * slope, trust * bend
        ratio, weight = rotor / self.rotor, 1.0 / self.rotor_spread**2
        value += weight * float((ratio - 1 - np.log(ratio)).sum()) + 0.5 * float(
            ((friction / self.friction) ** 2).sum()
        )
        gradient[at_rotor:at_friction] = weight * (1 / self.rotor - 1 / rotor)
        gradient[at_friction:] = friction / self.friction**2
        diagonal = np.concatenate([weight / rotor**2, 1 / self.friction**2])
        hessian[range(at_rotor, len(theta)), range(at_rotor, len(theta))] = diagonal
        return value, gradient, hessian


def prior_of(stretch: Stretch, choice: Choice, spread: Array | float) -> Prior:
    """The description's inertias at a relative spread, of all links or float[J]; friction and offsets within what
    joints of such torques have."""
    seen = 2 * np.abs(stretch.torque).max(axis=0) + 1e-9
    largest = np.where(np.isfinite(stretch.arm.torque), stretch.arm.torque, seen)
    wide = [
        (OFFSET_SPREAD if term == "offset" else FRICTION_SPREAD) * most
        for model, most in zip(choice, largest, strict=True)
        for term in model.terms
    ]
    rotor = stretch.arm.rotor if stretch.rotors else np.zeros(0)
    return Prior(stretch.arm.inertia, rotor, np.array(wide), np.broadcast_to(spread, (len(largest),)).astype(float))


def normal(X: Array, y: Array, weights: Array) -> tuple[Array, Array]:
    """(Xᵀ W X [P, P], Xᵀ W y [P]) of X [N, J, P], y [N, J], weights [J]."""
    A = (X * np.sqrt(weights)[:, None]).reshape(-1, X.shape[2])
    return A.T @ A, A.T @ (y * np.sqrt(weights)).ravel()


def solve(N: Array, b: Array, prior: Prior, start: Array | None = None) -> Array:
    """Parameters float[P] of least cost. Raises `BadValue` where Newton's method does not settle."""
    if not (np.isfinite(N).all() and np.isfinite(b).all()):
        raise BadValue(
            "the equations hold numbers that are not finite; expected numbers. Next: check the log for values without sense"
        )
    theta = prior.mean if start is None else start

    def cost(x: Array) -> float:
        return 0.5 * float(x @ N @ x) - float(b @ x) + prior.terms(x)[0]

    now = cost(theta)
    for _ in range(STEPS):
        _, gradient, hessian = prior.terms(theta)
        slope, bend = N @ theta - b + gradient, N + hessian
        scale = 1 / np.sqrt(np.diag(bend))
        step = -scale * np.linalg.solve(bend * scale * scale[:, None], scale * slope)
        decrement, rate = -float(slope @ step), 1.0
        if decrement < SMALL * (1.0 + abs(now)):
            return theta
        while (then := cost(theta + rate * step)) > now - 1e-4 * rate * decrement:
            rate *= 0.5
            if rate < 1e-10:
                return _settled(theta, decrement, now)
        theta, now = theta + rate * step, then
    return _settled(theta, decrement, now)


def _settled(theta: Array, decrement: float, cost: float) -> Array:
    """The parameters where rounding alone keeps Newton's method from going on."""
    if decrement < 1e-5 * (1.0 + abs(cost)):
        return theta
    raise BadValue(
        f"the fit does not settle (it would still gain {decrement:.3g} of {cost:.4g}); expected less than 1e-5 of it. "
        "Next: a longer "
        "motion, or check that torques, positions and joints are of one robot"
    )


def noise_of(residual: Array) -> tuple[Array, Array]:
    """(standard deviation [J], how many correlated samples are worth one independent one [J]) of residuals float[N, J].

    The second is 1 + 2 Σ autocorrelation up to its first value below 0.05 (initial positive sequence, Geyer 1992).
    """
    sigma = np.sqrt(np.mean(residual**2, axis=0)) + 1e-9
    count = np.ones(residual.shape[1])
    for j, r in enumerate(residual.T):
        rho = np.correlate(r, r, "full")[len(r) - 1 :] / max(float(r @ r), 1e-30)
        below = np.flatnonzero(rho < 0.05)
        count[j] += 2 * rho[1 : max(1, int(below[0]) if len(below) else len(rho) // 4)].sum()
    return sigma, np.maximum(count, 1.0)
