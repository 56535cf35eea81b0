"""Pictures of tables nobody touches: labels of which thing the words mean, for the grounding losses.

A demonstration shows one table for forty frames; telling a ball from a cylinder needs many tables. A still costs a fiftieth of
a demonstration, and every frame is a new arrangement. Stills are stored as episodes of source "still": where to look and where
things are is learned from them, their actions (all zero) are not.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from palmar.data.writer import DatasetWriter
from palmar.errors import BadValue
from palmar.lab.collect import TRIES, Collected, already
from palmar.lab.origin import Origin
from palmar.lab.worlds import Loaded
from palmar.ranges import COLLECTED, Processes
from palmar.robots.arm7 import GRIPPER_WIDTH, arm7
from palmar.runtime.pool import spread
from palmar.sim import tasks, truth
from palmar.sim.draws import Worlds
from palmar.sim.params import Randomization
from palmar.sim.scenario import HELD_OUT, Scenario, check_seed
from palmar.sim.things import DESTINATIONS, SHAPES, Item, apart
from palmar.sim.world import World
from palmar.types import STILL, Array, Episode, Observation, Step

HELD = 0.15  # share of frames in which the gripper holds the target
REACH = np.array([[0.32, -0.22, 0.03], [0.62, 0.22, 0.36]])  # where the TCP is put [m]
DOWN = np.diag([1.0, -1.0, -1.0])


@dataclass(frozen=True)
class StillsConfig:
    """tables: how many worlds. frames: arrangements of each. seed: of the first; a training seed like a demonstration's.
    alike: share of tables where every other thing has the target's colour, so that only the shape tells them apart.
    extents: as in `CollectConfig`."""

    tables: int = 1000
    frames: int = 6
    seed: int = 400_000
    alike: float = 0.5
    randomization: Worlds = field(default_factory=lambda: Randomization(COLLECTED))
    extents: bool = False

    def __post_init__(self) -> None:
        if self.tables < 1 or self.frames < 1:
            raise BadValue(
                f"{self.tables} tables of {self.frames} frames; expected at least one of each. "
                "Next: --episodes 1 or more"
            )
        if not 0 <= self.alike <= 1:
            raise BadValue(f"alike is {self.alike}; expected a share, 0 … 1. Next: a share such as 0.5")
        check_seed(self.seed, self.tables)


def collect_stills(
    out: str | Path, config: StillsConfig, processes: Processes = None, resume: bool = False, progress: bool = True
) -> Collected:
    """Photograph until the set holds `config.tables` tables; `resume` counts what is there and goes on after its seeds."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    robot = arm7()
    columns = (TextColumn("stills"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    told = truth.names(robot, config.extents)
    writer = DatasetWriter(out, robot, int(robot.policy_rate), told, resume=resume, pix_fmt="yuv444p")
    tried = saved = frames = 0
    with writer, Progress(*columns) if progress else nullcontext() as bar:
        there, seed = already(writer, config.seed, still=True)
        origin = Origin(writer.root, "stills", there, "sim", config.randomization)
        wanted = max(0, config.tables - there)
        jobs = ((config, seed + i) for i in range(TRIES * wanted))
        shown = bar.add_task("stills", total=config.tables, completed=there) if bar else None
        for episode in spread(photograph, Loaded, jobs, processes):
            tried += 1
            if not episode.steps:
                continue
            writer.add(episode)
            origin.note()
            saved, frames = saved + 1, frames + len(episode.steps)
            if bar and shown is not None:
                bar.update(shown, completed=there + saved)
            if saved >= wanted:
                break
    return Collected(Path(out), tried, saved, frames, there, wanted - saved)


def photograph(loaded: Loaded, job: tuple[StillsConfig, int]) -> Episode:
    """One table, arranged `frames` times (less those that did not fit), from its seed alone."""
    config, seed = job
    rng = np.random.default_rng([31, seed])
    world = loaded.world(extents=config.extents)
    names = tasks.usual(world.embodiment.name)
    scenario = tasks.sample(names[seed % len(names)], "seen", seed, distractors=3)
    params = config.randomization.sample(rng)
    if rng.uniform() < config.alike:
        scenario = alike(scenario)
    world.load(scenario, params, seed)
    steps = []
    for _ in range(config.frames):
        if (obs := arrange(world, rng)) is None:
            continue
        none = np.zeros(len(world.embodiment.action_names), np.float32)
        steps.append(Step(obs, none, none, tasks.task(scenario.task).success(world)))
    return Episode(
        scenario.instruction,
        scenario.task,
        seed,
        STILL,
        steps,
        bool(steps) and steps[-1].done,
        STILL,
        len(steps) / world.embodiment.policy_rate,
    )


def alike(scenario: Scenario) -> Scenario:
    """The same table with the objects beside the target in its colour and the other shapes, as far as training may see them."""
    target = scenario.items[scenario.target]
    twins = [s for s in SHAPES if s != target.shape and (target.colour, s) not in HELD_OUT]
    items = list(scenario.items)
    for i, item in enumerate(items):
        if i != scenario.target and item.shape in SHAPES:
            if not twins:
                break
            items[i] = replace(item, colour=target.colour, shape=twins.pop())
    left = [(it.colour, it.shape) for it in items]
    return replace(scenario, items=tuple(items)) if len(set(left)) == len(left) else scenario


def arrange(world: World, rng: np.random.Generator) -> Observation | None:
    """Put the objects and the arm anywhere sensible and look; None when the objects do not fit beside one another."""
    robot, scenario = world.embodiment, world.scenario
    spots = scatter(scenario.items, rng)
    if spots is None:
        return None
    scale = world.params["object_scale"]
    placed: dict[int, Array] = {
        i: np.array([item.x, item.y, world.table + item.rest_height * scale]) for i, item in spots.items()
    }
    tcp, opening = rng.uniform(*REACH), float(rng.uniform() < 0.7)
    if rng.uniform() < HELD:
        placed[scenario.target] = tcp + rng.normal(0, 0.004, 3)
        opening = scenario.items[scenario.target].width * scale / GRIPPER_WIDTH
    frame = robot.frame()
    home = robot.positions(frame, robot.home)
    joints = frame.chain.solve(home, tcp, DOWN, home)
    command = robot.home.copy()
    command[robot.path(frame)] = robot.commands(frame, joints)
    command[robot.index("gripper")] = opening
    world.pose(command, placed)
    return world.observe()


def scatter(items: Sequence[Item], rng: np.random.Generator) -> dict[int, Item] | None:
    """New places for all but the destinations, none overlapping, by index. None when 20 arrangements did not work out."""
    for _ in range(20):
        taken = [it for it in items if it.shape in DESTINATIONS]
        spots: dict[int, Item] = {}
        for i, item in enumerate(items):
            if item.shape in DESTINATIONS:
                continue
            for _ in range(200):
                moved = replace(item, x=float(rng.uniform(0.38, 0.64)), y=float(rng.uniform(-0.20, 0.20)))
                if all(apart(moved, other) for other in taken):
                    break
            else:
                break  # the first ones stand in the way of the others: begin again
            taken.append(moved)
            spots[i] = moved
        else:
            return spots
    return None
