"""All mutations, as many as asked for: `python tests/hostile/run.py --count 10000 --seed 0`. Exit code 1 when there is a fault."""

from __future__ import annotations

import argparse
import resource
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "data")]

import cases  # noqa: E402
import robot_steps  # noqa: E402

SHARE = {"data": 4, "checkpoint": 2, "robot": 3}


def sources(folder: Path) -> dict[str, list[Path]]:
    """What is changed, by kind."""
    trained = cases.make_trained(folder / "palmar-nano", "palmar-nano")
    return {
        "data": [cases.make_data(folder / "shared", True), cases.make_data(folder / "single", False)],
        "checkpoint": [trained, cases.make_checkpoint(folder / "act-tiny", "act-tiny")],
        "robot": [robot_steps.make_robot(folder / name, name, trained) for name in ("arm7", "so101", "mobile3")],
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--start", type=int, default=0, help="number of the first case")
    parser.add_argument("--kind", choices=[*SHARE], default=None)
    parser.add_argument("--minutes", type=float, default=1e9, help="stop after this time")
    options = parser.parse_args()
    folder, began = (
        Path(tempfile.mkdtemp(prefix="hostile-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None)),
        time.monotonic(),
    )
    shares = {options.kind: 1} if options.kind else SHARE
    order = [kind for kind, share in shares.items() for _ in range(share)]
    outcomes: Counter[str] = Counter()
    faults: list[cases.Fault] = []
    done = 0
    try:
        made = sources(folder)
        with cases.guarded():
            for i in range(options.start, options.start + options.count):
                if time.monotonic() - began > 60 * options.minutes:
                    break
                kind = order[i % len(order)]
                options_of = made[kind]
                source = options_of[(i // len(order)) % len(options_of)]
                _, found, steps = cases.run_case(kind, source, f"{options.seed}.{i}", folder / "place")
                outcomes.update(f"{kind} {step}: {what}" for step, what in steps.items())
                faults += found
                done += 1
                for fault in found:
                    print(fault, flush=True)
                if done % 500 == 0:
                    print(f"{done} cases, {len(faults)} faults, {time.monotonic() - began:.0f} s", flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    for what, count in sorted(outcomes.items()):
        print(f"{count:7d} {what}")
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{done} mutations, seed {options.seed}: {len(faults)} faults, {size:.0f} MB at most, {time.monotonic() - began:.0f} s"
    )
    return 1 if faults else 0


if __name__ == "__main__":
    raise SystemExit(main())
