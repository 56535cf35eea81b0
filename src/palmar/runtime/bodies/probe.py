"""Small slow motions of a body, one channel at a time, with everything that was commanded and measured written down."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from palmar.errors import BadValue
from palmar.robot_parts import Channel
from palmar.runtime.bodies.outside import outside
from palmar.runtime.clock import Clock
from palmar.runtime.loop import Body, brake_to_rest, resting_command
from palmar.runtime.safety.filter import Safety
from palmar.runtime.safety.guards import acceleration, braking, nan, position, velocity
from palmar.types import Array, Observation

STEADY = 5  # observations whose mean is a measured position
FAR = 1.6  # steps from where it should be at which a motion is broken off


@dataclass(frozen=True, slots=True)
class Row:
    """One tick: time of the observation [s], of the loop [s], what it took [s], command and measured values float64[N]."""

    time: float
    began: float
    took: float
    pictures: bool
    command: Array
    measured: Array
    velocity: Array
    state: Array


@dataclass(frozen=True)
class Motion:
    """One channel moved out and back. Changes of all channels float64[N] from before to out there, NaN where not measured;
    left: how far each is from where it was, afterwards. travelled: the integral of the measured velocity on the way out.
    early: it was broken off."""

    channel: int
    commanded: Array
    measured: Array
    left: Array
    travelled: Array
    early: bool


@dataclass
class Probe:
    """A body under test: `tick` is one turn of the loop. Every command passes the limits of the robot's safety layer.

    steps: float64[N], how far each channel is moved, in its unit. pictures: {camera: a number of every picture, equal for
    equal ones}.
    """

    body: Body
    clock: Clock
    share: float
    rows: list[Row] = field(default_factory=list)
    pictures: dict[str, list[int]] = field(default_factory=dict)
    still: int = 0
    """Rows from the beginning in which nothing was asked to move."""

    def __post_init__(self) -> None:
        self.robot = self.body.embodiment
        self.tick_time = 1.0 / self.robot.control_rate
        self.safety = Safety(self.robot, guards=(nan, position, velocity, acceleration, braking))
        self.steps = np.array([step_of(c, self.share) for c in self.robot.channels])
        self.look = max(round(self.robot.control_rate / self.robot.policy_rate), 1)

    def start(self, obs: Observation) -> None:
        """Rest where the body is. Raises `BadValue` where that is outside the robot's limits."""
        self.safety.reset(resting_command(self.robot, obs))
        self.home, self.rest = self.safety.command, self.robot.measured(obs.state)
        self.begin()

    def begin(self) -> None:
        """Ticks are counted from now."""
        self._start, self._index = self.clock.now(), 0

    def tick(self, target: Array, commanding: bool = True) -> Row:
        """Observe, command, wait for the next tick. commanding: False sends nothing."""
        began, pictured = self.clock.now(), len(self.rows) % self.look == 0
        obs = self.body.observe(images=pictured)
        if len(obs.state) != len(self.robot.state) or not np.isfinite(obs.state).all():
            raise BadValue(
                f"state is {obs.state.tolist()}; expected {len(self.robot.state)} finite numbers, as at reset. "
                "Next: answer a number for each, in this order"
            )
        if commanding:
            self.body.apply(self.safety.check(target, obs, obs.time).command)
        took = self.clock.now() - began
        if pictured:
            for name, image in obs.images.items():
                self.pictures.setdefault(name, []).append(zlib.crc32(np.ascontiguousarray(image).tobytes()))
        robot, state = self.robot, np.asarray(obs.state, float)
        row = Row(
            float(obs.time), began, took, pictured, self.safety.command, robot.measured(state),
            robot.measured(state, "velocity"), state,
        )  # fmt: skip
        self.rows.append(row)
        self._index += 1
        late = self.clock.wait_until(self._start + self._index * self.tick_time)
        if late > self.tick_time:
            self._start += late
        return row

    def hold(self, seconds: float, commanding: bool = True, watch: Callable[[Row], bool] | None = None) -> Array:
        """Stay for a time, until `watch` says so; the mean of the last measured values float64[N]."""
        target, ticks = self.safety.command, max(round(seconds / self.tick_time), STEADY)
        taken = []
        for _ in range(ticks):
            taken.append(self.tick(target, commanding))
            if watch is not None and watch(taken[-1]):
                break
        return np.mean([r.measured for r in taken[-STEADY:]], axis=0)

    def move(self, i: int, sign: float) -> Motion:
        """Channel i out by its step, and back."""
        channel, start = self.robot.channels[i], self.safety.command
        before = self.hold(0.1)
        first = len(self.rows)
        early = self._ramp(i, start[i] + sign * self.steps[i], before)
        there = self.hold(0.4)
        commanded = self.safety.command - start
        out = self.rows[first:]
        self._ramp(i, start[i], None)
        back = self.hold(0.4)
        changed, left = (self.robot.difference(x, before) for x in (there, back))
        if channel.kind == "velocity":  # what it stands still with is no reference
            changed[i], left[i] = there[i], back[i]
        travelled = np.sum([r.velocity for r in out], axis=0) * self.tick_time
        return Motion(i, commanded, changed, left, travelled, early)

    def _ramp(self, i: int, goal: float, before: Array | None) -> bool:
        """Channel i to its goal along a smooth curve. before: break off when a channel gets far from where it should be."""
        c, start = self.robot.channels[i], self.safety.command
        way = abs(goal - start[i])
        ticks = max(round(ramp_time(c, way) / self.tick_time), 2)
        origin = start.copy()
        for k in range(1, ticks + 1):
            s = k / ticks
            target = start.copy()
            target[i] = start[i] + (goal - start[i]) * s * s * (3 - 2 * s)
            row = self.tick(target)
            if before is not None:
                off = np.abs(self.robot.difference(row.measured, before) - (row.command - origin))
                if (off[~np.isnan(off)] > FAR * self.steps[~np.isnan(off)]).any():
                    return True
        return False

    def brake(self) -> None:
        """Come to rest within the limits, looking at nothing."""
        brake_to_rest(self.body, self.safety, self.clock)

    def outside(self) -> dict[str, int]:
        """Commands sent that break a limit (`outside.outside`)."""
        return outside(self.robot, self.home, np.array([r.command for r in self.rows]))


def step_of(channel: Channel, share: float) -> float:
    """How far a channel is moved, in its unit: a share of its range, of an opening five times that, of a speed five times
    the share of its largest."""
    if channel.kind == "velocity":
        return min(5 * share, 0.25) * max(channel.upper, -channel.lower)
    width = channel.upper - channel.lower
    if not np.isfinite(width):
        width = 360.0 if channel.unit == "deg" else 2 * np.pi
    return min(5 * share, 0.25) * width if channel.kind == "opening" else share * width


def ramp_time(channel: Channel, way: float) -> float:
    """Seconds in which a smooth step of `way` needs three quarters of the channel's velocity and acceleration at most."""
    rate, change = channel.velocity, channel.acceleration
    if channel.kind == "velocity":
        rate, change = channel.acceleration, channel.jerk
    slow = 2.0 * way / rate if np.isfinite(rate) else 0.0
    soft = np.sqrt(8.0 * way / change) if np.isfinite(change) else 0.0
    return float(min(max(0.5, slow, soft), 10.0))
