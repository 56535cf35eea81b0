"""Where the search for the arm's parameters begins: the best of a grid of gains, delays and noises."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from palmar.types import Array

GAINS = 9  # gains that the scan tries, evenly in their logarithm
SIGMAS = (0.001, 0.004, 0.008, 0.016)  # noise of commands that it tries [rad]
STRONG = slice(0, 4)  # joints that answer noise almost linearly
UNITS = (0.007, 0.1)  # errors of angle [rad] and velocity [rad/s] that count alike


def best_start(
    at: Array,
    columns: Sequence[str],
    bounds: tuple[Array, Array],
    draws: Array,
    errors: Callable[[Array, Array | None], tuple[Array, Array]],
) -> Array:
    """The best place [P] of a grid around `at`: delays by the strong joints without noise, then gains and noise by how likely they
    make the speeds of all joints. Stiff servos that saturate shake as soft ones do under more noise, but not in every joint.

    columns: names of the P; the last is the logarithm of the commands' noise [rad]. draws: of noise of variance 1 [R, T, J].
    errors: given places [K, P] and noise or None, measured minus simulated and simulated, [K, R, T', J, 2] each.
    """
    low, high = bounds
    places = at[None]
    if "gain" in columns:
        k = columns.index("gain")
        places = np.repeat(places, GAINS, axis=0)
        places[:, k] = np.linspace(low[k], high[k], GAINS + 2)[1:-1]
    if "action_delay" in columns:
        d = columns.index("action_delay")
        delays = np.arange(low[d] + 0.25, high[d] + 0.1)
        if high[d] - low[d] > 0.25:
            rows = np.repeat(places, len(delays), axis=0)
            rows[:, d] = np.tile(delays, len(places))
            error = errors(rows, None)[0][:, 0, :, STRONG] / UNITS
            cost = (error**2).sum((1, 2, 3)).reshape(len(places), -1)
            places[:, d] = delays[cost.argmin(axis=1)]
    best, found = np.inf, at
    for sigma in SIGMAS:
        error, simulated = errors(places, sigma * draws)
        spread = (simulated[..., 1] - simulated[..., 1].mean(1, keepdims=True)) ** 2
        variance = spread.mean((1, 2)) + 1e-5
        unlikely = (np.log(variance) + (error[..., 1].mean(1) ** 2).mean(1) / variance).sum(1)
        if unlikely.min() < best:
            best, found = float(unlikely.min()), places[int(unlikely.argmin())].copy()
            found[-1] = np.log(sigma)
    return found
