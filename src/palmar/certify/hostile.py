"""Targets that try to get a command past the limits of any robot, and a judge of what came out that knows nothing of Safety."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from palmar.embodiments import Embodiment
from palmar.errors import BadValue
from palmar.types import Array

Attack = Callable[[Array], Array]
MOST = 5000
"""Of the ticks of a braking path."""
MODES = ("anywhere", "limit", "beyond", "swing", "face", "near", "broken", "huge", "home")


def spans(robot: Embodiment) -> tuple[Array, Array]:
    """Lowest and highest values to aim at: ±3 turns for a joint without limits."""
    return np.maximum(robot.lower, -20.0 if np.isinf(robot.lower).any() else -np.inf), np.minimum(
        robot.upper, 20.0 if np.isinf(robot.upper).any() else np.inf
    )


def attacker(robot: Embodiment, rng: np.random.Generator) -> Attack:
    """From the last command [N] to the next target [N]; changes its way every 1 to 40 ticks, seldom 200."""
    low, high = spans(robot)
    wide, n = high - low, len(robot.channels)
    fixed = ~robot.moves_joint
    boxed = [f for f in robot.frames if f.workspace is not None]
    state: dict[str, Any] = {"left": 0, "mode": "", "goal": np.zeros(n), "tick": 0, "frame": None}

    def renew() -> None:
        state["left"] = int(rng.integers(1, 41))
        state["mode"] = str(rng.choice([m for m in MODES if m != "face" or boxed]))
        state["goal"] = rng.uniform(low, high)
        if state["mode"] in ("limit", "beyond") and rng.random() < 0.3:
            state["left"] = 200  # long enough to get there
        if state["mode"] == "limit":
            state["goal"] = np.where(rng.random(n) < 0.5, low, high)
        if state["mode"] == "beyond":
            state["goal"] = np.where(rng.random(n) < 0.5, low - wide * rng.random(n), high + wide * rng.random(n))
        if state["mode"] == "face":  # a point outside the box, behind a random face
            frame = boxed[rng.integers(len(boxed))]
            box = np.asarray(frame.workspace)
            point: Array = rng.uniform(box[0], box[1])
            axis, side = rng.integers(3), rng.integers(2)
            point[axis] = box[side, axis] + (side * 2 - 1) * rng.uniform(0.0, 0.1)
            state["goal"], state["frame"] = point, frame

    def attack(command: Array) -> Array:
        if state["left"] == 0:
            renew()
        state["left"] -= 1
        state["tick"] += 1
        mode: str = state["mode"]
        goal: Array = state["goal"]
        if mode == "swing":
            goal = low if state["tick"] % 2 else high
        elif mode == "face":
            frame, goal = state["frame"], command.copy()
            q, home = robot.positions(frame, command), robot.positions(frame, robot.home)
            down = np.diag([1.0, -1.0, -1.0]) if frame.rotates else None
            goal[robot.path(frame)] = robot.commands(frame, frame.chain.step_towards(q, state["goal"], down, home))
        elif mode == "near":
            goal = command + rng.normal(0, 0.005, n) * wide
        elif mode == "home":
            goal = robot.home.copy()
        elif mode == "huge":
            goal = rng.choice([-1e308, 1e308, 1e12, -1e30], n)
        elif mode == "broken":
            goal = np.where(rng.random(n) < 0.3, rng.choice([np.nan, np.inf, -np.inf], n), command)
        goal = goal.copy()
        if mode != "broken":
            goal[fixed] = rng.choice([-3.0, 0.0, 0.3, 0.5, 1.0, 7.0], int(fixed.sum())) * wide[fixed]
        return goal

    return attack


def braking_paths(robot: Embodiment, q: Array, v: Array, a: Array) -> Array:
    """Values [M, n, N] of the joint channels at each tick of full braking from q, rates v and their changes a [M, N]; other
    channels stay. Tick by tick: brake as hard as can be taken back, within acceleration and jerk, by the time v is 0."""
    dt = 1 / robot.control_rate
    most = np.minimum(robot.array("acceleration"), 2 * robot.array("velocity") / dt)
    step = np.minimum(robot.array("jerk"), 2 * most / dt) * dt
    moves = robot.moves_joint
    v, a = np.where(moves, v, 0.0), np.where(moves, a, 0.0)
    path = [q]
    while len(path) < 2 or np.any(np.abs(v) > 1e-9) or np.any(np.abs(a) > 1e-9):
        x = np.abs(v) / (step * dt)  # the largest a with a + (a-1) + (a-2) + … = v, in units of a tick
        n = np.maximum(np.ceil((np.sqrt(1 + 8 * x) - 1) / 2), 1)
        wanted = -np.sign(v) * np.minimum((x / n + (n - 1) / 2) * step, most)
        a = np.where(moves, np.clip(wanted, a - step, a + step), 0.0)
        v = v + a * dt
        path.append(path[-1] + v * dt)
        if len(path) >= MOST:
            raise BadValue(
                f"braking does not end within {MOST} ticks. Next: look at the acceleration and jerk of the robot file"
            )
    return np.stack(path, axis=1)


def excess(robot: Embodiment, start: Array | None, commands: Array, every: int = 1) -> dict[str, float]:
    """How far the worst command is outside each of the robot's own limits; none may be above 0.

    Relative to the limit for velocity, acceleration and jerk, to the range for positions and braking; [m] for the boxes.
    start: where the robot rested before, None when these commands go on from others. every: of so many commands one is braked
    from, and its whole path judged; the commands themselves are judged all.
    """
    dt = 1 / robot.control_rate
    q = commands if start is None else np.vstack([start, start, start, commands])
    wide = np.where(np.isfinite(robot.upper - robot.lower), robot.upper - robot.lower, 1.0)
    speeds = np.array([c.kind == "velocity" for c in robot.channels])
    v = np.diff(q, axis=0) / dt
    a = np.diff(v, axis=0) / dt
    j = np.diff(a, axis=0) / dt
    limits = {
        "velocity": np.where(speeds, np.inf, robot.array("velocity")),
        "acceleration": robot.array("acceleration"),
        "jerk": robot.array("jerk"),
    }
    first = np.where(speeds, limits["acceleration"], limits["velocity"])
    second = np.where(speeds, limits["jerk"], limits["acceleration"])
    third = np.where(speeds, np.inf, limits["jerk"])
    paths = braking_paths(robot, q[2::every], v[1::every], a[::every])
    out = {
        "position": float((np.maximum(robot.lower - q, q - robot.upper) / wide).max()),
        "velocity": float((np.abs(v) / first).max() - 1),
        "acceleration": float((np.abs(a) / second).max() - 1),
        "jerk": float((np.abs(j) / third).max() - 1) if len(j) else -1.0,
        "braking": float((np.maximum(robot.lower - paths, paths - robot.upper) / wide).max()),
        "workspace": -1.0,
    }
    for frame in robot.frames:
        if frame.workspace is not None:
            low, high = frame.workspace
            for values in (q, paths):
                tcp = robot.pose(frame, values)[0]
                out["workspace"] = max(out["workspace"], float(np.maximum(low - tcp, tcp - high).max()))
    return out
