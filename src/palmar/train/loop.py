"""The training loop: behaviour cloning under a recipe.

for each stage: feed (a thread ahead) → colours → loss → backward → clip → AdamW → EMA → log → checkpoint → validate
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from palmar.console import say
from palmar.data.language import Paraphrases
from palmar.data.split import TRAINED_ON
from palmar.models import checkpoint
from palmar.models.base import Model, ModelConfig
from palmar.train import lora
from palmar.train.feed import Source, ahead, rng_of
from palmar.train.job import Job, Lane, check_shard
from palmar.train.losses import Asked, Descent, Judged, Objective, own_loss
from palmar.train.memory import out_of_memory, too_big
from palmar.train.recipe import Recipe
from palmar.train.resume import STATE, CtrlC, forget_after, refuse_occupied
from palmar.train.run import Run, TrainConfig
from palmar.train.speed import all_threads, bf16_is_fast, keep_memory
from palmar.train.track import METRICS, Watch
from palmar.train.web import ask, retention
from palmar.train.world import World, forked, seed

if TYPE_CHECKING:
    from palmar.data.webdata import WebData

__all__ = ["Run", "TrainConfig", "train"]


def train(
    model: ModelConfig,
    data: Source | Sequence[Source],
    out: str | Path,
    config: TrainConfig,
    *,
    recipe: Recipe | None = None,
    web: WebData | None = None,
    others: Mapping[str, Sequence[Source]] | None = None,
    objective: Objective = own_loss,
    dt: float | None = None,
    embodiment: str = "",
    paraphrases: Paraphrases | None = None,
    init: str | Path | None = None,
    pretrained: str | Path | None = None,
    resume: bool = False,
    progress: bool = True,
    watch: Watch | None = None,
) -> Path:
    """Train `model` on `data` and return the checkpoint folder `out` (averaged weights, config, metrics.jsonl).

    recipe: the stages; one, of everything, when not given. web: questions about pictures, for stages whose mixture has
    some. others: data of other robots that share the model, by their names in it (`VLAConfig.robots`).
    objective: what to minimise, the model's own loss when not given (`train.distill`).
    dt: seconds an action lasts; 1 / data.fps when not given. paraphrases: instruction → other wordings to train on.
    init: checkpoint to start from (fine-tuning; its normalisation is kept). pretrained: folder of published weights for a
    model that stands on a vision-language model (`models.pretrained`). resume: go on from `out` where it stopped;
    on a CPU with `steps` the result is the same bit for bit. watch: called with each logged row.
    Ctrl-C ends after the step at hand: it saves and raises KeyboardInterrupt. Raises `BadValue`, also when the run to resume
    was begun with other settings or data; `BadFile` when `out` holds a checkpoint already, without resume. Under `torchrun`
    every process calls this with the same arguments.
    """
    folder, world = Path(out), World.join(config.device, config.shard)
    world.check(config.batch_size)
    if config.shard:
        check_shard(recipe or Recipe(), objective is own_loss)
    refuse_occupied(folder, resume)
    sets = list(data) if isinstance(data, Sequence) else [data]
    keep_memory()
    before = torch.get_num_threads()
    torch.set_num_threads(config.threads or all_threads())
    going_on = resume and (folder / STATE).exists()
    if going_on and pretrained is not None and (folder / checkpoint.CONFIG).exists():
        model, pretrained = checkpoint.read_config(folder)[0], None  # its own folder holds all it needs
    try:
        with forked(config.device):
            job = Job.start(
                model, sets, config, recipe or Recipe(), web=web, others=others, dt=dt, embodiment=embodiment,
                paraphrases=paraphrases, init=init, pretrained=pretrained, going_on=going_on,
            )  # fmt: skip
            job.world, job.objective = world, objective
            folder.mkdir(parents=True, exist_ok=True)
            if job.took and progress and world.leads:
                say("published weights: {}; the rest begins anew", ", ".join(job.took))
            if going_on:
                job.run.load(folder / STATE, json.loads(json.dumps(job.about)))
            if world.leads:
                forget_after(folder / METRICS, job.run.step)
            if job.run.finished and progress and world.leads:
                say("'{}' is finished already, at step {}: nothing was trained.", folder, job.run.step)
            if not job.run.finished or job.run.best:
                Loop(job, folder, progress and world.leads, watch).go()
    finally:
        torch.set_num_threads(before)
    return folder


class Loop:
    """Steps, rows and files of one run."""

    def __init__(self, job: Job, folder: Path, progress: bool = True, watch: Watch | None = None) -> None:
        self.job, self.folder, self.watch = job, folder, watch
        config = job.run.config
        self.bf16 = config.precision == "bf16" or (
            config.precision == "auto" and (config.device != "cpu" or bf16_is_fast())
        )
        self.bar = Progress(
            TextColumn("train"), BarColumn(), TextColumn("{task.percentage:5.1f} %"), TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", markup=False), disable=not progress, refresh_per_second=2,
        )  # fmt: skip
        self.clock = time.perf_counter
        self.ctrl_c = CtrlC()
        self.waited, self.logged = 0.0, (self.clock(), job.run.step)

    def go(self) -> None:
        """To the end of the last stage, or to Ctrl-C."""
        run = self.job.run
        self.began, self.saved = self.clock() - run.elapsed, run.elapsed
        with self.bar, self.ctrl_c:
            self.shown = self.bar.add_task("train", total=1.0, note="")
            while True:
                self.stage()
                if run.finished:
                    break
                run.advance()
            if run.best:  # with patience the best weights ship, not the last
                run.settle()
                self.save()

    def stage(self) -> None:
        """One stage from where the run is; the mixture changes with it, so the thread ahead starts anew."""
        run, job = self.job.run, self.job
        config, mixture = run.config, run.now.data
        size = job.world.size
        asked = (
            size * round(config.batch_size * mixture.web / size) if mixture is not None and job.web is not None else 0
        )
        descents = [descent_of(job, lane, self.bf16) for lane in job.lanes]
        run.turns = run.turns or dict.fromkeys(job.names, run.step)
        part, turns = (job.world.rank, size), dict(run.turns)

        def make(step: int) -> Asked:  # called for one step after the other
            i = job.lane(step)
            lane, robot = job.lanes[i], job.names[i]
            raw = lane.feed.step(step, config.batch_size - asked, lane.mixture(mixture), part, turns[robot])
            turns[robot] += 1
            raw["lane"] = i
            if not asked:
                return Asked(raw)
            assert job.web is not None
            questions = job.web.draw(asked, rng_of(config.seed, step, 8))[part[0] :: part[1]]
            return Asked(raw, ask(job.web, questions, job.interface))

        last = None if config.steps is None else run.began[0] + run.lengths[run.stage]
        with closing(ahead(make, run.step, last)) as steps:
            while run.stage_progress < 1.0:
                waiting = self.clock()
                given = next(steps)
                self.waited += self.clock() - waiting
                self.step(given, descents[given.raw["lane"]])

    def step(self, given: Asked, descent: Descent) -> None:
        run, job, clock = self.job.run, self.job, self.clock
        config, world, lane = run.config, job.world, job.lanes[given.raw["lane"]]
        # rows of other processes get other noise; one process draws what it always drew
        noise = rng_of(config.seed, run.step, 4 if world.rank == 0 else 100 + world.rank)
        seed(int(noise.integers(2**62)), config.device)
        batch = lane.batch(given.raw, config, run.step)
        if not run.now.actions:
            batch = replace(batch, pad=torch.ones_like(batch.pad))
        if given.questions is not None:
            given = Asked(given.raw, given.questions.to(config.device))
        run.model.train()
        try:
            parts = descent(job.view(lane), batch, given)
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
            raise too_big(job, batch, given, descent, error) from error
        norm = run.update(world)
        run.step += 1
        run.turns[job.names[given.raw["lane"]]] += 1
        run.elapsed = world.agree(clock() - self.began, config.device)
        values = {name: float(value) for name, value in parts.items()}
        end = f"/{lane.robot}" if lane.robot else ""  # unlike heads have unlike losses
        for name, value in (world.means(values, config.device) | {"gradient": norm}).items():
            total, count = run.sums.get(f"{name}{end}", (0.0, 0))
            run.sums[f"{name}{end}"] = (total + value, count + 1)
        self.bar.update(self.shown, completed=run.progress)
        ended = run.finished
        if run.step % config.log_every == 0 or ended:
            self.report()
        if int(run.progress * config.validate) > run.validated or ended:
            run.validated = int(run.progress * config.validate)
            self.validate()
        stop = bool(world.agree(float(self.ctrl_c.asked), config.device))  # all at the same step
        if run.elapsed - self.saved > 60 * config.checkpoint_minutes or ended or stop:
            self.save()
            self.saved = run.elapsed
        if stop:
            raise KeyboardInterrupt

    def report(self) -> None:
        run, now = self.job.run, self.clock()
        took, count = now - self.logged[0], run.step - self.logged[1]
        row = {"step": float(run.step), "minutes": run.elapsed / 60, "lr": run.rate()}
        if len(run.recipe.stages) > 1:
            row["stage"] = float(run.stage)
        row |= {name: total / n for name, (total, n) in run.sums.items()}
        row |= {"samples_per_s": count * run.config.batch_size / took, "loader_share": self.waited / took}
        shown = [
            (n, row[n], d) for n, d in (("loss", 3), ("action", 3), ("pixel", 1)) if math.isfinite(row.get(n, math.nan))
        ]
        note = " · ".join(f"{n} {v:.{d}f}" for n, v, d in shown)
        stage = f"{run.now.name} · " if len(run.recipe.stages) > 1 else ""
        self.bar.update(self.shown, note=f"{stage}{note} · {row['samples_per_s']:.0f} samples/s")
        self.waited, self.logged, run.sums = 0.0, (now, run.step), {}
        self.log(row)

    def validate(self) -> None:
        """Only rank 0 looks (all of them when the weights are sharded), so that everybody hears one verdict."""
        run, world = self.job.run, self.job.world
        if any(len(lane.feed.validation) for lane in self.job.lanes):
            row = validate(self.job) if world.leads or run.config.shard else {}
            if row:
                self.log({"step": float(run.step), "minutes": run.elapsed / 60} | row)
            if run.config.patience:
                run.judge(world.agree(score(self.job, row), run.config.device))
        self.logged = (self.clock(), run.step) if not run.sums else self.logged

    def log(self, row: dict[str, float]) -> None:
        if not self.job.world.leads:
            return
        with (self.folder / METRICS).open("a") as f:
            f.write(json.dumps({k: (round(v, 6) if math.isfinite(v) else None) for k, v in row.items()}) + "\n")
        if self.watch is not None:
            try:
                self.watch(row)
            except KeyboardInterrupt:  # as Ctrl-C: after this step
                self.ctrl_c.asked = True

    def save(self) -> None:
        job, run = self.job, self.job.run
        leads = job.world.leads
        if not leads and not run.config.shard:
            return
        info = {
            "step": run.step,
            "minutes": round(run.elapsed / 60, 2),
            "train": asdict(run.config),
            "frames": sum(len(lane.feed.training) for lane in job.lanes),
            "recipe": run.recipe.name,
            TRAINED_ON: list(job.trained_on),
        }
        run.save(self.folder / STATE, job.about, leads)  # first: a checkpoint without it could not be gone on from
        weights = run.averaged(leads)
        if leads:
            checkpoint.save(self.folder, weights, job.model_config, job.interface, job.normalizers, info)


def descent_of(job: Job, lane: Lane, bf16: bool) -> Descent:
    """How a step of this stage goes down on a lane's batches."""
    mixture = lane.mixture(job.run.now.data)
    weights = [mixture.loss_weight(f) for f in lane.feed.families] if mixture is not None and mixture.losses else []
    return Descent(job.objective, weights, job.run.config.accumulate, bf16)


def validate(job: Job) -> dict[str, float]:
    """Averaged weights on held-out episodes: val_action [normalised], val_pixel [px], val_done (balanced accuracy), and
    what `losses.Judged` sees, each the mean over the robots that have it, with val_action/ROBOT for each of several;
    val_language, the share of held-out questions answered, where there are any."""
    run = job.run
    model: Any = run.model
    live = [p.detach().clone() for p in run.parts]
    try:
        with torch.no_grad():
            for part, mean in zip(run.parts, run.average, strict=True):
                part.copy_(mean)
            model.eval()
            with lora.Folded(model):
                asked = [(n, lane) for n, lane in zip(job.names, job.lanes, strict=True) if len(lane.feed.validation)]
                said = {name: look(lane, job.view(lane), run.config.device) for name, lane in asked}
                names = dict.fromkeys(k for one in said.values() for k in one)
                row = {k: float(np.mean([one[k] for one in said.values() if k in one])) for k in names}
                if len(job.lanes) > 1:
                    row |= {
                        f"val_action/{name}": one["val_action"] for name, one in said.items() if "val_action" in one
                    }
                if job.web is not None:
                    seen = job.view(job.lanes[0])
                    row["val_language"] = retention(seen, job.web, job.interface, run.config.device)
    finally:
        with torch.no_grad():
            for part, mine in zip(run.parts, live, strict=True):
                part.copy_(mine)
    return row


def score(job: Job, row: Mapping[str, float]) -> float:
    """What early stopping looks at, less is better: the mean val_action of the robots that the stage trains."""
    own = [row[key] for i in job.trained() if (key := f"val_action/{job.names[i]}") in row]
    return float(np.mean(own)) if own else row.get("val_action", row.get("val_loss", math.nan))


def look(lane: Lane, seen: Model, device: str, frames: int = 512) -> dict[str, float]:
    """What `validate` says of one robot's held-out frames, evenly picked. seen: the model as that robot sees it."""
    feed = lane.feed
    picked = feed.validation[np.linspace(0, len(feed.validation) - 1, min(frames, len(feed.validation))).astype(int)]
    judged, sums = Judged.empty(), dict[str, float]()
    logits, truth = [], []
    for start in range(0, len(picked), 128):
        raw = feed.plain(picked[start : start + 128])
        batch = feed.tensors(raw, lane.state, lane.action, lane.importance, device=device)
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
