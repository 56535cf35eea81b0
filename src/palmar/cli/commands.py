"""The commands as values: a field is an option, its docstring the help. Heavy rooms are entered only when a command runs."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Column, Table
from tyro.conf import Positional

from palmar.sim.tasks import TASKS, Split, Task

Answer = tuple[int, dict[str, Any]]


@dataclass(frozen=True)
class Run:
    """Do what an instruction says, in real time, behind the safety layer; a film of it at the end."""

    instruction: Positional[str]
    """What to do, such as "pick up the red cube" or "push the green ball left"."""
    checkpoint: str = "shipped"
    """Checkpoint folder, or "shipped" for the one inside palmar."""
    world: str = "sim"
    """sim, twin or twin:SEED: where the robot stands."""
    seed: int = 0
    """Of the table: another seed, another layout."""
    timeout: float = 20.0
    """Longest time to try [s]."""
    video: Path = Path("palmar-run.mp4")
    """Where the film goes."""
    blackbox: Path | None = None
    """Folder for the last seconds before each fault of the safety layer."""
    json: bool = False
    """One JSON object with every figure on stdout."""

    def run(self, console: Console) -> Answer:
        from palmar.cli import live

        result = live.run(
            live.RunConfig(
                self.instruction,
                self.checkpoint,
                self.world,
                self.seed,
                self.timeout,
                video=self.video,
                blackbox=self.blackbox,
            ),
            console,
        )
        t = result.timing
        said = "says it is done" if result.done else f"ended: {result.reason}"
        colour = "green" if result.success else "red"
        console.print(
            f"[bold]“{result.instruction}”[/]: the policy {said} after {result.seconds:.1f} s; "
            f"the simulator says [{colour}]{'success' if result.success else 'not fulfilled'}[/]."
        )
        period = f"period p50 {t['period_p50']:.2f}, p99 {t['period_p99']:.2f}, worst jitter {t['jitter_max']:.2f} ms"
        console.print(
            f"control {period} · {t['late_ticks']:.0f} of {t['ticks']:.0f} ticks late · "
            f"policy p50 {t['latency_p50']:.0f}, p99 {t['latency_p99']:.0f} ms"
        )
        changed = ", ".join(f"{k} {v}" for k, v in result.safety.items() if v) or "nothing"
        console.print(f"safety changed: {changed} · film: {self.video}")
        return result.exit_code, result.to_dict()


@dataclass(frozen=True)
class Collect:
    """Record demonstrations of the scripted experts in randomised simulation as a LeRobot v3 data set."""

    out: Path
    """Folder of the data set."""
    episodes: int = 100
    """How many to save; failed demonstrations are not saved."""
    tasks: tuple[Task, ...] = TASKS
    """Which tasks take turns."""
    seed: int = 0
    """Of the first table; below 1 000 000, where the test seeds begin."""
    strength: float = 0.7
    """Domain randomisation, 0 (none) … 2."""
    driver: str = "expert"
    """"expert", or a checkpoint that drives while the expert labels (DAgger)."""
    beta: float = 0.0
    """Share of DAgger episodes that the expert drives."""
    identified: Path | None = None
    """Draw the parameters that `palmar sysid --out` identified from their intervals."""
    stills: bool = False
    """Photograph that many tables instead, six arrangements each: cheap truth for where to look."""
    resume: bool = False
    """Go on with a data set that is there until it holds --episodes."""
    processes: int | None = None
    """One a core when not given."""
    json: bool = False
    """One JSON object with every figure on stdout."""

    def run(self, console: Console) -> Answer:
        from palmar.data.collect import CollectConfig, collect
        from palmar.data.stills import StillsConfig, collect_stills
        from palmar.sim.params import Randomization

        worlds = Randomization(self.strength)
        if self.identified:
            from palmar.transfer.sysid import Identification

            worlds = Identification.load(self.identified).randomization(self.strength)
        if self.stills:
            photographs = StillsConfig(self.episodes, seed=self.seed, randomization=worlds)
            done = collect_stills(self.out, photographs, self.processes, self.resume, progress=not self.json)
        else:
            config = CollectConfig(self.episodes, self.tasks, self.seed, worlds, driver=self.driver, beta=self.beta)
            done = collect(self.out, config, self.processes, self.resume, progress=not self.json)
        before = f", beside {done.there} that were there" if done.there else ""
        failed = f"{done.tried - done.saved} failed tries left out"
        console.print(
            f"[bold]{done.saved}[/] episodes, {done.frames} frames in [bold]{done.root}[/]{before} ({failed})."
        )
        console.print(f"Next: palmar inspect {done.root}")
        if done.short:
            console.print(
                f"[yellow]{done.short} fewer than asked for: too many tries failed. Next: --resume with another --seed"
            )
        return int(done.short > 0), {"root": str(done.root)} | {
            n: getattr(done, n) for n in ("saved", "there", "tried", "frames", "short")
        }


@dataclass(frozen=True)
class Inspect:
    """What is in a data set: a table here, and a page with pictures and plots."""

    data: Positional[Path]
    """Folder of a LeRobot v3 data set."""
    html: Path | None = None
    """Write the page here."""
    json: bool = False
    """One JSON object with every figure on stdout."""

    def run(self, console: Console) -> Answer:
        from palmar.data.inspect import print_summary, summary
        from palmar.data.page import write_html
        from palmar.data.reader import Dataset

        dataset = Dataset(self.data, cache=False)
        figures = summary(dataset)
        if not self.json:
            print_summary(dataset, console)
        if self.html:
            write_html(dataset, self.html)
            console.print(f"page: {self.html}")
        return 0, figures


@dataclass(frozen=True, kw_only=True)
class Train:
    """Train a policy on one or more data sets, from scratch or from a checkpoint, under a recipe."""

    preset: Positional[str] = "palmar-tiny"
    """Which model; `palmar models` lists them."""
    data: tuple[Path, ...]
    """Folders of LeRobot v3 data sets."""
    out: Path = Path("runs/palmar")
    """Folder of the checkpoint; metrics.jsonl lies beside it."""
    recipe: str = "one-stage"
    """one-stage, three-stage (align, co-fine-tune, specialise), unfreeze (head, top layers, all), head, lora or co-train."""
    minutes: float | None = None
    """Train this long (the learning rate follows the clock)."""
    steps: int | None = None
    """Or this many steps (reproducible bit for bit)."""
    batch_size: int = 128
    lr: float = 1e-3
    """Highest learning rate, of stages that have none of their own."""
    temperature: float | None = None
    """Sample tasks by size^(1/T): 1 every frame alike, inf every task alike. Not given: every frame once an epoch."""
    weights: tuple[float, ...] = ()
    """How much each data set counts, in the order of --data."""
    web: Path | None = None
    """Folder of questions about pictures (palmar.data.webdata.make), for models that answer."""
    web_share: float = 0.5
    """Share of a batch that is questions, with --web."""
    accumulate: int = 1
    """Backward passes a step, each with a part of the batch: less memory."""
    patience: int = 0
    """Stop a stage after that many validations without a better one, and keep the best; 0 for never."""
    device: str = "cpu"
    """cpu, cuda or cuda:N."""
    init: str | None = None
    """Start from this checkpoint (a folder, or "shipped")."""
    resume: bool = False
    """Go on where a run in --out stopped."""
    seed: int = 0
    json: bool = False
    """One JSON object with every figure on stdout."""

    def run(self, console: Console) -> Answer:
        from palmar.data.reader import Dataset
        from palmar.data.webdata import WebData
        from palmar.models.presets import preset
        from palmar.policy import shipped
        from palmar.sim.instructions import paraphrases
        from palmar.train import recipe as recipes
        from palmar.train.loop import TrainConfig, train

        plan = recipes.recipe(self.recipe, self.web_share if self.web else None)
        if self.temperature is not None or self.weights:
            plan = recipes.with_data(plan, temperature=self.temperature or 1.0, sources=self.weights)
        model = preset(self.preset)
        sets = [Dataset(d) for d in self.data]
        minutes, steps = self.minutes, self.steps
        if minutes is None and steps is None:
            if plan.epochs:
                steps = max(1, round(plan.epochs * sum(len(s) for s in sets) / self.batch_size))
            else:
                minutes = 40.0
        config = TrainConfig(
            steps=steps, minutes=minutes, batch_size=self.batch_size, lr=self.lr, seed=self.seed,
            accumulate=self.accumulate, patience=self.patience, device=self.device,
        )  # fmt: skip
        init = shipped() if self.init == "shipped" else self.init
        last: dict[str, float] = {}
        out = train(
            model, sets, self.out, config, recipe=plan, web=WebData(self.web) if self.web else None,
            embodiment=sets[0].robot_type or "", paraphrases=paraphrases, init=init, resume=self.resume,
            progress=not self.json, watch=last.update,
        )  # fmt: skip
        console.print(f"checkpoint in [bold]{out}[/]. Next: palmar eval --policy {out}, palmar doctor {out}")
        return 0, {"checkpoint": str(out), **last}


@dataclass(frozen=True)
class Doctor:
    """What is wrong with a training run, from the numbers it logged, and what to do about it."""

    run_folder: Positional[Path]
    """Folder that palmar train writes, or wrote."""
    follow: float = 0.0
    """Look again every so many seconds, until Ctrl-C."""
    json: bool = False
    """One JSON object with every figure on stdout."""

    def run(self, console: Console) -> Answer:
        import time

        from palmar.train.doctor import METRICS, examine, read_rows

        said: list[str] = []
        while True:
            found = examine(self.run_folder)
            for f in found:
                if f.symptom not in said:
                    console.print(f"[bold red]{f.symptom}[/]: {f.said}. [bold]Fix:[/] {f.fix}")
                    said.append(f.symptom)
            if not self.follow:
                break
            time.sleep(self.follow)
        if not found:
            rows = len(read_rows(self.run_folder / METRICS))
            console.print(f"[green]healthy[/]: nothing wrong in {rows} rows of '{self.run_folder / METRICS}'")
        return int(bool(found)), {"findings": [asdict(f) for f in found]}


@dataclass(frozen=True)
class Preflight:
    """Do a data set, a checkpoint and a robot fit one another: names, units, cameras, rate, chunks, statistics?"""

    data: Path | None = None
    """Folder of a LeRobot v3 data set."""
    policy: str | None = None
    """Checkpoint folder, or "shipped"."""
    robot: str | None = None
    """A robot palmar knows, such as arm7."""
    json: bool = False
    """One JSON object with every figure on stdout."""

    def run(self, console: Console) -> Answer:
        from palmar.data.reader import Dataset
        from palmar.policy import shipped
        from palmar.train.preflight import preflight

        data = None if self.data is None else Dataset(self.data, cache=False)
        checks = preflight(data, shipped() if self.policy == "shipped" else self.policy, self.robot)
        table = Table("", "check", "found", "next")
        for c in checks:
            table.add_row("[green]ok[/]" if c.ok else "[red]no[/]", c.name, c.found, "" if c.ok else c.next)
        console.print(table)
        bad = sum(not c.ok for c in checks)
        console.print(
            f"{len(checks) - bad} of {len(checks)} checks passed" + (f", [red]{bad} did not[/]" if bad else "")
        )
        return int(bad > 0), {"passed": bad == 0, "checks": [asdict(c) for c in checks]}


@dataclass(frozen=True)
class Models:
    """The systems palmar builds: how large at each size, how large as published, what they see and how they act."""

    json: bool = False
    """One JSON object with every figure on stdout."""

    def run(self, console: Console) -> Answer:
        from palmar.models.catalogue import listed, short

        rows = listed()
        sizes = (Column(name, no_wrap=True) for name in ("preset", "tiny", "paper", "published"))
        table = Table(*sizes, "cameras", "head", "recipe")
        for row in rows:
            counts = (short(n) for n in (row.tiny, row.paper, row.published))
            table.add_row(row.system, *counts, row.cameras, row.head, row.recipe)
        console.print(table)
        console.print("trained parameters. Next: palmar train NAME-tiny --data FOLDER")
        return 0, {"models": [asdict(r) for r in rows]}


@dataclass(frozen=True)
class Eval:
    """Success with 95 % intervals on tables the policy has never seen."""

    policy: str = "shipped"
    """Checkpoint folder, "shipped", or "expert"."""
    episodes: int = 25
    """Per task and split."""
    tasks: tuple[Task, ...] = TASKS
    splits: tuple[Split, ...] = ("layout",)
    """layout: new tables · pair: colour-object pairs never seen · wording: sentences never seen · seen: training tables."""
    world: str = "sim"
    """sim, twin, twin:SEED, or twins:N for N twins in turn."""
    strength: float = 0.0
    """Domain randomisation of the test worlds."""
    ensemble: bool = False
    """Average overlapping chunks (temporal ensembling)."""
    swap: bool = False
    """Ask for another object on the table than the scenario's own (does the language matter?)."""
    unaided: bool = False
    """A trial ends when the policy says it is done, as on a robot, not when the simulator sees success."""
    seed: int = 0
    latency: float = 0.0
    """Of the policy, on the simulated clock [s]."""
    out: Path | None = None
    """Write every trial here as JSON, for `palmar compare`."""
    processes: int | None = None
    json: bool = False
    """One JSON object with every figure on stdout."""

    def run(self, console: Console) -> Answer:
        from palmar.eval.suite import EvalConfig, evaluate
        from palmar.sim.params import Randomization

        config = EvalConfig(
            self.policy, self.episodes, self.tasks, self.splits, self.world, self.seed, Randomization(self.strength), self.swap,
            latency=self.latency, ensemble=self.ensemble, unaided=self.unaided,
        )  # fmt: skip
        results = evaluate(config, self.processes, progress=not self.json)
        if self.out:
            results.save(self.out)
        table = Table("split", "task", "success (95 % Wilson)", "went to the object asked for", "success it knew of")
        for split in config.splits:
            for task in ("all", *config.tasks):
                where = {"split": split} | ({} if task == "all" else {"task": task})
                rates = [str(f(**where)) for f in (results.rate, results.approach, results.said_done)]
                rates[0] = f"[bold]{rates[0]}" if task == "all" else rates[0]
                table.add_row(split if task == "all" else "", task, *rates, end_section=task == config.tasks[-1])
        console.print(table)
        figures = results.to_dict()
        console.print(
            f"{self.world} · median {figures['seconds_median'] or float('nan'):.1f} s a success · policy "
            f"{figures['latency_ms_median']:.1f} ms · the safety layer changed {figures['commands_changed']} of "
            f"{figures['commands']} commands"
        )
        return 0, figures


@dataclass(frozen=True)
class Ground:
    """Does the policy look at what it is asked for? Every object of every table in turn, against its true box."""

    policy: str = "shipped"
    """Checkpoint folder, or "shipped"."""
    tables: int = 200
    split: Split = "layout"
    seed: int = 0
    world: str = "sim"
    """sim, twin or twin:SEED."""
    strength: float = 0.0
    """Domain randomisation of the test worlds."""
    processes: int | None = None
    json: bool = False
    """One JSON object with every figure on stdout."""

    def run(self, console: Console) -> Answer:
        from palmar.eval.grounding import GroundingConfig, grounding
        from palmar.sim.params import Randomization

        config = GroundingConfig(
            self.policy, self.tables, self.split, self.seed, self.world, randomization=Randomization(self.strength)
        )
        found = grounding(config, self.processes, progress=not self.json)
        table = Table("beside it stands a thing of the same …", "peak in its true box", "peak nearest to it")
        for kind in ("colour", "shape", "neither", None):
            table.add_row(kind or "[bold]all", str(found.hits(kind)), str(found.right(kind)))
        console.print(table)
        mistook = found.to_dict()["mistook"]
        console.print(
            "mistaken for a thing of the same " + (", ".join(f"{k} {v}" for k, v in mistook.items()) or "– never")
        )
        return 0, found.to_dict()


@dataclass(frozen=True)
class Compare:
    """Which of two results is better, on the same seeds; or that it cannot be told yet, and how many trials would."""

    a: Positional[Path]
    """Trials of the first, from `palmar eval --out`."""
    b: Positional[Path]
    """Trials of the second."""
    json: bool = False
    """One JSON object with every figure on stdout."""

    def run(self, console: Console) -> Answer:
        from palmar.errors import BadValue
        from palmar.eval.stats import paired, trials_needed
        from palmar.eval.suite import Results, differences, shared

        a, b = Results.load(self.a), Results.load(self.b)
        left, right = shared(a, b)
        if not left:
            raise BadValue(
                f"'{self.a}' and '{self.b}' share no task, split and seed. Next: evaluate both with the same --seed"
            )
        for difference in differences(a, b):
            console.print(f"[yellow]they also differ in {difference}")
        result, ra, rb = paired(left, right), sum(left) / len(left), sum(right) / len(right)
        points = f"{100 * result.difference:+.1f} points ({100 * result.low:+.1f} to {100 * result.high:+.1f})"
        console.print(
            f"a {100 * ra:.1f} %, b {100 * rb:.1f} % on the same {result.n} seeds: difference {points}, "
            f"McNemar p = {result.p:.3f}. [bold]{result.verdict}[/]."
        )
        need = trials_needed(ra, rb) if ra != rb and result.p >= 0.05 else None
        if need:
            console.print(f"About {need} trials of each would tell a difference of this size (80 % power).")
        return 0, asdict(result) | {"verdict": result.verdict, "trials_needed": need}


@dataclass(frozen=True)
class SysId:
    """Identify the dynamics of a reality twin from diagnostic motions, with intervals."""

    twin: int = 0
    """Which twin."""
    out: Path | None = None
    """Write the identification here as JSON."""
    json: bool = False
    """One JSON object with every figure on stdout."""

    def run(self, console: Console) -> Answer:
        from palmar.sim.twin import Twin
        from palmar.transfer.diagnose import diagnose
        from palmar.transfer.diagnose import table as diagnostic_table
        from palmar.transfer.sysid import identify

        twin = Twin(self.twin, images=False)
        twin.load(diagnostic_table())
        found = identify(diagnose(twin), progress=not self.json)
        table = Table("parameter", "estimate", "low", "high", "unit", "remark")
        for row in found.rows():
            table.add_row(*row)
        console.print(table)
        console.print(
            f"held-out motion: {found.residual_before:.2f} mrad with the simulator's own parameters, "
            f"{found.residual_after:.2f} mrad with the identified ones"
        )
        if self.out:
            self.out.parent.mkdir(parents=True, exist_ok=True)
            self.out.write_text(found.to_json())
        return 0, json.loads(found.to_json())


@dataclass(frozen=True)
class Demo:
    """The whole life of a policy in about ten minutes on two cores, with a report at the end."""

    out: Path = Path("demo")
    """Where everything goes. A demo that is there is replaced only with --force."""
    from_scratch: bool = False
    """Train from nothing (collect and train for 40 minutes each) instead of starting from the shipped weights."""
    instruction: tuple[str, ...] = ()
    """What to do at the end; asked for when this is a terminal."""
    force: bool = False
    """Replace what is in --out."""
    quick: bool = False
    """A tenth of everything: to see that it works, not to believe the figures."""
    json: bool = False
    """One JSON object with every figure on stdout."""

    def run(self, console: Console) -> Answer:
        from palmar.cli.demo import DemoConfig, demo

        config = DemoConfig(self.out, self.from_scratch, self.instruction, self.force, quick=self.quick)
        return demo(config, console)
