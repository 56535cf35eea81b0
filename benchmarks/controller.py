"""Does the controller keep 50 Hz under a busy policy, and does any of 100 000 hostile actions get past the limits?

    OMP_NUM_THREADS=1 python benchmarks/controller.py --seconds 60 --actions 100000
    OMP_NUM_THREADS=1 python benchmarks/controller.py --rate 200 --busy 0.2 --seconds 600 --actions 0

A mock body, so the figures are the loop's own. The policy computes `--busy` seconds of numpy on its thread for every chunk; its
chunks are long enough to bridge that, so a tick without an action would be the policy's fault.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from palmar.robots.arm7 import arm7
from palmar.runtime.deploy import deploy
from palmar.runtime.loop import Subscriber, Tick
from palmar.runtime.mock import MockBody
from palmar.runtime.safety.filter import Safety
from palmar.shapes import Collision
from palmar.types import ActionChunk, Array, Observation, Prefix

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "runtime"))
from palmar.certify.hostile import attacker, excess

ROBOT = arm7()


class Busy:
    """Computes for `seconds` without sleeping, then asks for a slow sway."""

    def __init__(self, seconds: float) -> None:
        self.interface = ROBOT.interface(horizon=16)
        self.seconds, self.matrix = seconds, np.random.default_rng(0).normal(size=(160, 160))

    def act(self, obs: Observation, prefix: Prefix | None = None) -> ActionChunk:
        until = time.perf_counter() + self.seconds
        while time.perf_counter() < until:
            np.tanh(self.matrix @ self.matrix)
        t = obs.time + 0.1 * np.arange(16)
        actions = np.zeros((16, 7), np.float32)
        actions[:, 1], actions[:, 2] = 0.01 * np.cos(t), 0.005 * np.sin(2 * t)
        return ActionChunk(actions, 0.1, obs.time)

    def reset(self) -> None:
        pass


class Dry(Subscriber):
    """Ticks without an action of a chunk after the first chunk."""

    def __init__(self) -> None:
        self.count, self._began = 0, False

    def on_tick(self, tick: Tick) -> None:
        self._began = self._began or tick.acting
        self.count += self._began and not tick.acting


def pace(rate: float, seconds: float, busy: float) -> dict[str, float]:
    robot, dry = replace(ROBOT, control_rate=rate), Dry()
    body = MockBody(robot)
    timing = deploy(body, Busy(busy), "sway", body.reset(), timeout=seconds, subscribers=(dry,)).timing
    return timing | {"ticks_without_action": dry.count}


def stress(count: int, seed: int = 0) -> tuple[Safety, dict[str, float], Array]:
    """The safety layer after `count` hostile targets, how far the worst command was outside each limit, check times."""
    safety, attack = Safety(ROBOT), attacker(ROBOT, np.random.default_rng(seed))
    start = command = ROBOT.home
    commands, took = np.empty((count, 8)), np.empty(count)
    safety.reset(start)
    for k in range(count):
        state = ROBOT.state_from(command, np.zeros(8)).astype(np.float32)
        target, obs, began = attack(command), Observation({}, state, time=k * 0.02), time.perf_counter()
        command = commands[k] = safety.check(target, obs, k * 0.02).command
        took[k] = time.perf_counter() - began
    parts = [excess(ROBOT, start, commands[:2000])]
    for i in range(2000, count, 2000):  # overlapping by the commands that velocity, acceleration and jerk look back on
        parts.append(excess(ROBOT, None, commands[i - 4 : i + 2000]))
    return safety, {name: max(p[name] for p in parts) for name in parts[0]}, took


def calm(count: int) -> Array:
    """Check times [s] of a smooth motion that no guard changes."""
    safety, took = Safety(ROBOT), np.empty(count)
    home = ROBOT.home
    safety.reset(home)
    for k in range(count):
        command = safety.command
        state = ROBOT.state_from(command, np.zeros(8)).astype(np.float32)
        target, obs, began = home + 0.1 * np.sin(0.03 * k), Observation({}, state, time=k * 0.02), time.perf_counter()
        target[-1] = 1.0
        safety.check(target, obs, k * 0.02)
        took[k] = time.perf_counter() - began
    return took


def verdicts(guarded: bool, ticks: int, seed: int = 0) -> tuple[Array, Array]:
    """Check times [s] of reaching for random commands without zones, all and those that shapes changed."""
    robot = ROBOT if guarded else replace(ROBOT, collision=Collision())
    safety, rng, took, bound = Safety(robot, zones=lambda *_: ()), np.random.default_rng(seed), np.empty(ticks), []
    goal = command = ROBOT.home
    safety.reset(command)
    for k in range(ticks):
        if k % 60 == 0:
            goal = rng.uniform(ROBOT.lower, ROBOT.upper)
        obs = Observation({}, ROBOT.state_from(command, np.zeros(8)).astype(np.float32), time=k * 0.02)
        began = time.thread_time()  # of this thread: what others do on the machine is left out
        verdict = safety.check(goal, obs, k * 0.02)
        took[k] = time.thread_time() - began
        command = verdict.command
        bound.append(any(r.guard == "collision" for r in verdict.reasons))
    return took, took[np.array(bound, bool)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0, help="how long to hold 50 Hz")
    parser.add_argument("--busy", type=float, default=0.08, help="seconds the policy computes for a chunk")
    parser.add_argument("--actions", type=int, default=100_000, help="hostile actions")
    parser.add_argument("--rate", type=float, default=50.0, help="control rate [Hz]; a multiple of 10")
    args = parser.parse_args()
    console = Console(width=100)

    alone, loaded = pace(args.rate, min(args.seconds, 10.0), 0.0), pace(args.rate, args.seconds, args.busy)
    title = f"{args.rate:g} Hz, {args.seconds:.0f} s"
    table = Table("ms", "policy idle", f"policy busy {args.busy * 1e3:.0f} ms", "ratio", title=title)
    for key in (
        "period_p50",
        "jitter_p50",
        "jitter_p99",
        "jitter_max",
        "took_p50",
        "took_p99",
        "took_max",
        "latency_p50",
    ):
        ratio = f"{loaded[key] / alone[key]:.1f}" if alone[key] else ""
        table.add_row(key, f"{alone[key]:.3f}", f"{loaded[key]:.3f}", ratio)
    for key in ("ticks", "late_ticks", "ticks_without_action", "chunks", "late_steps"):
        table.add_row(key, f"{alone[key]:.0f}", f"{loaded[key]:.0f}", "")
    console.print(table)

    if not args.actions:
        return
    safety, over, took = stress(args.actions)
    table = Table("guard", "commands changed", title=f"{safety.checked} hostile actions")
    for name, n in safety.counts.items():
        table.add_row(name, str(n))
    console.print(table)
    table = Table("limit", "worst command beyond it", "outside", title="The robot's own limits; 0 or less is inside")
    for name, value in over.items():
        table.add_row(name, f"{value:.2e}", "yes" if value > 0 else "no")
    console.print(table)
    smooth = calm(2000)
    for name, times in (("hostile", took), ("smooth", smooth)):
        p50, p99 = np.percentile(times * 1e6, [50, 99])
        console.print(f"Safety.check, {name}: p50 {p50:.0f} µs, p99 {p99:.0f} µs")
    table = Table("collision", "p50 µs", "p99 µs", "ratio", title="Safety.check, 7 joints reaching at random, CPU time")
    (free, _), (kept, bound) = verdicts(False, 6000), verdicts(True, 6000)
    for name, times in (("without", free), ("with", kept), ("with, where it changed the command", bound)):
        p50, p99 = np.percentile(times * 1e6, [50, 99])
        table.add_row(name, f"{p50:.0f}", f"{p99:.0f}", f"{p50 / np.median(free * 1e6):.1f}")
    console.print(table)
    if max(over.values()) > 0:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
