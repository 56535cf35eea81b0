"""Do shapes keep apart in random reaching motions, and does every robot that was pushed somewhere leave again when asked?

    OMP_NUM_THREADS=1 python benchmarks/walks.py --motions 10000 --walks 100000 --robots arm7 --processes 2

Commands alone, no physics. Prints a table and exits with 1 when two shapes came nearer than the margin, or a walk neither left
within half a second nor raised an alarm; its seed is printed, and `--seed SEED --walks 1` walks it again.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from palmar.robots import robot

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "runtime"))
from walks import Reaching, pushed, reach

ROBOTS = ("arm7", "so101", "bimanual14")
PIECE = 200
"""Motions or walks of one piece of work."""


def pieces(first: int, count: int) -> list[tuple[int, int]]:
    """(seed, how many)."""
    return [(first + done, min(PIECE, count - done)) for done in range(0, count, PIECE)]


def reached(name: str, seed: int, motions: int, guarded: bool) -> Reaching:
    return reach(robot(name), np.random.default_rng(seed), motions, guarded=guarded)


def walked(name: str, seed: int, walks: int) -> list[str]:
    return [pushed(robot(name), np.random.default_rng(s)) for s in range(seed, seed + walks)]


def together(parts: Iterable[Reaching]) -> Reaching:
    found = Reaching()
    for part in parts:
        found = Reaching(min(found.nearest, part.nearest), found.bound + part.bound, found.commands + part.commands)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--motions", type=int, default=10_000, help="reaching motions for each robot")
    parser.add_argument("--walks", type=int, default=100_000, help="pushed walks for each robot")
    parser.add_argument("--seed", type=int, default=0, help="of the first walk")
    parser.add_argument("--robots", nargs="+", default=ROBOTS)
    parser.add_argument("--processes", type=int, default=2)
    args = parser.parse_args()
    console, failed = Console(width=110), False
    reaching = Table("robot", "motions", "commands", "changed", "nearest [mm]", "margin [mm]", "nearest unguarded [mm]")
    walking = Table("robot", "walks", "left", "alarm", "late", "never away", "seeds of late ones")
    with ProcessPoolExecutor(args.processes, mp_context=get_context("spawn")) as pool:

        def each(what: Callable[..., Any], name: str, seeds: list[tuple[int, int]], *more: bool) -> list[Any]:
            jobs = [pool.submit(what, name, seed, count, *more) for seed, count in seeds]
            return [job.result() for job in track(jobs, f"{name}, {what.__name__}", console=console)]

        for name in args.robots:
            if args.motions:
                kept = together(each(reached, name, pieces(args.seed, args.motions), True))
                free = together(each(reached, name, pieces(args.seed, max(args.motions // 20, 1)), False))
                margin = robot(name).collision.margin
                failed |= kept.nearest < margin
                reaching.add_row(
                    name, str(args.motions), str(kept.commands), f"{kept.bound / kept.commands:.1%}",
                    f"{kept.nearest * 1e3:.3f}", f"{margin * 1e3:.1f}", f"{free.nearest * 1e3:.1f}",
                )  # fmt: skip
            ends = [end for part in each(walked, name, pieces(args.seed, args.walks)) for end in part]
            of, late = Counter(ends), [args.seed + k for k, end in enumerate(ends) if end == "late"]
            failed |= bool(late)
            walking.add_row(
                name, str(args.walks), *(str(of[k]) for k in ("left", "alarm", "late", "there")), " ".join(map(str, late[:5]))
            )  # fmt: skip
    console.print(reaching, walking)
    if failed:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
