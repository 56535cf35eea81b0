"""Does any of ten million hostile commands get past the limits of any robot, at any control rate?

    OMP_NUM_THREADS=1 python benchmarks/hostile.py --commands 10000000 --processes 2

Random, adversarial and non-finite targets (`palmar.certify.hostile`), spread evenly over every robot and rate; the judge knows
nothing of the safety layer. Every command is held to the robot's position, velocity, acceleration, jerk and workspace, and of
every `--every` commands one to the whole braking path after it. Exits with 1 when one is outside.
"""

from __future__ import annotations

import argparse
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from palmar.certify.hostile import attacker, excess
from palmar.robots import robot as robot_named
from palmar.robots import robots
from palmar.runtime.safety.filter import Safety
from palmar.types import Observation

RATES = (50.0, 200.0, 1000.0)
PIECE = 2000
"""Commands judged together."""
SHARE = 20_000
"""Most commands of one piece of work."""


def attacked(name: str, rate: float, count: int, seed: int, every: int) -> tuple[dict[str, float], int, float]:
    """The worst command outside each limit, how many were changed by guards, and the median time of a verdict [µs]."""
    robot = robot_named(name)
    robot = replace(robot, control_rate=rate, policy_rate=rate / max(round(rate / robot.policy_rate), 1))
    safety, attack = Safety(robot), attacker(robot, np.random.default_rng(seed))
    start = command = robot.home
    commands, took, changed = np.empty((count, len(start))), np.empty(count), 0
    safety.reset(start)
    for k in range(count):
        state = robot.state_from(command, np.zeros(len(command))).astype(np.float32)
        target, obs, began = attack(command), Observation({}, state, time=k / rate), time.perf_counter()
        verdict = safety.check(target, obs, k / rate)
        took[k] = time.perf_counter() - began
        command = commands[k] = verdict.command
        changed += bool(verdict.reasons)
    parts = [excess(robot, start, commands[:PIECE], every)]
    for i in range(
        PIECE, count, PIECE
    ):  # overlapping by the commands that velocity, acceleration and jerk look back on
        parts.append(excess(robot, None, commands[i - 4 : i + PIECE], every))
    return {name: max(p[name] for p in parts) for name in parts[0]}, changed, float(np.median(took)) * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--commands", type=int, default=10_000_000, help="in all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--every", type=int, default=50, help="of so many commands one is braked from")
    parser.add_argument("--robots", nargs="+", default=robots())
    parser.add_argument("--processes", type=int, default=2)
    args = parser.parse_args()
    each = -(-args.commands // (len(args.robots) * len(RATES)))
    jobs = [
        (name, rate, min(SHARE, each - done), args.seed + i, args.every)
        for name in args.robots for rate in RATES for i, done in enumerate(range(0, each, SHARE))
    ]  # fmt: skip
    console = Console(width=120)
    with ProcessPoolExecutor(args.processes, mp_context=get_context("spawn")) as pool:
        found = list(track(pool.map(attacked, *zip(*jobs, strict=True)), total=len(jobs), console=console))
    names = list(found[0][0])
    table = Table(
        "robot", "Hz", "commands", "changed", *names, "verdict p50 µs", title="Worst command beyond each limit"
    )
    outside = False
    for name in args.robots:
        for rate in RATES:
            of = [(job, f) for job, f in zip(jobs, found, strict=True) if job[:2] == (name, rate)]
            count, worst = sum(job[2] for job, _ in of), {n: max(f[0][n] for _, f in of) for n in names}
            outside |= max(worst.values()) > 0
            table.add_row(
                name, f"{rate:g}", str(count), f"{sum(f[1] for _, f in of) / count:.0%}",
                *(f"[bold red]{v:.1e}[/]" if v > 0 else f"{v:.1e}" for v in worst.values()),
                f"{np.median([f[2] for _, f in of]):.0f}",
            )  # fmt: skip
    console.print(table)
    console.print(f"{sum(job[2] for job in jobs)} commands; 0 or less is inside; seeds {args.seed} …")
    if outside:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
