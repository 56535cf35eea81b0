"""Slowing down along the policy's own path before a guard has to clip: how fast the running chunk is followed.

Where nothing that is coming would be clipped, nothing is changed, to the bit. Where something would be, the chunk is followed
along the path its actions describe (`ActionSpace.along`) at a speed of 0 … 1 of its own (`slowing`), and its clock falls behind
by the rest (`ChunkBuffer.slip`). The guards still have the last word over every command.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from palmar.runtime.chunks import Coming
from palmar.runtime.control.actions import ActionSpace
from palmar.runtime.control.slowing import SLOWEST, Bounds, caps, profile, within
from palmar.runtime.safety.filter import Safety
from palmar.types import Array

KNOTS = 48
"""Of the path that is looked at: as long as the robot takes to stop."""

JOINS = 0.25
"""Share of the velocity limit: a chunk that takes more than that, on top of its own rate, to get to begins elsewhere."""

JOINING = 0.5
"""Slowest speed on the way to a chunk that begins elsewhere."""

MARGIN = 0.02
"""Of the rates that are open to the next tick, kept at both ends."""

FASTEST = 400.0
"""Highest control rate at which there is slowing [Hz]. Above, jerk lets a tick change so little that rough chunks leave no speed
that suits all channels, and the robot would creep."""

REPLANS = 0.02
"""How long a chunk that needs no slowing is followed before it is looked at again [s]; a new chunk is looked at at once."""

CREEPS = 0.05
"""A robot that follows its path more slowly than that, and is not on the way to stop before a zone, does not get on."""

KEEPS = 0.7
"""Of its speed, from one tick to the next, where the limits of several channels leave none."""


@dataclass(frozen=True, slots=True)
class Plan:
    """speed: the fastest now that leaves room to brake. along: rate [n] along the path where the tick begins; full: mean of a tick
    at full speed, both of what is paced. blocked: by no zone (None), or whether that zone moves."""

    speed: float
    along: Array
    full: Array
    blocked: bool | None


class Pacing:
    """Decides at every tick how fast the chunk is followed.

    patience: how long the robot waits before a zone that its path leads out of; then the guards let it slide along [s]. As long
    it creeps where no zone is in the way: near the end of its reach a displacement may ask for a way of the joints that no speed
    makes short enough. wait: the same where the zone moves (`Zone.moves`), so that it may clear [s].

    speed: of the last tick, 0 … 1 of the policy's own. following: the robot is led along the path's own curve.
    """

    def __init__(self, space: ActionSpace, safety: Safety, patience: float = 0.5, wait: float = 10.0) -> None:
        self.safety, self.patience, self.wait = safety, patience, wait
        quick = safety.limits.dt < 1.0 / FASTEST - 1e-9
        self._which = np.array([], np.int64) if quick else np.flatnonzero(space.paced)
        self._bounds = Bounds.of(safety.limits, self._which)
        ticks = self._bounds.stopping / safety.limits.dt
        self._spacing = max(int(np.ceil(ticks / KNOTS)), 1) if np.isfinite(ticks) else 1
        self._every = max(round(REPLANS / safety.limits.dt), 1)
        self.reset()

    def reset(self) -> None:
        """The robot rests, or something else moves it."""
        self.speed, self.following = 1.0, False
        self._waited, self._crept, self._sliding = 0.0, 0.0, False
        self._seam: tuple[float, int] | None = None
        self._taken: float | None = None
        self._leaps, self._clear = False, 0.0
        self._planned, self._skips = np.nan, 0

    def step(
        self, space: ActionSpace, coming: Coming, share: float, command: Array
    ) -> tuple[Array, ActionSpace, float] | None:
        """The command [N] for the tick that begins, the action space after it, and the speed; None to go on at full speed as
        without this. space: the action space now, left as it is."""
        before, self.speed = self.speed, 1.0
        if not len(self._which):
            return None
        if self._skips > 0 and coming.t0 == self._planned and not self.following and not self._sliding:
            self._skips -= 1
            return None
        plan = self._plan(space, coming, share, command, before)
        if plan is not None and not self.following and plan.speed < 1.0:
            self.following = True
            plan = self._plan(space, coming, share, command, before)
        elif self.following and coming.aligned and before >= 1.0 and (plan is None or plan.speed >= 1.0):
            self.following = False  # unless the straight way to each action asks for too much
            straight = self._plan(space, coming, share, command, before)
            self.following = straight is not None and straight.speed < 1.0
        if self._sliding:
            self.following = False
        if not self.following:
            self._planned, self._skips = coming.t0, self._every - 1
            return None
        if self._leaps and (plan is None or plan.blocked is None):
            self.following = False
            return None
        if self._waits(plan, before):
            self.following = False
            return None
        return self._follow(space, coming, share, command, before, plan)

    def rate(self, share: float) -> Array | None:
        """The robot's rate [N] per action's time on the chunk's own clock; None: it rests."""
        rate = self.safety.rate
        return rate * (self._bounds.dt / share / max(self.speed, 0.2)) if rate.any() else None

    def _plan(self, space: ActionSpace, coming: Coming, share: float, command: Array, before: float) -> Plan | None:
        """None where too little is left of the chunk to tell."""
        which, bounds = self._which, self._bounds
        spacing = self._spacing
        knots = space.ahead(coming, share, command, KNOTS, spacing, self.following)
        if len(knots) < 2 and spacing > 1:
            spacing = 1
            knots = space.ahead(coming, share, command, KNOTS, spacing, self.following)
        if not len(knots) or not np.isfinite(knots).all():
            return None
        path = np.concatenate([command[None], knots])[:, which]
        near = path[:3]
        if spacing > 1:
            ticks = space.ahead(coming, share, command, 2, 1, self.following)
            near = np.concatenate([command[None], ticks])[:, which]
        rates = np.diff(near, axis=0) / bounds.dt
        first = rates[0]
        now = self.safety.rate[which]
        if not self.following:
            along = now
        else:
            along = now / before if before > 0.2 and now.any() else 1.5 * first - 0.5 * rates[-1]
        sharp = space.corners and not self.following
        high = caps(path, along, bounds, spacing, sharp)
        if self._joins(space, coming, share, command):
            way = high[: int((1.0 - coming.phase) / (spacing * share) + 1e-6) + 1]
            self._leaps = self._leaps or (not self.following and bool((way < JOINING).any()))
            way[:] = np.maximum(way, JOINING)
        else:
            self._leaps = False
        found = self.safety.first_outside(knots) if self.safety.bounded else None
        self._clear = self._clear + bounds.dt if found is None else 0.0
        if self._clear > self.patience:
            self._sliding = False
        blocked = None if found is None or self._sliding else found[0] + 1
        speeds = profile(path, high, bounds, spacing, blocked)
        return Plan(float(speeds[0]), along, first, None if blocked is None else found is not None and found[1])

    def _joins(self, space: ActionSpace, coming: Coming, share: float, command: Array) -> bool:
        """Whether the running action is the way to a chunk that begins elsewhere than where the robot is, because the robot has
        been slowed and the policy goes by the clock. That way is not the policy's own, and following it more slowly would make
        the next chunk begin further away still."""
        if self._taken != coming.t0:
            self._taken, self._seam = coming.t0, None
            actions, index = coming.actions, coming.index
            if space.corners and coming.behind > 0.0 and index + 1 < len(actions):
                left = 1.0 - coming.phase
                now = actions[index] - left * (actions[index + 1] - actions[index])
                off = np.abs(command - now)[self._which] / max(left, share) * share / self._bounds.dt
                if (off > JOINS * self._bounds.velocity).any():
                    self._seam = coming.t0, index
        return self._seam == (coming.t0, coming.index)

    def _waits(self, plan: Plan | None, before: float) -> bool:
        """Count the time the robot waits before a zone that moves, and the time it does not get on for any other reason; True when
        either has been long enough. before: speed of the last tick."""
        if before >= CREEPS and (plan is None or plan.speed >= SLOWEST):
            self._waited = self._crept = 0.0
            return False
        if plan is not None and plan.blocked:
            self._waited += self._bounds.dt
        else:
            self._crept += self._bounds.dt
        if self._waited <= self.wait and self._crept <= self.patience:
            return False
        self._waited = self._crept = self._clear = 0.0
        self._sliding = True
        return True

    def _follow(
        self, space: ActionSpace, coming: Coming, share: float, command: Array, before: float, plan: Plan | None
    ) -> tuple[Array, ActionSpace, float]:
        low, high = (bound[self._which] for bound in self.safety.window())
        edge = MARGIN * (high - low)
        low, high = low + edge, high - edge
        speed, along = before, None
        if plan is not None:
            along = plan.along
            speed = within(plan.speed, along, plan.full, low, high)
        if plan is not None and plan.blocked is None and self.safety.rate.any():
            least = KEEPS * min(
                before, plan.speed
            )  # a bend that suits no speed is no reason to stop: the guards round it off
            if speed < least:
                speed = least
                target, after = self._at(space, coming, share, command, speed)
                self.speed = speed
                return target, after, speed
        target, after = self._at(space, coming, share, command, speed)
        v = (target - command) / self._bounds.dt
        slack = 1e-6 * self._bounds.velocity
        if speed > 0 and ((v[self._which] < low - slack) | (v[self._which] > high + slack)).any():
            mean = v[self._which] / speed
            along = mean if along is None else along
            speed = within(speed, along, along + (mean - along) / max(speed, 0.1), low, high)
            target, after = self._at(space, coming, share, command, speed)
            v = (target - command) / self._bounds.dt
        if not self._sliding and np.isfinite(v).all() and not self.safety.stays_inside(v):
            for part in (0.5, 0.0):
                slower, other = self._at(space, coming, share, command, part * speed)
                slow = (slower - command) / self._bounds.dt
                fits = (slow[self._which] >= low - slack).all() and (slow[self._which] <= high + slack).all()
                if fits and self.safety.stays_inside(slow):
                    target, after, speed = slower, other, part * speed
                    break
        self.speed = speed
        return target, after, speed

    def _at(
        self, space: ActionSpace, coming: Coming, share: float, command: Array, speed: float
    ) -> tuple[Array, ActionSpace]:
        after = space.copy()
        target = after.along(coming, share, speed, command)
        if speed <= 0.0:
            target[self._which] = command[self._which]  # also what the inverse kinematics have left
        return target, after
