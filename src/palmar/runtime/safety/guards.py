"""Guards: one function each. `filter.Safety` folds them over every command.

A guard takes the `Move` a command asks for, may soften it or halt it, and answers with its `Reason`; None when it changed
nothing. Adding one is one function in `GUARDS`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from palmar.embodiments import Embodiment
from palmar.runtime.safety.limits import Limits
from palmar.types import Array, Observation, Reason


@dataclass(slots=True)
class Move:
    """One command on its way through the guards: what it asks for and where the robot stands.

    target: float64[N] as asked for. velocity: float64[N] rate wanted for this tick; guards soften it. lead: float64[N]
    rate of the target itself. slowest, fastest: float64[N] between which every limit is kept.
    position, before, change: float64[N] the last command, the rate it was reached with, and the change of that rate then.
    measured, effort: float64[N], NaN where not. seen, since: what was measured before, NaN where nothing was, and how long ago [s].
    clipped: set where this command is clipped. saturated: share of the last commands that were (`Thresholds.window`), 0 until
    there are as many.
    now: [s] on the time of observations.
    halt: brake fully instead. yields: with halt, go back to the measured positions and rest there.
    stop: also ask the controller to leave RUN.
    """

    target: Array
    velocity: Array
    lead: Array
    slowest: Array
    fastest: Array
    position: Array
    before: Array
    change: Array
    measured: Array
    observation: Observation
    now: float
    robot: Embodiment
    limits: Limits
    stale_after: float
    tolerance: Array
    effort: Array = field(default_factory=lambda: np.array([np.nan]))
    seen: Array = field(default_factory=lambda: np.array([np.nan]))
    since: float = 0.0
    saturated: float = 0.0
    clipped: bool = False
    halt: bool = False
    yields: bool = False
    stop: bool = False

    def unit(self, i: int, per: str = "") -> str:
        return self.robot.channels[i].unit + per


Guard = Callable[[Move], Reason | None]


def nan(move: Move) -> Reason | None:
    """A NaN or infinite target says nothing about where to go: brake."""
    finite = np.isfinite(move.target)
    if finite[finite.argmin()]:
        return None
    move.halt = True
    i = int(np.argmin(np.isfinite(move.target)))
    name = move.robot.channels[i].name
    return Reason("nan", name, float(move.target[i]), over=None, note=f"target is {move.target[i]}")


def stale(move: Move) -> Reason | None:
    """Acting on an old picture of the world is acting blind."""
    age = move.now - move.observation.time
    if age <= move.stale_after + 1e-9:
        return None
    move.halt = move.stop = True
    return Reason("stale", "observation", age, move.stale_after, "s")


def tracking(move: Move) -> Reason | None:
    """The robot is not where it was told to be: it hit something, jammed, or lost power. Stop pressing.

    A joint that is not measured (no such state, or NaN) where it should be is no joint to move.
    """
    error = np.abs(move.robot.difference(move.position, move.measured))
    over = error - move.tolerance
    if over[over.argmax()] <= 0.0:  # NaN is the largest
        return None
    good = (error <= move.tolerance) | np.isinf(move.tolerance)
    if good.all():
        return None
    move.halt = move.yields = move.stop = True
    i = int(np.argmax(~good))
    return Reason("tracking", move.robot.channels[i].name, float(error[i]), float(move.tolerance[i]), move.unit(i))


def effort(move: Move) -> Reason | None:
    """A joint, or a force sensor, feels more than it may: stop pressing."""
    thresholds, names = move.robot.thresholds, move.robot.state_names
    if not thresholds.forces and not move.robot.measures("effort"):
        return None
    over = np.abs(move.effort) > thresholds.effort * move.limits.effort
    feels = [n for n, most in thresholds.forces.items() if not abs(move.observation.state[names.index(n)]) <= most]
    if not over[over.argmax()] and not feels:
        return None
    move.halt = move.yields = move.stop = True
    if feels:
        i = names.index(feels[0])
        unit = move.robot.state[i].unit
        return Reason("effort", feels[0], abs(float(move.observation.state[i])), thresholds.forces[feels[0]], unit)
    i = int(over.argmax())
    unit = "N" if move.robot.channels[i].kind == "prismatic" else "N·m"
    bound = float(thresholds.effort * move.limits.effort[i])
    return Reason("effort", move.robot.channels[i].name, abs(float(move.effort[i])), bound, unit)


def jump(move: Move) -> Reason | None:
    """A joint's reading changes faster than the joint can move: its sensor, or the bus it is read by, is wrong."""
    if not move.since > 0:
        return None
    robot = move.robot
    way = np.abs(robot.difference(move.measured, move.seen))
    far = way - robot.jitter
    if far[far.argmax()] <= 0.0:  # NaN is the largest
        return None
    most = robot.thresholds.jump * move.limits.velocity * max(move.since, move.limits.dt) + robot.jitter
    over = robot.moves_joint & (way > most)
    if not over[over.argmax()]:
        return None
    move.halt = move.stop = True
    i = int(over.argmax())
    note = f"reading changed in {move.since:.3g} s by"
    return Reason("jump", robot.channels[i].name, float(way[i]), float(most[i]), move.unit(i), note=note)


def saturation(move: Move) -> Reason | None:
    """Nearly all that is asked for lies outside the limits. The command is what the limits leave of it; ask to stop."""
    bound = move.robot.thresholds.saturated
    if move.saturated <= bound:
        return None
    move.stop = True
    window = move.robot.thresholds.window
    note = f"of the commands of {window:g} s were clipped by position or velocity limits (are the units right?), share"
    return Reason("saturation", "", move.saturated, bound, note=note)


def position(move: Move) -> Reason | None:
    """Aim at the nearest values within the limits."""
    lower, upper, goal = move.limits.lower, move.limits.upper, move.target
    over = np.maximum(goal - upper, lower - goal)
    i = int(over.argmax())
    if over[i] <= 1e-5:  # the limits lie 1e-6 inside the robot's own
        return None
    inside = np.minimum(np.maximum(goal, lower), upper)
    move.clipped |= bool((over > FAR_OUT * move.robot.widths).any())
    move.target = inside
    move.velocity = (inside - move.position) / move.limits.dt
    beyond = bool(goal[i] > inside[i])
    return Reason("position", move.robot.channels[i].name, float(goal[i]), float(inside[i]), move.unit(i), beyond)


def velocity(move: Move) -> Reason | None:
    """Slow the channels of a group by one factor, so that it keeps its direction."""
    share = np.abs(move.velocity) / move.limits.velocity
    i = int(share.argmax())
    if share[i] <= 1.0 + 2e-6:  # the limits lie 1e-6 inside the robot's own
        return None
    move.clipped = True
    asked = abs(float(move.velocity[i]))
    slowed = move.velocity.copy()
    for group in move.limits.groups:
        part = share[group]
        if (worst := part[part.argmax()]) > 1.0:
            slowed[group] /= worst
    move.velocity = slowed
    return Reason("velocity", move.robot.channels[i].name, asked, float(move.limits.velocity[i]), move.unit(i, "/s"))


def acceleration(move: Move) -> Reason | None:
    """Change speed no faster than allowed, and go only so fast that the robot can stop at its target.

    Were only the change limited, a target would be passed, come back to and passed again. The room to stop in is the
    way to the target, what the target itself needs to stop from the speed it moves at, so smooth motion passes
    untouched, and `a·dt²` (3 to 8 mrad of the joints of `arm7` at 50 Hz), which a single tick makes good. A target that
    stops dead is passed once, by the way the robot takes to brake.
    """
    lim, wanted = move.limits, move.velocity
    most = lim.gain
    speed = np.abs(wanted)
    room = np.abs(move.target - move.position) + lim.slack
    ahead = move.lead * wanted
    if ahead[ahead.argmax()] > 0:
        room += (ahead > 0) * lim.farthest(move.lead, move.change)
    gained = np.abs(wanted - move.before) - most
    if gained[gained.argmax()] <= 0.0 and lim.stopped_within(speed, room):
        return None
    share, softened = lim.reachable(room) / np.maximum(speed, most), wanted.copy()
    i = int(share.argmin())
    if slow := share[i] < 1.0:
        for group in lim.groups:
            part = share[group]
            if (least := part[part.argmin()]) < 1.0:
                softened[group] *= least
    softened = lim.arriving(softened, room, move.before, move.change)
    softened = np.minimum(np.maximum(softened, move.before - most), move.before + most)
    if np.abs(softened - wanted).max() <= 1e-3:
        return None
    move.velocity = softened
    if slow:
        asked = float(speed[i])
    else:
        i = int((np.abs(wanted - move.before) / most).argmax())
        asked = abs(float(wanted[i] - move.before[i]))
    bound = float(lim.acceleration[i])
    return Reason("acceleration", move.robot.channels[i].name, asked / lim.dt, bound, move.unit(i, "/s²"))


def jerk(move: Move) -> Reason | None:
    """Change the acceleration no faster than allowed, and have none left where the wanted speed is reached."""
    lim, wanted = move.limits, move.velocity
    if lim.all_simple:
        return None
    asked = np.abs((wanted - move.before) / lim.dt - move.change) - lim.jerk * lim.dt
    if asked[asked.argmax()] <= 0.0:
        return None
    softened = lim.within(wanted, move.before, move.change)
    away = np.abs(softened - wanted)
    if away.max() <= 1e-3:
        return None
    i = int(away.argmax())
    move.velocity = softened
    change = abs(float((wanted[i] - move.before[i]) / lim.dt - move.change[i])) / lim.dt
    return Reason("jerk", move.robot.channels[i].name, change, float(lim.jerk[i]), move.unit(i, "/s³"))


def braking(move: Move) -> Reason | None:
    """Approach a limit only as fast as the robot can stop before it."""
    lim, here, wanted = move.limits, move.position, move.velocity
    over = np.maximum(wanted - move.fastest, move.slowest - wanted)
    i = int(over.argmax())
    if over[i] <= 1e-3:
        return None
    move.velocity = np.minimum(np.maximum(wanted, move.slowest), move.fastest)
    v = float(wanted[i])
    end = here[i] + v * lim.dt + v * abs(v) / (2 * lim.acceleration[i])
    bound = lim.upper[i] if v > 0 else lim.lower[i]
    return Reason("braking", move.robot.channels[i].name, float(end), float(bound), move.unit(i), v > 0)


FAR_OUT = 0.1
"""Share of a channel's width beyond its limits at which a target is taken for one of another unit, not for one at the limit."""

GUARDS: tuple[Guard, ...] = (
    stale, tracking, effort, jump, nan, saturation, position, velocity, acceleration, jerk, braking,
)  # fmt: skip

EMERGENCIES = frozenset({"tracking", "effort"})
"""Guards whose stop may be a collision: an E-STOP where the others are a HOLD."""
