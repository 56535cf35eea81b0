"""What changes while training: the model, the average of its weights, the optimiser, the stage, the step, the time."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import torch
from torch import Tensor, nn

from palmar.data.augment import Augment
from palmar.errors import BadFile, BadValue, UnknownName
from palmar.models.tensors import read_tensors, write_tensors
from palmar.ranges import BATCH, COUNT, MINUTES, PATIENCE, RATE, Range, Seed, check_ranges
from palmar.train import groups, lora, sharded
from palmar.train.recipe import Recipe, Stage
from palmar.train.resume import check_same
from palmar.train.schedule import Schedule
from palmar.train.world import World, forked, seed


def chunk_length(fps: float) -> int:
    """Actions of a chunk that lasts 1.6 s at `fps` actions a second, 4 … 64."""
    return max(4, min(64, round(1.6 * fps)))


@dataclass(frozen=True)
class TrainConfig:
    """How long, how fast, and what is kept.

    steps or minutes: exactly one; with minutes the learning rate follows the clock. ema: decay of the averaged weights,
    which are the ones that ship. validation: share of episodes held out. precision: auto, fp32 or bf16. threads: 0 for all
    cores, with minutes for those that nobody else keeps busy. checkpoint_minutes: between saves. validate: how many times
    over the run at most, in no more than validate_share of its time (`train.validation`). patience: a stage ends after that
    many validations without a better one, and its best weights are kept; 0 for never. accumulate: backward passes a step,
    each with a part of the batch. smoothing: label smoothing of heads that classify. shard: cut the weights, with their
    gradients, averages and moments, over the processes (FSDP2) instead of keeping all of them in each.
    """

    steps: Annotated[int | None, COUNT] = None
    minutes: Annotated[float | None, MINUTES] = None
    horizon: Annotated[int, Range(1, 1024)] = 16
    batch_size: Annotated[int, BATCH] = 128
    lr: Annotated[float, RATE] = 1e-3
    weight_decay: float = 0.01
    warmup: float = 0.03
    clip: float = 1.0
    ema: float = 0.999
    seed: Seed = 0
    validation: float = 0.03
    validate: int = 12
    validate_share: Annotated[float, Range(0, 1, above=True, below=True)] = 0.1
    augment: Augment | None = field(default_factory=Augment)
    success_only: bool = False
    precision: str = "auto"
    threads: int = 0
    checkpoint_minutes: float = 5.0
    log_every: int = 20
    accumulate: Annotated[int, BATCH] = 1
    patience: Annotated[int, PATIENCE] = 0
    smoothing: float = 0.0
    shard: bool = False
    device: str = "cpu"

    def __post_init__(self) -> None:
        if (self.steps is None) == (self.minutes is None):
            raise BadValue(
                f"steps is {self.steps}, minutes is {self.minutes}; expected exactly one of them. "
                "Next: --steps or --minutes"
            )
        check_ranges(self)
        if self.precision not in ("auto", "fp32", "bf16"):
            raise BadValue(f"precision is '{self.precision}'; expected auto, fp32 or bf16. Next: --precision auto")
        if not 1 <= self.accumulate <= self.batch_size:
            raise BadValue(
                f"accumulate is {self.accumulate}; expected 1 … batch size ({self.batch_size}). Next: --accumulate 1"
            )
        if not 0 <= self.smoothing < 1:
            raise BadValue(f"smoothing is {self.smoothing}; expected 0 … below 1. Next: --smoothing 0")


class Run:
    """A model on its way through a recipe.

    `weights` are those that the present stage trains, `parts` what this process holds of them: the weights themselves, or
    some rows of each when they are sharded. `average` and `best` are laid out as the parts. sums: of what the next row of
    the log will say, by name: total, and over how many steps. turns: how many steps each robot has had. validated: how many
    of the planned validations (`plan`: how many, of how many frames) are behind it. looked: the seconds they took, look_cost:
    what a frame took in the last.
    """

    def __init__(self, model: nn.Module, config: TrainConfig, recipe: Recipe | None = None) -> None:
        self.model, self.config, self.recipe = model, config, recipe or Recipe()
        self.lengths = self.recipe.lengths(config.steps) if config.steps is not None else ()
        self.built = {n for n, p in model.named_parameters() if p.requires_grad}
        self.losses = getattr(getattr(model, "config", None), "weights", None)
        for stage in self.recipe.stages:
            self._check(stage)
        self.step, self.elapsed = 0, 0.0
        self.sums: dict[str, tuple[float, int]] = {}
        self.turns: dict[str, int] = {}
        self.validated = 0
        self.plan: tuple[int, int] | None = None
        self.looked, self.look_cost = 0.0, 0.0
        self._open(0)

    # ------------------------------------------------------------------------------------------------ where it is

    @property
    def now(self) -> Stage:
        return self.recipe.stages[self.stage]

    @property
    def last(self) -> bool:
        return self.stage == len(self.recipe.stages) - 1

    @property
    def stage_progress(self) -> float:
        """0 … 1, beyond it when the clock overran."""
        if self.stopped:
            return 1.0
        if self.config.steps is not None:
            return (self.step - self.began[0]) / self.lengths[self.stage]
        assert self.config.minutes is not None
        return (self.elapsed - self.began[1]) / (60 * self.config.minutes * self.recipe.shares[self.stage])

    @property
    def finished(self) -> bool:
        return self.last and self.stage_progress >= 1.0

    @property
    def progress(self) -> float:
        """Of the whole run."""
        if self.finished:
            return 1.0
        return sum(self.recipe.shares[: self.stage]) + self.recipe.shares[self.stage] * min(self.stage_progress, 1.0)

    def rate(self) -> float:
        """The learning rate now."""
        schedule = self.now.schedule or Schedule(warmup=self.config.warmup)
        return (self.now.lr or self.config.lr) * schedule.factor(self.stage_progress)

    # ------------------------------------------------------------------------------------------------ stages

    def advance(self) -> None:
        """The next stage, from the averaged weights (the best, with patience) of this one."""
        self.settle()
        lora.merge(self.model)
        self._open(self.stage + 1)

    def settle(self) -> None:
        """With patience: the best averaged weights become the average. The live weights become the average."""
        if self.best:
            self.average = [b.clone() for b in self.best]
        with torch.no_grad():
            for part, mean in zip(self.parts, self.average, strict=True):
                part.copy_(mean)

    def _open(self, stage: int) -> None:
        """Set up what `stage` trains; the weights stay."""
        self.stage, self.began, self.stopped = stage, (self.step, self.elapsed), False
        self.best: list[Tensor] = []
        self.best_score, self.worse = math.inf, 0
        now = self.now
        if now.lora is not None:
            with forked("cpu"):
                seed(self.config.seed * 1000 + stage)
                lora.inject(self.model, now.lora)
        trained = self._trained(now)
        for name, p in self.model.named_parameters():
            p.requires_grad_(name in trained)
        if self.losses is not None:
            config: Any = self.model.config
            self.model.config = replace(config, weights=replace(self.losses, **dict(now.losses)))
        self.names = [n for n, _ in self.model.named_parameters() if n in trained]
        self.weights = [p for n, p in self.model.named_parameters() if n in trained]
        self.parts = [sharded.local_part(w) for w in self.weights]
        self.average = [p.detach().clone() for p in self.parts]
        decayed = [p for p in self.parts if p.ndim > 1]
        plain = [p for p in self.parts if p.ndim <= 1]
        sets = [{"params": decayed, "weight_decay": self.config.weight_decay}, {"params": plain, "weight_decay": 0.0}]
        rate = now.lr or self.config.lr
        self.optimizer = torch.optim.AdamW([s for s in sets if s["params"]], lr=rate, betas=(0.9, 0.99), fused=True)

    def _trained(self, stage: Stage) -> set[str]:
        if stage.train is None and stage.lora is None:
            frozen = groups.select(self.model, stage.freeze) if stage.freeze else set()
            if left := self.built - frozen:
                return left
        return groups.select(self.model, stage.train or ("@lora" if stage.lora else "*",), stage.freeze)

    def _check(self, stage: Stage) -> None:
        """A misspelt name in the last stage is told now and not after hours."""
        patterns = [p for p in (*(stage.train or ()), *stage.freeze) if p != "@lora" or stage.lora is None]
        if patterns:
            groups.select(self.model, patterns)
        known = [f.name for f in fields(self.losses)] if is_dataclass(self.losses) else []
        for name, _ in stage.losses:
            if name not in known:
                raise UnknownName(
                    f"loss weight of stage '{stage.name}'", name, known or ["none: this model has one loss"]
                )

    # ------------------------------------------------------------------------------------------------ steps

    def update(self, world: World | None = None) -> float:
        """One optimiser step from the gradients at hand; the norm of the gradient before clipping."""
        if world is not None:  # FSDP has averaged those of its weights already
            world.mean(w.grad for w in self.weights if not sharded.is_sharded(w))
        norm = self._clip()
        if not torch.isfinite(norm):  # skip the step rather than poison every weight
            self.forget()
            return float("nan")
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate()
        self.optimizer.step()
        self.forget()
        taken = self.step - self.began[0]
        decay = min(self.config.ema, (1 + taken) / (10 + taken))
        with torch.no_grad():
            torch._foreach_lerp_(self.average, [p.detach() for p in self.parts], 1 - decay)
        return float(norm)

    def _clip(self) -> Tensor:
        if not self.config.shard:
            return nn.utils.clip_grad_norm_(self.weights, self.config.clip, foreach=True)
        for weight, part in zip(self.weights, self.parts, strict=True):
            part.grad = None if weight.grad is None else sharded.local_part(weight.grad)
        return sharded.clip(self.weights, self.parts, self.config.clip)

    def forget(self) -> None:
        """The gradients."""
        self.optimizer.zero_grad(set_to_none=True)
        for weight in self.weights:
            weight.grad = None

    def judge(self, score: float) -> None:
        """Early stopping: remember the best averaged weights, and end the stage after `patience` that were not better."""
        if self.config.patience == 0 or not math.isfinite(score):
            return
        if score < self.best_score:
            self.best, self.best_score, self.worse = [a.clone() for a in self.average], score, 0
        else:
            self.worse += 1
            self.stopped = self.worse >= self.config.patience

    def averaged(self, leads: bool = True) -> dict[str, Tensor]:
        """What ships: everything the model's state holds, averaged where it is trained, adapters merged.

        Of sharded weights all processes must call it, and only the one that leads gets them, on the CPU."""
        mean = {id(w): a for w, a in zip(self.weights, self.average, strict=True)}
        out: dict[str, Tensor] = {}
        seen: set[int] = set()
        for name, value in self.model.state_dict(keep_vars=True).items():
            tensor = mean.get(id(value), sharded.local_part(value)).detach()
            if self.config.shard:
                tensor = sharded.whole(tensor, value)
                if leads:
                    out[name] = tensor.cpu()
                continue
            out[name] = tensor.clone() if id(value) in seen else tensor  # tied weights are stored twice
            seen.add(id(value))
        return lora.merged(out, self.model) if leads else out

    # ------------------------------------------------------------------------------------------------ on disk

    def save(self, path: Path, about: Mapping[str, Any], leads: bool = True) -> None:
        """Of sharded weights all processes must call it; the one that leads writes."""
        entries: dict[str, sharded.Entry] = {
            f"weight/{n}": (sharded.local_part(p), p) for n, p in self.model.named_parameters()
        }
        entries |= {f"buffer/{n}": (b, b) for n, b in self._buffers().items()}
        for name, weight, part, mean in zip(self.names, self.weights, self.parts, self.average, strict=True):
            entries[f"average/{name}"] = mean, weight
            for key, value in self.optimizer.state.get(part, {}).items():
                entries[f"{key}/{name}"] = value, weight if value.ndim else value
        entries |= {f"best/{n}": (b, w) for n, b, w in zip(self.names, self.best, self.weights, strict=False)}
        meta = {
            "step": self.step, "elapsed": self.elapsed, "about": dict(about), "stage": self.stage, "began": self.began,
            "best": self.best_score if self.best else None, "worse": self.worse, "stopped": self.stopped,
            "sums": self.sums, "turns": self.turns, "validated": (self.validated, self.config.validate), "plan": self.plan,
            "looked": (self.looked, self.look_cost),
        }  # fmt: skip
        said = {"format": "palmar-train", "run": json.dumps(meta)}
        if self.config.shard:
            sharded.write(path, entries, said, leads)
        else:
            write_tensors(path, {name: part for name, (part, _) in entries.items()}, said)

    def load(self, path: Path, about: Mapping[str, Any]) -> None:
        """Raises `BadValue` when the run there was begun with other settings or data."""
        tensors: Mapping[str, Tensor] | sharded.Stored
        if self.config.shard:
            tensors = sharded.Stored(path)
            meta = tensors.meta
        else:
            tensors, meta = read_tensors(path)
        if meta.get("format") != "palmar-train":
            raise BadFile(f"'{path}' is not the state of a training run. Next: remove it or train into another folder")
        run = json.loads(meta["run"])
        check_same(path, run["about"], about)
        if (stage := run.get("stage", 0)) > 0:
            lora.merge(self.model)  # the first stage's adapters, which change nothing yet
            self._open(stage)
        with torch.no_grad():
            for name, weight in self.model.named_parameters():
                sharded.local_part(weight).copy_(sharded.part_of(tensors[f"weight/{name}"], weight))
            for name, buffer in self._buffers().items():
                buffer.copy_(tensors[f"buffer/{name}"])
            for name, weight, part, mean in zip(self.names, self.weights, self.parts, self.average, strict=True):
                mean.copy_(sharded.part_of(tensors[f"average/{name}"], weight))
                if f"step/{name}" in tensors:
                    kept = {"step": tensors[f"step/{name}"].to(part.device)}
                    for k in ("exp_avg", "exp_avg_sq"):  # in the memory layout of the weight
                        kept[k] = torch.empty_like(part).copy_(sharded.part_of(tensors[f"{k}/{name}"], weight))
                    self.optimizer.state[part] = kept
            if run.get("best") is not None:
                found = zip(self.names, self.weights, self.parts, strict=True)
                self.best = [sharded.part_of(tensors[f"best/{n}"], w).to(p.device) for n, w, p in found]
        self.step, self.elapsed = run["step"], run["elapsed"]
        self.began = tuple(run.get("began", (0, 0.0)))
        self.best_score = math.inf if run.get("best") is None else run["best"]
        self.worse, self.stopped = run.get("worse", 0), run.get("stopped", False)
        self.sums = {name: (total, count) for name, (total, count) in run.get("sums", {}).items()}
        self.turns = dict(run.get("turns", {}))
        done, of = run.get("validated", (0, 0))
        same = of == self.config.validate and run.get("plan")
        self.plan = tuple(run["plan"]) if same else None
        self.validated = done if same else int(self.progress * self.config.validate)
        self.looked, self.look_cost = run.get("looked", (0.0, 0.0))

    def _buffers(self) -> dict[str, Tensor]:
        """Those that are part of the model's state, such as the statistics of a batch norm."""
        kept = self.model.state_dict(keep_vars=True)
        return {n: b for n, b in self.model.named_buffers() if n in kept}
