"""How many rendered steps a second does our world give, against the same scene drawn with MuJoCo's visual defaults?

    OMP_NUM_THREADS=1 nice python benchmarks/rendering.py --rounds 30

A rendered step is what collecting costs: one policy step of physics (0.1 s) and a picture from each of the two 96-pixel
cameras. The defaults are a shadow map of 4096², 4 samples a pixel, shadows and reflections; ours are none of them. Both worlds
are stepped in turn in one run, so a busy machine slows both; the figures are medians over rounds.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from rich.console import Console
from rich.table import Table

from palmar.sim import tasks
from palmar.sim.scenes import mujoco
from palmar.sim.world import World

WAYS = ("palmar", "MuJoCo's defaults")
PARTS = ("physics", "pictures", "rendered step")


def step(world: World) -> dict[str, float]:
    """Seconds of one rendered step: the commands of one action, then a look through every camera."""
    robot = world.embodiment
    command = np.append(world.data.qpos[: len(robot.frame().joints)], 1.0)
    began = time.perf_counter()
    for _ in range(round(robot.control_rate / robot.policy_rate)):
        world.apply(command)
    moved = time.perf_counter()
    world.observe()
    seen = time.perf_counter()
    return {"physics": moved - began, "pictures": seen - moved, "rendered step": seen - began}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=30, help="each is a few steps of ours, then of theirs")
    parser.add_argument("--steps", type=int, default=4, help="of each in a round")
    parser.add_argument("--task", default="place", choices=tasks.names("arm7"))
    args = parser.parse_args()
    console = Console(width=100)
    worlds = [World(), World(quality=True)]
    for world in worlds:
        world.load(tasks.sample(args.task, "seen", 0))
        step(world)  # warms up
    took: list[dict[str, list[float]]] = [{part: [] for part in PARTS} for _ in worlds]
    for _ in range(args.rounds):
        for world, mine in zip(worlds, took, strict=True):
            for _ in range(args.steps):
                for part, seconds in step(world).items():
                    mine[part].append(seconds)
    table = Table("median", *WAYS, "ratio", title=f"{args.rounds} rounds of {args.steps} steps, task {args.task}")
    ours, theirs = ({part: float(np.median(v)) for part, v in mine.items()} for mine in took)
    for part in PARTS:
        row = f"{part} [ms]".replace("[", r"\[")
        table.add_row(row, f"{1e3 * ours[part]:.2f}", f"{1e3 * theirs[part]:.2f}", f"{theirs[part] / ours[part]:.2f}")
    rates = [1 / ours["rendered step"], 1 / theirs["rendered step"]]
    table.add_row("rendered steps a second", f"{rates[0]:.0f}", f"{rates[1]:.0f}", f"[bold]{rates[0] / rates[1]:.2f}")
    console.print(table)
    visual = worlds[1].model.vis.quality
    console.print(
        f"MuJoCo {mujoco.__version__}; theirs: shadow map {visual.shadowsize}², {visual.offsamples} samples; "
        f"cameras {', '.join(f'{c.name} {c.height}×{c.width}' for c in worlds[0].embodiment.cameras)}"
    )
    for world in worlds:
        world.close()


if __name__ == "__main__":
    main()
