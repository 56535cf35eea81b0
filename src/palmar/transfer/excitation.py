"""A motion that tells what the last one could not: a Fourier series within the arm's limits, most informative on one parameter.

q(t) = middle + Σ_k a_k sin(2πkt/T) + b_k cos(2πkt/T), faded in and out so that the arm starts and ends at rest (Swevers, Ganseman,
Tükel, De Schutter, Van Brussel 1997, "Optimal Robot Excitation and Identification"). The coefficients are searched at random,
then about the best. Only joint limits and a floor are looked at, not whether the arm meets itself or the cell: play it in
simulation first.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from palmar.eval.stats import Z95
from palmar.transfer.friction import features
from palmar.transfer.rigid_body import regressor
from palmar.transfer.serial_arm import SerialArm
from palmar.transfer.torque_fit import Choice
from palmar.types import Array

SECONDS, HARMONICS, FADE = 10.0, 5, 1.0
RATE = 25.0  # samples a second at which information is counted
ROOM, SPEED, PUSH = 0.9, 0.8, 0.5  # shares of the limits of position, velocity, acceleration that are used
UNKNOWN = 6.0  # acceleration where no limit is stated [rad/s²]
FLOOR = 0.1  # height that joints from the third on and the tool keep [m]


@dataclass(frozen=True)
class FourierMotion:
    """middle: float[J] [rad] or [m]. sine, cosine: float[J, K]. seconds: how long it takes."""

    middle: Array
    sine: Array
    cosine: Array
    seconds: float = SECONDS

    def at(self, rate: float) -> tuple[Array, Array, Array, Array]:
        """(time [T], q, dq, ddq [T, J]) at a rate [Hz]."""
        t = np.arange(round(self.seconds * rate) + 1) / rate
        k = 2 * np.pi * np.arange(1, self.sine.shape[1] + 1) / self.seconds
        s, c = np.sin(t[:, None] * k), np.cos(t[:, None] * k)
        wave = s @ self.sine.T + c @ self.cosine.T
        first, second = (
            (k * c) @ self.sine.T - (k * s) @ self.cosine.T,
            -(k**2 * s) @ self.sine.T - (k**2 * c) @ self.cosine.T,
        )
        f, df, ddf = (x[:, None] for x in _fade(t, self.seconds))
        return t, self.middle + f * wave, df * wave + f * first, ddf * wave + 2 * df * first + f * second


def _fade(t: Array, seconds: float) -> tuple[Array, Array, Array]:
    """0 … 1 … 0 with its first two derivatives, of a polynomial of fifth order at both ends."""
    side = np.where(t < seconds / 2, 1.0, -1.0)
    u = np.clip(np.minimum(t, seconds - t) / FADE, 0, 1)
    inside = (u < 1).astype(float)
    return (
        u**3 * (10 - 15 * u + 6 * u**2),
        side * inside * 30 * u**2 * (1 - u) ** 2 / FADE,
        inside * 60 * u * (1 - u) * (1 - 2 * u) / FADE**2,
    )


@dataclass(frozen=True)
class Excitation:
    """A motion for one parameter. before, after: half-width of its 95 % interval as it is, and with this motion
    recorded as well."""

    motion: FourierMotion
    parameter: int
    before: float
    after: float


def design(
    arm: SerialArm, choice: Choice, rotors: bool, hessian: Array, weights: Array, rate: float, candidates: Array, size: Array,
    tries: int = 100, seed: int = 0,
) -> Excitation:  # fmt: skip
    """A motion for that one of the parameters with these indices whose interval, over its `size` float[P], motions shorten most.

    hessian: float[P, P] of the fit; weights, rate: of its equations, [J] and [Hz].
    """
    rng = np.random.default_rng(seed)
    finite = np.isfinite(arm.lower) & np.isfinite(arm.upper)
    low, high = np.where(finite, arm.lower, -np.pi), np.where(finite, arm.upper, np.pi)
    J = len(low)

    def after(motion: FourierMotion) -> Array:
        X = _equations(arm, choice, rotors, motion)
        A = (X * np.sqrt(weights * rate / RATE)[:, None]).reshape(-1, X.shape[2])
        return _deviations(hessian + A.T @ A)

    before = _deviations(hessian)
    drawn: list[tuple[FourierMotion, Array]] = []
    for _ in range(tries // 3):
        raw = rng.normal(size=(2, J, HARMONICS)) / np.arange(1, HARMONICS + 1)
        motion = _within(arm, FourierMotion(low + (high - low) * rng.uniform(0.35, 0.65, J), raw[0], raw[1]), low, high)
        if motion is not None:
            drawn.append((motion, after(motion)))
    if not drawn:  # nothing keeps off the floor: stay about the middle
        best = FourierMotion((low + high) / 2, np.zeros((J, HARMONICS)), np.zeros((J, HARMONICS)))
        return Excitation(
            best, int(candidates[0]), Z95 * float(before[candidates[0]]), Z95 * float(after(best)[candidates[0]])
        )
    gain = np.array([(before - d)[candidates] / size[candidates] for _, d in drawn]).max(0)
    target = int(candidates[gain.argmax()])
    best, least = min(((m, float(d[target])) for m, d in drawn), key=lambda pair: pair[1])
    for _ in range(tries - tries // 3):
        raw = np.stack([best.sine, best.cosine])
        raw = raw + 0.2 * rng.normal(size=raw.shape) * np.abs(raw).mean(axis=(0, 2))[:, None]
        middle = np.clip(best.middle + 0.03 * (high - low) * rng.normal(size=J), low, high)
        near = _within(arm, FourierMotion(middle, raw[0], raw[1]), low, high)
        if near is not None and (now := float(after(near)[target])) < least:
            best, least = near, now
    return Excitation(best, target, Z95 * float(before[target]), Z95 * least)


def _within(arm: SerialArm, motion: FourierMotion, low: Array, high: Array) -> FourierMotion | None:
    """The motion as large as the limits allow; smaller where it comes near the floor; None where that does not help."""
    _, q, dq, ddq = motion.at(50.0)
    swing = np.abs(q - motion.middle).max(0)
    room = ROOM * np.minimum(motion.middle - low, high - motion.middle)
    steep = np.where(np.isfinite(arm.acceleration), arm.acceleration, UNKNOWN)
    scale = np.minimum.reduce(
        [room / swing, SPEED * arm.velocity / np.abs(dq).max(0), PUSH * steep / np.abs(ddq).max(0)]
    ).clip(0)
    for _ in range(6):
        now = FourierMotion(motion.middle, motion.sine * scale[:, None], motion.cosine * scale[:, None])
        frames = arm.chain.frames(now.at(10.0)[1])
        if min(frames[:, 2:, 2, 3].min(), arm.chain.tcp(frames)[:, 2].min()) > FLOOR:
            return now
        scale = 0.75 * scale
    return None


def _equations(arm: SerialArm, choice: Choice, rotors: bool, motion: FourierMotion) -> Array:
    """float[N, J, P] as of `Stretch.design`, unfiltered."""
    _, q, dq, ddq = motion.at(RATE)
    N, J = q.shape
    Y = regressor(arm.chain, q, dq, ddq).reshape(N, J, 10 * J)
    load = Y @ arm.inertia.ravel()
    parts = [Y, *([np.eye(J) * ddq[:, :, None]] if rotors else [])]
    for j, model in enumerate(choice):
        one = features(model, q[:, j], dq[:, j], load[:, j])
        block = np.zeros((N, J, one.shape[1]))
        block[:, j] = one
        parts.append(block)
    return np.concatenate(parts, axis=2)


def _deviations(hessian: Array) -> Array:
    """float[P] standard deviations of parameters with this curvature."""
    unit = 1 / np.sqrt(np.diag(hessian))
    return np.asarray(np.sqrt(np.diag(np.linalg.inv(hessian * unit[:, None] * unit))) * unit)
