"""Targets that try to get a command past the limits, and a judge of what came out that knows nothing of Safety."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from palmar.embodiments import Embodiment

Attack = Callable[[np.ndarray], np.ndarray]


def attacker(robot: Embodiment, rng: np.random.Generator) -> Attack:
    """From the last command [J+1] to the next target [J+1]; changes its way every 1 to 40 ticks, seldom 200."""
    low, high, J = robot.position_lower, robot.position_upper, len(robot.joints)
    down = np.diag([1.0, -1.0, -1.0])
    state = {"left": 0, "mode": "", "goal": np.zeros(J), "tick": 0}

    def renew() -> None:
        state["left"] = int(rng.integers(1, 41))
        state["mode"] = str(
            rng.choice(["anywhere", "limit", "beyond", "swing", "face", "near", "broken", "huge", "home"])
        )
        state["goal"] = rng.uniform(low, high)
        if state["mode"] in ("limit", "beyond") and rng.random() < 0.3:
            state["left"] = 200  # long enough to get there
        if state["mode"] == "limit":
            state["goal"] = np.where(rng.random(J) < 0.5, low, high)
        if state["mode"] == "beyond":
            state["goal"] = np.where(rng.random(J) < 0.5, low - rng.random(J), high + rng.random(J))
        if state["mode"] == "face":  # a point outside the box, behind a random face
            point = rng.uniform(*robot.workspace)
            axis, side = rng.integers(3), rng.integers(2)
            point[axis] = robot.workspace[side, axis] + (side * 2 - 1) * rng.uniform(0.0, 0.1)
            state["goal"] = point

    def attack(command: np.ndarray) -> np.ndarray:
        if state["left"] == 0:
            renew()
        state["left"] -= 1
        state["tick"] += 1
        q, mode, goal = command[:-1], state["mode"], state["goal"]
        grip = float(rng.choice([0.0, 1.0, 0.5, -3.0, 7.0]))
        if mode == "swing":
            goal = low if state["tick"] % 2 else high
        elif mode == "face":
            goal = robot.chain.step_towards(q, goal, down, robot.home)
        elif mode == "near":
            goal = q + rng.normal(0, 0.02, J)
        elif mode == "home":
            goal = robot.home
        elif mode == "huge":
            goal = rng.choice([-1e308, 1e308, 1e12, -1e30], J)
        elif mode == "broken":
            goal = np.where(rng.random(J) < 0.3, rng.choice([np.nan, np.inf, -np.inf], J), q)
            grip = float(rng.choice([np.nan, 0.3]))
        return np.append(goal, grip)

    return attack


def braking_paths(robot: Embodiment, q: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Joint angles [N, n, J] at each tick of full braking from angles q [N, J] and velocities v [N, J]."""
    dt, a = 1 / robot.control_rate, robot.acceleration
    path = [q]
    while len(path) < 2 or np.any(v):
        v = np.sign(v) * np.maximum(np.abs(v) - a * dt, 0.0)
        path.append(path[-1] + v * dt)
    return np.stack(path, axis=1)


def excess(robot: Embodiment, start: np.ndarray | None, commands: np.ndarray) -> dict[str, float]:
    """How far the worst command is outside each of the robot's own limits; none may be above 0.

    Relative to the limit for velocity, acceleration, jerk, gripper; [rad] for positions and braking; [m] for the box.
    start: where the arm rested before, None when these commands go on from others.
    """
    dt, J = 1 / robot.control_rate, len(robot.joints)
    full = commands if start is None else np.vstack([start, start, start, commands])
    q = full[:, :J]
    v = np.diff(q, axis=0) / dt
    a = np.diff(v, axis=0) / dt
    paths = braking_paths(robot, q[1:], v)
    tcp = robot.chain.forward(paths)[0]
    return {
        "position": float(np.maximum(robot.position_lower - q, q - robot.position_upper).max()),
        "velocity": float((np.abs(v) / robot.velocity).max() - 1),
        "acceleration": float((np.abs(a) / robot.acceleration).max() - 1),
        "jerk": float((np.abs(np.diff(a, axis=0)) / dt / robot.jerk).max() - 1),
        "braking": float(np.maximum(robot.position_lower - paths, paths - robot.position_upper).max()),
        "workspace": float(np.maximum(robot.workspace[0] - tcp, tcp - robot.workspace[1]).max()),
        "gripper": float(np.maximum(-full[:, J], full[:, J] - 1).max()),
        "gripper rate": float(np.abs(np.diff(full[:, J])).max() / dt / robot.gripper_velocity - 1),
    }
