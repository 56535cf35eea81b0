"""What one control tick may do to a channel, and how a channel is brought to rest: third-order limits in discrete time.

A tick changes the state of a channel, value q, rate v and change of the rate a, by

    a' = a + j·dt,  v' = v + a'·dt,  q' = q + v'·dt      with |j| ≤ jerk, |a'| ≤ acceleration, |v'| ≤ velocity

so the first, second and third differences of the commands are v', a' and j exactly. All computations are in units of one
tick (a in jerk·dt, v in jerk·dt², q in jerk·dt³), where bringing a from x ≥ 0 to 0 adds (x-1) + (x-2) + … to v.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from palmar.embodiments import Embodiment
from palmar.types import Array

REST = 1e-12
"""Of one tick's unit: a rate below it is rest."""
ROUND = 1e-9
"""Of one tick's unit: what rounding may add to a path."""


@dataclass(frozen=True)
class Limits:
    """What one control tick may do to each of N channels: float64[N] lowest and highest value, rate (change a second), its
    change a second and the change of that a second, all in the channel's unit, and `dt` [s].

    Of a joint or an opening these are velocity, acceleration and jerk. Of a velocity channel the rate is its acceleration
    and the change of that its jerk; there is nothing beyond. They lie inside the robot's own limits by one part in a
    million, so rounding never crosses those. A channel without a limit of acceleration may turn round within one tick; one
    whose jerk lets the acceleration turn round within one tick is limited by the acceleration alone (`simple`).
    groups: the channels that are slowed together, of each group a slice or an int array. effort: float64[N] [N·m] or [N],
    infinite where unknown.
    """

    lower: Array
    upper: Array
    velocity: Array
    acceleration: Array
    jerk: Array
    dt: float
    speeds: Array
    groups: tuple[Array | slice, ...]
    effort: Array

    @classmethod
    def of(cls, robot: Embodiment) -> Limits:
        dt, inside = 1.0 / robot.control_rate, 1.0 - 1e-6
        speeds = robot.speeds
        rate = np.minimum(robot.rates, np.where(robot.endless, np.inf, robot.widths) / dt)
        second = np.where(speeds, robot.array("jerk"), robot.array("acceleration"))
        third = np.where(speeds, np.inf, robot.array("jerk"))
        change = np.minimum(second, 2 * rate / dt) * inside
        names = [c.coupling for c in robot.channels]
        groups = [np.flatnonzero([n == name for n in names]) for name in dict.fromkeys(n for n in names if n)]
        groups += [np.array([i]) for i, n in enumerate(names) if not n]
        ranges = [slice(int(g[0]), int(g[-1]) + 1) for g in groups]  # of neighbours, faster to look at
        found = [r if r.stop - r.start == len(g) else g for g, r in zip(groups, ranges, strict=True)]
        inset = np.minimum(1e-6, (robot.upper - robot.lower) / 4)
        lower, upper = robot.lower + inset, robot.upper - inset
        # a speed is stopped at 0, which may be the end of its range
        lower, upper = np.where(speeds, np.minimum(lower, 0.0), lower), np.where(speeds, np.maximum(upper, 0.0), upper)
        return cls(
            lower, upper, rate * inside, change, np.minimum(third * inside, 2 * change / dt), dt,
            speeds, tuple(found), np.array([np.inf if c.effort is None else c.effort for c in robot.channels]),
        )  # fmt: skip

    @cached_property
    def simple(self) -> Array:
        """bool[N]: jerk never binds, because the acceleration may turn round within one tick."""
        return self.jerk * self.dt >= 2 * self.acceleration * (1 - 1e-9)

    @cached_property
    def gain(self) -> Array:
        """float64[N]: the largest change of the rate in one tick."""
        return self.acceleration * self.dt

    @cached_property
    def ample(self) -> Array:
        """float64[N]: room in which a channel that is `simple` stops from its largest rate, so that no rate is too much."""
        return _sum(self.velocity / self.gain) * self.slack * (1 + 1e-9)

    @cached_property
    def _a(self) -> Array:
        return self.jerk * self.dt

    @cached_property
    def _v(self) -> Array:
        return self._a * self.dt

    @cached_property
    def _q(self) -> Array:
        return self._v * self.dt

    @cached_property
    def _most(self) -> Array:
        """The acceleration in units of one tick's change of it."""
        return self.acceleration / self._a

    @cached_property
    def _per(self) -> Array:
        return 0.5 / self.acceleration

    @cached_property
    def _backwards(self) -> Array:
        return -self.velocity

    @cached_property
    def _any_simple(self) -> bool:
        return bool(self.simple.any())

    @cached_property
    def all_simple(self) -> bool:
        """Whether jerk binds nowhere: it is kept where the acceleration is."""
        return bool(self.simple.all())

    def stopped_within(self, speed: Array, room: Array) -> bool:
        """Whether every channel is `simple` and stops from its speed [N] ≥ 0, kept for one tick, within its room [N]."""
        if not self.all_simple:
            return False
        short = _sum(speed / self.gain) * self.slack - room
        return bool(short[short.argmax()] <= 0.0)

    @cached_property
    def slack(self) -> Array:
        """float64[N]: the way that a rate gained in one tick leads in one tick, from rest."""
        return self.gain * self.dt

    @cached_property
    def _furthest(self) -> Array:
        """More room than any rate needs."""
        return 1e3 * (self.velocity * self.dt + self.velocity**2 / self.acceleration + self.slack)

    def reachable(self, room: Array) -> Array:
        """Largest rate that, kept for one tick and then braked, stops within `room` ≥ 0. [..., N]

        Where jerk does not bind it is exact: in units of a·dt and a·dt² braking from u takes u + (u-1) + (u-2) + … =
        n·u - n(n-1)/2 with n = ⌈u⌉, and this is the inverse, so full braking stays admissible. (v·dt + v²/2a ≤ room is
        its limit for small dt.) Elsewhere it is the rate at which v²/2a + v·a/2j is the room: a shape to slow down by,
        which the acceleration along it follows within the jerk, not a bound.
        """
        room = np.minimum(room, self._furthest)
        exact = _reach(room / self.slack) * self.gain
        if self.all_simple:
            return exact
        late = self.acceleration**2 / (2 * self.jerk)
        return np.where(self.simple, exact, np.sqrt(late**2 + 2 * self.acceleration * np.maximum(room, 0.0)) - late)

    def within(self, wanted: Array, v: Array, a: Array) -> Array:
        """The rate [N] after one tick on the way from (v, a) to a wanted rate [N]: that rate where the jerk allows it at
        once, else the acceleration is built up and taken down in time to arrive at it without passing it."""
        alpha = a / self._a
        asked = (wanted - v) / self._v
        shaped = np.clip(_gentle((v - wanted) / self._v, self._most), alpha - 1.0, alpha + 1.0)
        return np.where(np.abs(asked - alpha) <= 1.0, wanted, v + shaped * self._v)

    def arriving(self, wanted: Array, room: Array, v: Array, a: Array) -> Array:
        """The wanted rate [N], or the largest towards it from (v, a) after which braking ends within `room` ≥ 0 of where the
        channel is. Channels that are `simple` keep what is wanted: `reachable` is exact for them."""
        if self.all_simple:
            return wanted
        sign = np.where(wanted < 0, -1.0, 1.0)
        nu, alpha, room = sign * v / self._v, sign * a / self._a, room / self._q
        brake = np.clip(_gentle(nu, self._most), alpha - 1.0, alpha + 1.0)
        asked = np.minimum(np.minimum(sign * (wanted - v) / self._v, alpha + 1.0), self._most)
        late = ~self.simple & (asked > brake) & (_farthest(nu + asked, asked, self._most) > room)
        if not late.any():
            return wanted
        asked[late] = _highest(nu[late], brake[late], asked[late], room[late], self._most[late])
        return np.where(late, v + sign * asked * self._v, wanted)

    def braked(self, v: Array, a: Array) -> Array:
        """The rate [..., N] after one tick of full braking from rate v and its change a."""
        if self.all_simple:
            return v - np.copysign(np.minimum(np.abs(v), self.gain), v)
        alpha = a / self._a
        after = v + np.clip(_gentle(v / self._v, self._most), alpha - 1.0, alpha + 1.0) * self._v
        # what rounding leaves is rest: otherwise it would shrink to the smallest number there is and stay there
        return np.where(np.abs(after) <= REST * self._v, 0.0, after)

    def stopping(self, value: Array, v: Array, a: Array) -> Array:
        """The rate [N] after one tick of stopping the robot: joints and openings brake, speeds go to 0."""
        braked = self.braked(v, a)
        if not self.speeds.any():
            return braked
        most = self.acceleration * self.dt
        to_zero = np.copysign(np.minimum(self.reachable(np.abs(value)), np.abs(value) / self.dt), -value)
        return np.where(
            self.speeds, np.clip(np.clip(to_zero, -self.velocity, self.velocity), v - most, v + most), braked
        )

    def travel(self, v: Array, a: Array, which: Array | slice = slice(None)) -> Array:
        """How far each tick of full braking from (v, a) [..., N] has led: float64[..., n, N] after 1 … n ticks, the last at
        rest. which: channels (columns) that v and a are of."""
        alpha, nu = a / self._a[which], v / self._v[which]
        return _travel(nu, alpha, self._most[which]) * self._q[which]

    def farthest(self, v: Array, a: Array) -> Array:
        """An upper bound [N] of how far a channel is from where it is at any time of braking fully from (v, a)."""
        simple = v * v * self._per
        if self.all_simple:
            return simple
        change = np.abs(a)
        most = np.abs(v) + change * (change / (2 * self.jerk) + self.dt)
        late = change / self.jerk + 5 * self.dt + self.acceleration / (2 * self.jerk)
        return np.where(self.simple, simple, most * (late + most / (2 * self.acceleration)))

    def interval(self, q: Array, v: Array, a: Array) -> tuple[Array, Array]:
        """Lowest and highest rate [N] of the next tick that keep every limit then, and while braking from there."""
        if self.all_simple:
            return self._simple_interval(q, v)
        alpha, nu, top = a / self._a, v / self._v, self.velocity / self._v
        up, down = alpha + 1.0, alpha - 1.0
        room = np.empty((3, len(nu)))
        room[0], room[1], room[2] = np.abs(nu), top - nu, top + nu
        room = np.minimum(_reach(room), self._most)
        brake = np.minimum(np.maximum(-np.copysign(room[0], nu), down), up)
        high, low = np.minimum(up, room[1]), np.maximum(down, -room[2])
        above, below = np.maximum(self.upper - q, 0.0), np.maximum(q - self.lower, 0.0)
        if self._any_simple:
            high = np.where(self.simple, np.minimum(high, self.reachable(above) / self._v - nu), high)
            low = np.where(self.simple, np.maximum(low, -self.reachable(below) / self._v - nu), low)
        high, low = self._near(alpha, nu, brake, high, low, above / self._q, below / self._q)
        # Braking is always admissible; saying so keeps the interval from being empty by a rounding error.
        return v + np.minimum(low, brake) * self._v, v + np.maximum(high, brake) * self._v

    def _simple_interval(self, q: Array, v: Array) -> tuple[Array, Array]:
        """The same, of channels that are all `simple`: the change of the rate does not matter."""
        up, down = v + self.gain, v - self.gain
        brake = np.minimum(np.maximum(down, 0.0), up)  # `braked`, in half the operations
        high, low = np.minimum(up, self.velocity), np.maximum(down, self._backwards)
        above, below = self.upper - q, q - self.lower
        scarce = self.ample - np.minimum(above, below)
        if scarce[scarce.argmax()] > 0.0:
            for i in np.flatnonzero(scarce > 0.0).tolist():  # few; numbers one by one are faster than arrays of so few
                slack, gain = float(self.slack[i]), float(self.gain[i])
                high[i] = min(float(high[i]), _reach_of(float(above[i]) / slack) * gain)
                low[i] = max(float(low[i]), -_reach_of(float(below[i]) / slack) * gain)
        return np.minimum(low, brake), np.maximum(high, brake)

    def _near(
        self, alpha: Array, nu: Array, brake: Array, high: Array, low: Array, above: Array, below: Array
    ) -> tuple[Array, Array]:
        """high and low where a bound of the position may be reached before the channel rests, of channels that are not
        `simple`; in units of one tick."""
        near = (_farthest(nu + high, high, self._most) > above) | (_farthest(-nu - low, -low, self._most) > below)
        near &= ~self.simple
        if not near[near.argmax()]:
            return high, low
        # both sides alike: the lower side is the upper one of the mirrored channel
        nu, brake, bound = np.stack([nu, -nu]), np.stack([brake, -brake]), np.stack([high, -low])
        room, most = np.stack([above, below]), np.stack([self._most, self._most])
        side, channel = np.nonzero(~self.simple & (_farthest(nu + bound, bound, most) > room))
        if len(side):
            at = (side, channel)
            bound[at] = _highest(nu[at], brake[at], bound[at], room[at], most[at])
        return bound[0], -bound[1]


def _reach(x: Array) -> Array:
    """The largest r ≥ 0 with r + (r-1) + (r-2) + … ≤ x (terms above 0)."""
    x = np.maximum(x, 0.0)
    n = np.maximum(np.ceil(0.5 * np.sqrt(1.0 + 8.0 * x) - 0.5), 1.0)
    return x / n + 0.5 * (n - 1.0)


def _reach_of(x: float) -> float:
    """`_reach` of one number; of an infinite one infinite."""
    if x == math.inf:
        return x
    x = max(x, 0.0)
    n = max(math.ceil(0.5 * math.sqrt(1.0 + 8.0 * x) - 0.5), 1)
    return x / n + 0.5 * (n - 1)


def _sum(r: Array) -> Array:
    """r + (r-1) + (r-2) + … (terms above 0) for r ≥ 0: the inverse of `_reach`."""
    n = np.ceil(r)
    return n * r - 0.5 * n * (n - 1.0)


def _ramp(x: Array) -> Array:
    """(x-1) + (x-2) + …, the terms above 0, for x ≥ 0: what v gains while a is brought from x to 0."""
    n = np.maximum(np.ceil(x), 1.0)
    return (n - 1.0) * (x - 0.5 * n)


def _gentle(nu: Array, most: Array) -> Array:
    """The a with which v is brought to 0: as large as can be taken back to 0 by then."""
    return -np.copysign(np.minimum(_reach(np.abs(nu)), most), nu)


def _travel(nu: Array, alpha: Array, most: Array) -> Array:
    """float64[..., n, N]: sums of v over 1 … n ticks of braking from (v, a), the last at rest. Units of one tick."""
    coast = nu + np.copysign(_ramp(np.abs(alpha)), alpha)
    sign = np.where(coast < 0, -1.0, 1.0)
    nu, alpha, coast = nu * sign, alpha * sign, coast * sign
    deepest = np.maximum(np.minimum(most, np.sqrt(coast)), 1e-9)
    ticks = np.arange(1.0, 4.0 + np.ceil((np.abs(alpha) + coast / deepest + deepest).max()))[:, None]
    nu, alpha, sign, most = nu[..., None, :], alpha[..., None, :], sign[..., None, :], most[..., None, :]
    # first towards the largest deceleration; from the tick at which v would be passed beyond 0, back
    a = np.maximum(alpha - ticks, -most)
    v = nu + np.cumsum(a, axis=-2)
    passed = v + np.copysign(_ramp(np.abs(a)), a) < 0
    turn = np.argmax(passed, axis=-2)[..., None, :]
    before = np.where(turn > 0, np.take_along_axis(v, np.maximum(turn - 1, 0), axis=-2), nu)
    last = _gentle(before, most)
    since = ticks - 1.0 - turn
    back = np.copysign(np.maximum(np.abs(last) - since, 0.0), last)
    a = np.where(since < 0, a, back)
    return sign * np.cumsum(nu + np.cumsum(a, axis=-2), axis=-2)


def _farthest(nu: Array, alpha: Array, most: Array) -> Array:
    """An upper bound of how far a step to (v, a) and braking after it lead."""
    up = np.maximum(alpha, 0.0)
    coast = np.maximum(nu + 0.5 * up * up, 0.0)
    return coast * (up + 5.0 + coast / (2 * most) + most / 2)


def _highest(nu: Array, brake: Array, high: Array, room: Array, most: Array) -> Array:
    """The highest a [K] between `brake` and `high` after which braking ends within the room, to a 64th of the interval; `brake`
    where there is none. K separate channels with their own (v, a)."""
    part = _PARTS
    high = np.maximum(
        np.minimum(high, room - nu), brake
    )  # the step itself ends within the room, however little is left
    for _ in range(2):
        tries = brake + part[:, None] * (high - brake)
        speed = nu + tries
        path = speed[:, None] + _travel(speed, tries, np.broadcast_to(most, tries.shape))
        top = np.maximum(path.max(axis=1), speed)
        fits = top <= room + ROUND
        best = np.where(fits.any(axis=0), np.argmax(fits, axis=0), len(part) - 1)
        found = np.take_along_axis(tries, best[None], axis=0)[0]
        above = np.take_along_axis(tries, np.maximum(best - 1, 0)[None], axis=0)[0]
        brake, high = np.where(fits.any(axis=0), found, brake), above
    return brake


_PARTS = np.linspace(1.0, 0.0, 9)
