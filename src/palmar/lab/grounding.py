"""Does the policy look at the thing it was asked for? Measured on tables nobody touches, which is a hundred times cheaper than
success and says why success fails: whoever takes the cylinder for the cube grasps the cylinder.

On every table each object is asked for in turn. A hit: the peak of the target's heatmap lies in the object's true box, grown by
half a cell of the heatmap (the peak is known no better).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from palmar.choices import SPLITS, Split
from palmar.errors import BadValue, check_names
from palmar.eval.stats import Rate
from palmar.lab.heatmaps import heatmap, peak
from palmar.lab.worlds import Loaded
from palmar.policy import Policy, check_policy, load_policy
from palmar.ranges import Processes
from palmar.robot_parts import Camera
from palmar.robots.arm7 import arm7
from palmar.runtime.pool import spread
from palmar.sim import tasks
from palmar.sim.draws import Worlds
from palmar.sim.params import NO_RANDOMIZATION
from palmar.sim.reality import check_world
from palmar.sim.scenario import TEST_SEED, check_seed, phrase
from palmar.sim.things import SHAPES
from palmar.sim.world import World
from palmar.types import Observation

Box = tuple[float, float, float, float]
"""(left, top, right, bottom) in 0 … 1 of the image."""


@dataclass(frozen=True)
class GroundingConfig:
    """tables: how many, the tasks taking turns. camera: whose heatmap is asked. The rest as in `EvalConfig`."""

    policy: str = "shipped"
    tables: int = 200
    split: Split = "layout"
    seed: int = 0
    world: str = "sim"
    camera: str = "front"
    randomization: Worlds = NO_RANDOMIZATION

    def __post_init__(self) -> None:
        if self.tables < 1:
            raise BadValue(f"tables is {self.tables}; expected 1 or more. Next: a number such as 200")
        check_names("split", [self.split], SPLITS)
        check_seed(self.seed, self.tables)
        check_world(self.world)
        cameras = [c.name for c in arm7().cameras]
        if self.camera not in cameras:
            raise BadValue(
                f"camera is '{self.camera}'; expected one of those of the robot: {', '.join(cameras)}. "
                "Next: one of them"
            )


@dataclass(frozen=True)
class Look:
    """One question. hit: the peak is in the box of what was asked. nearest: the thing the peak is closest to.
    beside: "colour" when another thing on the table shares the colour, else "shape" when one shares the shape, else "neither"."""

    asked: str
    nearest: str
    hit: bool
    beside: str

    @property
    def mistook(self) -> str | None:
        """What the thing looked at shares with the one asked for: colour, shape or neither; None when it is the right one."""
        if self.nearest == self.asked:
            return None
        a, b = self.asked.split(), self.nearest.split()
        return "colour" if a[0] == b[0] else "shape" if a[1] == b[1] else "neither"


@dataclass(frozen=True)
class Grounding:
    looks: tuple[Look, ...]

    def hits(self, beside: str | None = None) -> Rate:
        """Peak in the true box; `beside` chooses the tables that hold such a rival."""
        chosen = [x for x in self.looks if beside in (None, x.beside)]
        return Rate(sum(x.hit for x in chosen), len(chosen))

    def right(self, beside: str | None = None) -> Rate:
        """Peak nearest to the object that was asked for."""
        chosen = [x for x in self.looks if beside in (None, x.beside)]
        return Rate(sum(x.mistook is None for x in chosen), len(chosen))

    def to_dict(self) -> dict[str, Any]:
        kinds: tuple[str | None, ...] = (None, "colour", "shape", "neither")
        return {
            "in_the_box": {k or "all": self.hits(k).to_dict() for k in kinds},
            "right_object": {k or "all": self.right(k).to_dict() for k in kinds},
            "mistook": dict(Counter(m for x in self.looks if (m := x.mistook))),
        }


def grounding(config: GroundingConfig, processes: Processes = None, progress: bool = True) -> Grounding:
    """Ask for every object of every table. Raises `BadValue` for a policy that shows no heatmap of its target, and
    what `check_policy` does."""
    check_policy(config.policy)
    check_heatmap(config)
    from rich.progress import track

    jobs = ((config, config.seed + i) for i in range(config.tables))
    shown: Iterable[list[Look]] = spread(questions, Loaded, jobs, processes)
    if progress:
        shown = track(shown, "grounding", total=config.tables)
    return Grounding(tuple(look for looks in shown for look in looks))


def questions(loaded: Loaded, job: tuple[GroundingConfig, int]) -> list[Look]:
    """One table, from its seed alone."""
    config, seed = job
    world, policy, obs = laid(loaded, config, seed)
    scenario, task = world.scenario, world.scenario.task
    camera = next(c for c in world.embodiment.cameras if c.name == config.camera)
    around = boxes(world, camera)
    things = [i for i, it in enumerate(scenario.items) if it.shape in SHAPES]
    looks = []
    for target in things:
        words = tasks.task(task).wordings[seed % len(tasks.task(task).wordings)]
        asked = replace(obs, instruction=phrase(replace(scenario, target=target), words))
        policy.reset()
        (u, v), (cell_u, cell_v) = peak(policy.act(asked), config.camera)
        left, top, right, bottom = around[target]
        hit = left - cell_u / 2 <= u <= right + cell_u / 2 and top - cell_v / 2 <= v <= bottom + cell_v / 2
        middle = {i: np.hypot(u - (b[0] + b[2]) / 2, v - (b[1] + b[3]) / 2) for i, b in around.items()}
        others = [scenario.items[i] for i in things if i != target]
        mine = scenario.items[target]
        rival = next(
            (k for k in ("colour", "shape") if any(getattr(o, k) == getattr(mine, k) for o in others)), "neither"
        )
        looks.append(Look(mine.name, scenario.items[min(middle, key=lambda i: middle[i])].name, bool(hit), rival))
    return looks


def laid(loaded: Loaded, config: GroundingConfig, seed: int) -> tuple[World, Policy, Observation]:
    """The table of a seed, and what is seen of it."""
    world, policy = loaded.world(config.world), loaded.policy(config.policy)
    names = tasks.usual(world.embodiment.name)
    scenario = tasks.sample(names[seed % len(names)], config.split, seed)
    params = config.randomization.sample(np.random.default_rng([29, seed]))
    return world, policy, world.load(scenario, params, TEST_SEED + seed)


def check_heatmap(config: GroundingConfig) -> None:
    """Raise `BadValue`, before any table is laid, when the policy shows no heatmap of its target in that camera: one look at a
    black picture tells."""
    policy = load_policy(config.policy)
    face = policy.interface
    dark = {c: np.zeros((*size, 3), np.uint8) for c, size in face.cameras.items()}
    seen = Observation(dark, np.zeros(len(face.state_names), np.float32), "reach the red cube")
    policy.reset()
    heatmap(policy.act(seen), config.camera)


def boxes(world: World, camera: Camera) -> dict[int, Box]:
    """The true box of every thing on the table in one camera's picture, by index."""
    return {i: world.box(camera, i) for i in range(len(world.scenario.items))}
