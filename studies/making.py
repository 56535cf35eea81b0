"""What the studies make and keep in a folder: demonstrations, policies, test results. What is there is taken, not made again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from study import Size, outcomes, slug

from palmar.data.reader import Dataset
from palmar.data.webdata import WebData
from palmar.eval.results import Results
from palmar.eval.rows import read_rows
from palmar.lab.collect import CollectConfig, collect
from palmar.lab.questions import WebConfig, make
from palmar.lab.suite import EvalConfig, evaluated
from palmar.models import checkpoint
from palmar.models.presets import preset
from palmar.ranges import Processes
from palmar.sim.draws import Worlds
from palmar.sim.instructions import paraphrases
from palmar.sim.params import NO_RANDOMIZATION
from palmar.train.feed import Feed
from palmar.train.loop import TrainConfig, TrainRequest, train
from palmar.train.track import METRICS

NANO = "palmar-nano"  # so that minutes of one core are enough


@dataclass(frozen=True)
class Plan:
    """Of a study that trains every arm several times. demos: of each training, made anew. trainings: in full; 2 in quick. first:
    seed of the first demonstration; training k has those from `first` + 20 000 k. tables: seed of the first test table."""

    tasks: tuple[str, ...]
    demos: int
    trainings: int = 3
    first: int = 820_000
    tables: int = 2000

    def settings(self) -> dict[str, Any]:
        return asdict(self) | {"preset": NANO}


@dataclass(frozen=True)
class Lab:
    """out: folder of one study. shared: of data that several studies use. size: what an arm gets."""

    out: Path
    shared: Path
    size: Size
    processes: Processes = None
    """Who shares the rollouts (`palmar.runtime.pool.spread`); the rows do not depend on it."""

    def __post_init__(self) -> None:
        """At a part of the data a few episodes are done here sooner than a process starts."""
        if self.processes is None and self.size.data < 1:
            object.__setattr__(self, "processes", 1)

    def episodes(self, full: int) -> int:
        """How many of the demonstrations that a study names at this size; at least 4."""
        return max(4, round(self.size.data * full))

    def demos(self, name: str, episodes: int, tasks: Sequence[str], seed: int, worlds: Worlds | None = None) -> Dataset:
        """A data set of the scripted expert. A name means one set: the studies that share it name the same one."""
        config = CollectConfig(self.episodes(episodes), tuple(tasks), seed)
        config = config if worlds is None else replace(config, randomization=worlds)
        return Dataset(collect(self.shared / name, config, self.processes, resume=True).root)

    def web(self) -> WebData:
        """Questions about 500 tables."""
        folder = self.shared / "web"
        return (
            WebData(folder)
            if folder.exists()
            else make(folder, WebConfig(max(20, round(self.size.data * 500))), self.processes)
        )

    def trained(
        self, name: str, data: Sequence[Dataset], model: str = NANO, steps: int = 0,
        config: TrainConfig | None = None, **more: Any,
    ) -> Path:  # fmt: skip
        """A checkpoint. config: of the training; with 8 validations of 8 % of the episodes when not given."""
        print(name)
        config = config or TrainConfig(steps=steps or self.size.steps, batch_size=64, validate=8, validation=0.08)
        where = self.out / name
        request = TrainRequest(preset(model), data, config, embodiment="arm7", paraphrases=paraphrases, **more)
        return train(request, where, resume=True)

    def tested(self, policy: Path, tasks: Sequence[str], timeout: float = 10.0) -> Results:
        """Success on new tables within `timeout` [s]; the expert needs 2 to 8."""
        config = EvalConfig(str(policy), self.size.trials, tuple(tasks), seed=4000, timeout=timeout)
        return evaluated(config, policy / "results.json", policy.name, self.processes)

    def several(
        self, arm: str, worlds: Worlds, tests: Mapping[str, tuple[str, Worlds]], plan: Plan
    ) -> dict[str, dict[str, bool]]:
        """{test: {TRAINING/TABLE: success}} of one arm: trained several times on demonstrations made in `worlds`, and tried in
        each of `tests`, {name: (reality, how its worlds are drawn)}. Tables and seeds are the same for every arm."""
        found: dict[str, dict[str, bool]] = {name: {} for name in tests}
        made = "plain" if worlds == NO_RANDOMIZATION else f"{self.out.name}-{slug(arm)}"
        for k in range(plan.trainings if self.size.data == 1 else 2):
            name = f"{made}-{'-'.join(plan.tasks)}-{plan.demos}-{plan.first}-{k}"
            data = self.demos(name, plan.demos, plan.tasks, plan.first + 20_000 * k, worlds)
            config = TrainConfig(steps=self.size.steps, batch_size=64, validation=0.0, seed=k)
            policy = self.trained(f"{slug(arm)}-{k}", [data], config=config)
            for test, (reality, drawn) in tests.items():
                asked = EvalConfig(
                    str(policy),
                    self.size.trials,
                    plan.tasks,
                    world=reality,
                    seed=plan.tables,
                    randomization=drawn,
                    timeout=10.0,
                )
                results = evaluated(asked, policy / f"{slug(test)}.json", f"{arm} {k}, {test}", self.processes)
                found[test] |= outcomes(results, k)
        return found


def as_many(out: Path, config: CollectConfig, frames: int, processes: Processes = None) -> Dataset:
    """Episodes, at least those of the config, until they hold so many frames."""
    while True:
        data = Dataset(collect(out, config, processes, resume=True, progress=False).root)
        if len(data) >= frames:
            return data
        more = max(1, round((frames - len(data)) * len(data.episodes) / len(data)))
        config = replace(config, episodes=config.episodes + more)


def curve(policy: Path, name: str) -> list[float]:
    """A logged value over the validations of a run."""
    return [r[name] for r in read_rows(policy / METRICS) if r.get(name) is not None]


@torch.no_grad()
def error(policy: Path, data: Dataset) -> float:
    """Mean absolute error of the actions, in the standard deviations of what the policy was trained on."""
    mine = checkpoint.load(policy)
    feed = Feed([data], mine.interface.horizon, validation=0.0, max_tokens=mine.model.config.max_tokens)
    errors = []
    for part in np.array_split(feed.training, max(1, len(feed.training) // 128)):
        batch = feed.tensors(
            feed.plain(part), mine.normalizers["state"], mine.normalizers["action"], np.ones(len(data.action_names))
        )
        errors.append(float(mine.model.loss(batch)[1]["action"]))
    return float(np.mean(errors))
