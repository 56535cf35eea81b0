"""Safety: every limit binds, and whoever may stop the robot stops it. Nothing moves but a mock of the robot."""

from __future__ import annotations

import os
import socket
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from palmar.certify.hostile import attacker, excess
from palmar.certify.item import Case, Check, Found
from palmar.certify.moving import Sway, at_rest, driven
from palmar.embodiments import Embodiment
from palmar.errors import BadValue
from palmar.runtime.deploy import deploy
from palmar.runtime.loop import Subscriber, Tick
from palmar.runtime.mock import MockBody
from palmar.runtime.safety.filter import Safety, guard_name
from palmar.runtime.safety.guards import EMERGENCIES, GUARDS
from palmar.runtime.supervision.controller import Controller, Mode
from palmar.runtime.supervision.deadman import GRACE, Signs, Touched, wait_until_held
from palmar.runtime.supervision.estop import Latch
from palmar.runtime.supervision.watchdog import Host
from palmar.types import Array, Observation

SEED = 41
PERIOD = 0.2
"""Of the watchdog that is tried [s]."""
PATIENCE = 60.0
"""Longest time for a robot to come to rest, on a busy machine [s]."""


@dataclass(frozen=True)
class Attacked:
    """What came out of hostile targets. outside: how far the worst command was beyond each limit, 0 or less is inside. counts:
    commands that each guard changed. velocity, acceleration: {channel: largest share of its limit}."""

    commands: int
    changed: int
    outside: dict[str, float]
    counts: dict[str, int]
    velocity: dict[str, float]
    acceleration: dict[str, float]


def attacked(robot: Embodiment, count: int, seed: int = SEED) -> Attacked:
    """Random, adversarial and non-finite targets through the guards of this robot; the judge knows nothing of them."""
    safety, attack = Safety(robot), attacker(robot, np.random.default_rng(seed))
    command = robot.home
    safety.reset(command)
    commands, changed = np.empty((count, len(command))), 0
    for k in range(count):
        now = k / robot.control_rate
        verdict = safety.check(attack(command), _seen(robot, command, now), now)
        command = commands[k] = verdict.command
        changed += bool(verdict.reasons)
    speed = np.diff(np.vstack([robot.home, robot.home, commands]), axis=0) * robot.control_rate
    gain = np.diff(speed, axis=0) * robot.control_rate
    moves = robot.moves_joint
    names = [n for n, m in zip(robot.channel_names, moves, strict=True) if m]
    with np.errstate(invalid="ignore", divide="ignore"):
        v = np.abs(speed / robot.array("velocity"))[:, moves].max(0)
        a = np.abs(gain / robot.array("acceleration"))[:, moves].max(0)
    shares = [{n: round(float(x), 4) for n, x in zip(names, part, strict=True)} for part in (v, a)]
    return Attacked(count, changed, excess(robot, robot.home, commands, 50), dict(safety.counts), *shares)


def _seen(robot: Embodiment, command: Array, now: float, effort: Array | None = None) -> Observation:
    n = len(robot.channels)
    state = robot.state_from(command, np.zeros(n), np.zeros(n) if effort is None else effort)
    return Observation({}, np.nan_to_num(state).astype(np.float32), time=now)


def _attacked(case: Case) -> Attacked:
    case.say("hostile commands")
    found: Attacked = case.once("attacked", lambda: attacked(case.robot, case.config.attacks))
    return found


def position_limits(case: Case) -> Found:
    """Hostile targets, and each channel by itself sent beyond each of its ends."""
    found, robot = _attacked(case), case.robot
    sent, refused = [], []
    for i, c in enumerate(robot.channels):
        for end, sign in ((c.upper, 1.0), (c.lower, -1.0)):
            if not np.isfinite(end):
                continue
            safety, target = Safety(robot), robot.home.copy()
            target[i] = end + sign * max(float(robot.widths[i]), 1e-3)
            verdict = safety.check(target, _seen(robot, robot.home, 0.0), 0.0)
            sent.append(c.name)
            if any(r.guard == "position" and r.quantity == c.name for r in verdict.reasons):
                refused.append(c.name)
    worst = max(found.outside["position"], found.outside["braking"], found.outside["workspace"])
    met = worst <= 0 and len(refused) == len(sent) and bool(sent)
    evidence = _evidence(found, ("position", "braking", "workspace")) | {
        "ends tried by themselves": len(sent),
        "ends that bound": len(refused),
        "changed by the position guard": found.counts.get("position", 0),
    }
    return Found(
        met,
        f"{found.commands} hostile commands, none beyond a limit: {_yes(worst)}; {len(refused)} of {len(sent)} ends of "
        "channels bound when aimed beyond",
        evidence,
    )


def velocity_limits(case: Case) -> Found:
    found = _attacked(case)
    return _bound(found, "velocity", found.velocity)


def acceleration_limits(case: Case) -> Found:
    found = _attacked(case)
    return _bound(found, "acceleration", found.acceleration, ("acceleration", "jerk"))


def _bound(found: Attacked, what: str, shares: dict[str, float], keys: tuple[str, ...] = ("velocity",)) -> Found:
    worst, changed = max(found.outside[k] for k in keys), found.counts.get(what, 0)
    least = min(shares, key=lambda n: shares[n]) if shares else ""
    evidence = _evidence(found, keys) | {f"changed by the {what} guard": changed, "largest share of each limit": shares}
    said = f"{found.commands} hostile commands, none beyond a limit: {_yes(worst)}; the guard changed {changed}"
    if least:
        said += f"; every joint came to {100 * shares[least]:.0f} % of its limit or more ({least})"
    return Found(worst <= 0 and changed > 0, said, evidence)


def _evidence(found: Attacked, keys: tuple[str, ...]) -> dict[str, object]:
    return {
        "commands": found.commands,
        "changed": found.changed,
        "seed": SEED,
        "worst beyond the limit (0 or less is inside)": {k: float(f"{found.outside[k]:.3g}") for k in keys},
    }


def _yes(worst: float) -> str:
    return "yes" if worst <= 0 else f"no, {worst:.3g} beyond"


def estop(case: Case) -> Found:
    """A run on a mock in real time: the E-STOP is pressed from elsewhere; then nothing drives before it is released."""
    robot = case.robot.with_action_space("channels")
    latch, body = Latch(robot.name, case.scratch / "estop"), MockBody(robot)
    press = _Presses(latch, 25)
    report = deploy(body, Sway(robot), "certify", body.reset(), timeout=8.0, subscribers=(press,), latch=latch)
    commands = np.array(body.commands)
    stopped, rests = report.mode is Mode.ESTOP, at_rest(robot, commands)
    moved = bool(np.abs(commands[: press.at] - robot.home).max() > 0) if len(commands) else False
    after = (len(commands) - press.at) / robot.control_rate
    refused = ""
    try:
        deploy(MockBody(robot), Sway(robot), "certify", body.reset(), timeout=0.5, latch=latch)
    except BadValue as error:
        refused = str(error)
    latch.release()
    again = deploy(body := MockBody(robot), Sway(robot), "certify", body.reset(), timeout=0.5, latch=latch)
    met = stopped and rests and moved and bool(refused) and again.mode is Mode.RUN
    evidence = {
        "mode": report.mode.name,
        "reason": report.reason.partition(" (")[0],
        "braked to rest within the limits": rests,
        "at rest after the press [s]": round(after, 2),
        "refused while latched": bool(refused),
        "runs when released": again.mode is Mode.RUN,
        "body": "mock, real time",
    }
    return Found(
        met,
        f"pressed while it moved: {report.mode.name}, at rest {after:.2f} s later; latched until it is released",
        evidence,
    )


class _Presses(Subscriber):
    """Presses the E-STOP at a tick. at: that tick."""

    def __init__(self, latch: Latch, at: int) -> None:
        self.latch, self.at = latch, at

    def on_tick(self, tick: Tick) -> None:
        if tick.index == self.at:
            self.latch.press("certify")


def deadman(case: Case) -> Found:
    """A switch that is let go holds the robot; one never held lets nothing begin; a loop that falls silent is braked for."""
    robot = case.robot.with_action_space("channels")
    file = case.scratch / "deadman"
    file.touch()
    held = _Held(file, robot.control_rate, until=50)
    controller = Controller(deadman=Touched(file, Signs(now=held.now)))
    commands, _ = driven(robot, Sway(robot), controller, 3.0, (held,))
    let_go = [t for t, mode, why in controller.history if mode is Mode.HOLD and "deadman" in why]
    late = let_go[0] - held.last if let_go else float("inf")
    begins = True
    try:
        wait_until_held(Touched(file), 0.2)
    except BadValue:
        begins = False
    silent = _watchdog(robot, case.scratch)
    rests, in_time = at_rest(robot, commands), late <= GRACE + 0.1
    evidence = {
        "held for [s]": round(held.last, 2),
        "robot held after the release [s]": round(late, 2) if let_go else None,
        "braked to rest within the limits": rests,
        "begins without being held": begins,
        "body": "mock, simulated time",
        "watchdog": silent,
        "watchdog period [s]": PERIOD,
    }
    met = (
        in_time
        and rests
        and not begins
        and bool(silent["braked to rest within the limits"])
        and bool(silent["latched"])
    )
    said = f"let go: held {late:.2f} s later, at rest" if let_go else "let go: the robot was not held"
    latched = "braked, and latched by the watchdog" if silent["latched"] else "not stopped by the watchdog"
    return Found(met, f"{said}; a loop that falls silent: {latched}", evidence)


class _Held(Subscriber):
    """Holds a switch of a file until a tick, on the time of the ticks. last: when it was last held [s]."""

    def __init__(self, file: Path, rate: float, until: int) -> None:
        self.file, self.rate, self.until, self.ticks, self.last = file, rate, until, 0, 0.0

    def now(self) -> float:
        return self.ticks / self.rate

    def on_tick(self, tick: Tick) -> None:
        self.ticks = tick.index
        if tick.index < self.until:
            self.last = tick.time
            os.utime(self.file, ns=(tick.index + 1, tick.index + 1))


def _watchdog(robot: Embodiment, scratch: Path) -> dict[str, object]:
    """The watchdog's own part over a connection to a loop that sends commands, and then nothing more."""
    body, latch = MockBody(robot), Latch(robot.name, scratch / "watchdog")
    ours, theirs = socket.socketpair()
    host = Host(body, theirs, PERIOD, latch)
    guard = threading.Thread(target=host.watch, daemon=True)
    safety = Safety(robot)
    target = Sway(robot).far
    for k in range(15):
        now = k / robot.control_rate
        host._apply(safety.check(target, _seen(robot, safety.command, now), now).command)
    guard.start()
    end = time.monotonic() + PATIENCE
    while not (host.stopped and not host._moving and latch.latched) and time.monotonic() < end:
        time.sleep(0.01)
    host.ended.set()
    guard.join()
    ours.close()
    theirs.close()
    return {
        "why": host.stopped,
        "latched": latch.latched,
        "braked to rest within the limits": at_rest(robot, np.array(body.commands)) and not host._moving,
    }


def collision(case: Case) -> Found:
    safety, found = Safety(case.robot), _attacked(case)
    off = [why for why in safety.off if why.startswith("collision")]
    pairs = [] if safety._clear is None else safety._clear.pairs
    guards = {guard_name(g) for g in GUARDS} | {"collision"}
    zones = {n: k for n, k in found.counts.items() if n not in guards}
    evidence = {
        "pairs of shapes watched": len(pairs),
        "margin [m]": case.robot.collision.margin,
        "commands changed": found.counts.get("collision", 0),
        "commands changed by zones": zones,
        "not guarded": list(safety.off),
        "hostile commands": found.commands,
    }
    if off or not pairs:
        return Found(False, f"not active: {'; '.join(off) or 'no pair of shapes is watched'}", evidence)
    changed = found.counts.get("collision", 0) + sum(zones.values())
    return Found(
        changed > 0,
        f"{len(pairs)} pairs of shapes are watched; of {found.commands} hostile commands {changed} were changed to "
        "keep clear of shapes and zones",
        evidence,
    )


def force(case: Case) -> Found:
    """Too much effort, or force, on each channel and sensor by itself must be an E-STOP."""
    robot, safety = case.robot, Safety(case.robot)
    n, names = len(robot.channels), list(robot.state_names)
    tried, stopped = [], []
    limits = robot.array("effort")
    feels = (
        np.isfinite(robot.measured(robot.state_from(robot.home, np.zeros(n), np.ones(n)), "effort"))
        if robot.measures("effort")
        else np.zeros(n, bool)
    )
    for i, c in enumerate(robot.channels):
        if feels[i] and np.isfinite(limits[i]):
            effort = np.zeros(n)
            effort[i] = 1.05 * robot.thresholds.effort * limits[i]
            tried.append(c.name)
            if _stops(robot, _seen(robot, robot.home, 0.0, effort)):
                stopped.append(c.name)
    for name, most in robot.thresholds.forces.items():
        seen = _seen(robot, robot.home, 0.0)
        seen.state[names.index(name)] = 1.05 * most
        tried.append(name)
        if _stops(robot, seen):
            stopped.append(name)
    blocked = [
        c.name
        for i, c in enumerate(robot.channels)
        if np.isfinite(safety.tolerance[i])
        and _stops(robot, _seen(robot, _moved(robot, i, 1.5 * safety.tolerance[i]), 0.0))
    ]
    evidence = {
        "channels and sensors with a bound": tried,
        "of them an E-STOP": stopped,
        "channels whose blocking is an E-STOP (tracking)": blocked,
        "tolerance": {
            c.name: float(t) for c, t in zip(robot.channels, safety.tolerance, strict=True) if np.isfinite(t)
        },
    }
    if not tried:
        return Found(
            False,
            "not active: the robot measures no effort and no force; a blocked channel is told by its position alone "
            f"({', '.join(blocked) or 'none'})",
            evidence,
        )
    return Found(
        len(stopped) == len(tried),
        f"{len(stopped)} of {len(tried)} channels and sensors over their bound were an E-STOP",
        evidence,
    )


def _moved(robot: Embodiment, i: int, by: float) -> Array:
    command = robot.home.copy()
    command[i] += by
    return command


def _stops(robot: Embodiment, seen: Observation) -> bool:
    verdict = Safety(robot).check(robot.home, seen, 0.0)
    return verdict.stop and verdict.fault.guard in EMERGENCIES


CHECKS = (
    Check(
        "position-limits",
        "No command is beyond a joint's limits, and each of them binds",
        "limits in the robot file (palmar robot show)",
        position_limits,
    ),
    Check(
        "velocity-limits",
        "No command is faster than a joint may be, and the limit binds",
        "limits in the robot file",
        velocity_limits,
    ),
    Check(
        "acceleration-limits",
        "No command changes a joint's speed faster than it may, and the limit binds",
        "limits in the robot file",
        acceleration_limits,
    ),
    Check(
        "estop",
        "The E-STOP brakes a robot that moves, and stays latched until it is released",
        "palmar check-body on the robot itself",
        estop,
    ),
    Check(
        "deadman",
        "A deadman switch that is let go, and a control loop that falls silent, hold the robot",
        "palmar check-body on the robot itself",
        deadman,
    ),
    Check(
        "collision",
        "The robot's shapes, and what stands around it, are kept apart",
        "collision shapes in the robot file (palmar robot make), and pip install 'palmar[sim]'",
        collision,
    ),
    Check(
        "force",
        "Too much effort or force is an E-STOP",
        "effort of the joints, or a force sensor, in the state of the robot file "
        '(quantity = "effort", or thresholds.forces)',
        force,
    ),
)
