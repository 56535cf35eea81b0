"""How fast a robot may follow a path: the speed at which the path is followed, 0 … 1 of the policy's own, and no faster than
its velocity, acceleration and jerk allow, with room to brake before the next slow place.

A path is its commands at equal steps of the policy's time ("knots"). At speed s a knot interval that takes one tick at full
speed takes 1/s ticks: rates scale with s, accelerations with s², jerks with s³, and a change of s itself adds to the
acceleration along the path. Source: time-optimal path parametrisation by a backward and a forward pass (Bobrow 1985; Pham and
Pham 2018, arXiv 1707.07239). Here half of the acceleration is kept for the bends of the path and half for changes of speed: both
passes are then running minima, without a loop over the knots, and the result is never faster than the optimum.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from palmar.runtime.safety.limits import Limits
from palmar.types import Array

BEND, CHANGE = 0.5, 0.45
"""Shares of the acceleration for the bends of the path and for changes of speed along it."""

INSIDE = 0.98
"""Share of a limit that is used where a path has to be slowed down for it."""

SLOWEST = 0.02
"""Below this speed the robot waits."""


@dataclass(frozen=True)
class Bounds:
    """float64[N]: velocity, acceleration and jerk of N channels, in their units; dt: a control tick [s].

    A jerk of infinity is one that never binds at this rate.
    """

    velocity: Array
    acceleration: Array
    jerk: Array
    dt: float

    @classmethod
    def of(cls, limits: Limits, which: Array) -> Bounds:
        """Of the channels `which`, bool[N] or indices."""
        jerk = np.where(limits.simple, np.inf, limits.jerk)
        return cls(limits.velocity[which], limits.acceleration[which], jerk[which], limits.dt)

    @property
    def ramp(self) -> float:
        """Longest time to build up the full deceleration [s]."""
        return float((self.acceleration / self.jerk).max()) if len(self.jerk) else 0.0

    @property
    def stopping(self) -> float:
        """Longest time to brake from full speed to rest with the share for changes of speed [s]."""
        if not len(self.velocity):
            return 0.0
        return float((self.velocity / (CHANGE * self.acceleration)).max()) + 2 * self.ramp


def caps(path: Array, before: Array, bounds: Bounds, spacing: float = 1.0, corners: bool = False) -> Array:
    """float64[K] in (0, 1]: the highest speed in each interval of a path float64[K+1, N].

    before: rate [N] along the path, per second of the policy's time, at its first knot. spacing: control ticks a knot interval
    takes at full speed. corners: the rates change within one tick and not in between. 1 wherever full speed breaks no limit,
    however close it comes to one.
    """
    h = spacing * bounds.dt
    rates = np.diff(path, axis=0) / h
    changes = np.diff(rates, axis=0, prepend=before[None]) / (bounds.dt if corners else h)
    out = np.ones(len(rates))
    over = (np.abs(rates) / bounds.velocity).max(axis=1, initial=0.0)
    fast = over > 1.0 + 1e-6
    out[fast] = INSIDE / over[fast]
    # Gaining speed, the stopping room that the acceleration guard keeps allows half of the acceleration.
    speed = np.abs(rates) / (bounds.acceleration * bounds.dt)
    gains = (changes * rates > 0) & (speed > 3.0)
    most = bounds.acceleration * np.where(gains, 0.5 + 1.0 / np.maximum(speed, 3.0), 1.0)
    over = (np.abs(changes) / most).max(axis=1, initial=0.0)
    bent = over > 1.0 + 1e-6
    share = (np.abs(changes[bent]) / (BEND * bounds.acceleration)).max(axis=1, initial=0.0)
    bend = np.ones(len(rates))
    bend[bent] = np.sqrt(INSIDE / np.maximum(share, INSIDE))
    if np.isfinite(bounds.jerk).any() and len(changes) > 1:
        third = np.diff(changes, axis=0, prepend=changes[:1]) / h
        over = (np.abs(third) / bounds.jerk).max(axis=1, initial=0.0)
        sharp = over > 1.0 + 1e-6
        bend[sharp] = np.minimum(bend[sharp], np.cbrt(0.5 * INSIDE / over[sharp]))
    # a bend at a knot is of the intervals on both sides of it, and is sharper than it looks where it lies within one
    near = np.concatenate([[1.0], bend, [1.0, 1.0]])
    return np.minimum(out, np.minimum(np.minimum(near[:-3], near[1:-2]), np.minimum(near[2:-1], near[3:])))


def profile(
    path: Array,
    caps: Array,
    bounds: Bounds,
    spacing: float = 1.0,
    blocked: int | None = None,
    start: float | None = None,
) -> Array:
    """float64[K]: the fastest speeds, within `caps`, that can be braked in time for every slow interval ahead.

    blocked: the first of the K + 1 knots that may not be reached: the robot stops an interval before it. start: speed now; the
    first interval may be faster by what one tick of acceleration allows, None: no bound.
    """
    top = np.square(caps)
    if blocked is not None:
        top = top.copy()
        top[max(blocked - 2, 0) :] = 0.0
    early = int(np.ceil(bounds.ramp / (spacing * bounds.dt))) if np.isfinite(bounds.ramp) else 0
    if early:  # the deceleration is not there at once
        padded = np.concatenate([top, np.full(early, top[-1])])
        top = np.lib.stride_tricks.sliding_window_view(padded, early + 1).min(axis=1)
    rates = np.abs(np.diff(path, axis=0)) / (spacing * bounds.dt)
    slow = CHANGE * bounds.dt / np.maximum((rates / bounds.acceleration).max(axis=1, initial=0.0), 1e-9)  # a tick
    gain = 2.0 * np.minimum(slow, 1.0) * spacing  # of s² over an interval
    cost = np.concatenate([[0.0], np.cumsum(gain)])[:-1]
    top = np.minimum.accumulate((top + cost)[::-1])[::-1] - cost
    if start is not None:
        first = start**2 + gain[0]
        top = np.minimum.accumulate(np.concatenate([[first], top - cost]))[1:] + cost
    return np.sqrt(np.clip(top, 0.0, 1.0))


def within(speed: float, rate: Array, full: Array, low: Array, high: Array) -> float:
    """The speed nearest to `speed` at which the next tick's rates [N] lie between `low` and `high`; where there is none, the one
    at which they are outside by least.

    rate: along the path where the tick begins; full: mean of a tick at full speed. At speed s a tick's is s·(rate + s·(full −
    rate)), to second order.
    """
    width, around = np.maximum(high - low, 1e-12), _GRID
    for half in (1.0 / 32, 1.0 / 512, None):
        s = around[:, None]
        rates = s * (rate + s * (full - rate))
        off = (np.maximum(low - rates, rates - high) / width).max(axis=1, initial=0.0)
        best = int(np.argmin(np.maximum(off, 0.0) + 1e-3 * np.abs(around - speed)))
        if half is None:
            break
        around = np.clip(around[best] + half * _FINE, 0.0, 1.0)
    inside = off <= 0.0
    if inside.any():
        return float(around[inside][np.abs(around[inside] - speed).argmin()])
    return float(around[int(off.argmin())])


_GRID = np.linspace(0.0, 1.0, 33)
_FINE = np.linspace(-1.0, 1.0, 33)
