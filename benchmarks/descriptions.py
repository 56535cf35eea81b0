"""Every robot description under a folder: does it load, and does the safety layer hold its limits?

    python benchmarks/descriptions.py FOLDER [--commands 100000] [--seconds 30] [--only WORD …]

Each URDF and MJCF is loaded with --guess, or refused with the fact that is missing. Of those that load, hostile commands
(far targets, jumps between limits, NaN, infinity, noise, and resets to random places) go through `Safety`; a command that
leaves the position, velocity, acceleration or jerk limits is counted. With --seconds fewer commands are sent where time runs out,
which the table says.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np

from palmar.description.build import from_description
from palmar.embodiments import Embodiment
from palmar.errors import PalmarError
from palmar.runtime.bodies.outside import outside
from palmar.runtime.safety.filter import Safety
from palmar.types import Array, Observation


def hostile(robot: Embodiment, rng: np.random.Generator, last: Array) -> Array:
    """A target nobody should send."""
    lower, upper = (np.where(np.isfinite(x), x, s * 10.0) for x, s in ((robot.lower, -1), (robot.upper, 1)))
    width, n = upper - lower, len(lower)
    kind = rng.integers(7)
    if kind == 0:
        return rng.uniform(lower - 3 * width, upper + 3 * width)
    if kind == 1:
        return np.where(rng.random(n) < 0.5, lower, upper)
    if kind == 2:
        return np.where(rng.random(n) < 0.2, rng.choice([np.nan, np.inf, -np.inf, 1e300, -1e300], n), last)
    if kind == 3:
        return last + rng.normal(size=n) * width
    if kind == 4:
        return last + rng.normal(size=n) * width * 1e-4
    if kind == 5:
        return np.full(n, rng.choice([0.0, 1e9, -1e9]))
    return last


def attack(robot: Embodiment, commands: int, seconds: float, seed: int) -> tuple[int, int]:
    """(commands sent, how often one broke a limit: `runtime.bodies.outside`, which knows nothing of `Safety`)."""
    rng, end = np.random.default_rng(seed), time.monotonic() + seconds
    dt, sent, broken = 1.0 / robot.control_rate, 0, 0
    safety = Safety(robot)
    lower, upper = robot.lower, robot.upper
    pairs = [(i, robot.index(m.of)) for i, m in enumerate(robot.state) if m.quantity == "position"]
    places, measured = np.array(pairs, int).T
    state = np.zeros(len(robot.state), np.float32)
    finite = (np.where(np.isfinite(lower), lower, -3.0), np.where(np.isfinite(upper), upper, 3.0))
    while sent < commands and time.monotonic() < end:
        start = rng.uniform(*finite) if rng.random() < 0.5 else robot.home
        safety.reset(start)
        last, now, target, made = np.array(start), 0.0, np.array(start), []
        hold = 0
        for _ in range(min(1000, commands - sent)):
            if hold == 0:
                target, hold = hostile(robot, rng, last), int(rng.integers(1, 20))
            hold -= 1
            now += dt
            state[places] = last[measured]  # no poses: the guards of limits need none
            obs = Observation({}, state, "", now)
            last = safety.check(target, obs, now).command
            made.append(last)
        commands_made = np.array(made)
        broken += sum(outside(robot, start, commands_made).values()) + int((~np.isfinite(commands_made)).any(1).sum())
        sent += len(made)
    return sent, broken


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--commands", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--only", nargs="*", default=[""], help="words, one of which is in the path")
    args = parser.parse_args()
    files = sorted(
        p for p in args.folder.rglob("*") if p.suffix in (".urdf", ".xml") and any(w in str(p) for w in args.only)
    )
    loaded = refused = total = broken = 0
    print(f"{'file':38} {'channels':>8} {'frames':>6} {'guessed':>7} {'commands':>9} {'outside':>7} {'µs each':>8}")
    for path in files:
        try:
            robot = from_description(path, guess=True)
        except PalmarError as error:
            refused += 1
            print(f"{path.name[:38]:38} refused: {str(error).replace(str(path), path.name)[:160]}")
            continue
        loaded += 1
        began = time.monotonic()
        sent, bad = attack(robot, args.commands, args.seconds, seed=loaded)
        each = 1e6 * (time.monotonic() - began) / max(sent, 1)
        total, broken = total + sent, broken + bad
        guessed = sum("velocity" in c.guessed() or "position" in c.guessed() for c in robot.channels)
        print(
            f"{path.name[:38]:38} {len(robot.channels):8} {len(robot.frames):6} {guessed:7} {sent:9} {bad:7} {each:8.0f}",
            flush=True,
        )
    print(f"{loaded} loaded, {refused} refused; {total} hostile commands, {broken} outside limits")
    return int(broken > 0)


if __name__ == "__main__":
    sys.exit(main())
