"""Do shapes keep apart in random reaching motions, and does every robot that was pushed somewhere leave again when asked?

    OMP_NUM_THREADS=1 python benchmarks/walks.py --motions 10000 --walks 100000 --robots arm7

Commands alone, no physics. Prints a table and exits with 1 when two shapes came nearer than the margin, or a walk neither left
within half a second nor raised an alarm; its seed is printed, and `--seed SEED --walks 1` walks it again.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from palmar.robots import robot

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "runtime"))
from walks import pushed, reach

ROBOTS = ("arm7", "so101", "bimanual14")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--motions", type=int, default=10_000, help="reaching motions for each robot")
    parser.add_argument("--walks", type=int, default=100_000, help="pushed walks for each robot")
    parser.add_argument("--seed", type=int, default=0, help="of the first walk")
    parser.add_argument("--robots", nargs="+", default=ROBOTS)
    args = parser.parse_args()
    console, failed = Console(width=110), False
    reaching = Table("robot", "motions", "commands", "changed", "nearest [mm]", "margin [mm]", "nearest unguarded [mm]")
    walking = Table("robot", "walks", "left", "alarm", "late", "never away", "seeds of late ones")
    for name in args.robots:
        body = robot(name)
        if args.motions:
            kept = reach(body, np.random.default_rng(args.seed), args.motions)
            free = reach(body, np.random.default_rng(args.seed), max(args.motions // 20, 1), guarded=False)
            margin = body.collision.margin
            failed |= kept.nearest < margin
            reaching.add_row(
                name, str(args.motions), str(kept.commands), f"{kept.bound / kept.commands:.1%}", f"{kept.nearest * 1e3:.3f}",
                f"{margin * 1e3:.1f}", f"{free.nearest * 1e3:.1f}",
            )  # fmt: skip
        ends, late = Counter[str](), []
        for seed in range(args.seed, args.seed + args.walks):
            end = pushed(body, np.random.default_rng(seed))
            ends[end] += 1
            if end == "late":
                late.append(seed)
        failed |= bool(late)
        walking.add_row(
            name, str(args.walks), *(str(ends[k]) for k in ("left", "alarm", "late", "there")), " ".join(map(str, late[:5]))
        )  # fmt: skip
    console.print(reaching, walking)
    if failed:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
