"""What the studies make and keep in a folder: demonstrations, policies, test results. What is there is taken, not made again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from study import Size

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
from palmar.sim.instructions import paraphrases
from palmar.sim.params import Randomization
from palmar.train.feed import Feed
from palmar.train.loop import TrainConfig, TrainRequest, train
from palmar.train.track import METRICS

NANO = "palmar-nano"  # so that minutes of one core are enough


@dataclass(frozen=True)
class Lab:
    """out: folder of one study. shared: of data that several studies use. size: what an arm gets."""

    out: Path
    shared: Path
    size: Size
    processes: Processes = None
    """Who shares the rollouts (`palmar.runtime.pool.spread`); the rows do not depend on it."""

    def episodes(self, full: int) -> int:
        """How many of the demonstrations that a study names at this size; at least 4."""
        return max(4, round(self.size.data * full))

    def demos(
        self, name: str, episodes: int, tasks: Sequence[str], seed: int, worlds: Randomization | None = None
    ) -> Dataset:
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
