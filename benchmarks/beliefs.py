"""What is it worth to know a parameter? The expert of a task on worlds that differ in it, knowing it and believing nominal.

    OMP_NUM_THREADS=1 nice python benchmarks/beliefs.py --task slide --parameters friction --episodes 100
    OMP_NUM_THREADS=1 nice python benchmarks/beliefs.py --task insert --parameters camera_x camera_y camera_yaw --measured

World SEED draws the parameters uniformly from their ranges (`palmar.sim.params.SPACE`) times --strength; all others are nominal.
The table of SEED is the same for both arms, so the difference is paired. --measured: the expert goes by measured joint angles and
by a camera (`palmar.sim.belief`) instead of by the truth.
"""

from __future__ import annotations

import argparse

import numpy as np
from rich.console import Console
from rich.table import Table

from palmar.eval.stats import Rate
from palmar.runtime.chunks import ChunkBuffer
from palmar.runtime.loop import rollout
from palmar.runtime.worker import Inline
from palmar.sim import tasks
from palmar.sim.experts import Expert
from palmar.sim.params import NOMINAL, SPACE, Randomization, WorldParams
from palmar.sim.world import World


def attempt(world: World, task: str, seed: int, params: WorldParams, believed: WorldParams, measured: bool) -> bool:
    obs = world.load(tasks.sample(task, "layout", seed), params, seed)
    expert = Inline(Expert(world, believed=believed, measured=measured))
    rollout(world, expert, obs, chunks=ChunkBuffer(execute=1), until=lambda *_: world.success(), timeout=12.0)
    return world.success()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--task", default="slide", choices=tasks.names("arm7"))
    parser.add_argument("--parameters", nargs="+", default=["friction"], choices=list(SPACE), metavar="NAME")
    parser.add_argument("--strength", type=float, default=1.0, help="of the ranges, 0 … 2")
    parser.add_argument("--episodes", type=int, default=100)
    parser.add_argument(
        "--measured", action="store_true", help="by measured joint angles and a camera, not by the truth"
    )
    args = parser.parse_args()
    world, won = World(images=False), {"knows them": [], "believes nominal": []}
    for seed in range(args.episodes):
        drawn = Randomization(args.strength).sample(np.random.default_rng([37, seed]))
        params = WorldParams({n: drawn[n] for n in args.parameters})
        for arm, believed in zip(won, (params, NOMINAL), strict=True):
            won[arm].append(attempt(world, args.task, seed, params, believed, args.measured))
    table = Table(
        "expert", "success (95 % Wilson)", title=f"{args.task}: {', '.join(args.parameters)}, × {args.strength:g}"
    )
    for arm, tries in won.items():
        table.add_row(arm, str(Rate(sum(tries), len(tries))).replace("[", r"\["))
    console = Console(width=100)
    console.print(table)
    gained = np.array(won["knows them"], float) - np.array(won["believes nominal"], float)
    half = 1.96 * gained.std(ddof=1) / np.sqrt(len(gained))
    console.print(
        f"knowing is worth {100 * gained.mean():.0f} points, 95 % interval ± {100 * half:.0f} (paired, normal)"
    )


if __name__ == "__main__":
    main()
