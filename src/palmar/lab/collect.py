"""Demonstrations from the simulator: the one loop, with a scripted expert (or a learner it corrects) and a recorder."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from palmar.data.corrections import LABELLED
from palmar.data.format import read_extras
from palmar.data.recorder import EpisodeRecorder
from palmar.data.writer import DatasetWriter
from palmar.errors import BadFile, BadValue, UnknownName
from palmar.lab.origin import Origin
from palmar.lab.worlds import Loaded, fitted_here, seeing
from palmar.models.privileged import Privileged
from palmar.policy import ADAPTERS, Policy, check_policy, checkpoint_of
from palmar.ranges import COLLECTED, Count, Processes, Seconds, Seed, Share, check_ranges
from palmar.robots import robot as robot_named
from palmar.runtime.adaptation.intervening import After, Intervening, OnAlarm
from palmar.runtime.chunks import ChunkBuffer
from palmar.runtime.confidence.confident import Confident
from palmar.runtime.confidence.detector import Detector
from palmar.runtime.loop import rollout
from palmar.runtime.pool import spread
from palmar.runtime.worker import Inline
from palmar.sim import tasks, truth
from palmar.sim.draws import Worlds
from palmar.sim.experts import Expert
from palmar.sim.params import Randomization
from palmar.sim.reality import check_world
from palmar.sim.scenario import check_seed
from palmar.sim.world import World
from palmar.types import STILL, Episode

TRIES = 3  # for each episode asked for, before giving up
EXECUTE = 4
"""Actions carried out of each chunk of a learner that drives."""
TAIL = 6  # frames kept after success, so that a policy learns what "done" looks like and to stay there
NOISES = (
    0.0,
    0.004,
    0.010,
)  # standard deviation on the expert's motion [m], drawn for each episode (DART, Laskey 2017)


@dataclass(frozen=True)
class CollectConfig:
    """What to collect. Seeds count up from `seed`; the tasks take turns. robot: one of `palmar.robots`; tasks: names,
    or "all" that fit it and are not extra (`sim.task`).

    driver: "expert", or a checkpoint that drives while the expert labels every step (DAgger); beta: share of DAgger episodes
    that the expert drives all the same. extents: also record boxes and turns of the target and the goal (`sim.truth`).
    correct: "expert" drives from `patience` seconds on where the driver is not done by then (as a person would who corrects
    it): what is driven is recorded, with who drove in the column `intervention`, and only episodes that were corrected and
    succeed are kept. detector: file of a failure detector (`palmar detect`), by whose alarms the expert takes over and gives back
    instead. world: sim, twin or twin:SEED. physics: also record contacts, mass, friction and the world's parameters
    (`sim.privileged`). images: False records no pictures, nor what the truth says of them. labeler: "expert", or a policy that
    says what should have been done, such as a teacher.
    """

    episodes: Count = 100
    tasks: tuple[str, ...] = tasks.ALL
    seed: Seed = 0
    randomization: Worlds = field(default_factory=lambda: Randomization(COLLECTED))
    noises: tuple[float, ...] = NOISES
    driver: str = "expert"
    beta: Share = 0.0
    timeout: Seconds = 12.0
    extents: bool = False
    robot: str = "arm7"
    correct: str = ""
    patience: Seconds = 5.0
    detector: str = ""
    world: str = "sim"
    physics: bool = False
    images: bool = True
    labeler: str = "expert"

    def __post_init__(self) -> None:
        check_ranges(self)
        check_world(self.world)
        if self.correct not in ("", "expert"):
            raise UnknownName("who corrects", self.correct, ["expert"])
        if self.correct and (self.driver == "expert" or self.beta):
            raise BadValue(
                f"driver is '{self.driver}' with beta {self.beta:g}, and there is somebody to correct it; expected a policy that "
                "drives alone. Next: --driver shipped, and no --beta"
            )
        if self.labeler != "expert" and self.correct:
            raise BadValue(
                f"labeler is '{self.labeler}', and what is recorded is what was driven while somebody corrects. Next: no --correct"
            )
        if self.physics and self.world != "sim":
            raise BadValue(f"world is '{self.world}', whose physics nobody is told. Next: world sim, or physics=False")
        if self.detector and not self.correct:
            raise BadValue(
                f"detector is '{self.detector}', and nobody takes over on its alarms. Next: --correct expert, or no --detector"
            )
        object.__setattr__(self, "tasks", tasks.chosen(self.tasks, self.robot))
        check_seed(self.seed, self.episodes)


@dataclass(frozen=True)
class Collected:
    """What came of it. tried counts every rollout, saved the episodes written; a failed demonstration is not saved.

    there: episodes that a resumed set held before. short: how many are still missing when the tries ran out. tries: {task:
    (saved, tried)}.
    """

    root: Path
    tried: int
    saved: int
    frames: int
    there: int = 0
    short: int = 0
    tries: Mapping[str, tuple[int, int]] = field(default_factory=dict)


def collect(
    out: str | Path, config: CollectConfig, processes: Processes = None, resume: bool = False, progress: bool = True
) -> Collected:
    """Record until the set holds `config.episodes`. Each is on the disk before the next is counted; Ctrl-C keeps them all.

    resume: what is there counts, and seeds go on after the largest of it. Gives up after three tries for each missing
    episode (see `Collected.short`). Raises what `check_policy` does when the driver is not there.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    check_driver(config.driver)
    check_driver(config.labeler)
    if config.detector:
        from palmar.models.checkpoint import fingerprint

        Detector.load(config.detector).check_policy(fingerprint(config.driver), config.driver)
    robot = seeing(robot_named(config.robot), config.images)
    tried = saved = frames = 0
    tries: dict[str, tuple[int, int]] = {}
    columns = (
        TextColumn("collect"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False),
    )
    told = truth.names(robot, config.extents, config.physics)
    writer = DatasetWriter(
        out, robot, int(robot.policy_rate), told, resume=resume, pix_fmt="yuv444p", interventions=bool(config.correct)
    )
    with writer, Progress(*columns) if progress else nullcontext() as bar:
        there, seed = already(writer, config.seed, still=False)
        origin = Origin(writer.root, "demonstrations", there, config.world, config.randomization)
        wanted = max(0, config.episodes - there)
        jobs = ((config, seed + i) for i in range(TRIES * wanted))
        shown = bar.add_task("collect", total=config.episodes, completed=there, note="") if bar else None
        for episode in spread(record, Loaded, jobs, processes):
            tried += 1
            good, n = tries.get(episode.task, (0, 0))
            tries[episode.task] = good, n + 1
            if not episode.success and (config.driver == "expert" or config.correct):
                continue
            if config.correct and not any(s.intervention for s in episode.steps):
                continue
            writer.add(episode)
            origin.note()
            saved, frames = saved + 1, frames + len(episode.steps)
            tries[episode.task] = good + 1, n + 1
            if bar and shown is not None:
                bar.update(shown, completed=there + saved, note=f"{frames} frames · {tried - saved} failed")
            if saved >= wanted:
                break
    return Collected(Path(out), tried, saved, frames, there, wanted - saved, tries)


def already(writer: DatasetWriter, seed: int, still: bool) -> tuple[int, int]:
    """(episodes of this kind in the set, first seed that none of them used and not below `seed`)."""
    extras = read_extras(writer.root)
    mine = [row for i in range(len(writer)) if ((row := extras.get(i, {})).get("source") == STILL) == still]
    used = [int(row["seed"]) for row in mine if row.get("seed") is not None]
    return len(mine), max([seed, *(s + 1 for s in used)])


def check_driver(driver: str) -> None:
    """Raises what `check_policy` does, in the words of a driver, when there is none."""
    if driver == "expert":
        return
    try:
        check_policy(driver)
    except BadFile as error:
        if checkpoint_of(driver).exists() or driver.partition(":")[0] in ADAPTERS:
            raise
        raise BadFile(
            f"no checkpoint at '{driver}' to drive. Next: driver 'expert' (the script), 'shipped', or a folder that palmar "
            "train wrote"
        ) from error


def record(loaded: Loaded, job: tuple[CollectConfig, int]) -> Episode:
    """One episode, from its seed alone, in a world of `loaded`.

    Raises `BadValue` for a driver that does not fit the robot, and what the driver raises.
    """
    config, seed = job
    world = loaded.world(
        config.world, config.robot, extents=config.extents, physics=config.physics, images=config.images
    )
    rng = np.random.default_rng([17, seed])
    scenario = tasks.sample(config.tasks[seed % len(config.tasks)], "seen", seed)
    noise = float(config.noises[rng.integers(len(config.noises))])
    expert_drives = config.driver == "expert" or rng.uniform() < config.beta
    obs = world.load(scenario, config.randomization.sample(rng), seed)
    driver: Policy = Expert(world, noise, seed) if expert_drives else _policy(loaded, config.driver, world)
    steps = 1 if expert_drives else min(driver.interface.horizon, EXECUTE)
    if config.correct and config.detector:
        every, detector = EXECUTE * driver.interface.dt, Detector.load(config.detector)
        detector.check_every(every)
        driver = Intervening(Confident(driver, detector), Expert(world), OnAlarm(), every=every)
    elif config.correct:
        driver = Intervening(driver, Expert(world), After(config.patience))
    driver.reset()
    labeler = Expert(world) if config.labeler == "expert" else _policy(loaded, config.labeler, world)
    recorder = EpisodeRecorder(None if config.correct else labeler, world.success)
    extra = 0

    def enough(*_: object) -> bool:
        nonlocal extra
        extra += world.success()
        return extra > TAIL

    end = rollout(
        world, Inline(driver), obs, chunks=ChunkBuffer(execute=steps),
        subscribers=[recorder], until=enough, timeout=config.timeout,
    ).check()  # fmt: skip
    source = "expert" if expert_drives else "corrected" if config.correct else LABELLED
    return recorder.episode(scenario.task, seed, source, extra > 0, end.reason, end.duration)


def _policy(loaded: Loaded, name: str, world: World) -> Policy:
    """A policy that drives or labels in this world, told what the world tells. Raises `BadValue` where that is too little."""
    policy = loaded.policy(name)
    if isinstance(policy, Privileged):
        policy = policy.among(world.truth_names)
    return fitted_here(policy, world.embodiment).policy
