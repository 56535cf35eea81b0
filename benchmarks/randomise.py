"""What does it cost to lay another randomised scene: by edits of the compiled one, or by compiling it?

    OMP_NUM_THREADS=1 LP_NUM_THREADS=1 python benchmarks/randomise.py --rounds 100

Each round draws the parameters of a world and does the same three things both ways, in turn, so that a busy machine slows both:
the model alone (edits, or building and compiling), that and a reset of the world, and that and the first picture of each
camera. Processor time of this process, medians over rounds. Edits keep what is on the graphics side too: contexts made are
counted apart.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
from rich.console import Console
from rich.table import Table

from palmar.robots import mechanics, robot, robots
from palmar.sim import camera, tasks
from palmar.sim.edits import ModelEdits
from palmar.sim.params import Randomization
from palmar.sim.reality import Effect, Reality
from palmar.sim.scenes import build, mujoco
from palmar.sim.world import World

ANEW = Reality("sim", None, (Effect("nothing", model=lambda model, grippers: None),))
"""Plain simulation with an effect on the model, which does nothing: its scenes are compiled each time."""


def seconds(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--robot", default="arm7", choices=robots())
    parser.add_argument("--task", default="", help="of the robot; its last where none is given")
    args = parser.parse_args()
    body = robot(args.robot)
    task = args.task or tasks.names(args.robot)[-1]
    scenario, made = tasks.sample(task, "seen", 0), (body, mechanics(body))
    edits = ModelEdits(*made, scenario)
    plain = [World(body, False), World(body, False, reality=ANEW)]
    seeing = [World(body), World(body, reality=ANEW)]
    contexts = {id(w): 0 for w in seeing}
    real = camera.Renderer.__init__
    for w in (*plain, *seeing):
        w.load(scenario)
    took: dict[str, tuple[list[float], list[float]]] = {
        part: ([], []) for part in ("model", "model and reset", "model, reset and pictures")
    }
    for seed in range(args.rounds):
        params = Randomization().drawn(seed)
        took["model"][0].append(seconds(lambda p=params: edits.apply(p, scenario)))  # type: ignore[misc]
        took["model"][1].append(seconds(lambda p=params: mujoco.MjData(build(*made, scenario, p))))  # type: ignore[misc]
        for part, worlds in (("model and reset", plain), ("model, reset and pictures", seeing)):
            for k, w in enumerate(worlds):

                def counted(self: camera.Renderer, *a: object, w: World = w) -> None:
                    contexts[id(w)] = contexts.get(id(w), 0) + 1
                    real(self, *a)  # type: ignore[arg-type]

                camera.Renderer.__init__ = counted  # type: ignore[method-assign,assignment]
                took[part][k].append(seconds(lambda w=w, p=params: w.load(scenario, p)))  # type: ignore[misc]
                camera.Renderer.__init__ = real  # type: ignore[method-assign]
    table = Table(
        "median, processor time", "edited", "compiled", "ratio", title=f"{args.robot}, {task}, {args.rounds} rounds"
    )
    for part, both in took.items():
        ours, theirs = (float(np.median(x)) for x in both)
        table.add_row(f"{part} \\[ms]", f"{1e3 * ours:.2f}", f"{1e3 * theirs:.2f}", f"{theirs / ours:.1f}")
    made_of = [contexts[id(w)] for w in seeing]
    table.add_row("renderers made", str(made_of[0]), str(made_of[1]), "")
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
