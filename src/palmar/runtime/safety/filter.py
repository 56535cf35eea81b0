"""Between the policy and the motors: whatever the target, the command that leaves here is within the robot's limits.

Why it always is. The state is the last command, the rate it was reached with and the change of that rate; the claim is "from
here, full braking keeps every limit until the robot rests", true at rest. Each tick either brakes fully, which is the rest of
a path already shown safe, or takes a step of which the same was checked first: per channel by `Limits.interval` (the step,
then braking, ends before the limit), for zones by the frames' points at every tick of the braking path. So the claim holds
after it too. Shapes keep their distance likewise (`collision.Clearance`). Guards only choose among such steps: the result is
clipped to them after the fold, whatever a guard did.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from palmar.embodiments import Embodiment
from palmar.errors import BadValue
from palmar.robot_parts import Frame
from palmar.runtime.safety.collision import clearance
from palmar.runtime.safety.guards import GUARDS, Guard, Move
from palmar.runtime.safety.limits import Limits
from palmar.runtime.safety.zones import Skeleton, Zone, zones_of
from palmar.types import Array, Observation, Reason, Verdict

OUTSIDE = 0.1
"""How far outside its limits a channel may be when the robot starts, as a share of its range. Further is a wrong sensor."""

MOST_TICKS = 10_000
"""Of a braking path that is held to zones."""


@dataclass(frozen=True, slots=True)
class State:
    """All that decides the next verdict beside what is asked for and seen; a black box keeps it.

    command, rate, change, goal, drift: float64[N]. halted: how the last command was halted, "" not, "brake", "yield".
    bounds: of every frame with zones, how deep inside each zone it may be, where that was computed, and the margin there; then
    the same of the collision shapes, where there are any (`Clearance.state`).
    seen, seen_at: float64[N] last measured, NaN before, and when [s]. clipped: a bit for each of the last commands, whether it
    was clipped, the newest lowest. run: commands since a halt.
    """

    command: Array
    rate: Array
    change: Array
    goal: Array
    drift: Array
    halted: str
    bounds: tuple[tuple[list[Array], Array, float], ...]
    seen: Array
    seen_at: float
    clipped: int = 0
    run: int = 0


class Safety:
    """Folds the guards over one command after another; on by default, with the limits of the robot's description.

    guards: functions `Move → Reason or None`, in order (`GUARDS`). stale_after: oldest observation to act on [s].
    zones: `Embodiment, Frame → Zone …` instead of the robot's own (`zones_of`).

    counts: {guard or zone: commands it changed}. checked: commands seen. Both run on over resets, for reports.
    tolerance: float64[N], largest difference of commanded and measured value of each channel in its unit
    (`Channel.tolerance`); infinite where there is none, or nothing is measured.
    off: what is not guarded on this robot, and why.

    A robot that starts outside a zone, or a little outside a channel's range, may move, but not further out.
    """

    def __init__(
        self,
        robot: Embodiment,
        guards: Sequence[Guard] | None = None,
        stale_after: float = 0.3,
        zones: Callable[[Embodiment, Frame], Sequence[Zone]] | None = None,
    ) -> None:
        self.robot, self.stale_after = robot, stale_after
        self.guards = tuple(GUARDS if guards is None else guards)
        self.limits = Limits.of(robot)
        own = np.array([np.inf if c.tolerance is None else c.tolerance for c in robot.channels])
        measured = np.isfinite(robot.measured(np.zeros(len(robot.state))))
        self.tolerance = np.where(measured, own, np.inf)
        self._bounded = [_Bounded(robot, f, tuple((zones or zones_of)(robot, f)), self.limits) for f in robot.frames]
        self._bounded = [b for b in self._bounded if b.zones]
        self._clear, why = clearance(robot, self.limits)
        moving = [*(b.path for b in self._bounded), *([] if self._clear is None else [self._clear.channels])]
        self._geometric = np.unique(np.concatenate(moving)) if moving else np.array([], int)
        self.off = (*_off(robot, self.tolerance), *([f"collision: {why}"] if why else []))
        self.counts = {**{guard_name(g): 0 for g in self.guards}, **{z.name: 0 for b in self._bounded for z in b.zones}}
        if self._clear is not None:
            self.counts["collision"] = 0
        self._unknown = np.full(len(robot.channels), np.nan)
        self._window = max(round(robot.thresholds.window * robot.control_rate), 1)
        self.checked = 0
        ends = np.maximum(np.abs(robot.lower), np.abs(robot.upper))
        # a target is clipped to it, so that no division overflows
        self._far = 1e6 * np.where(np.isfinite(ends), np.maximum(ends, 1.0), 1e6)
        self._near = -self._far
        self._endless, self._any_endless = robot.endless, bool(robot.endless.any())
        _check_longest(robot, self.limits, self._geometric)
        self.reset(robot.home)

    def reset(self, command: Array) -> None:
        """The robot rests at this command, float64[N] in the units of its channels.

        Raises `BadValue` for another shape, for what is no number, and for a value far outside the channel's range.
        """
        command, names = self.robot.command_of(command), self.robot.channel_names
        if not np.isfinite(command).all():
            i = int(np.argmin(np.isfinite(command)))
            raise BadValue(f"command of '{names[i]}' is {command[i]}; expected a finite number. Next: check its sensor")
        self._check_range(command)
        self._q, self._v, self._a = command, np.zeros(len(command)), np.zeros(len(command))
        self._goal, self._drift = self._q, np.zeros(len(self._q))
        self._halted = ""
        self._seen, self._seen_at, self._clipped, self._run = np.full(len(command), np.nan), 0.0, 0, 0
        for bounded in self._bounded:
            bounded.reset(self._q)
        if self._clear is not None:
            self._clear.reset(self._q)

    def _check_range(self, command: Array) -> None:
        robot = self.robot
        over = np.maximum(robot.lower - command, command - robot.upper) - OUTSIDE * robot.widths
        if (over > 1e-9).any():
            i = int(over.argmax())
            c = robot.channels[i]
            raise BadValue(
                f"the robot would start with '{c.name}' at {command[i]:g} {c.unit}; its limits are {c.lower:g} … {c.upper:g}. "
                "Next: check the sensor and its unit, or move it inside by hand"
            )

    @property
    def command(self) -> Array:
        """The last command, float64[N]."""
        return self._q.copy()

    @property
    def moving(self) -> bool:
        """Whether any channel changes, or any speed is not 0."""
        return bool(self._v.any()) or bool(self._q[self.limits.speeds].any())

    @property
    def state(self) -> State:
        """What the next verdict depends on. Nothing is copied: no array of it is ever changed."""
        bounds = tuple((b._bounds, b._marked, b._margin) for b in self._bounded)
        if self._clear is not None:
            bounds = (*bounds, self._clear.state)
        return State(
            self._q, self._v, self._a, self._goal, self._drift, self._halted, bounds, self._seen, self._seen_at, self._clipped,
            self._run,
        )  # fmt: skip

    @state.setter
    def state(self, state: State) -> None:
        """Go on from this state, of this robot or of one of the same channels. Raises `BadValue` as `reset`."""
        self.reset(state.command)
        self._v, self._a = state.rate, state.change
        self._goal, self._drift, self._halted = state.goal, state.drift, state.halted
        self._seen, self._seen_at, self._clipped, self._run = state.seen, state.seen_at, state.clipped, state.run
        if len(state.bounds) == len(self._bounded) + (self._clear is not None):
            if self._clear is not None:
                self._clear.state = state.bounds[-1]
            for own, (bounds, marked, margin) in zip(self._bounded, state.bounds, strict=False):
                if [np.shape(b) for b in bounds] == [np.shape(b) for b in own._bounds]:
                    own._bounds, own._marked, own._margin = list(bounds), marked, margin

    @property
    def rate(self) -> Array:
        """float64[N]: the rate the last command was reached with, a second."""
        return self._v

    def window(self) -> tuple[Array, Array]:
        """Lowest and highest rate float64[N] of the next command that no guard would change for velocity, acceleration, jerk
        or position."""
        low, high = self.limits.interval(self._q, self._v, self._a)
        # gaining speed, what `guards.acceleration` allows: half of the acceleration, or the first few ticks' worth
        most = self.limits.acceleration * self.limits.dt
        gained = np.maximum(np.abs(self._v) + 0.5 * most, 2.0 * most)
        gained = np.where(self.limits.speeds, np.inf, np.minimum(gained, self.limits.velocity))
        return np.maximum(low, -gained), np.minimum(high, gained)

    def first_outside(self, path: Array) -> tuple[int, bool] | None:
        """Of commands float64[K, N], the first that is outside a zone, and whether that zone moves; None: none is."""
        first: tuple[int, bool] | None = None
        for b in self._bounded:
            for zone, depth, bound in zip(b.zones, b.inside(path), b._bounds, strict=True):
                outside = (depth < bound).any(axis=1)
                if outside.any() and (first is None or int(outside.argmax()) < first[0]):
                    first = int(outside.argmax()), zone.moves
        return first

    @property
    def bounded(self) -> bool:
        """Whether there is any zone."""
        return bool(self._bounded)

    @property
    def zones_move(self) -> bool:
        """Whether any zone changes with time."""
        return any(b.moves for b in self._bounded)

    def stays_inside(self, v: Array) -> bool:
        """Whether a step with rates [N], and full braking after it, stays in every zone."""
        ahead, change = self._q + v * self.limits.dt, (v - self._v) / self.limits.dt
        near = [b for b in self._bounded if not b.far(ahead, v, change)]
        if not near:
            return True
        path = self._paths(v[None])
        return all(b.keeps(b.inside(path)) for b in near)

    def check(self, target: Array, obs: Observation, now: float) -> Verdict:
        """The command to send for a target float64[N] at episode time `now` [s].

        Raises `BadValue` on a target of another shape; anything else in it is dealt with.
        """
        target = np.asarray(target, float)
        if target.shape != self._q.shape:
            raise BadValue(
                f"target has shape {list(target.shape)}; expected [{len(self._q)}]: {', '.join(self.robot.channel_names)}. "
                "Next: one number for each channel"
            )
        self.checked += 1
        near = np.minimum(np.maximum(target, self._near), self._far)
        wanted = (near - self._q) / self.limits.dt
        if self._any_endless:
            target = np.where(self._endless & np.isfinite(target), near, target)
        for bounded in self._bounded:
            bounded.follow(self._q)
        slowest, fastest = self.limits.interval(self._q, self._v, self._a)
        measured, robot = self.robot.measured(obs.state), self.robot
        move = Move(
            target, wanted, self._lead(target), slowest, fastest, self._q, self._v, self._a, measured, obs, now, robot,
            self.limits, self.stale_after, self.tolerance, self._effort(obs), self._seen,
            obs.time - self._seen_at, self._clipped.bit_count() / self._window if self._run >= self._window else 0.0,
        )  # fmt: skip
        if obs.time != self._seen_at or not _all(self._seen == self._seen):
            self._seen, self._seen_at = measured, obs.time
        reasons: list[Reason] = []
        self._halted = ""
        for guard in self.guards:
            if (reason := guard(move)) is not None:
                self.counts[guard_name(guard)] += 1
                reasons.append(reason)
            if move.halt:
                self._halted, self._clipped, self._run = "yield" if move.yields else "brake", 0, 0
                v = self._yielding(move, reasons) if move.yields else self._stopped()
                return self._advance(v, reasons, move.stop)
        self._clipped = (self._clipped << 1 | move.clipped) & ((1 << self._window) - 1)
        self._run += 1
        v = np.minimum(np.maximum(move.velocity, slowest), fastest)
        if not _all(np.isfinite(v)):
            v = self._stopped()
        return self._advance(self._within_zones(v, slowest, fastest, reasons), reasons, move.stop)

    def _effort(self, obs: Observation) -> Array:
        return self.robot.measured(obs.state, "effort") if self.robot.measures("effort") else self._unknown

    def brake(self) -> Verdict:
        """One tick of full braking; needs no observation. At rest it repeats the last command."""
        return self._advance(self._stopped(), [], False)

    def _stopped(self) -> Array:
        return self.limits.stopping(self._q, self._v, self._a)

    def _advance(self, v: Array, reasons: list[Reason], stop: bool) -> Verdict:
        dt = self.limits.dt
        self._q, self._v, self._a = self._q + v * dt, v, (v - self._v) / dt
        return Verdict(self._q.copy(), tuple(reasons), stop)

    def _yielding(self, move: Move, reasons: list[Reason]) -> Array:
        """The rates [N] that lead back to the measured positions and come to rest there; what is not measured brakes."""
        stopped = self._stopped()
        followed = np.isfinite(self.tolerance) & ~self.limits.speeds  # a speed is stopped, not followed
        way = self.robot.difference(move.measured, self._q)
        if not np.isfinite(way[followed]).all():
            return stopped
        way = np.where(followed, way, 0.0)
        way[np.abs(way) <= RESTS * np.where(followed, self.tolerance, 1.0)] = 0.0
        v = np.copysign(np.minimum(self.limits.reachable(np.abs(way)), np.abs(way) / self.limits.dt), way)
        v = self.limits.within(v, self._v, self._a)
        v = np.where(followed, np.clip(v, move.slowest, move.fastest), stopped)
        return self._within_zones(v, move.slowest, move.fastest, reasons)

    def _lead(self, goal: Array) -> Array:
        """Rate of the target [N]: the smaller of its last two, 0 where they disagree; a jump has none."""
        goal = np.minimum(np.maximum(goal, self.limits.lower), self.limits.upper)
        if not _all(finite := np.isfinite(goal)):
            goal = np.where(finite, goal, self._goal)
        new, old = (goal - self._goal) / self.limits.dt, self._drift
        self._goal, self._drift = goal, new
        least = np.minimum(np.minimum(np.abs(new), np.abs(old)), self.limits.velocity)
        return np.copysign(least, new) * (new * old > 0)

    def _within_zones(self, v: Array, slowest: Array, fastest: Array, reasons: list[Reason]) -> Array:
        """v, or the nearest rates tried, or full braking: ones whose braking path stays in every zone, and keeps shapes apart."""
        if not self._bounded and self._clear is None:
            return v
        ahead = self._q + v * self.limits.dt
        change = (v - self._v) / self.limits.dt
        # elsewhere no point can get to a bound before it rests
        near = [b for b in self._bounded if not b.far(ahead, v, change)]
        clear = self._clear if self._clear is not None and not self._clear.far(ahead, v, change) else None
        if not near and clear is None:
            return v
        path = self._paths(v[None])
        inside = [b.inside(path) for b in near]
        apart, pair, least = (True, -1, np.zeros(0)) if clear is None else clear.keeps(path)
        if apart and all(b.keeps(i) for b, i in zip(near, inside, strict=True)):
            for b, i in zip(near, inside, strict=True):
                b.mark(ahead, i)
            if clear is not None:
                clear.came(least)
            return v
        for b, i in zip(near, inside, strict=True):
            reasons.extend(b.reasons(i, self.counts))
        if clear is not None and not apart:
            self.counts["collision"] += 1
            reasons.append(clear.reason(pair))
        brake = self._stopped()
        slower = brake + _PARTS[:, None] * (v - brake)
        aside, further = self._aside(v, inside, near, pair)
        for some in (np.clip(aside, slowest, fastest), slower, _shrunk(further, brake, slowest, fastest)):
            paths = self._paths(some)
            inside = [b.inside(paths) for b in self._bounded]  # a sideways step may near another bound
            each = len(paths) // len(some)
            for k in range(len(some)):
                rows = slice(k * each, (k + 1) * each)
                part = [[depth[rows] for depth in i] for i in inside]
                if not all(b.keeps(p) for b, p in zip(self._bounded, part, strict=True)):
                    continue
                if self._clear is not None:
                    apart, pair, least = self._clear.keeps(paths[rows], pair)
                    if not apart:
                        continue
                    self._clear.came(least)
                for b, p in zip(self._bounded, part, strict=True):
                    b.mark(paths[k * each], p)
                return some[k]
        return brake

    def _aside(self, v: Array, inside: list[list[Array]], near: list[_Bounded], pair: int) -> tuple[Array, Array]:
        """Rates [K, N] with ever less of v's motion towards the bounds its path crosses: the robot slides along. Then the
        same for these bounds and all that are within 2 mm. pair: of shapes that the path brings too near, -1 for none."""
        g = self._geometric
        depth, slope, crossed = np.zeros(0), np.zeros((0, len(g))), np.zeros(0, bool)
        if near:
            crossed = np.concatenate([b.outside(i) for b, i in zip(near, inside, strict=True)])
            nudged = np.repeat(self._q[None], len(g) + 1, axis=0)
            nudged[np.arange(1, len(g) + 1), g] += _NUDGE
            deep = np.concatenate([d for b in near for d in b.inside(nudged)], axis=1)
            depth, slope = deep[0], (deep[1:] - deep[0]).T / _NUDGE  # [M], [M, J]
        if pair >= 0 and self._clear is not None:
            beyond, own, which = self._clear.slopes(self._q, pair)
            wide = np.zeros((len(beyond), len(g)))
            wide[:, np.searchsorted(g, self._clear.channels)] = own
            depth, slope, crossed = np.append(depth, beyond), np.vstack([slope, wide]), np.append(crossed, which)
        both = []
        for which, shares in ((crossed, _SHARES), (crossed | (depth < 2e-3), _FURTHER)):
            d, s = depth[which], slope[which]
            # Where it slides it keeps 0.3 mm off: the tangent of a curved path leads outside.
            rate = np.maximum(3e-4 - d, 0.0) / (10 * self.limits.dt)
            back = np.zeros_like(v)
            back[g] = np.linalg.pinv(s, rcond=1e-3) @ np.maximum(rate - s @ v[g], 0.0)
            both.append(v + shares[:, None] * back)
        return both[0], both[1]

    def _paths(self, v: Array) -> Array:
        """Commands [K·(n+1), N]: for each of K steps v [K, N], the step and n ticks of full braking after it."""
        g, dt = self._geometric, self.limits.dt
        ahead = np.zeros((len(v), 1, len(g)))
        change = (v[:, g] - self._v[g]) / dt
        travelled = v[:, None, g] * dt + np.concatenate([ahead, self.limits.travel(v[:, g], change, g)], axis=1)
        path = np.repeat((self._q + v * dt)[:, None], travelled.shape[1], axis=1)
        path[..., g] = self._q[g] + travelled
        return path.reshape(-1, v.shape[1])


class _Bounded:
    """The zones of one frame, and how deep inside each the robot may still be."""

    def __init__(self, robot: Embodiment, frame: Frame, zones: tuple[Zone, ...], limits: Limits) -> None:
        self.robot, self.frame, self.zones = robot, frame, zones
        self.path = robot.path(frame)
        self._skeleton = Skeleton(frame.chain)
        scale = np.array([abs(robot.channels[i].to_si[0]) for i in self.path])
        ends = robot.positions(frame, np.stack([robot.lower, robot.upper]))
        slid = np.where(self._skeleton.slides, np.abs(ends).max(axis=0), 0.0)
        # a joint that slides further out lengthens the lever of those before it
        further = np.cumsum(slid[::-1])[::-1] - slid
        self._reach = (self._skeleton.reach + np.where(self._skeleton.slides, 0.0, further)) * scale  # [m] a unit
        self._limits = limits
        self.moves = any(zone.moves for zone in zones)

    def reset(self, command: Array) -> None:
        inside = self.inside(command[None])
        # Where the robot starts outside, that depth is the bound; it shrinks as the robot comes in.
        self._bounds = [np.minimum(depth[0], 0.0) for depth in inside]
        self.mark(command, inside)

    def follow(self, command: Array) -> None:
        """A zone that has moved over the robot bounds it as one it started outside of: it may leave, and not go further out."""
        if self.moves:
            depths = self.inside(command[None])
            self._bounds = [
                np.minimum(d[0], 0.0) if z.moves else b
                for z, d, b in zip(self.zones, depths, self._bounds, strict=True)
            ]

    def inside(self, commands: Array) -> list[Array]:
        """Of every zone, float[K, M]: how far inside for commands [K, N]."""
        points = self._skeleton.points(self.robot.positions(self.frame, commands))
        return [zone.inside(points) - 1e-6 for zone in self.zones]

    def far(self, ahead: Array, v: Array, a: Array) -> bool:
        """Whether no point can get to a bound before the robot rests, from what was last computed."""
        if self.moves:
            return False
        further = self._limits.farthest(v, a)
        travel = self._reach @ (np.abs(ahead - self._marked) + further)[self.path]
        return bool(travel < self._margin)

    def keeps(self, inside: list[Array]) -> bool:
        return all(bool((depth >= bound).all()) for depth, bound in zip(inside, self._bounds, strict=True))

    def outside(self, inside: list[Array]) -> Array:
        """bool[M]: bounds that are crossed."""
        return np.concatenate([(d < b).any(axis=0) for d, b in zip(inside, self._bounds, strict=True)])

    def reasons(self, inside: list[Array], counts: dict[str, int]) -> list[Reason]:
        found = []
        for zone, depth, bound in zip(self.zones, inside, self._bounds, strict=True):
            if (depth < bound).any():
                counts[zone.name] += 1
                found.append(zone.reason(depth - bound))
        return found

    def mark(self, command: Array, inside: list[Array]) -> None:
        """Remember the depth at a command, the first of the path: until the robot has moved that far, nothing needs
        computing."""
        self._marked = command
        worst = [np.minimum(depth.min(axis=0), 0.0) for depth in inside]
        self._bounds = [np.maximum(bound, w) for bound, w in zip(self._bounds, worst, strict=True)]
        self._margin = min((float(depth[0].min()) for depth in inside), default=np.inf)


def _check_longest(robot: Embodiment, limits: Limits, moving: Array) -> None:
    """Raise `BadValue` when the longest braking path of the channels `moving` has too many ticks to check at each command."""
    if not len(moving):
        return
    ticks = (limits.velocity / limits.acceleration + 2 * limits.acceleration / limits.jerk)[moving] / limits.dt
    worst = int(ticks.argmax())
    if not ticks[worst] <= MOST_TICKS:
        c = robot.channels[moving[worst]]
        raise BadValue(
            f"channel '{c.name}' takes {ticks[worst] * limits.dt:.3g} s to brake from {c.velocity:g} {c.unit}/s (acceleration "
            f"{c.acceleration:g}, jerk {c.jerk:g}); expected at most {MOST_TICKS * limits.dt:g} s, of which every tick is held "
            "to the zones. Next: check these limits"
        )


def _shrunk(v: Array, brake: Array, slowest: Array, fastest: Array) -> Array:
    """Of rates v [K, N] the part nearest to v on the way from braking that is admissible. It keeps the direction, which
    clipping each channel does not: clipped, a way along a bound may lead across it, and a robot at rest there would stay."""
    way = v - brake
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        room = np.where(way > 0, (fastest - brake) / way, np.where(way < 0, (slowest - brake) / way, np.inf))
    share = np.clip(np.min(room, axis=1, keepdims=True), 0.0, 1.0)
    return brake + share * way


RESTS = 1 / 35
"""A channel within this share of its tolerance of what is measured no longer presses; following closer would follow the
sensors' noise."""

_SHARES = np.array([0.25, 0.5, 0.75, 1.0])
_FURTHER = np.array([0.5, 1.0, 1.2])
_PARTS = np.linspace(0.875, 0.125, 7)
_NUDGE = 1e-6


def _off(robot: Embodiment, tolerance: Array) -> list[str]:
    """What is not guarded, in words."""
    out = []
    geometry = "workspace, floor and column"
    bounded = [f for f in robot.frames if f.workspace is not None or f.zones]
    if not robot.frames:
        out.append(f"{geometry}: no kinematics are known (the robot has no frames)")
    else:
        open_frames = [f.name for f in robot.frames if f not in bounded]
        if open_frames:
            out.append(f"{geometry} of {', '.join(open_frames)}: the frame has no workspace and no zone")
        on_path = {j for f in bounded for j in f.joints}
        if bounded and (off := [c.name for c in robot.channels if c.moves_joint and c.name not in on_path]):
            out.append(f"{geometry} of {', '.join(off)}: on the path of no frame with a workspace")
    measured = robot.measured(np.zeros(len(robot.state)))
    joints = [c.name for c, m in zip(robot.channels, measured, strict=True) if c.kind != "opening" and np.isnan(m)]
    if joints:
        out.append(f"tracking of {', '.join(joints)}: the state has no position of them")
    loose = [
        c.name for c, t in zip(robot.channels, tolerance, strict=True)
        if c.kind != "opening" and np.isinf(t) and c.name not in joints
    ]  # fmt: skip
    if loose:
        out.append(f"tracking of {', '.join(loose)}: no tolerance is given")
    return out


def _all(true: Array) -> bool:
    """`true.all()` of a bool[N], in a seventh of the time."""
    return bool(true[true.argmin()])


def guard_name(guard: Guard) -> str:
    return getattr(guard, "__name__", type(guard).__name__.lower())
