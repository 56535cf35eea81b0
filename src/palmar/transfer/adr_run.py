"""Automatic domain randomisation in simulation: how boundary episodes are run, and how a policy is trained on in the present
ranges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from palmar.errors import BadValue
from palmar.lab.suite import EvalConfig, run
from palmar.lab.worlds import Loaded
from palmar.policy import checkpoint_of
from palmar.ranges import Count, Processes, Seconds, Seed, check_ranges
from palmar.runtime.pool import spread
from palmar.sim import tasks
from palmar.sim.params import Randomization
from palmar.transfer.adr import AdrConfig, AdrState, Boundary, Evaluate, Train, worlds


@dataclass(frozen=True)
class Trials:
    """What a boundary episode is. tasks take turns. tables: seed of the first table; each episode has its own. execute: actions
    carried out of each chunk."""

    robot: str = "arm7"
    tasks: tuple[str, ...] = tasks.ALL
    timeout: Seconds = 10.0
    execute: Count = 4
    tables: Seed = 620_000

    def __post_init__(self) -> None:
        check_ranges(self)
        object.__setattr__(self, "tasks", tasks.chosen(self.tasks, self.robot))

    def config(self, policy: str, boundary: Boundary) -> EvalConfig:
        here = Randomization(0.0, centre=boundary.params)
        return EvalConfig(
            policy, 1, self.tasks, randomization=here, seed=self.tables + boundary.number, timeout=self.timeout,
            execute=self.execute, robot=self.robot,
        )  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"tasks": list(self.tasks)}


def in_simulation(trials: Trials, processes: Processes = None, own: type[Loaded] = Loaded) -> Evaluate:
    """Runs boundary episodes with `lab.suite.run`. own: what a process loads its worlds and policies with."""

    def evaluate(ran: Sequence[Boundary], policy: str) -> list[bool]:
        jobs = [
            (trials.config(policy, b), trials.tasks[b.number % len(trials.tasks)], "layout", trials.tables + b.number)
            for b in ran
        ]
        return [t.success for t in spread(run, own, jobs, processes)]  # type: ignore[arg-type]

    return evaluate


@dataclass(frozen=True)
class Rounds:
    """How a policy is trained on. folder: of the rounds: data-NN (demonstrations of the expert in the ranges) and round-NN
    (checkpoints). demonstrations: of each round. steps: of the optimiser; every round trains on the data of all rounds so
    far. seed: of the first table."""

    folder: Path
    demonstrations: Count = 40
    steps: Count = 200
    batch_size: Count = 64
    lr: float = 3e-4
    seed: Seed = 320_000

    def __post_init__(self) -> None:
        check_ranges(self)
        if not self.lr > 0:
            raise BadValue(f"lr is {self.lr}; expected above 0. Next: 3e-4")

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"folder": str(self.folder)}


def training(rounds: Rounds, config: AdrConfig, trials: Trials, processes: Processes = None) -> Train:
    """Collects demonstrations in the ranges of a state, then goes on from its policy. Interrupted, it goes on with what
    is there."""

    def train_on(state: AdrState) -> str:
        from palmar.lab.collect import CollectConfig, collect
        from palmar.train.loop import train
        from palmar.train.prepare import TrainSettings, prepare

        number = len([p for p in rounds.folder.glob("round-*") if p.name < f"round-{state.iteration:05d}"]) + 1
        data = rounds.folder / f"data-{state.iteration:05d}"
        first = rounds.seed + (number - 1) * 10 * rounds.demonstrations
        made = CollectConfig(
            rounds.demonstrations,
            trials.tasks,
            first,
            worlds(config, state),
            robot=trials.robot,
            timeout=trials.timeout,
        )
        collect(data, made, processes, resume=True, progress=False)
        there = sorted(p for p in rounds.folder.glob("data-*") if p <= data)
        settings = TrainSettings(
            data=tuple(there), init=str(checkpoint_of(state.policy)), steps=rounds.steps, batch_size=rounds.batch_size,
            lr=rounds.lr, seed=number, validation=0.0,
        )  # fmt: skip
        out = rounds.folder / f"round-{state.iteration:05d}"
        return str(train(prepare(settings), out, resume=True, progress=False))

    return train_on
