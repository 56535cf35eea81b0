"""Learning: what there is to train, training, and what is wrong."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from rich.table import Column, Table
from tyro.conf import Positional

from palmar.cli.shared import Answer, tidy, writable, writable_folder
from palmar.console import Screen, styled
from palmar.errors import BadFile, BadValue, need
from palmar.ranges import Count, Range
from palmar.train.prepare import TrainSettings, checked, prepare
from palmar.train.track import Tracker

WIDE = 120  # columns of a terminal from which `palmar models` shows everything


@dataclass(frozen=True)
class Models:
    """The systems palmar builds: how large at each size, how large as published, what they see and how they act."""

    name: Positional[str | None] = None
    """One preset, such as act-tiny: what it is built of, and in what it departs from the paper. All systems when not given."""
    json: bool = False
    """One JSON object with every figure on stdout."""

    def run(self, console: Screen) -> Answer:
        from palmar.models.catalogue import listed, short

        if self.name is not None:
            return self._one(self.name, console)
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

    @staticmethod
    def _one(name: str, console: Screen) -> Answer:
        from palmar.models.catalogue import described, short

        found = described(name)
        console.print(styled("[bold]{}[/]  {}", found.preset, found.about))
        beside = f", published {short(found.published)} ({found.source})" if found.published else ""
        console.print(styled("{} trained parameters{}", short(found.parameters), beside))
        for part, value in found.parts.items():
            console.print(styled("[bold]{}[/]  {}", part, value))
        if name.endswith("-tiny"):
            console.print(styled("Next: palmar train {} --data FOLDER", name))
        return 0, asdict(found)


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
            raise BadValue(
                f"out is '{self.out}'; expected a name that ends in .safetensors. "
                "Next: another name, such as weights.safetensors"
            )
        writable(self.out, self.force)
        found = read_pth(self.file)
        taken = {k.removeprefix(self.prefix): v for k, v in found.items() if k.startswith(self.prefix)}
        if not taken:
            there = ", ".join(_beginnings(found)[:8]) or "nothing: it holds no tensor"
            raise BadValue(
                f"no tensor in '{self.file}' begins with '{self.prefix}'; they begin with {there}. "
                "Next: --prefix with one of those, or none"
            )
        write_tensors(self.out, taken, {"format": "pt"})
        size = sum(v.numel() for v in taken.values())
        begin = _beginnings(taken)
        more = f"; they begin with {', '.join(begin)} (--prefix takes some, without it)" if 1 < len(begin) < 9 else ""
        console.print(styled("{} tensors, {} numbers in [bold]{}[/]{}", len(taken), f"{size:,}", self.out, more))
        return 0, {"file": str(self.out), "tensors": len(taken), "numbers": size}


def _beginnings(names: Iterable[str]) -> list[str]:
    return sorted({n.partition(".")[0] + "." for n in names})


@dataclass(frozen=True, kw_only=True)
class Train(TrainSettings):
    """Train a policy on one or more data sets, from scratch or from a checkpoint, under a recipe."""

    preset: Positional[str | None] = None
    """Which model; `palmar models` lists them. Not given: the model of --init, or palmar-tiny."""
    track: tuple[Tracker, ...] = ()
    """Trackers that get every logged row, beside metrics.jsonl."""
    json: bool = False
    """One JSON object with every figure on stdout."""
    only_with: ClassVar = {"web_share": "web"}
    only_without: ClassVar = {
        n: ("correction",)
        for n in (
            "preset", "recipe", "minutes", "image_size", "horizon", "validation", "temperature", "weights", "web",
            "web_share", "others", "good_only", "success_only", "freeze", "frozen_features", "no_objects", "free_words",
            "accumulate", "patience", "device", "shard", "init", "normalizer", "pretrained", "resume", "track",
        )
    }  # fmt: skip

    def run(self, console: Screen) -> Answer:
        from palmar.robots import robots
        from palmar.train.speed import wait_quietly

        wait_quietly()
        if self.correction is not None:
            return self._correct(console)
        from palmar.train.loop import train
        from palmar.train.track import EXTRA, lazily, together

        checked(self)
        self._check_out()
        request = prepare(self, console.print)
        last: dict[str, float] = {}
        for name in self.track:
            need(name, EXTRA)
        watch = together(last.update, lazily(self.track, self.out))
        with tidy(self.out):
            out = train(request, self.out, resume=self.resume, progress=not self.json, watch=watch)
        if "validation_share" in last:
            share, took, frames = f"{last['validation_share']:.1%}", f"{last['minutes']:.1f}", last["validation_frames"]
            console.print(f"validation took {share} of {took} minutes ({frames:.0f} frames a time)")
        on = "" if request.embodiment in robots() else f"--data {self.data[0]} "  # nothing simulates that robot
        console.print(
            styled("checkpoint in [bold]{}[/]. Next: palmar eval {}--policy {}; palmar doctor {}", out, on, out, out)
        )
        return 0, {"checkpoint": str(out), **last}

    def _correct(self, console: Screen) -> Answer:
        """Train a correction instead of a policy."""
        from palmar.policy import check_policy, load_policy
        from palmar.train.correct import CorrectConfig, train_correction
        from palmar.train.prepare import check_data, correction_data

        base = str(self.correction)
        check_data(self)
        check_policy(base)
        self._check_out()
        policy = load_policy(base)
        data = [correction_data(self, folder, policy, console.print) for folder in self.data]
        config = CorrectConfig(
            steps=2000 if self.steps is None else self.steps, batch_size=self.batch_size, lr=self.lr, seed=self.seed
        )
        with tidy(self.out):
            told = train_correction(policy, base, data, self.out, config, say=console.print)
        console.print(
            styled(
                "held-out error of the actions {} → {} (standard deviations); the corrected policy is in [bold]{}[/]. "
                "Next: palmar eval --policy {} --latency 1", f"{told['before']:.3f}", f"{told['after']:.3f}", self.out, self.out,
            )
        )  # fmt: skip
        return 0, {"checkpoint": str(self.out), **told}

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
    """With --data: which of its features are what: state=FEATURE action=FEATURE images.CAMERA=FEATURE."""
    policy: str | None = None
    """Checkpoint folder, or "shipped"."""
    robot: str | None = None
    """A robot palmar knows, such as arm7."""
    execute: Count = 4
    """With --policy: actions that are to be carried out of each chunk."""
    json: bool = False
    """One JSON object with every figure on stdout."""
    only_with: ClassVar = {"keys": "data", "execute": "policy"}

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
