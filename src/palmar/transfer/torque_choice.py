"""What is chosen by held-out error inside the stretch that is fitted: each joint's friction model, and how far the description's
inertias are trusted. Blocks of time are left out in turn, with a margin at both ends; the test stretch is never looked at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from palmar.transfer.friction import MODELS, FrictionModel
from palmar.transfer.torque_fit import Choice, Stretch, noise_of, normal, prior_of, solve
from palmar.types import Array

FOLDS = 5
MARGIN = 0.3  # on either side of a block [s]
SPREADS = (0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4)
FIRST = 1.6  # spread while friction is chosen
WORTH = 0.2  # by this share a joint's own model must lower its held-out error, and in every block


@dataclass(frozen=True)
class Chosen:
    """models: friction of each joint. spread: of the description's inertias. held_out: {model: RMS error [J] over the blocks left
    out}, of models tried for all joints at once, and "chosen"; weights: float[J] of the equations of each joint."""

    models: Choice
    spread: float
    held_out: dict[str, tuple[float, ...]]
    weights: Array


def blocks(n: int, dt: float, folds: int = FOLDS) -> list[tuple[Array, Array]]:
    """[(samples to fit, samples left out)] of n samples."""
    margin, index = round(MARGIN / dt), np.arange(n)
    out = []
    for block in np.array_split(index, folds):
        out.append((index[(index < block[0] - margin) | (index > block[-1] + margin)], block))
    return out


def held_out(stretch: Stretch, choice: Choice, spread: Array | float, weights: Array) -> Array:
    """float[folds, J]: mean squared error of blocks left out in turn."""
    X, y, prior = stretch.design(choice), stretch.torque, prior_of(stretch, choice, spread)
    out = []
    for fit, left in blocks(len(y), stretch.dt):
        theta = solve(*normal(X[fit], y[fit], weights), prior)
        out.append(np.mean((y[left] - X[left] @ theta) ** 2, axis=0))
    return np.array(out)


def weights_of(stretch: Stretch, choice: Choice, spread: float, rounds: int = 5) -> Array:
    """float[J]: one over the mean squared error of each joint over blocks left out, divided by how many correlated samples are
    worth one (the median over joints).

    The errors are those of fits with weights from their own residuals, found together with the fit in `rounds`: the residuals
    alone would trust most the joints that the parameters can follow best.
    """
    X, y, prior = stretch.design(choice), stretch.torque, prior_of(stretch, choice, spread)
    sigma, count = noise_of(y - y.mean(0))
    for _ in range(rounds):
        theta = solve(*normal(X, y, 1 / (sigma**2 * np.median(count))), prior)
        sigma, count = noise_of(y - X @ theta)
    left = held_out(stretch, choice, spread, 1 / (sigma**2 * np.median(count))).mean(0)
    return np.asarray(1 / (left * np.median(count)))


def choose(stretch: Stretch, models: Sequence[FrictionModel] = MODELS, spreads: Sequence[float] = SPREADS) -> Chosen:
    """The friction model that suits all joints best, then where a joint differs, then the spread; each of least held-out error.

    A joint departs from the common model where another lowers its error by `WORTH` and in every block left out: of models so
    alike, the one of least error in a few blocks is mostly the luckiest (measured: docs/identification.md).
    """
    J = len(stretch.arm.joints)
    weights = weights_of(stretch, (models[0],) * J, FIRST)
    errors = np.sqrt([held_out(stretch, (m,) * J, FIRST, weights) for m in models])  # [models, folds, J]
    mean = errors.mean(1)
    common = int((mean / mean.min(0)).mean(1).argmin())
    better = (errors < errors[common]).all(1) & (mean < (1 - WORTH) * mean[common])
    better[common] = True
    picked = tuple(models[int(k)] for k in np.where(better, mean, np.inf).argmin(0))
    told = {str(m): tuple(map(float, r)) for m, r in zip(models, mean, strict=True)}
    tried = []
    for spread in spreads:
        weights = weights_of(stretch, picked, spread)
        tried.append((np.sqrt(held_out(stretch, picked, spread, weights)).mean(0), weights))
    sizes = np.array([e for e, _ in tried])  # [spreads, J]
    k = int((sizes / sizes.min(0)).mean(1).argmin())
    told["chosen"] = tuple(map(float, sizes[k]))
    return Chosen(picked, spreads[k], told, tried[k][1])
