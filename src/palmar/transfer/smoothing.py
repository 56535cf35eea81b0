"""Zero-phase low-pass filters, derivatives and even sampling of recorded signals; numpy alone.

The gain 1 / (1 + (f / cutoff)^8) is that of a Butterworth filter of fourth order run forwards and backwards (Oppenheim, Schafer
2010, "Discrete-Time Signal Processing", ch. 7); it is applied by a Fourier transform of the signal, continued at either end by
its trend and what it does about it, mirrored.
"""

from __future__ import annotations

import numpy as np

from palmar.types import Array

ORDER = 4
CONTINUED = 3.0  # periods of the cutoff at either end
TREND = 2.0  # periods of the cutoff over which the trend at an end, a parabola, is fitted


def lowpass(x: Array, cutoff: float, dt: float) -> Array:
    """float[T, ...] without what is faster than `cutoff` [Hz], no phase shift. dt: sampling period [s]."""
    x = np.asarray(x, float)
    flat = x.reshape(len(x), -1)
    whole = np.concatenate([_beyond(flat[::-1], cutoff, dt)[::-1], flat, _beyond(flat, cutoff, dt)])
    pad = (len(whole) - len(x)) // 2
    size = fast_length(len(whole))
    gain = 1.0 / (1.0 + (np.fft.rfftfreq(size, dt) / cutoff) ** (2 * ORDER))
    first, back = whole[:1], np.linspace(1, 0, size - len(whole))[:, None]
    spectrum = np.fft.rfft(np.concatenate([whole - first, back * (whole[-1:] - first)]), axis=0)
    smooth = np.fft.irfft(spectrum * gain[:, None], size, axis=0)[pad : pad + len(x)] + first
    return np.asarray(smooth.reshape(x.shape))


def _beyond(x: Array, cutoff: float, dt: float) -> Array:
    """float[P, C]: samples after the end of float[T, C], which does not end on the last sample's noise as a reflection does."""
    pad, near = (min(len(x) - 1, round(n / (cutoff * dt))) for n in (CONTINUED, TREND))
    past, ahead = np.arange(-near, 1.0) / max(near, 1), np.arange(1.0, pad + 1) / max(near, 1)
    powers = min(3, len(past))
    trend = np.linalg.lstsq(np.vander(past, powers), x[-near - 1 :], rcond=None)[0]
    rest = x[-near - 1 :] - np.vander(past, powers) @ trend
    mirrored = np.concatenate([rest[::-1], rest])[np.arange(pad) % (2 * (near + 1))]
    ahead = np.minimum(ahead, 1.0)  # no farther than it was seen
    return np.asarray(np.vander(ahead, powers) @ trend + mirrored)


def fast_length(n: int) -> int:
    """The smallest number of at least n without a prime factor above 5: Fourier transforms of such lengths are fast."""
    while True:
        rest = n
        for p in (2, 3, 5):
            while rest % p == 0:
                rest //= p
        if rest == 1:
            return n
        n += 1


def derivative(x: Array, dt: float) -> Array:
    """float[T, ...] by the second: central differences."""
    return np.asarray(np.gradient(x, dt, axis=0))


def evenly(time: Array, x: Array, grid: Array) -> Array:
    """float[N, C] at the times of a grid, between samples by straight lines."""
    return np.stack([np.interp(grid, time, column) for column in x.T], axis=1)
