"""Does a body do what its robot's description says? Looked at standing still, then by small slow motions of each channel.

What it cannot tell: a body that measures and is commanded in the same wrong unit, such as degrees for both where the
robot says radians. So look at the robot while it moves: what it should do is in `Check.found`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from palmar.checks import Check
from palmar.errors import BadValue
from palmar.runtime.bodies.check_motion import NEAR, STILL, judged, shown_by_motion
from palmar.runtime.bodies.find import told
from palmar.runtime.bodies.outside import outside
from palmar.runtime.bodies.probe import Motion, Probe
from palmar.runtime.clock import Clock, WallClock
from palmar.runtime.loop import Body
from palmar.runtime.mock import MockBody
from palmar.runtime.safety.filter import Safety
from palmar.types import Observation

SHARES = (0.002, 0.2)  # of a channel's range


class _Ends(Exception):
    """The checks cannot go on."""

    def __init__(self, check: Check) -> None:
        self.check = check


def check_body(
    body: Body, share: float = 0.03, clock: Clock | None = None, watch: Callable[[Check], None] | None = None
) -> list[Check]:
    """Prove a body against `body.embodiment`; it is closed at the end. The robot moves: each channel by a small part of its
    range, out and back, from wherever `reset` leaves it, within the limits of the safety layer.

    share: of a channel's range [0.002 … 0.2]; openings and speeds five times that. clock: the wall's by default. watch: is
    told every check as it is made. Returns the checks, in order; those that could not be made are missing, and one that is
    not ok says why. Raises `BadValue` for another share.
    """
    if not SHARES[0] <= share <= SHARES[1]:
        raise BadValue(f"share is {share}; expected {SHARES[0]} … {SHARES[1]} of a channel's range. Next: --share 0.03")
    checks: list[Check] = []

    def add(found: Iterator[Check]) -> bool:
        ok = True
        for check in found:
            checks.append(check)
            ok = ok and check.ok
            if watch is not None:
                watch(check)
        return ok

    probe = Probe(body, clock or WallClock(), share)
    try:
        obs = _called("reset", lambda: body.reset(0))
        if add(_looks(body, obs)) and add(_starts(probe, obs)) and add(_stands(probe)):
            motions: list[Motion] = []
            add(_moves(probe, motions))
            add(_stops(probe))
            add(shown_by_motion(probe, motions))
            add(_commands(probe))
            add(_looks(body, _called("reset", lambda: body.reset(1)), "reset again: "))
        else:
            add(iter([Check("motion", False, "not tried: what is observed is wrong", "mend that first")]))
    except _Ends as end:
        add(iter([end.check]))
    finally:
        add(_brakes(probe))
        add(_closes(body))
    return checks


def _called(what: str, call: Callable[[], Any]) -> Any:
    try:
        return call()
    except Exception as error:
        raise _Ends(Check(what, False, f"raised {told(error)}", f"mend {what} of the body")) from error


def _looks(body: Body, obs: Observation, when: str = "") -> Iterator[Check]:
    """Is this an observation of this robot?"""
    robot = body.embodiment
    if not isinstance(obs, Observation):
        yield Check(
            f"{when}observation", False, f"reset answers {type(obs).__name__}", "return a palmar.types.Observation"
        )
        return
    names, width = robot.state_names, len(obs.state)
    yield Check(
        f"{when}state", width == len(names), f"{width} numbers for {len(names)} names",
        f"answer these, in this order: {', '.join(names)}",
    )  # fmt: skip
    wanted = {c.name: (c.height, c.width) for c in robot.cameras}
    given = {n: image.shape[:2] for n, image in obs.images.items()}
    wrong = [f"no '{n}'" for n in wanted if n not in given]
    wrong += [f"'{n}' gives {_px(given[n])}" for n in wanted if n in given and tuple(given[n]) != wanted[n]]
    sizes = ", ".join(f"{n} {_px(s)}" for n, s in wanted.items()) or "none"
    yield Check(
        f"{when}cameras", not wrong, "; ".join(wrong) or sizes, f"the robot has {sizes}: answer these, or mend the file"
    )
    bad = [n for n, x in zip(names, obs.state, strict=False) if not np.isfinite(x)]
    yield Check(
        f"{when}numbers", not bad and bool(np.isfinite(obs.time)),
        f"not finite: {', '.join(bad) or 'the time'}" if bad or not np.isfinite(obs.time) else "all finite",
        "answer the last good value, or raise",
    )  # fmt: skip


def _starts(probe: Probe, obs: Observation) -> Iterator[Check]:
    robot, measured = probe.robot, probe.robot.measured(obs.state)
    try:
        probe.start(obs)
    except BadValue as error:
        hint = "move the robot inside its limits by hand, or state the right ones in the robot file"
        scaled = np.where([c.unit == "rad" for c in robot.channels], np.deg2rad(measured), measured)
        if bool(((scaled >= robot.lower) & (scaled <= robot.upper))[np.isfinite(measured)].all()):
            hint = "these look like degrees where the robot has rad: convert"
        yield Check("start", False, str(error).partition(". Next:")[0], hint)
        return
    unmeasured = [c.name for c, m in zip(robot.channels, measured, strict=True) if np.isnan(m)]
    said = f"within the limits; not measured: {', '.join(unmeasured)}" if unmeasured else "within the limits"
    yield Check("start", True, said)


def _stands(probe: Probe) -> Iterator[Check]:
    """While the first command is held: does the clock go on, and the robot not?"""
    first: list[np.ndarray] = [probe.rest]

    def runs_away(row: object) -> bool:
        first.append(probe.rows[-1].measured)
        moved = np.abs(probe.robot.difference(first[-1], first[0])) / probe.steps
        return bool((moved[~np.isnan(moved)] > 2).any())

    _called("observe and apply", lambda: probe.hold(max(0.6, 30 * probe.tick_time), watch=runs_away))
    probe.still = len(probe.rows)
    times = np.array([r.time for r in probe.rows])
    passed, ticks = times[-1] - times[0], len(times) - 1
    real = probe.rows[-1].began - probe.rows[0].began
    back = int((np.diff(times) <= 0).sum())
    if back:
        found = f"stands or goes back at {back} of {ticks} observations"
        yield Check(
            "clock", False, found, "stamp each observation with its capture time, seconds of one clock that goes on"
        )
    else:
        ratio = min((passed / x for x in (real, ticks * probe.tick_time) if x > 0), key=lambda r: abs(np.log(r)))
        found = f"{passed:.3g} s of observations in {real:.3g} s"
        yield Check(
            "clock",
            0.5 <= ratio <= 2,
            found,
            "stamp observations in seconds" + (" (milliseconds?)" if ratio > 2 else ""),
        )
    moved = np.abs(probe.robot.difference(first[-1], first[0]))
    noise = np.array(first[1:]).std(axis=0)
    bad = [i for i in np.flatnonzero(~np.isnan(moved)) if moved[i] > STILL * probe.steps[i]]
    loud = [i for i in np.flatnonzero(~np.isnan(noise)) if noise[i] > 0.15 * probe.steps[i]]
    found = "; ".join(f"{_name(probe, i)} went {moved[i]:.3g} {_unit(probe, i)}" for i in bad)
    yield Check(
        "hold still", not bad, found or "stays where it is commanded to be",
        "the command of a resting robot is where it is measured: do units, zero and order of commands and state agree?",
    )  # fmt: skip
    found = "; ".join(f"{_name(probe, i)} ±{noise[i]:.3g} {_unit(probe, i)}" for i in loud if i not in bad)
    yield Check(
        "noise", not found, found or "well below the motions that follow", "a steadier sensor, or a larger --share"
    )


def _moves(probe: Probe, motions: list[Motion]) -> Iterator[Check]:
    """Each channel out and back: does it go the commanded way, and do the others stay?"""
    for i, c in enumerate(probe.robot.channels):
        here, step = probe.safety.command[i], probe.steps[i]
        signs = [1.0, -1.0] if here + step <= c.upper - 1e-6 else [-1.0, 1.0]
        for sign in signs:
            if not c.lower <= here + sign * step <= c.upper:
                continue
            motion = _called("observe and apply", lambda i=i, sign=sign: probe.move(i, sign))  # type: ignore[misc]
            if motion.early or abs(motion.commanded[i]) >= NEAR * step:
                break
        else:
            yield Check(c.name, False, f"the guards do not let it move {step:.3g} {c.unit}", "start from a freer place")
            continue
        motions.append(motion)
        yield judged(probe.robot, motion, probe.steps)


def _stops(probe: Probe) -> Iterator[Check]:
    """No more commands: does it stay?"""
    before = probe.hold(0.1)
    after = _called("observe", lambda: probe.hold(0.6, commanding=False))
    moved = np.abs(probe.robot.difference(after, before))
    for i, c in enumerate(probe.robot.channels):
        if c.kind == "velocity":
            moved[i] = abs(after[i])
    bad = [i for i in np.flatnonzero(~np.isnan(moved)) if moved[i] > STILL * probe.steps[i]]
    found = "; ".join(f"{_name(probe, i)} {moved[i]:.3g} {_unit(probe, i)}" for i in bad)
    yield Check(
        "stop", not bad, f"without commands it moves: {found}" if bad else "stays when commands cease",
        "hold the last position, and speed 0, when no command comes",
    )  # fmt: skip
    probe.begin()


def _commands(probe: Probe) -> Iterator[Check]:
    """Were the commands sent within limits, and would they be, whatever a policy asks?"""
    broken = {k: n for k, n in probe.outside().items() if n}
    sent = len(probe.rows)
    yield Check(
        "commands sent",
        not broken,
        f"{sent} commands, outside limits: {broken or 0}",
        "please report this: palmar is at fault",
    )
    robot, rng = probe.robot, np.random.default_rng(0)
    safety, mock, made = Safety(robot), MockBody(robot), []
    start = safety.command
    for k in range(200):
        width = robot.widths
        target = robot.home + 10 * width * np.sign(rng.normal(size=len(width))) * (1 + k // 50)
        mock.apply(safety.check(target, mock.observe(images=False), k * probe.tick_time).command)
        made.append(safety.command)
    broken = {k: n for k, n in outside(robot, start, np.array(made)).items() if n}
    yield Check(
        "commands asked for", not broken, f"200 far outside the range would be sent as {broken or '0 outside limits'}",
        "please report this: palmar is at fault",
    )  # fmt: skip


def _brakes(probe: Probe) -> Iterator[Check]:
    """Rest, also after a fault or Ctrl-C; says something only where that fails."""
    try:
        probe.brake()
    except Exception as error:
        yield Check(
            "brake", False, f"apply raised {told(error)}", "a body that can be commanded after a fault, or stops itself"
        )


def _closes(body: Body) -> Iterator[Check]:
    try:
        body.close()
    except Exception as error:
        yield Check("close", False, f"raised {told(error)}", "close must always work: it is called after a fault too")
        return
    yield Check("close", True, "done")


def _name(probe: Probe, i: Any) -> str:
    return probe.robot.channels[i].name


def _unit(probe: Probe, i: Any) -> str:
    return probe.robot.channels[i].unit


def _px(size: tuple[int, ...]) -> str:
    return "×".join(map(str, size))
