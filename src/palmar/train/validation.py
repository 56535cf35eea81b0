"""What averaged weights do on held-out episodes, and how much of a run's time that may take."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from palmar.models.base import Model
from palmar.train import lora
from palmar.train.job import Job
from palmar.train.losses import Judged
from palmar.train.robot_data import RobotData
from palmar.train.run import TrainConfig
from palmar.train.web import retention

MOST, FEWEST = 512, 32  # frames a look takes where the time allows, and below which there are fewer looks instead
COST = 2.0  # training samples that one frame costs: a forward pass and a chunk, against a forward and a backward pass


@dataclass(frozen=True)
class Plan:
    """looks: how many times over the run, the last at its end. frames: in each, evenly picked and always the same ones."""

    looks: int
    frames: int


def planned(samples: float, config: TrainConfig, held_out: int) -> Plan:
    """A plan within `config.validate_share` of the time that a run over `samples` training samples takes. It depends on
    nothing but the arguments, so a run of a given number of steps validates alike whenever it is resumed."""
    share = config.validate_share
    frames = samples * share / (1 - share) / COST
    most = min(MOST, held_out)
    looks = max(1, min(config.validate, int(frames / max(1, min(FEWEST, most)))))
    return Plan(looks, max(1, min(most, int(frames / looks))))


def affordable(frames: int, spent: float, cost: float, elapsed: float, share: float) -> int:
    """How many of `frames` the last look may take, at `cost` seconds each, when looks took `spent` of `elapsed` seconds."""
    if cost <= 0:
        return frames
    left = (share * elapsed - spent) / (cost * (1 - share))
    return max(1, min(frames, int(left)))


def held_out(job: Job) -> int:
    """Frames there are to validate on."""
    return sum(len(robot_data.feed.validation) for robot_data in job.robots_data)


def validate(job: Job, frames: int = MOST) -> dict[str, float]:
    """Averaged weights on held-out episodes: val_action [normalised], val_pixel [px], val_done (balanced accuracy), and
    what `losses.Judged` sees, each the mean over the robots that have it, with val_action/ROBOT for each of several;
    val_language, the share of held-out questions answered, where there are any. frames: of all robots together."""
    run = job.run
    model: Any = run.model
    live = [p.detach().clone() for p in run.parts]
    try:
        with torch.no_grad():
            for part, mean in zip(run.parts, run.average, strict=True):
                part.copy_(mean)
            model.eval()
            with lora.Folded(model):
                asked = [
                    (n, robot_data)
                    for n, robot_data in zip(job.names, job.robots_data, strict=True)
                    if len(robot_data.feed.validation)
                ]
                each = max(1, frames // max(1, len(asked)))
                said = {name: look(robot_data, job.view(robot_data), run.config, each) for name, robot_data in asked}
                names = dict.fromkeys(k for one in said.values() for k in one)
                row = {k: float(np.mean([one[k] for one in said.values() if k in one])) for k in names}
                if len(job.robots_data) > 1:
                    row |= {
                        f"val_action/{name}": one["val_action"] for name, one in said.items() if "val_action" in one
                    }
                if job.web is not None:
                    seen, limit = job.view(job.robots_data[0]), max(1, frames // 4)
                    row["val_language"] = retention(seen, job.web, job.interface, run.config.device, limit)
    finally:
        with torch.no_grad():
            for part, mine in zip(run.parts, live, strict=True):
                part.copy_(mine)
    return row


def score(job: Job, row: Mapping[str, float]) -> float:
    """What early stopping looks at, less is better: the mean val_action of the robots that the stage trains."""
    own = [row[key] for i in job.trained() if (key := f"val_action/{job.names[i]}") in row]
    return float(np.mean(own)) if own else row.get("val_action", row.get("val_loss", math.nan))


def look(robot_data: RobotData, seen: Model, config: TrainConfig, frames: int) -> dict[str, float]:
    """What `validate` says of one robot's held-out frames, evenly picked, no more at once than a training step takes. seen:
    the model as that robot sees it."""
    feed = robot_data.feed
    picked = feed.validation[np.linspace(0, len(feed.validation) - 1, min(frames, len(feed.validation))).astype(int)]
    judged, sums = Judged.empty(), dict[str, float]()
    logits, truth = [], []
    size = min(128, math.ceil(config.batch_size / config.accumulate))
    for start in range(0, len(picked), size):
        raw = feed.plain(picked[start : start + size])
        batch = feed.tensors(raw, robot_data.state, robot_data.action, robot_data.importance, device=config.device)
        for name, value in seen.loss(batch)[1].items():
            sums[name] = sums.get(name, 0.0) + float(value) * len(batch.state)
        out = seen.act(batch)
        judged.add(out, batch, raw["family"])
        if out.done is not None:
            logits.append(out.done)
            truth.append(batch.done)
    row = {f"val_{k}": v / len(picked) for k, v in sums.items() if k != "done"} | judged.row(feed.families)
    if not logits:
        return row
    yes, was = torch.cat(logits) > 0, torch.cat(truth)
    hits = [float((yes[was == v] == v).float().mean()) for v in (True, False) if (was == v).any()]
    return row | {"val_done": sum(hits) / len(hits)}
