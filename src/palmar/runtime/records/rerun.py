"""A black box played again: the recorded targets and measurements through the guards, tick for tick.

With the guards, limits and state it was recorded with, every command comes out bit for bit the same. With another robot file or
other guards it says what those would have done. Then the robot is taken to have followed the other commands as well as it
followed the recorded ones, and a stop of theirs latches as the controller's would; the policy's targets stay as recorded.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from palmar.embodiments import Embodiment
from palmar.errors import BadFile, BadValue, UnknownName
from palmar.runtime.bodies.find import told
from palmar.runtime.records.blackbox import Dump, Record
from palmar.runtime.safety.filter import Safety, guard_name
from palmar.runtime.safety.guards import EMERGENCIES, GUARDS, Guard, Move
from palmar.runtime.supervision.controller import YIELDING
from palmar.types import Array, Observation, Reason

CONTROLLER = "controller"


@dataclass(frozen=True)
class Rerun:
    """K ticks played again. time: float64[K] [s]. recorded, sent: float64[K, N] commands. reasons: of the guards now, a tuple a
    tick. stopped, stopped_now: index among the K ticks of the first verdict that asked to stop, recorded and now; None: none."""

    time: Array
    recorded: Array
    sent: Array
    reasons: tuple[tuple[Reason, ...], ...]
    stopped: int | None
    stopped_now: int | None

    @property
    def different(self) -> Array:
        """bool[K]: ticks whose command is not bit for bit the recorded one."""
        return (self.sent != self.recorded).any(axis=1)

    @property
    def largest(self) -> Array:
        """float64[N]: largest difference of what is sent now and what was recorded, in each channel's unit."""
        return np.abs(self.sent - self.recorded).max(axis=0)


class _Latched:
    """The controller as a guard, as it was recorded, or as it would have latched."""

    def __init__(self) -> None:
        self.halt, self.yields, self.note = False, False, ""

    def __call__(self, move: Move) -> Reason | None:
        if not self.halt:
            return None
        move.halt, move.yields = True, self.yields
        return Reason(CONTROLLER, over=None, note=self.note)


def rerun(dump: Dump, robot: Embodiment | None = None, guards: Sequence[Guard] | None = None) -> Rerun:
    """Play a dump. robot: other limits, zones and tolerances for the same channels. guards: instead of those recorded; the
    controller comes after them.

    Raises `BadFile` for a dump without the state of the guards, `UnknownName` for a guard that is not there any more, `BadValue`
    for a robot of other channels or measurements.
    """
    if dump.start is None:
        raise BadFile(
            "the dump has no state of the guards, so it cannot be played again. Next: record with BlackBox(folder, safety=safety)"
        )
    same = robot is None and guards is None
    used = robot or dump.robot
    for what, mine, theirs in (
        ("channels", used.channel_names, dump.robot.channel_names), ("measurements", used.state_names, dump.robot.state_names),
    ):  # fmt: skip
        if mine != theirs:
            raise BadValue(
                f"{used.name} has {what} {', '.join(mine)}; the dump is of {', '.join(theirs)}. Next: a robot file of that robot"
            )
    if used.control_rate != dump.robot.control_rate:
        raise BadValue(
            f"{used.name} takes {used.control_rate:g} commands a second; the dump has {dump.robot.control_rate:g}. Next: "
            f"control_rate = {dump.robot.control_rate:g}"
        )
    latched = _Latched()
    safety = Safety(used, _guards(dump, latched, guards), dump.stale_after)
    if robot is None and len(dump.tolerance):
        safety.tolerance = dump.tolerance
    safety.state = dump.start
    scale = used.measured(np.ones(len(used.state))) - used.measured(np.zeros(len(used.state)))
    position = {m.of: i for i, m in enumerate(used.state) if m.quantity == "position"}
    where = [(k, position[c]) for k, c in enumerate(used.channel_names) if c in position]
    sent, reasons, before = [], [], dump.start.command
    told_to: _Stop | None = None
    recorded_stop = now_stop = None
    for k, t in enumerate(dump.ticks):
        _latch(latched, t, told_to, same or recorded_stop is None)
        off = safety.command - before
        state = t.state
        if off.any():
            state = t.state.copy()
            for channel, i in where:
                state[i] += off[channel] / scale[channel]
        verdict = safety.check(t.target, Observation({}, state, "", t.observed), t.time)
        sent.append(verdict.command)
        reasons.append(verdict.reasons)
        before = t.command
        if t.stop and recorded_stop is None:
            recorded_stop = k
        if verdict.stop and now_stop is None:
            now_stop = k
            if not same:
                told_to = _Stop(t.time, verdict.fault)
    return Rerun(
        np.array([t.time for t in dump.ticks]), np.array([t.command for t in dump.ticks]), np.array(sent), tuple(reasons),
        recorded_stop, now_stop,
    )  # fmt: skip


@dataclass(frozen=True)
class _Stop:
    time: float
    fault: Reason


def _latch(latched: _Latched, t: Record, stop: _Stop | None, recorded: bool) -> None:
    """Set the controller for a tick: as the stop of other guards would latch it; else as recorded, where that does not follow
    from a stop of the recorded guards."""
    by_record = recorded and CONTROLLER in t.guards
    latched.halt = stop is not None or by_record
    if stop is not None:
        latched.yields = stop.fault.guard in EMERGENCIES and t.time - stop.time <= YIELDING
        latched.note = f"would be stopped: {stop.fault}"
    elif by_record:
        latched.yields = t.halted == "yield"
        words = next(w for g, w in zip(t.guards, t.words, strict=True) if g == CONTROLLER)
        latched.note = words.removeprefix(f"{CONTROLLER} ")


def _guards(dump: Dump, latched: _Latched, guards: Sequence[Guard] | None) -> list[Guard]:
    if guards is not None:
        return [*guards, latched]
    known = {guard_name(g): g for g in GUARDS} | {CONTROLLER: latched}
    for name in dump.guards:
        if name not in known:
            raise UnknownName("guard of the dump", name, sorted(known))
    return [known[name] for name in dump.guards]


def find_guards(where: str) -> tuple[Guard, ...]:
    """Guards by where they are: `module:NAME` or `FILE.py:NAME` of a sequence of functions `Move → Reason or None`, `GUARDS`
    where no name is given. The current folder is looked in first. Raises `BadValue`, `UnknownName`."""
    place, colon, name = where.rpartition(":")
    place, name = (place, name) if colon else (where, "GUARDS")
    try:
        if place.endswith(".py"):
            spec = importlib.util.spec_from_file_location(Path(place).stem, place)
            if spec is None or spec.loader is None or not Path(place).is_file():
                raise BadValue(f"there is no file '{place}'; expected one with guards. Next: check the path")
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
        else:
            if (here := str(Path.cwd())) not in sys.path:
                sys.path.insert(0, here)
            module = importlib.import_module(place)
    except BadValue:
        raise
    except Exception as error:
        raise BadValue(f"'{place}' cannot be imported: {told(error)}. Next: mend it, or check its name") from error
    found = getattr(module, name, None)
    if found is None:
        raise UnknownName(f"name in '{place}'", name, [n for n in vars(module) if not n.startswith("_")])
    if isinstance(found, str) or not isinstance(found, Sequence) or not all(callable(g) for g in found):
        raise BadValue(
            f"'{where}' is {type(found).__name__}; expected a list of functions Move → Reason or None, as "
            "palmar.runtime.safety.guards.GUARDS. Next: the name of such a list"
        )
    return tuple(found)


def summary(dump: Dump, done: Rerun, robot: Embodiment) -> dict[str, object]:
    """Figures for `--json` and a table: ticks, identical, first and number of ticks that differ, {guard: commands} recorded and
    now, largest difference of each channel, and when it was and would be stopped [s]."""
    at = np.flatnonzero(done.different)
    recorded = Counter(g for t in dump.ticks for g in t.guards)
    now = Counter(r.guard for tick in done.reasons for r in tick)

    def when(k: int | None) -> float | None:
        return None if k is None else float(done.time[k])

    return {
        "ticks": len(done.time), "seconds": len(done.time) / robot.control_rate, "robot": robot.name, "version": dump.version,
        "identical": not len(at), "different": len(at), "first": None if not len(at) else float(done.time[at[0]]),
        "guards": {g: {"recorded": recorded[g], "now": now[g]} for g in sorted(set(recorded) | set(now))},
        "channels": {
            c.name: {"unit": c.unit, "largest": float(x)} for c, x in zip(robot.channels, done.largest, strict=True)
        },
        "stopped": {"recorded": when(done.stopped), "now": when(done.stopped_now)},
    }  # fmt: skip
