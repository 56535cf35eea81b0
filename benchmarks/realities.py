"""What does a policy lose in realities, by grade?

    OMP_NUM_THREADS=1 LP_NUM_THREADS=1 python benchmarks/realities.py --worlds other:0-3 far:0-3 near:0-11 --tables 3
    … --worlds near:0-11 --tasks place push --nominal zero_1 zero_2 zero_3 zero_4 zero_5 zero_6 zero_7     # what these cost

Each reality gets the same tables, the same number of every task; beside them plain simulation. Prints success for each reality with
a Wilson interval, and for each grade the mean over realities with an interval over realities (bootstrap of realities, each with
its tables), which is the one that speaks of a reality never met.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
from rich.console import Console

from palmar.errors import BadValue
from palmar.eval.stats import Rate
from palmar.lab.suite import EvalConfig, run
from palmar.lab.worlds import Loaded
from palmar.sim import tasks
from palmar.sim.choosing import chosen
from palmar.sim.params import Randomization, WorldParams
from palmar.sim.reality import reality, several


def over_realities(rates: list[list[bool]], draws: int = 5000) -> tuple[float, float]:
    """95 % interval of the mean success, realities drawn with replacement and then their trials."""
    rng = np.random.default_rng(0)
    means = []
    for _ in range(draws):
        chosen = [rates[i] for i in rng.integers(len(rates), size=len(rates))]
        means.append(np.mean([np.mean(rng.choice(r, size=len(r))) for r in chosen]))
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def without(name: str, nominal: list[str]) -> dict[str, Any]:
    """The world of a reality, some parameters of which are nominal again. Raises `BadValue` for one with effects beside them."""
    if not nominal or name == "sim":
        return {"world": name}
    met = reality(name)
    if met.hidden is None or met.effects:
        raise BadValue(
            f"{name} is more than its parameters, and cannot be without some of them. Next: near:SEED, or no --nominal"
        )
    again = chosen(nominal)
    left = {n: v for n, v in met.hidden.values.items() if n not in again}
    return {"randomization": Randomization(0.0, centre=WorldParams(left))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--worlds", nargs="+", default=["other:0-3", "far:0-3", "near:0-11"])
    parser.add_argument("--policy", default="shipped")
    parser.add_argument("--tables", type=int, default=10, help="of each task in each reality")
    parser.add_argument("--seed", type=int, default=77_000, help="of the first table")
    parser.add_argument("--tasks", nargs="+", default=list(tasks.ALL))
    parser.add_argument(
        "--nominal", nargs="*", default=[], help="parameters that these realities have as in plain simulation"
    )
    parser.add_argument("--timeout", type=float, default=15.0, help="of a trial [s]")
    args = parser.parse_args()
    console, loaded = Console(width=120), Loaded()
    for asked in ("sim", *args.worlds):
        grade: list[list[bool]] = []
        for name in several(asked):
            config = EvalConfig(
                args.policy,
                args.tables,
                tuple(args.tasks),
                seed=args.seed,
                timeout=args.timeout,
                **without(name, args.nominal),
            )
            won = {
                task: [run(loaded, (config, task, "layout", args.seed + i)).success for i in range(args.tables)]
                for task in config.tasks
            }
            grade.append([s for successes in won.values() for s in successes])
            by_task = ", ".join(f"{task} {sum(s)}" for task, s in won.items())
            console.print(f"{name:9} {Rate(sum(grade[-1]), len(grade[-1]))}  of {args.tables} each: {by_task}")
        low, high = over_realities(grade)
        mean = 100 * float(np.mean([np.mean(g) for g in grade]))
        console.print(f"[bold]{asked}[/]: {mean:.1f} % over {len(grade)} realities [{100 * low:.1f}, {100 * high:.1f}]")


if __name__ == "__main__":
    main()
