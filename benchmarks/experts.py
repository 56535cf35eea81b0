"""How often does each scripted expert succeed, in plain simulation and under full randomisation?

    OMP_NUM_THREADS=1 nice python benchmarks/experts.py --episodes 200
    OMP_NUM_THREADS=1 nice python benchmarks/experts.py --robot so101 --episodes 100
    OMP_NUM_THREADS=1 nice python benchmarks/experts.py --tasks slide insert --split seen --strengths 0 --episodes 100

An expert that fails makes the demonstrations lie, so this is the first figure to look at after any change of a world, a task
or an expert. No pictures: a fifth of a second an episode. Failed seeds are listed: each replays with `--only TASK:SEED`.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, replace

import numpy as np
from rich.console import Console
from rich.table import Table

from palmar.choices import SPLITS, Split
from palmar.eval.stats import Rate
from palmar.robots import robot, robots
from palmar.runtime.chunks import ChunkBuffer
from palmar.runtime.loop import rollout
from palmar.runtime.pool import spread
from palmar.runtime.worker import Inline
from palmar.sim import tasks
from palmar.sim.experts import Expert
from palmar.sim.params import Randomization
from palmar.sim.world import World


@dataclass(frozen=True)
class Try:
    """One episode: what and how strongly randomised, whether it succeeded and after how long [s]."""

    robot: str
    task: str
    seed: int
    strength: float
    split: Split = "layout"
    success: bool = False
    duration: float = 0.0


class Worlds(dict[str, World]):
    """Of one process: {robot: its world}, made when it is asked for."""

    def __missing__(self, name: str) -> World:
        self[name] = World(robot(name), images=False)
        return self[name]


def attempt(worlds: Worlds, job: Try) -> Try:
    """The expert on the table of the job's seed, behind the safety layer."""
    w = worlds[job.robot]
    params = Randomization(job.strength).sample(np.random.default_rng([31, job.seed]))
    obs = w.load(tasks.sample(job.task, job.split, job.seed), params, job.seed)
    end = rollout(
        w, Inline(Expert(w)), obs, chunks=ChunkBuffer(execute=1), until=lambda *_: w.success(), timeout=15.0
    )  # fmt: skip
    return replace(job, success=w.success(), duration=end.duration)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--robot", default="arm7", choices=robots())
    parser.add_argument("--episodes", type=int, default=200, help="for each task and strength")
    parser.add_argument("--strengths", type=float, nargs="+", default=[0.0, 1.0], help="of the randomisation, 0 … 2")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--tasks", nargs="+", help="those that fit the robot where none is given")
    parser.add_argument("--split", default="layout", choices=SPLITS)
    parser.add_argument("--only", help="TASK:SEED, one episode")
    args = parser.parse_args()
    began, console = time.perf_counter(), Console(width=110)
    names, seeds = args.tasks or list(tasks.names(args.robot)), list(range(args.episodes))
    if args.only:
        task, _, seed = args.only.partition(":")
        names, seeds = [task], [int(seed)]
    jobs = [Try(args.robot, task, seed, s, args.split) for s in args.strengths for task in names for seed in seeds]
    tries = list(spread(attempt, Worlds, jobs, args.processes))
    table = Table(
        "task", "randomisation", "success (95 % Wilson)", "median [s]", "failed seeds", title="Scripted experts"
    )
    for s in args.strengths:
        for task in names:
            mine = [t for t in tries if (t.task, t.strength) == (task, s)]
            took = [t.duration for t in mine if t.success]
            failed = " ".join(str(t.seed) for t in mine if not t.success)
            rate = Rate(sum(t.success for t in mine), len(mine))
            median = f"{np.median(took):.1f}" if took else "–"
            table.add_row(task, f"{s:g}", str(rate).replace("[", r"\["), median, failed, end_section=task == names[-1])
    console.print(table)
    console.print(f"{(time.perf_counter() - began) / len(tries):.2f} s an episode")


if __name__ == "__main__":
    main()
