"""What a policy's chunks were in simulated episodes with known ends: a failure detector is fitted on it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np

from palmar.lab.suite import EvalConfig, run
from palmar.lab.worlds import Loaded
from palmar.ranges import COLLECTED, Processes
from palmar.runtime.confidence.confident import Speed
from palmar.runtime.confidence.distance import DISTANCE, Gaussian
from palmar.runtime.confidence.learn import Rollouts
from palmar.runtime.confidence.recorded import CHUNK_SIGNALS, rollouts
from palmar.runtime.loop import Subscriber, Tick
from palmar.runtime.pool import spread
from palmar.sim.draws import Worlds
from palmar.sim.params import Randomization
from palmar.types import ActionChunk

SPEED = "body speed"
"""Of `Speed`: a signal that is not of the chunks."""
FAMILIAR = 545_000
"""First seed of the tables that show what is familiar."""
Job = tuple[EvalConfig, str, int]
"""An episode: its settings, its task, the seed of its table."""


class Chunks(Subscriber):
    """The chunks of an episode, and how fast the body moved before each (`Speed`)."""

    def __init__(self) -> None:
        self.chunks: list[ActionChunk] = []
        self.speeds: list[float] = []
        self._speed = Speed()

    def on_tick(self, tick: Tick) -> None:
        if tick.new_chunk and tick.chunk is not None:
            self.chunks.append(tick.chunk)
            self.speeds.append(self._speed(tick.observation, tick.chunk))


@dataclass(frozen=True)
class Conditions:
    """Worlds that differ from the one a policy was trained in. Each is drawn once and stays the same for its episodes.

    count: how many. strength: 0 … 2, share of each parameter's range (`Randomization`). seed: of the first table; every condition
    has the same tables. each: tables of each task in each condition.
    """

    count: int = 10
    strength: float = 1.3
    each: int = 12
    seed: int = 530_000

    def world(self, k: int) -> Randomization:
        """The k-th condition."""
        return Randomization(0.0, centre=Randomization(self.strength).sample(np.random.default_rng([83, k])))

    def jobs(
        self, policy: str, tasks: Sequence[str], timeout: float, robot: str = "arm7", execute: int = 4
    ) -> tuple[list[Job], list[int]]:
        """Every episode, and the condition it is of. execute: actions carried out of each chunk."""
        found: list[tuple[Job, int]] = []
        for k in range(self.count):
            config = EvalConfig(policy, self.each, tuple(tasks), seed=self.seed, randomization=self.world(k), timeout=timeout,
                                robot=robot, execute=execute)  # fmt: skip
            found += [((config, task, self.seed + i), k) for i in range(self.each) for task in tasks]
        return [job for job, _ in found], [k for _, k in found]


def episode(loaded: Loaded, job: Job) -> tuple[list[ActionChunk], list[float], bool]:
    config, task, seed = job
    seen = Chunks()
    trial = run(loaded, (config, task, "layout", seed), (seen,))
    return seen.chunks, seen.speeds, trial.success


def histories(
    jobs: Sequence[Job], groups: Sequence[int], names: Sequence[str] = (*CHUNK_SIGNALS, "doubt", SPEED),
    processes: Processes = None, progress: bool = True, familiar: Gaussian | None = None,
) -> Rollouts:  # fmt: skip
    """Play every episode. groups: one an episode, such as its condition; they become the `tasks` of the rollouts. names: signals,
    and `SPEED`; one that the policy never says, such as `doubt`, is left out. So is an episode that ends before its first chunk.
    familiar: with the signal `distance` to it."""
    found = [(*made, group) for made, group in zip(played(jobs, processes, progress), groups, strict=True) if made[0]]
    own = (*(n for n in names if n != SPEED), *([] if familiar is None else [DISTANCE]))
    r = rollouts([f[0] for f in found], [not f[2] for f in found], [f[3] for f in found], own, familiar)
    own = tuple(n for i, n in enumerate(own) if np.isfinite(r.values[:, :, i]).any())
    r = r.only(own)
    if SPEED not in names:
        return r
    speeds = np.full((*r.values.shape[:2], 1), np.nan)
    for i, (_, values, _, _) in enumerate(found):
        speeds[i, : len(values), 0] = values
    return Rollouts((*own, SPEED), np.concatenate([r.values, speeds], axis=2), r.lengths, r.failed, r.tasks)


def familiar_features(
    policy: str, tasks: Sequence[str], timeout: float, robot: str = "arm7", tables: int = 15, processes: Processes = None,
    progress: bool = True, worlds: Sequence[Worlds] = (Randomization(COLLECTED),),
) -> Gaussian | None:  # fmt: skip
    """Of what the policy makes of what it sees where it succeeds: `tables` of each task in each of `worlds`, which are drawn as
    demonstrations are collected in. None for a policy that gives no features, or that never succeeds there."""
    jobs: list[Job] = []
    for world in worlds:
        config = EvalConfig(
            policy, tables, tuple(tasks), seed=FAMILIAR, randomization=world, timeout=timeout, robot=robot
        )  # fmt: skip
        jobs += [(config, task, FAMILIAR + i) for i in range(tables) for task in tasks]
    seen = [
        c.features for chunks, _, success in played(jobs, processes, progress, "familiar") if success for c in chunks
    ]
    features = [f for f in seen if f is not None]
    return Gaussian.fit(np.stack(features)) if len(features) > 1 else None


def played(
    jobs: Sequence[Job], processes: Processes = None, progress: bool = True, note: str = "rollouts"
) -> Iterator[tuple[list[ActionChunk], list[float], bool]]:
    """`episode` of every job, in order."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(note), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns) if progress else nullcontext() as bar:
        shown = bar.add_task(note, total=len(jobs)) if bar else None
        for made in spread(episode, Loaded, jobs, processes):
            yield made
            if bar and shown is not None:
                bar.update(shown, advance=1)
