"""The training loop: behaviour cloning under a recipe.

for each stage: feed (a thread ahead) → colours → loss → backward → clip → AdamW → EMA → log → checkpoint → validate
"""

from __future__ import annotations

import dataclasses
import json
import math
import time
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from palmar.console import say
from palmar.data.split import TRAINED_ON
from palmar.data.trained_tasks import TASKS
from palmar.models import checkpoint
from palmar.train.checks import check_shard
from palmar.train.feed import ahead, rng_of
from palmar.train.job import Job
from palmar.train.losses import Asked, Descent, own_loss
from palmar.train.memory import out_of_memory, too_big
from palmar.train.request import TrainRequest
from palmar.train.resume import STATE, CtrlC, forget_after, refuse_occupied
from palmar.train.robot_data import RobotData
from palmar.train.run import Run, TrainConfig
from palmar.train.speed import all_threads, bf16_is_fast, free_threads, keep_memory
from palmar.train.track import METRICS, Watch
from palmar.train.validation import Plan, affordable, held_out, planned, score, validate
from palmar.train.web import ask
from palmar.train.world import World, forked, seed

if TYPE_CHECKING:
    pass

__all__ = ["Run", "TrainConfig", "TrainRequest", "train"]

MEASURED = 5  # steps after which a run that follows the clock knows how fast it is


def train(
    request: TrainRequest,
    out: str | Path,
    *,
    resume: bool = False,
    progress: bool = True,
    watch: Watch | None = None,
) -> Path:
    """Train what is requested and return the checkpoint folder `out` (averaged weights, config, metrics.jsonl).

    resume: go on from `out` where it stopped; on a CPU with `steps` the result is the same bit for bit. watch: called with
    each logged row. `train.prepare` makes a request of the options of `palmar train`.
    Ctrl-C ends after the step at hand: it saves and raises KeyboardInterrupt. Raises `BadValue`, also when the run to resume
    was begun with other settings or data; `BadFile` when `out` holds a checkpoint already, without resume. Under `torchrun`
    every process calls this with the same arguments.
    """
    config = request.config
    folder, world = Path(out), World.join(config.device, config.shard)
    world.check(config.batch_size)
    if config.shard:
        check_shard(request.recipe, request.objective is own_loss)
    refuse_occupied(folder, resume)
    keep_memory()
    before = torch.get_num_threads()
    torch.set_num_threads(config.threads or (all_threads() if config.minutes is None else free_threads()))
    going_on = resume and (folder / STATE).exists()
    if going_on and request.pretrained is not None and (folder / checkpoint.CONFIG).exists():
        request = replace(request, model=checkpoint.read_config(folder)[0], pretrained=None)  # it holds all it needs
    try:
        with forked(config.device):
            job = Job.start(request, folder if going_on else None)
            job.world = world
            folder.mkdir(parents=True, exist_ok=True)
            for note in job.notes if progress and world.leads else ():
                say("{}", note)
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
        self.lines, self.told = progress and not self.bar.console.is_terminal, int(20 * job.run.progress)
        self.clock = time.perf_counter
        self.ctrl_c = CtrlC()
        self.waited, self.paused, self.logged = 0.0, 0.0, (self.clock(), job.run.step)

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
        descents = [descent_of(job, robot_data, self.bf16) for robot_data in job.robots_data]
        run.turns = run.turns or dict.fromkeys(job.names, run.step)
        part, turns = (job.world.rank, size), dict(run.turns)

        def make(step: int) -> Asked:  # called for one step after the other
            i = job.robot_of(step)
            robot_data, robot = job.robots_data[i], job.names[i]
            raw = robot_data.feed.step(step, config.batch_size - asked, robot_data.mixture(mixture), part, turns[robot])
            turns[robot] += 1
            raw["robot"] = i
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
                self.step(given, descents[given.raw["robot"]])

    def step(self, given: Asked, descent: Descent) -> None:
        run, job, clock = self.job.run, self.job, self.clock
        config, world, robot_data = run.config, job.world, job.robots_data[given.raw["robot"]]
        # rows of other processes get other noise; one process draws what it always drew
        noise = rng_of(config.seed, run.step, 4 if world.rank == 0 else 100 + world.rank)
        seed(int(noise.integers(2**62)), config.device)
        batch = robot_data.batch(given.raw, config, run.step)
        if not run.now.actions:
            batch = replace(batch, pad=torch.ones_like(batch.pad))
        if given.questions is not None:
            given = Asked(given.raw, given.questions.to(config.device))
        run.model.train()
        try:
            parts = descent(job.view(robot_data), batch, given)
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
            raise too_big(job, batch, given, descent, error) from error
        norm = run.update(world)
        run.step += 1
        run.turns[job.names[given.raw["robot"]]] += 1
        run.elapsed = world.agree(clock() - self.began, config.device)
        values = {name: float(value) for name, value in parts.items()}
        end = f"/{robot_data.robot}" if robot_data.robot else ""  # unlike heads have unlike losses
        for name, value in (world.means(values, config.device) | {"gradient": norm}).items():
            total, count = run.sums.get(f"{name}{end}", (0.0, 0))
            run.sums[f"{name}{end}"] = (total + value, count + 1)
        self.bar.update(self.shown, completed=run.progress)
        ended = run.finished
        if run.step % config.log_every == 0 or ended:
            self.report()
        if self.due(ended):
            self.validate(ended)
        stop = bool(world.agree(float(self.ctrl_c.asked), config.device))  # all at the same step
        if run.elapsed - self.saved > 60 * config.checkpoint_minutes or ended or stop:
            self.save()
            self.saved = run.elapsed
        if stop:
            raise KeyboardInterrupt

    def report(self) -> None:
        run, now = self.job.run, self.clock()
        took, count = now - self.logged[0] - self.paused, run.step - self.logged[1]
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
        note = f"{stage}{note} · {row['samples_per_s']:.{0 if row['samples_per_s'] >= 10 else 1}f} samples/s"
        self.bar.update(self.shown, note=note)
        if self.lines and int(20 * run.progress) > self.told:
            self.told = int(20 * run.progress)
            say("{}", f"train {run.progress:4.0%} · step {run.step} · {run.elapsed / 60:.1f} min · {note}")
        self.waited, self.paused, self.logged, run.sums = 0.0, 0.0, (now, run.step), {}
        self.log(row)

    def due(self, ended: bool) -> bool:
        """Whether to validate after this step: `plan.looks` times over the run, and at its end. A run that follows the clock
        leaves a look out where it would take more than its share of the time."""
        run = self.job.run
        if self.plan is None or ended:
            return ended
        passed = int(run.progress * self.plan.looks)
        if passed <= run.validated:
            return False
        if run.config.steps is None and run.look_cost:
            took, whole = self.plan.frames * run.look_cost, 60 * (run.config.minutes or 0.0)
            share = run.config.validate_share
            if run.looked + took > share * run.elapsed or run.looked + 2 * took > share * whole:
                return False
        run.validated = passed
        return True

    @property
    def plan(self) -> Plan | None:
        """None until a run that follows the clock knows how fast it is."""
        run, config = self.job.run, self.job.run.config
        if run.plan is None:
            if config.steps is not None:
                samples = float(config.steps * config.batch_size)
            elif run.step >= MEASURED or run.progress >= 0.05:
                paced = run.step * config.batch_size / max(run.elapsed, 1e-9)
                samples = paced * 60 * (config.minutes or 0.0) * (1 - config.validate_share)
            else:
                return None
            samples = self.job.world.agree(samples, config.device)
            run.plan = dataclasses.astuple(planned(samples, config, held_out(self.job)))
        return Plan(*run.plan)

    def validate(self, ended: bool) -> None:
        """Only rank 0 looks (all of them when the weights are sharded), so that everybody hears one verdict. The time it
        takes is part of the run's."""
        run, world, config = self.job.run, self.job.world, self.job.run.config
        if held_out(self.job):
            frames = self.plan.frames if self.plan is not None else 1
            if ended and config.steps is None:
                spent = run.looked, run.look_cost, run.elapsed
                frames = affordable(frames, *spent, config.validate_share)
                frames = int(world.agree(float(frames), config.device))
            began = self.clock()
            row = validate(self.job, frames) if world.leads or config.shard else {}
            took = world.agree(self.clock() - began, config.device)
            self.paused += took
            run.looked, run.look_cost = run.looked + took, took / frames
            run.elapsed = world.agree(self.clock() - self.began, config.device)
            if row:
                timing = {"validation_share": run.looked / run.elapsed, "validation_frames": float(frames)}
                self.log({"step": float(run.step), "minutes": run.elapsed / 60} | row | timing)
            if config.patience:
                run.judge(world.agree(score(self.job, row), config.device))

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
            "frames": sum(len(robot_data.feed.training) for robot_data in job.robots_data),
            "recipe": run.recipe.name,
            TRAINED_ON: list(job.trained_on),
            TASKS: list(job.trained_tasks),
        }
        run.save(self.folder / STATE, job.about, leads)  # first: a checkpoint without it could not be gone on from
        weights = run.averaged(leads)
        if leads:
            checkpoint.save(self.folder, weights, job.model_config, job.interface, job.normalizers, info)


def descent_of(job: Job, robot_data: RobotData, bf16: bool) -> Descent:
    """How a step of this stage goes down on a robot's batches."""
    mixture = robot_data.mixture(job.run.now.data)
    weights = (
        [mixture.loss_weight(f) for f in robot_data.feed.families] if mixture is not None and mixture.losses else []
    )
    return Descent(job.objective, weights, job.run.config.accumulate, bf16, job.world)
