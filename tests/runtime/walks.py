"""Random motions of any robot under its guards: reaching in all directions, and being pushed against what holds it back."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from palmar.certify.hostile import braking_paths
from palmar.embodiments import LITTLE, Embodiment
from palmar.runtime.safety.filter import Safety
from palmar.types import Observation

LEAVES = 0.5  # [s] within which a robot that is asked back must move
STALLED = 1.0  # [s] after which the controller says that it is asked to move and does not (its default)


@dataclass
class Reaching:
    """nearest: smallest distance of two shapes that may not touch, of all commands and of braking paths from some of them [m].
    bound: commands that the collision check changed. commands: how many there were."""

    nearest: float = np.inf
    bound: int = 0
    commands: int = 0


def unposed(robot: Embodiment) -> Embodiment:
    """Without the poses of its state, which no guard reads and which take longer to compute than a verdict."""
    return replace(robot, state=tuple(m for m in robot.state if m.quantity != "pose"))


def perfect(robot: Embodiment, command: np.ndarray, now: float) -> Observation:
    return Observation({}, robot.state_from(command, np.zeros(len(command))).astype(np.float32), time=now)


def reach(
    robot: Embodiment, rng: np.random.Generator, motions: int, seconds: float = 1.0, guarded: bool = True
) -> Reaching:
    """Motions towards random commands, one after another, without zones: only shapes keep the robot from itself."""
    robot = unposed(robot)
    safety, found = Safety(robot, zones=lambda *_: ()), Reaching()
    clear, command, rate = safety._clear, robot.home, robot.control_rate
    assert clear is not None
    if not guarded:
        safety._clear = None
    safety.reset(command)
    for _ in range(motions):
        goal = rng.uniform(robot.lower, robot.upper)
        watched = rng.integers(round(seconds * rate))
        for k in range(round(seconds * rate)):
            verdict = safety.check(goal, perfect(robot, command, found.commands / rate), found.commands / rate)
            command = verdict.command
            found.commands += 1
            found.bound += any(r.guard == "collision" for r in verdict.reasons)
            if k % 3 == 0:
                found.nearest = min(found.nearest, float(clear.distances(command).min()))
            if k == watched:
                state = safety.state
                path = braking_paths(robot, state.command[None], state.rate[None], state.change[None])[0]
                found.nearest = min(
                    found.nearest, *(float(clear.distances(q).min()) for q in path[:: max(len(path) // 8, 1)])
                )
    return found


def pushed(robot: Embodiment, rng: np.random.Generator) -> str:
    """One walk: the robot is pushed in a random direction of its joints, or of one of its frames, against whatever limit, face,
    or shape comes first, then asked back to where it began.

    Returns "left" (it moves within half a second), "alarm" (it does not, and the guards refuse all of it until the controller
    holds), "late" (it moves after that, without an alarm), "there" (it was never pushed anywhere).
    """
    robot = unposed(robot)
    safety, rate, n = Safety(robot), robot.control_rate, len(robot.channels)
    little = 5 * LITTLE * robot.widths
    command = start = robot.home.copy()
    safety.reset(start)
    frames = [f for f in robot.frames if f.workspace is not None]
    frame = frames[rng.integers(len(frames))] if frames and rng.random() < 0.6 else None
    way = rng.normal(size=n) * (rng.random(n) < 0.5)
    outwards = rng.normal(size=3)
    outwards /= np.linalg.norm(outwards)
    ticks, now, quiet = int(rng.uniform(0.6, 2.0) * rate), 0.0, 0
    for _ in range(ticks):
        target = command + 0.2 * way * robot.widths
        if frame is not None:
            q = robot.positions(frame, command)
            point = frame.chain.forward(q)[0] + 0.03 * outwards
            target = command.copy()
            target[robot.path(frame)] = robot.commands(frame, frame.chain.step_towards(q, point, None, q))
        command = safety.check(target, perfect(robot, command, now), now).command
        now += 1.0 / rate
    for _ in range(int(rate)):  # let it come to rest there
        command = safety.brake().command
        now += 1.0 / rate
    if np.all(np.abs(command - start) <= little):
        return "there"
    held = command
    for k in range(int((LEAVES + STALLED + 0.2) * rate)):
        verdict = safety.check(start, perfect(robot, command, now), now)
        moving = not np.array_equal(verdict.command, command)
        command = verdict.command
        now += 1.0 / rate
        if (np.abs(command - held) > little).any():
            return "left" if k / rate <= LEAVES else "late"
        if verdict.stop:
            return "alarm"
        quiet = 0 if moving or not verdict.reasons else quiet + 1
        if quiet / rate > STALLED:
            return "alarm"
    return "late"
