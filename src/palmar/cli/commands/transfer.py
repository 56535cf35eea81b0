"""From simulation to reality: the gate."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

from rich.table import Table
from tyro.conf import Positional

from palmar.cli.identified import identified
from palmar.cli.shared import Answer, configured, one_thread, writable
from palmar.console import Screen, styled
from palmar.errors import BadValue
from palmar.files import write_text
from palmar.ranges import Count, Processes, Range, Seconds, Seed, Strength

if TYPE_CHECKING:
    from palmar.eval.sequential import GoConfig
    from palmar.lab.suite import EvalConfig
    from palmar.transfer.gate import TransferGate
    from palmar.transfer.predict import Predicted
    from palmar.transfer.real import Recording

INSIDE = Range(0, 1, above=True, below=True)


@dataclass(frozen=True)
class Transfer:
    """May this policy go to work on the robot? What simulation predicts, whether simulation orders policies as reality does,
    and a test of few real trials that may be looked at after every one. Exit code 0: go; 1: no-go, or not yet.

    Real trials: --real with recordings, or --body with a simulated reality that stands in for one.
    """

    policies: Positional[tuple[str, ...]]
    """The policy that is to go: a checkpoint folder, "shipped", or another that `palmar eval` takes. More of them, also bad
    ones, for the rank correlation: 3 have one, 8 one that says much."""
    body: str = ""
    """twin:SEED, or another world of `palmar eval --world`: stands in for the robot. Trials on a robot of your own: palmar run
    --log."""
    real: tuple[Path, ...] = ()
    """Recorded trials of each policy, in their order: files of `palmar eval --out`, or of `palmar run --log`, from which the
    policy's runs are taken; one log may do for all."""
    sim: tuple[Path, ...] = ()
    """Results of each policy in simulation, in their order (palmar eval --out), instead of running them here; nothing is
    predicted then."""
    identified: tuple[Path, ...] = ()
    """Predict in worlds that the identification in this file leaves possible (palmar sysid --out, palmar calibrate --out)."""
    widen: Annotated[float, Range(1, 10)] = 1.0
    """With --identified: factor on the ranges of the parameters that were looked for and not identified."""
    strength: Strength = 1.0
    """Width of the ranges of everything that was not identified, 0 … 2."""
    worlds: Annotated[int, Range(3, 10_000)] = 10
    """Worlds that the prediction is made in."""
    tables: Count = 2
    """Tables of each task in each of them."""
    trials: Count = 25
    """With --body: real trials of each task at most. Of one or two policies they end with the verdict."""
    need: Annotated[float, INSIDE] = 0.8
    """A policy with this real success rate or less must not go."""
    want: Annotated[float, INSIDE] = 0.95
    """A policy with this real success rate or more must not be refused."""
    risk: Annotated[float, Range(0, 0.5, above=True, below=True)] = 0.05
    """Chance of either mistake, however often the trials are looked at."""
    robot: str = "arm7"
    """A robot that comes with palmar (docs/robots.md)."""
    tasks: tuple[str, ...] = ("all",)
    """Names of tasks; all: those that fit the robot."""
    execute: Count = 4
    """Actions carried out of each chunk."""
    timeout: Seconds = 15.0
    """Of a trial [s]."""
    seed: Seed = 0
    """With --body: of the first table there."""
    sim_seed: Seed = 600_000
    """Of the first simulated table, and of the worlds."""
    out: Path | None = None
    """Write every figure here as JSON."""
    html: Path | None = None
    """Write a page here."""
    force: bool = False
    """Replace the files of --out and --html when they are there."""
    processes: Processes = None
    json: bool = False
    """One JSON object with every figure on stdout."""
    only_with: ClassVar = {"widen": "identified", "trials": "body", "seed": "body"}
    only_without: ClassVar = {
        **{n: ("sim",) for n in ("identified", "strength", "worlds", "tables", "sim_seed")},
        **{n: ("sim+real",) for n in ("robot", "tasks", "execute", "timeout", "processes")},
    }

    def run(self, console: Screen) -> Answer:
        go, config = self._checked()
        for path in (self.out, self.html):
            writable(path, self.force)
        for policy in self.policies:
            one_thread(policy)
        from palmar.transfer.gate import Evidence, transfer_gate

        # first what is there already: a mistake in it is told before anything runs
        real = self._recorded()
        results = self._simulated()
        if real and results and real[0].tasks and real[0].tasks != results[0].tasks:
            raise BadValue(
                f"--real is of the tasks {', '.join(real[0].tasks)} and --sim of {', '.join(results[0].tasks)}; expected the same, "
                "or rates cannot be compared. Next: files of the same tasks"
            )
        evidence = []
        for i, name in enumerate(self.policies):
            found = None if results else self._predicted(console, config[i])
            sim = results[i].rate if found is None else found.simulated
            evidence.append(Evidence(name, sim, real[i] if real else self._tried(console, config[i], go), found))
        about = {"body": self.body or ", ".join(map(str, self.real)), "robot": self.robot, "tasks": " ".join(config[0].tasks),
                 "identified": " ".join(map(str, self.identified)) or "nothing", "strength": self.strength, "seed": self.seed,
                 "sim_seed": self.sim_seed, "worlds": self.worlds, "tables": self.tables}  # fmt: skip
        gate = transfer_gate(evidence, go, about)
        _told(console, gate)
        figures = gate.to_dict()
        if self.out:
            write_text(self.out, json.dumps(figures, indent=1))
        if self.html:
            from palmar.transfer.gate_page import page

            write_text(self.html, page(gate), "backslashreplace")
            console.print(f"page: {self.html}")
        return int(gate.verdict.verdict != "go"), figures

    def _checked(self) -> tuple[GoConfig, list[EvalConfig]]:
        """What is asked for, held to its ranges before anything runs."""
        from palmar.eval.sequential import GoConfig
        from palmar.lab.suite import EvalConfig
        from palmar.policy import check_policy

        if not self.policies:
            raise BadValue(
                "no policy is named; expected the one that is to go. Next: palmar transfer shipped --body twin:0"
            )
        if twice := next((p for p in self.policies if self.policies.count(p) > 1), None):
            raise BadValue(f"'{twice}' is named twice; expected each policy once. Next: leave one out")
        if bool(self.body) == bool(self.real):
            said = "both --body and --real" if self.body else "neither --body nor --real"
            raise BadValue(
                f"{said} say where the real trials are from; expected one. Next: --body twin:0, or --real FILE.json "
                "of palmar eval --out or palmar run --log"
            )
        for name, given in (("real", self.real), ("sim", self.sim)):
            if (given and len(given) not in (1, len(self.policies))) or (
                name == "sim" and given and len(given) != len(self.policies)
            ):
                raise BadValue(
                    f"--{name} has {len(given)} files for {len(self.policies)} policies; expected one of each, in their order. "
                    f"Next: --{name} with {len(self.policies)} files"
                )
        if ":" in self.body and self.body.partition(":")[0] not in ("twin", "twins", "near", "far", "other"):
            raise BadValue(
                f"--body is '{self.body}'; expected a simulated reality, such as twin:0: on a robot somebody "
                f"has to say whether a trial succeeded. Next: palmar run TASK --policy {self.policies[0]} --body {self.body} "
                "--log ops.jsonl for each trial, then --real ops.jsonl"
            )
        go = GoConfig(self.need, self.want, self.risk)
        configs = [
            configured(EvalConfig, self, policy=p, episodes=self.trials, world=self.body or "sim")
            for p in self.policies
        ]
        if not (self.sim and self.real):
            for policy in self.policies:
                if policy != "expert":
                    check_policy(policy)
        return go, configs

    def _recorded(self) -> list[Recording]:
        from palmar.transfer.real import check_alike, recorded

        files = self.real * len(self.policies) if len(self.real) == 1 else self.real
        found = [recorded(f, p) for f, p in zip(files, self.policies, strict=True)] if files else []
        if len(self.real) == 1 < len(found) and found[0].tasks:  # results are of one policy; a log is of several
            raise BadValue(
                f"'{self.real[0]}' holds the trials of one policy, and {len(found)} are named; expected a file of each. "
                f"Next: --real with {len(found)} files, or a log of palmar run --log"
            )
        if found:
            check_alike(found)
            if found[0].where == "sim":
                raise BadValue(
                    f"the trials in '{files[0]}' were made in plain simulation; expected a robot's, or those of a reality that "
                    "stands in for it. Next: palmar eval --world twin:0 --out FILE.json, or --sim for these"
                )
        return found

    def _simulated(self) -> list[Recording]:
        from palmar.eval.results import Results
        from palmar.transfer.real import check_alike, of_results

        found = [of_results(Results.load(f), str(f), p) for f, p in zip(self.sim, self.policies, strict=False)]
        if found:
            check_alike(found, "simulated trials")
        return found

    def _predicted(self, console: Screen, config: EvalConfig) -> Predicted:
        from palmar.lab.suite import run
        from palmar.lab.worlds import Loaded
        from palmar.runtime.pool import spread
        from palmar.sim.params import Randomization
        from palmar.transfer.predict import PredictConfig, jobs, predicted

        worlds = (
            identified(self.identified, self.strength, self.widen, self.robot)
            if self.identified
            else Randomization(self.strength)
        )
        plan = jobs(config, worlds, PredictConfig(self.worlds, self.tables, self.sim_seed))
        flat = [job for world in plan for job in world]
        with console.status(f"{config.policy} in {self.worlds} simulated worlds, {len(flat)} trials …"):
            done = [t.success for t in spread(run, Loaded, flat, self.processes)]
        each = len(plan[0])
        return predicted([done[i : i + each] for i in range(0, len(done), each)])

    def _tried(self, console: Screen, config: EvalConfig, go: GoConfig) -> Recording:
        """In the reality that stands in. One or two policies are tried until their verdict."""
        from palmar.eval.results import Results
        from palmar.eval.sequential import go_test
        from palmar.lab.suite import as_json, run
        from palmar.lab.worlds import Loaded
        from palmar.runtime.pool import spread
        from palmar.transfer.real import of_results

        todo = [(config, k, "layout", config.seed + i) for i in range(config.episodes) for k in config.tasks]
        trials = []
        with console.status(f"{config.policy} in {self.body}, at most {len(todo)} trials …"):
            for trial in spread(run, Loaded, todo, self.processes):  # type: ignore[arg-type]
                trials.append(trial)
                if len(self.policies) < 3 and go_test([t.success for t in trials], go, look=False).verdict != "not yet":
                    break
        return of_results(Results(as_json(config), tuple(trials)), self.body)


def _told(console: Screen, gate: TransferGate) -> None:
    from palmar.transfer.gate_page import figure_words, outlook_words

    table = Table("policy", "simulation", "predicted", "real", "verdict")
    for j in gate.policies:
        e = j.evidence
        predicted = "–" if e.predicted is None else str(e.predicted)
        table.add_row(e.name, str(e.sim), predicted, str(e.real.rate), j.verdict.verdict)
    console.print(table)
    if (r := gate.ranking) is not None:
        console.print(
            f"order over {len(r.policies)} policies: Pearson r {figure_words(r.pearson)}, Spearman ρ {figure_words(r.spearman)}, "
            f"MMRV {figure_words(r.mmrv)}"
        )
        best = {k: figure_words(e) for k, e in r.perfect.items()}
        console.print(
            f"a perfect simulator would show, with as many trials: r {best.get('pearson', '–')}, MMRV {best['mmrv']}"
        )
    if gate.held.n:
        console.print(
            f"what was observed lies in its predicted interval for {gate.held.successes} of {gate.held.n} policies"
        )
    for note in gate.notes:
        console.print(styled("[yellow]{}", note))
    v = gate.verdict
    name, said = gate.policies[0].evidence.name, str(v)
    if v.verdict == "go":
        console.print(styled("[bold green]{}[/]: {}", name, said))
    elif v.verdict == "no-go":
        console.print(styled("[bold red]{}[/]: {}", name, said))
    else:
        console.print(styled("[bold yellow]{}[/]: {}", name, said))
    if words := outlook_words(v):
        console.print(words)
