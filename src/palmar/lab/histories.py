"""What a policy's chunks were in simulated episodes with known ends: a failure detector is fitted on it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np

from palmar.lab.suite import EvalConfig, run
from palmar.lab.worlds import Loaded
from palmar.runtime.confidence.confident import Speed
from palmar.runtime.confidence.learn import Rollouts
from palmar.runtime.confidence.recorded import CHUNK_SIGNALS, rollouts
from palmar.runtime.loop import Subscriber, Tick
from palmar.runtime.pool import spread
from palmar.sim.params import Randomization
from palmar.types import ActionChunk

SPEED = "body speed"
"""Of `Speed`: a signal that is not of the chunks."""
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
        self, policy: str, tasks: Sequence[str], timeout: float, robot: str = "arm7"
    ) -> tuple[list[Job], list[int]]:
        """Every episode, and the condition it is of."""
        found: list[tuple[Job, int]] = []
        for k in range(self.count):
            config = EvalConfig(policy, self.each, tuple(tasks), seed=self.seed, randomization=self.world(k), timeout=timeout,
                                robot=robot)  # fmt: skip
            found += [((config, task, self.seed + i), k) for i in range(self.each) for task in tasks]
        return [job for job, _ in found], [k for _, k in found]


def episode(loaded: Loaded, job: Job) -> tuple[list[ActionChunk], list[float], bool]:
    config, task, seed = job
    seen = Chunks()
    trial = run(loaded, (config, task, "layout", seed), (seen,))
    return seen.chunks, seen.speeds, trial.success


def histories(
    jobs: Sequence[Job], groups: Sequence[int], names: Sequence[str] = (*CHUNK_SIGNALS, "doubt", SPEED),
    processes: int | None = None, progress: bool = True,
) -> Rollouts:  # fmt: skip
    """Play every episode. groups: one an episode, such as its condition; they become the `tasks` of the rollouts. names: signals,
    and `SPEED`; one that the policy never says, such as `doubt`, is left out. So is an episode that ends before its first chunk."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("rollouts"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    found = []
    with Progress(*columns) if progress else nullcontext() as bar:
        shown = bar.add_task("rollouts", total=len(jobs)) if bar else None
        for group, made in zip(groups, spread(episode, Loaded, jobs, processes), strict=True):
            if made[0]:
                found.append((*made, group))
            if bar and shown is not None:
                bar.update(shown, advance=1)
    own = tuple(n for n in names if n != SPEED)
    r = rollouts([f[0] for f in found], [not f[2] for f in found], [f[3] for f in found], own)
    own = tuple(n for i, n in enumerate(own) if np.isfinite(r.values[:, :, i]).any())
    r = r.only(own)
    if SPEED not in names:
        return r
    speeds = np.full((*r.values.shape[:2], 1), np.nan)
    for i, (_, values, _, _) in enumerate(found):
        speeds[i, : len(values), 0] = values
    return Rollouts((*own, SPEED), np.concatenate([r.values, speeds], axis=2), r.lengths, r.failed, r.tasks)
