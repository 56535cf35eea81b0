"""Between the policy and the motors: whatever the target, the command that leaves here is within the robot's limits.

Why it always is. The state is the last command and the velocity it was reached with; the claim is "from here, full
braking keeps every limit until the arm rests", true at rest. Each tick either brakes fully, which is the rest of a path
already shown safe, or takes a step of which the same was checked first: per joint by `Limits.reachable` (the step, then
braking, ends before the limit), for zones by the arm's points at every tick of the braking path. So the claim holds
after it too. Guards only choose among such steps: the result is clipped to them after the fold, whatever a guard did.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from palmar.embodiments import Embodiment
from palmar.errors import BadValue
from palmar.runtime.guards import GUARDS, ZONES, Guard, Limits, Move, Skeleton, Zone
from palmar.types import Array, Observation, Verdict


class Safety:
    """Folds the guards over one command after another; on by default, with the limits of the robot's description.

    guards: functions `Move → reason or None`, in order (`GUARDS`). zones: functions `Embodiment → Zone` (`ZONES`).
    stale_after: oldest observation to act on [s]. max_error: largest difference of commanded and measured angle [rad].

    counts: {guard or zone: commands it changed}. checked: commands seen. Both run on over resets, for reports.

    An arm that starts outside a zone or a joint's range may move, but not further out.
    """

    def __init__(
        self,
        robot: Embodiment,
        guards: Sequence[Guard] | None = None,
        stale_after: float = 0.3,
        max_error: float = 0.35,
        zones: Sequence[Callable[[Embodiment], Zone]] | None = None,
    ) -> None:
        self.robot, self.stale_after, self.max_error = robot, stale_after, max_error
        self.guards = tuple(GUARDS if guards is None else guards)
        self.zones = tuple(zone(robot) for zone in (ZONES if zones is None else zones))
        self.limits = Limits.of(robot)
        self.counts = {**{_name(g): 0 for g in self.guards}, **{z.name: 0 for z in self.zones}}
        self.checked = 0
        self._skeleton = Skeleton(robot.chain)
        self._unit = self.limits.acceleration * self.limits.dt
        self._ticks = np.arange(1.0, np.ceil((self.limits.velocity / self._unit).max()) + 1)[:, None]
        self.reset(np.append(robot.home, 1.0))

    def reset(self, command: Array) -> None:
        """The arm rests at this command, float64[J+1]: joint angles [rad] and gripper opening."""
        command = np.array(command, float)
        if command.shape != (self.robot.command_width,) or not np.isfinite(command).all():
            raise BadValue(f"command is {command}; expected {self.robot.command_width} finite numbers")
        self._q, self._v, self._opening = command[:-1], np.zeros(len(command) - 1), float(np.clip(command[-1], 0, 1))
        self._goal, self._drift = self._q, np.zeros(len(self._q))
        inside = self._inside(self._q[None])
        # Where the arm starts outside, that depth is the bound; it shrinks as the arm comes in.
        self._bounds = [np.minimum(depth[0], 0.0) for depth in inside]
        self._mark(self._q, inside)

    @property
    def command(self) -> Array:
        """The last command, float64[J+1]."""
        return np.append(self._q, self._opening)

    @property
    def moving(self) -> bool:
        return bool(self._v.any())

    def check(self, target: Array, obs: Observation, now: float) -> Verdict:
        """The command to send for a target float64[J+1] at episode time `now` [s].

        Raises `BadValue` on a target of another shape; anything else in it is dealt with.
        """
        target = np.asarray(target, float)
        if target.shape != (self.robot.command_width,):
            raise BadValue(
                f"target has shape {list(target.shape)}; expected [{self.robot.command_width}]: "
                f"{', '.join(self.robot.joints)}, gripper"
            )
        self.checked += 1
        wanted = (np.clip(target[:-1], -1e6, 1e6) - self._q) / self.limits.dt  # clipped: the division must not overflow
        slowest, fastest = self._interval()
        move = Move(
            target, wanted, float(target[-1]), self._lead(target[:-1]), slowest, fastest,
            self._q, self._v, self._opening, obs, now, self.robot, self.limits, self.stale_after, self.max_error,
        )  # fmt: skip
        reasons: list[str] = []
        for guard in self.guards:
            if (reason := guard(move)) is not None:
                self.counts[_name(guard)] += 1
                reasons.append(reason)
            if move.halt:
                v = self._yielding(move, reasons) if move.yields else self.limits.braked(self._v)
                return self._advance(v, self._opening, reasons, move.stop)
        v = np.minimum(np.maximum(move.velocity, slowest), fastest)
        if not np.isfinite(v).all():
            v = self.limits.braked(self._v)
        v = self._within_zones(v, slowest, fastest, reasons)
        most = self.robot.gripper_velocity * self.limits.dt * (1 - 1e-6)
        opening = min(max(move.gripper, 0.0, self._opening - most), 1.0, self._opening + most)
        return self._advance(v, opening if np.isfinite(opening) else self._opening, reasons, move.stop)

    def brake(self) -> Verdict:
        """One tick of full braking; needs no observation. At rest it repeats the last command."""
        return self._advance(self.limits.braked(self._v), self._opening, [], False)

    def _advance(self, v: Array, opening: float, reasons: list[str], stop: bool) -> Verdict:
        self._q, self._v, self._opening = self._q + v * self.limits.dt, v, opening
        return Verdict(np.append(self._q, opening), tuple(reasons), stop)

    def _yielding(self, move: Move, reasons: list[str]) -> Array:
        """The velocity [J] that leads back to the measured angles and comes to rest there; NaN angles: braking."""
        way = move.observation.state[: len(self._q)].astype(float) - self._q
        if not np.isfinite(way).all():
            return self.limits.braked(self._v)
        way[np.abs(way) <= RESTS] = 0.0
        v = np.copysign(np.minimum(self.limits.reachable(np.abs(way)), np.abs(way) / self.limits.dt), way)
        return self._within_zones(np.clip(v, move.slowest, move.fastest), move.slowest, move.fastest, reasons)

    def _lead(self, goal: Array) -> Array:
        """Velocity of the target [J] [rad/s]: the smaller of its last two, 0 where they disagree; a jump has none."""
        goal = np.minimum(np.maximum(goal, self.limits.lower), self.limits.upper)
        new, old = (goal - self._goal) / self.limits.dt, self._drift
        self._goal, self._drift = goal, new
        least = np.minimum(np.minimum(np.abs(new), np.abs(old)), self.limits.velocity)
        return np.where(new * old > 0, np.copysign(least, new), 0.0)

    def _interval(self) -> tuple[Array, Array]:
        """Lowest and highest velocity [J] that keep every joint limit now and while braking from them."""
        lim, brake = self.limits, self.limits.braked(self._v)
        above, below = lim.reachable(np.stack([lim.upper - self._q, self._q - lim.lower]))
        high = np.minimum(np.minimum(lim.velocity, self._v + self._unit), above)
        low = np.maximum(np.maximum(-lim.velocity, self._v - self._unit), -below)
        # Braking is always admissible; saying so keeps the interval from being empty by a rounding error.
        return np.minimum(low, brake), np.maximum(high, brake)

    def _within_zones(self, v: Array, slowest: Array, fastest: Array, reasons: list[str]) -> Array:
        """v, or the nearest velocity tried, or full braking: one whose braking path stays in every zone."""
        if not self.zones:
            return v
        ahead = self._q + v * self.limits.dt
        travel = self._skeleton.reach @ (np.abs(ahead - self._marked) + v * v / (2 * self.limits.acceleration))
        if travel < self._margin:  # no point of the arm can get to a bound before it rests
            return v
        inside = self._inside(self._paths(v[None]))
        if self._keeps(inside):
            self._mark(ahead, inside)
            return v
        for zone, depth, bound in zip(self.zones, inside, self._bounds, strict=True):
            if (depth < bound).any():
                self.counts[zone.name] += 1
                reasons.append(zone.reason(depth - bound))
        brake = self.limits.braked(self._v)
        slower = brake + _PARTS[:, None] * (v - brake)
        tries = np.concatenate([np.clip(self._aside(v, inside), slowest, fastest), slower])
        paths = self._paths(tries)
        inside = self._inside(paths)
        each = len(paths) // len(tries)
        for k in range(len(tries)):
            part = [depth[k * each : (k + 1) * each] for depth in inside]
            if self._keeps(part):
                self._mark(paths[k * each], part)
                return tries[k]
        return brake

    def _aside(self, v: Array, inside: list[Array]) -> Array:
        """Velocities [K, J] with ever less of v's motion towards the bounds its path crosses: the arm slides along."""
        outside = np.concatenate([(d < b).any(axis=0) for d, b in zip(inside, self._bounds, strict=True)])
        nudged = np.concatenate([self._q[None], self._q + _NUDGE * np.eye(len(v))])
        depth = np.concatenate(self._inside(nudged), axis=1)[:, outside]
        slope = (depth[1:] - depth[0]).T / _NUDGE  # [M, J]
        # Where it slides it keeps 0.3 mm off: the tangent of a curved path leads outside.
        rate = np.maximum(3e-4 - depth[0], 0.0) / (10 * self.limits.dt)
        back = np.linalg.pinv(slope, rcond=1e-3) @ np.maximum(rate - slope @ v, 0.0)
        return v + _SHARES[:, None] * back

    def _paths(self, v: Array) -> Array:
        """Joint angles [K·(n+1), J]: for each of K steps v [K, J], the step and n ticks of full braking after it."""
        speed = np.abs(v)
        ticks = self._ticks[: max(int(np.ceil((speed / self._unit).max())) - 1, 0)]
        steps = np.maximum(speed[:, None] - ticks * self._unit, 0.0)
        travelled = np.concatenate([speed[:, None], speed[:, None] + np.cumsum(steps, axis=1)], axis=1)
        return (self._q + np.sign(v)[:, None] * travelled * self.limits.dt).reshape(-1, v.shape[1])

    def _inside(self, q: Array) -> list[Array]:
        points = self._skeleton.points(q)
        return [zone.inside(points) - 1e-6 for zone in self.zones]

    def _keeps(self, inside: list[Array]) -> bool:
        return all(bool((depth >= bound).all()) for depth, bound in zip(inside, self._bounds, strict=True))

    def _mark(self, q: Array, inside: list[Array]) -> None:
        """Remember the depth at q, the first of the path: until the arm has moved that far, nothing needs computing."""
        self._marked = q
        worst = [np.minimum(depth.min(axis=0), 0.0) for depth in inside]
        self._bounds = [np.maximum(bound, w) for bound, w in zip(self._bounds, worst, strict=True)]
        self._margin = min((float(depth[0].min()) for depth in inside), default=np.inf)


RESTS = 0.01
"""An arm this near its measured angles no longer presses [rad]; following closer would follow the sensors' noise."""

_SHARES = np.array([0.25, 0.5, 0.75, 1.0])
_PARTS = np.linspace(0.875, 0.125, 7)
_NUDGE = 1e-6


def _name(guard: Guard) -> str:
    return getattr(guard, "__name__", type(guard).__name__.lower())
