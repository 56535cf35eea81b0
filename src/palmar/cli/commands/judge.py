"""Judging: success, looks, differences, and what the robot's dynamics are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, ClassVar

from rich.table import Table
from rich.text import Text
from tyro.conf import Positional

from palmar.choices import Split
from palmar.cli.shared import Answer, configured, one_thread, writable
from palmar.console import Screen, styled
from palmar.errors import BadValue
from palmar.ranges import LATENCY, Count, Processes, Seconds, Seed, Strength


@dataclass(frozen=True)
class Eval:
    """Success with 95 % intervals on tables the policy has never seen; with --data, errors on recorded episodes instead."""

    policy: str = "shipped"
    """Checkpoint folder, "shipped" for the one inside palmar, openpi://HOST:PORT, or "expert" for the script that knows where
    things are."""
    data: Path | None = None
    """Folder of a LeRobot data set, v2.0 to v3, of any robot: the policy's actions against the recorded ones, beside holding
    still, and without its pictures and words. On the episodes that the checkpoint was not trained on; nothing is simulated."""
    keys: tuple[str, ...] = ()
    """With --data: which of its features are what: state=FEATURE action=FEATURE images.CAMERA=FEATURE."""
    episodes: Count = 25
    """Tables for each task and split: 25 of four tasks in one split are 100 trials. With --data: most episodes looked at."""
    frames: Count = 24
    """With --data: most frames of an episode that the policy is asked about."""
    execute: Count = 4
    """Actions carried out of each chunk."""
    every: bool = False
    """With --data: also the episodes that the policy was trained on."""
    html: Path | None = None
    """With --data: write a page here, with an open-loop plot of an episode."""
    robot: str = "arm7"
    """A robot that comes with palmar (docs/robots.md), in simulation."""
    tasks: tuple[str, ...] = ("all",)
    """Names of tasks; all: those that fit the robot, but slide, insert, stack, pour, open and close."""
    splits: tuple[Split, ...] = ("layout",)
    """layout: new tables · pair: colour-object pairs never seen · wording: sentences never seen · seen: training tables ·
    free: 300 sentences of an author who knew none of the wordings (reach, pick, place, push; --episodes 75 for all)."""
    world: str = "sim"
    """sim; a reality, twin:SEED, near:SEED, far:SEED or other:SEED (docs/realities.md); or several in turn: near:0-11."""
    strength: Strength = 0.0
    """Domain randomisation of the test worlds."""
    vary: tuple[str, ...] = ()
    """With --strength: only these groups and parameters (docs/realities.md), such as visual friction. None named: all."""
    ensemble: bool = False
    """Average overlapping chunks (temporal ensembling)."""
    realtime: bool = False
    """Real-time chunking: a new chunk fits on to the one that runs while it is computed (for --latency)."""
    swap: bool = False
    """Ask for another object on the table than the scenario's own (does the language matter?)."""
    unaided: bool = False
    """A trial ends when the policy says it is done, as on a robot, not when the simulator sees success."""
    seed: Seed = 0
    latency: Annotated[float, LATENCY] = 0.0
    """Of the policy, on the simulated clock [s]."""
    timeout: Seconds = 15.0
    """Of a trial [s]."""
    agent: str = ""
    """Long instructions instead of tasks, planned by this and carried out by the policy: rules, anthropic, openai:MODEL@URL.
    Beside it the policy alone, on the same tables (docs/agent.md)."""
    tables: Count = 3
    """With --agent: tables of each instruction; there are 100."""
    out: Path | None = None
    """Write every trial here as JSON, for `palmar compare`; with --data every figure."""
    force: bool = False
    """Replace the files of --out and --html when they are there."""
    processes: Processes = None
    json: bool = False
    """One JSON object with every figure on stdout."""
    only_with: ClassVar = {
        "keys": "data",
        "frames": "data",
        "every": "data",
        "html": "data",
        "vary": "strength",
        "tables": "agent",
    }

    def run(self, console: Screen) -> Answer:
        self._check_mode()
        writable(self.out, self.force)
        writable(self.html, self.force)
        one_thread(self.policy)
        if self.data is not None:
            from palmar.cli.commands.offline import evaluate_offline

            return evaluate_offline(
                console, self.policy, self.data, out=self.out, html=self.html, json=self.json, keys=self.keys,
                episodes=self.episodes, frames=self.frames, execute=self.execute, every=self.every, seed=self.seed,
            )  # fmt: skip
        if self.agent:
            from palmar.cli.commands.planner import evaluate_planner

            return evaluate_planner(self, console)
        from palmar.lab.suite import EvalConfig, evaluate
        from palmar.sim.params import randomized

        config = configured(EvalConfig, self, randomization=randomized(self.strength, self.vary))
        strange = never_trained(self.policy, config.tasks)
        if strange:
            console.print(
                styled(
                    "[yellow]{} was never trained on {}, by what its checkpoint says.[/]",
                    self.policy,
                    ", ".join(strange),
                )
            )
        results = evaluate(config, self.processes, progress=not self.json)
        if self.out:
            results.save(self.out)
        table = Table("split", "task", "success (95 % Wilson)", "went to the object asked for", "success it knew of")
        for split in config.splits:
            for task in ("all", *config.tasks):
                where = {"split": split} | ({} if task == "all" else {"task": task})
                rates = [Text(str(f(**where))) for f in (results.rate, results.approach, results.said_done)]
                rates[0].stylize("bold" if task == "all" else "")
                table.add_row(split if task == "all" else "", task, *rates, end_section=task == config.tasks[-1])
        console.print(table)
        figures = results.to_dict() | {"never_trained": list(strange)}
        seconds = "–" if figures["seconds_median"] is None else f"{figures['seconds_median']:.1f} s"
        met = {t.world for t in results.trials}
        worlds = f"{self.world} ({len(met)} met)" if met != {self.world} else self.world
        console.print(
            f"{worlds} · median {seconds} a success · policy "
            f"{figures['latency_ms_median']:.1f} ms · the safety layer changed {figures['commands_changed']} of "
            f"{figures['commands']} commands"
        )
        return 0, figures

    def _check_mode(self) -> None:
        """Raise `BadValue` for an option of the simulation with --data."""
        simulated = (
            "robot",
            "tasks",
            "splits",
            "world",
            "strength",
            "vary",
            "ensemble",
            "realtime",
            "swap",
            "unaided",
            "latency",
            "timeout",
            "processes",
            "agent",
        )
        usual = {f.name: f.default for f in fields(self)}
        for name in () if self.data is None else simulated:
            if getattr(self, name) != usual[name]:
                raise BadValue(
                    f"--{name} counts in simulation only, and not with --data. Next: leave --{name} out, or see palmar eval --help"
                )
        tasks_alone = (
            "robot", "tasks", "splits", "strength", "ensemble", "realtime", "swap", "unaided", "latency", "timeout", "episodes",
        )  # fmt: skip
        for name in tasks_alone if self.agent else ():
            if getattr(self, name) != usual[name]:
                raise BadValue(
                    f"--{name} counts for single tasks, and not with --agent. Next: leave --{name} out; --tables for more tables"
                )


def never_trained(policy: str, tasks: Sequence[str]) -> tuple[str, ...]:
    """Those of the tasks that no episode of the policy's training was of; none for what is no checkpoint of palmar, and for one
    that does not say."""
    from palmar.data.trained_tasks import never_trained as untold
    from palmar.errors import PalmarError
    from palmar.sim import tasks as simulated

    if policy == "expert" or find_spec("torch") is None:
        return ()
    from palmar.models.checkpoint import read_config
    from palmar.policy import checkpoint_of

    try:
        info = read_config(checkpoint_of(policy))[3]
    except PalmarError:  # an exported or translated policy, a server, or nothing, which `evaluate` tells
        return ()
    return untold(info, tasks, simulated.names())


@dataclass(frozen=True)
class Ground:
    """Does the policy look at what it is asked for? Every object of every table in turn, against its true box."""

    policy: str = "shipped"
    """Checkpoint folder, or "shipped"."""
    tables: Count = 200
    split: Split = "layout"
    seed: Seed = 0
    world: str = "sim"
    """sim, or a reality: twin:SEED, near:SEED, far:SEED, other:SEED."""
    strength: Strength = 0.0
    """Domain randomisation of the test worlds."""
    processes: Processes = None
    json: bool = False
    """One JSON object with every figure on stdout."""

    def run(self, console: Screen) -> Answer:
        from palmar.lab.grounding import GroundingConfig, grounding
        from palmar.sim.params import Randomization

        config = configured(GroundingConfig, self, randomization=Randomization(self.strength))
        one_thread(self.policy)
        found = grounding(config, self.processes, progress=not self.json)
        table = Table("beside it stands a thing of the same …", "peak in its true box", "peak nearest to it")
        for kind in ("colour", "shape", "neither", None):
            table.add_row(kind or styled("[bold]all"), str(found.hits(kind)), str(found.right(kind)))
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

    def run(self, console: Screen) -> Answer:
        from palmar.eval.offline_results import is_offline
        from palmar.eval.results import Results, differences, shared
        from palmar.eval.stats import paired, trials_to_tell

        if self.a.exists() and self.b.exists() and self.a.samefile(self.b):
            raise BadValue(
                f"'{self.a}' and '{self.b}' are the same file; expected the results of two evaluations. "
                "Next: palmar eval --policy OTHER --out OTHER.json"
            )
        kinds = is_offline(self.a), is_offline(self.b)
        if any(kinds):
            from palmar.cli.commands.offline import compare_offline

            if not all(kinds):
                raise BadValue(
                    f"one of '{self.a}' and '{self.b}' is an offline evaluation and the other is none. Next: two of one kind"
                )
            return compare_offline(console, self.a, self.b)
        a, b = Results.load(self.a), Results.load(self.b)
        left, right = shared(a, b)
        if not left:
            raise BadValue(
                f"'{self.a}' and '{self.b}' share no task, split and seed. Next: evaluate both with the same --seed"
            )
        for difference in differences(a, b):
            console.print(styled("[yellow]they also differ in {}", difference))
        result, ra, rb = paired(left, right), sum(left) / len(left), sum(right) / len(right)
        points = f"{100 * result.difference:+.1f} points ({100 * result.low:+.1f} to {100 * result.high:+.1f})"
        console.print(
            f"a {100 * ra:.1f} %, b {100 * rb:.1f} % on the same {result.n} seeds: difference {points}, "
            f"McNemar p = {result.p:.3f}. {result.verdict}."
        )
        need = trials_to_tell(result, ra, rb)
        if need:
            console.print(f"About {need} trials of each would tell a difference of this size (80 % power).")
        return 0, asdict(result) | {"verdict": result.verdict, "trials_needed": need}
