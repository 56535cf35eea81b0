"""Learning: what there is to train, training, and what is wrong."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from rich.table import Column, Table
from tyro.conf import Positional

from palmar.cli.shared import Answer, configured, tidy, writable, writable_folder
from palmar.console import Screen, styled
from palmar.errors import BadFile, BadValue, UnknownName, need
from palmar.ranges import BATCH, COUNT, MINUTES, PATIENCE, RATE, TEMPERATURE, Count, Range, Seed
from palmar.train.track import Tracker
from palmar.types import STILL

if TYPE_CHECKING:
    from palmar.data.webdata import WebData
    from palmar.models.base import ModelConfig
    from palmar.pictures import ImageSize
    from palmar.train.recipe import Recipe

WIDE = 120  # columns of a terminal from which `palmar models` shows everything


@dataclass(frozen=True)
class Models:
    """The systems palmar builds: how large at each size, how large as published, what they see and how they act."""

    json: bool = False
    """One JSON object with every figure on stdout."""

    def run(self, console: Screen) -> Answer:
        from palmar.models.catalogue import listed, short

        with console.status("counting parameters …"):
            rows = listed()
        wide = console.width >= WIDE
        names = ("preset", "tiny", "paper", "published", "head", *(("cameras", "recipe") if wide else ()))
        table = Table(*(Column(name, no_wrap=name not in ("head", "cameras", "recipe")) for name in names))
        for row in rows:
            counts = (short(n) for n in (row.tiny, row.paper, row.published))
            table.add_row(row.system, *counts, row.head, *((row.cameras, row.recipe) if wide else ()))
        console.print(table)
        hidden = "" if wide else f"cameras and recipes: --json, or a window of {WIDE} columns. "
        console.print(f"trained parameters. {hidden}Next: palmar train NAME-tiny --data FOLDER")
        return 0, {"models": [asdict(r) for r in rows]}


@dataclass(frozen=True)
class Convert:
    """Tensors of a PyTorch file (.pth, .pt, .bin, .ckpt) as safetensors. The file, a pickle, is read and not run."""

    file: Positional[Path]
    """The PyTorch file."""
    out: Positional[Path]
    """The safetensors file to write."""
    prefix: str = ""
    """Only names that begin with this, without it: "model." of a file that holds an optimiser too."""
    force: bool = False
    """Replace the file when it is there."""
    json: bool = False
    """One JSON object with every figure on stdout."""

    def run(self, console: Screen) -> Answer:
        from palmar.models.pth import read_pth
        from palmar.models.tensors import write_tensors

        if self.out.suffix != ".safetensors":
            raise BadValue(f"out is '{self.out}'; expected a name that ends in .safetensors")
        writable(self.out, self.force)
        found = read_pth(self.file)
        taken = {k.removeprefix(self.prefix): v for k, v in found.items() if k.startswith(self.prefix)}
        if not taken:
            there = ", ".join(_beginnings(found)[:8]) or "nothing: it holds no tensor"
            raise BadValue(f"no tensor in '{self.file}' begins with '{self.prefix}'; they begin with {there}")
        write_tensors(self.out, taken, {"format": "pt"})
        size = sum(v.numel() for v in taken.values())
        begin = _beginnings(taken)
        more = f"; they begin with {', '.join(begin)} (--prefix takes some, without it)" if 1 < len(begin) < 9 else ""
        console.print(styled("{} tensors, {} numbers in [bold]{}[/]{}", len(taken), f"{size:,}", self.out, more))
        return 0, {"file": str(self.out), "tensors": len(taken), "numbers": size}


def _beginnings(names: Iterable[str]) -> list[str]:
    return sorted({n.partition(".")[0] + "." for n in names})


@dataclass(frozen=True, kw_only=True)
class Train:
    """Train a policy on one or more data sets, from scratch or from a checkpoint, under a recipe."""

    preset: Positional[str | None] = None
    """Which model; `palmar models` lists them. Not given: the model of --init, or palmar-tiny."""
    data: tuple[Path, ...]
    """Folders of LeRobot data sets, v2.0 to v3."""
    keys: tuple[str, ...] = ()
    """Which features are what in all of them, where that is not clear: state=FEATURE action=FEATURE images.CAMERA=FEATURE."""
    out: Path = Path("runs/palmar")
    """Folder of the checkpoint; metrics.jsonl lies beside it."""
    recipe: str = "one-stage"
    """one-stage, three-stage (align, co-fine-tune, specialise), unfreeze (head, top layers, all), head, lora, co-train or video."""
    minutes: Annotated[float | None, MINUTES] = None
    """Train this long (the learning rate follows the clock)."""
    steps: Annotated[int | None, COUNT] = None
    """Or this many steps (reproducible bit for bit)."""
    batch_size: Annotated[int, BATCH] = 128
    image_size: Annotated[tuple[int, ...], Range(16, 8192, unit="px")] = ()
    """Resize the pictures to HEIGHT WIDTH, or to one number for the short side. Not given: what suits the preset (96 for the
    tiny ones), never larger than recorded. The policy then acts on pictures of the recorded size."""
    horizon: Annotated[int | None, Range(1, 1024)] = None
    """Actions of a chunk. Not given: as many as last 1.6 s at the set's rate (16 at 10 Hz, 48 at 30 Hz), at most 64, or what the
    run to go on with, or --init, has."""
    validation: Annotated[float, Range(0, 1, below=True)] = 0.03
    """Share of the episodes that is held out, for validation and for `palmar eval --data`. Of a small set take more: 0.3."""
    lr: Annotated[float, RATE] = 1e-3
    """Highest learning rate, of stages that have none of their own."""
    temperature: Annotated[float | None, TEMPERATURE] = None
    """Sample tasks by size^(1/T): 1 every frame alike, inf every task alike. Not given: every frame once an epoch."""
    weights: Annotated[tuple[float, ...], Range(0, 10**6)] = ()
    """How much each data set counts, in the order of --data."""
    web: Path | None = None
    """Folder of questions about pictures (palmar questions), for models that answer."""
    others: tuple[str, ...] = ()
    """ROBOT=FOLDER: data of another robot that shares the model, by its name there, such as arm7-joints of bcz-tiny."""
    good_only: bool = False
    """Leave out the demonstrations that `palmar inspect --quality` would: too idle, jerky, long, short or stuck."""
    track: tuple[Tracker, ...] = ()
    """Who hears of every logged row beside metrics.jsonl."""
    web_share: Annotated[float, Range(0, 1, below=True)] = 0.5
    """Share of a batch that is questions, with --web."""
    accumulate: Annotated[int, BATCH] = 1
    """Backward passes a step, each with a part of the batch: less memory."""
    patience: Annotated[int, PATIENCE] = 0
    """Stop a stage after that many validations without a better one, and keep the best; 0 for never."""
    device: str = "cpu"
    """cpu, cuda or cuda:N."""
    shard: bool = False
    """Cut the weights over the processes of torchrun, instead of keeping all of them in each: for models that do not fit."""
    init: str | None = None
    """Start from the weights of this checkpoint (a folder, or "shipped")."""
    pretrained: Path | None = None
    """Start from published weights of a vision-language model (a local folder of `transformers`, or of OpenVLA)."""
    resume: bool = False
    """Go on where a run in --out stopped."""
    seed: Seed = 0
    json: bool = False
    """One JSON object with every figure on stdout."""

    def run(self, console: Screen) -> Answer:
        from palmar.train.speed import wait_quietly

        wait_quietly()
        from palmar.policy import shipped
        from palmar.sim.instructions import paraphrases
        from palmar.train import recipe as recipes
        from palmar.train.loop import TrainConfig, TrainRequest, train
        from palmar.train.track import EXTRA, lazily, together

        plan = recipes.recipe(self.recipe, self.web_share if self.web else None)
        if self.temperature is not None:
            plan = recipes.with_data(plan, temperature=self.temperature)
        if self.weights:
            plan = recipes.with_data(plan, sources=self.weights)
        init = shipped() if self.init == "shipped" else None if self.init is None else Path(self.init)
        if self.pretrained is not None and init is not None:
            raise BadValue("--init and --pretrained both say where to begin. Next: one of them")
        self._check_data()
        self._check_out()
        model = self._model(init)
        web = self._questions(model, plan)
        size = self._image_size(model, init)
        sets = [self._read(self.data[0], console, size)]
        size = getattr(sets[0], "image_sizes", size)
        sets += [self._read(d, console, size) for d in self.data[1:]]
        for text in dict.fromkeys(resized for data in sets for resized in _resizes(data)):
            console.print(text)
        if all(e.source == STILL for data in sets for e in data.episodes) and any(data.episodes for data in sets):
            raise BadValue(
                "--data holds only stills, in which nobody acts. Next: demonstrations beside them: --data DEMOS STILLS"
            )
        others = self._others(model, console, size)
        minutes, steps = self.minutes, self.steps
        if minutes is None and steps is None:
            if plan.epochs:
                steps = max(1, round(plan.epochs * sum(len(s) for s in sets) / max(1, self.batch_size)))
            else:
                minutes = 40.0
        horizon = self._horizon(init, float(getattr(sets[0], "fps", 0.0) or 10.0))
        config = configured(TrainConfig, self, steps=steps, minutes=minutes, horizon=horizon)
        if config.steps is not None:
            plan.lengths(config.steps)  # too few are told now, and not after the pictures are read
        last: dict[str, float] = {}
        for name in self.track:
            need(name, EXTRA)
        watch = together(last.update, lazily(self.track, self.out))
        with tidy(self.out):
            request = TrainRequest(
                model, sets, config, plan, web, others, embodiment=sets[0].robot_type or "", paraphrases=paraphrases,
                init=init, pretrained=self.pretrained,
            )  # fmt: skip
            out = train(request, self.out, resume=self.resume, progress=not self.json, watch=watch)
        if "validation_share" in last:
            share, took, frames = f"{last['validation_share']:.1%}", f"{last['minutes']:.1f}", last["validation_frames"]
            console.print(f"validation took {share} of {took} minutes ({frames:.0f} frames a time)")
        console.print(
            styled("checkpoint in [bold]{}[/]. Next: palmar eval --policy {}; palmar doctor {}", out, out, out)
        )
        return 0, {"checkpoint": str(out), **last}

    def _horizon(self, init: Path | None, fps: float) -> int:
        """As asked for; else that of the run to go on with, or of --init; else what lasts as long as the field's chunks."""
        from palmar.models import checkpoint
        from palmar.train.run import chunk_length

        if self.horizon is not None:
            return self.horizon
        before = self.out if self.resume and (self.out / checkpoint.CONFIG).exists() else init
        return chunk_length(fps) if before is None else checkpoint.read_config(before)[1].horizon

    def _check_data(self) -> None:
        """Raise `BadValue` when --data lacks a folder or took the preset for one, or has not as many as --weights."""
        from palmar.models.presets import PRESETS

        if not self.data:
            raise BadValue("--data names no folder. Next: palmar train --data FOLDER, which palmar collect records")
        for taken in (d for d in self.data if str(d) in PRESETS and not d.exists()):
            rest = " ".join(str(d) for d in self.data if d != taken) or "FOLDER"
            raise BadValue(
                f"'{taken}' is a preset, and --data took it for a folder. Next: put the preset before --data: "
                f"palmar train {taken} --data {rest}"
            )
        if len(self.weights) not in (0, len(self.data)):
            raise BadValue(
                f"--weights has {len(self.weights)} numbers for {len(self.data)} data sets; expected one for each"
            )

    def _check_out(self) -> None:
        """Raise `BadFile` when --out holds anything that is not the run to go on with: a run has its folder to itself."""
        from palmar.train.resume import STATE
        from palmar.train.track import METRICS

        if os.environ.get("RANK", "0") != "0":
            return  # under torchrun one process looks, and the others would see its traces
        writable_folder(self.out)
        there = {p.name for p in self.out.iterdir()} if self.out.is_dir() else set()
        if self.resume and not there & {STATE, METRICS}:
            raise BadFile(
                f"no run in '{self.out}' to go on with. Next: leave --resume out, or name the folder of a run"
            )
        if there and not self.resume:
            what = "holds a run" if there & {STATE, METRICS} else f"is not empty ({', '.join(sorted(there)[:3])})"
            way = ", or --resume to go on" if there & {STATE, METRICS} else ""
            raise BadFile(f"'{self.out}' {what}. Next: another --out{way}")

    def _questions(self, model: ModelConfig, plan: Recipe) -> WebData | None:
        """The questions of --web. Raises `BadValue` when the model cannot answer them, or the recipe lacks them."""
        from palmar.data.webdata import WebData
        from palmar.models.catalogue import speakers, speaks

        wants = next((s for s in plan.stages if s.data is not None and s.data.web > 0), None)
        if self.web is None:
            if wants is None:
                return None
            raise BadValue(
                f"stage '{wants.name}' of recipe '{self.recipe}' learns from questions, and none are given. "
                "Next: palmar questions --out FOLDER, then --web FOLDER"
            )
        if not speaks(model):
            raise BadValue(
                f"'{getattr(model, 'preset', model)}' cannot answer questions, so it cannot learn from --web '{self.web}'. "
                f"Next: leave --web out, or a preset that can: {', '.join(speakers())}"
            )
        return WebData(self.web)

    def _image_size(self, model: ModelConfig, init: Path | None) -> ImageSize:
        """As asked for; else that of the run to go on with, or of --init; else what suits the preset. Raises `BadValue`."""
        from palmar.models import checkpoint
        from palmar.models.presets import picture_side

        if len(self.image_size) > 2:
            given = " ".join(map(str, self.image_size))
            raise BadValue(f"--image-size is {given}; expected HEIGHT WIDTH, or one number for the short side")
        if self.image_size:
            return self.image_size[0] if len(self.image_size) == 1 else (self.image_size[0], self.image_size[1])
        before = self.out if self.resume and (self.out / checkpoint.CONFIG).exists() else init
        if before is not None:
            return checkpoint.read_config(before)[1].cameras
        return picture_side(getattr(model, "preset", ""))

    def _read(self, folder: Path, console: Screen, size: ImageSize) -> Any:
        """A data set, without its bad demonstrations where these are not wanted."""
        from palmar.data.quality import Kept, assess
        from palmar.data.reader import Dataset
        from palmar.data.roles import parse_keys

        data = Dataset(folder, image_size=size, keys=parse_keys(self.keys))
        if not self.good_only:
            return data
        quality = assess(data)
        console.print(f"{folder}: {quality}")
        return Kept(data, quality.kept)

    def _others(self, model: ModelConfig, console: Screen, size: ImageSize) -> dict[str, list[Any]]:
        """Data of --others, in joint space where the robot takes joint positions and the data hold something else."""
        from palmar.data.joints import JointTargets
        from palmar.robots.arm7 import arm7

        found: dict[str, list[Any]] = {}
        robots = {r.name: r for r in getattr(model, "robots", ())}
        for pair in self.others:
            name, equals, folder = pair.partition("=")
            if not equals or not name or not folder:
                raise BadValue(f"--others is '{pair}'; expected ROBOT=FOLDER, such as arm7-joints=data/mine")
            if name not in robots:
                raise UnknownName("robot of this model", name, robots or ["none: take a model such as bcz-tiny"])
            data = self._read(Path(folder), console, size)
            body = arm7("channels")
            turned = tuple(robots[name].action_names) == body.action_names != tuple(data.action_names)
            found.setdefault(name, []).append(JointTargets(data, body) if turned else data)
        return found

    def _model(self, init: Path | None) -> ModelConfig:
        """What to train. Raises `BadValue` when the preset is not that of --init."""
        from palmar.models.checkpoint import read_config
        from palmar.models.presets import preset

        if init is None:
            return preset(self.preset or "palmar-tiny")
        theirs = read_config(init)[0]
        if self.preset is None:
            return theirs
        if (ours := preset(self.preset)).preset != theirs.preset:
            raise BadValue(
                f"--init '{init}' is a '{theirs.preset}', asked for '{ours.preset}'. Next: leave the preset out to train a "
                f"'{theirs.preset}', or leave --init out to begin a '{ours.preset}' anew"
            )
        return theirs


def _resizes(data: Any) -> list[str]:
    """What happens to the pictures of a data set, in words; nothing where they stay as recorded."""
    before, after = getattr(data, "recorded_sizes", {}), getattr(data, "image_sizes", {})
    return [
        f"camera {c}: pictures of {before[c][0]}×{before[c][1]} px are resized to {h}×{w} (--image-size), as when acting"
        for c, (h, w) in after.items()
        if before.get(c, (h, w)) != (h, w)
    ]


@dataclass(frozen=True)
class Doctor:
    """What is wrong with a training run, from the numbers it logged, and what to do about it. Exit code 0: healthy."""

    run_folder: Positional[Path]
    """Folder that palmar train writes, or wrote."""
    follow: Annotated[float, Range(0, 86_400, unit="seconds")] = 0.0
    """Look again every so many seconds, until Ctrl-C."""
    json: bool = False
    """One JSON object with every figure on stdout."""

    def run(self, console: Screen) -> Answer:
        import time

        from palmar.eval.rows import cut_short, read_rows
        from palmar.train.doctor import examine, too_short
        from palmar.train.track import METRICS

        path = self.run_folder / METRICS
        if cut := not self.follow and cut_short(path):
            console.print(f"the last line of '{path}' was cut short; the whole ones before it were read")
        said: list[str] = []
        while True:
            found, short = examine(self.run_folder), too_short(rows := read_rows(path))
            if found and not said and short:
                console.print(styled("[yellow]a short run[/]: what follows may be a beginning and no fault"))
            for f in found:
                if f.symptom not in said:
                    console.print(styled("[bold red]{}[/]: {}. [bold]Fix:[/] {}", f.symptom, f.said, f.fix))
                    said.append(f.symptom)
            if not self.follow:
                break
            time.sleep(self.follow)
        if short and not found:  # a symptom needs no more rows
            console.print(styled("[yellow]too short to judge[/]: {}", short))
        elif not found:
            console.print(styled("[green]healthy[/]: nothing wrong in {} rows of '{}'", len(rows), path))
        return int(bool(found or short)), {"findings": [asdict(f) for f in found], "too_short": short, "cut": cut}


@dataclass(frozen=True)
class Preflight:
    """Do a data set, a checkpoint and a robot fit one another: names, units, cameras, rate, chunks, statistics?"""

    data: Path | None = None
    """Folder of a LeRobot data set, v2.0 to v3."""
    keys: tuple[str, ...] = ()
    """Which of its features are what, where that is not clear: state=FEATURE action=FEATURE images.CAMERA=FEATURE."""
    policy: str | None = None
    """Checkpoint folder, or "shipped"."""
    robot: str | None = None
    """A robot palmar knows, such as arm7."""
    execute: Count = 4
    """Actions that are to be carried out of each chunk."""
    json: bool = False
    """One JSON object with every figure on stdout."""

    def run(self, console: Screen) -> Answer:
        from palmar.data.reader import Dataset
        from palmar.data.roles import parse_keys
        from palmar.policy import shipped
        from palmar.train.preflight import preflight

        data = None if self.data is None else Dataset(self.data, cache=False, keys=parse_keys(self.keys))
        checks = preflight(data, shipped() if self.policy == "shipped" else self.policy, self.robot, self.execute)
        table = Table("", "check", "found", "next")
        for c in checks:
            table.add_row(styled("[green]ok" if c.ok else "[red]no"), c.name, c.found, "" if c.ok else c.next)
        console.print(table)
        bad = sum(not c.ok for c in checks)
        passed = f"{len(checks) - bad} of {len(checks)} checks passed"
        console.print(styled("{}{}", passed, styled(", [red]{} did not", bad) if bad else ""))
        return int(bad > 0), {"passed": bad == 0, "checks": [asdict(c) for c in checks]}
