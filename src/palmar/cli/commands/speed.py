"""Speed: a policy written for another runtime, and how fast and how equal its forms are."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from rich.table import Table
from tyro.conf import Positional

from palmar.cli.shared import Answer, one_thread, tidy, writable_folder
from palmar.console import Screen, styled
from palmar.errors import BadValue, check_names
from palmar.models.form_names import FORMS, Precision, Runtime
from palmar.ranges import Count, Range, Seconds, Seed

if TYPE_CHECKING:
    from palmar.eval.stats import Paired
    from palmar.lab.bench import Row
    from palmar.models.acting import NeuralPolicy
    from palmar.types import Observation

Sigmas = Annotated[float | None, Range(0, 1e6)]
Trials = Annotated[int, Range(0, 10**6)]


@dataclass(frozen=True)
class Export:
    """Write a checkpoint for ONNX Runtime or OpenVINO. The folder is a policy like any other: palmar run --policy FOLDER.

    Its actions are compared with the checkpoint's on recorded observations, and it is refused where they differ by more than the
    bound. Faster steps can still lengthen a task: --closed-loop compares success and seconds.
    """

    checkpoint: Positional[str]
    """Checkpoint folder, or "shipped"."""
    out: Path
    """Folder to write."""
    to: Runtime = "onnx"
    precision: Precision = "fp32"
    """int8-dynamic: matrix products, activations measured as it runs. int8-static: convolutions too, calibrated on half of the
    observations. bf16: openvino only."""
    data: Path | None = None
    """Folder of a LeRobot data set to take the observations from; without it they are recorded in simulation."""
    keys: tuple[str, ...] = ()
    """With --data: which of its features are what: state=FEATURE action=FEATURE images.CAMERA=FEATURE."""
    observations: Count = 200
    """How many."""
    mean_bound: Sigmas = None
    """Largest mean difference of the actions, in their standard deviations. Default: by precision, see docs/speed.md."""
    largest_bound: Sigmas = None
    """Largest single difference."""
    closed_loop: Trials = 0
    """Tables for each task, driven by both on the same seeds: success with intervals."""
    tasks: tuple[str, ...] = ("all",)
    """Of the closed loop."""
    seed: Seed = 1000
    """First table of the closed loop."""
    timeout: Seconds = 15.0
    """Longest time of a trial of the closed loop [s]."""
    json: bool = False
    """One JSON object with every figure on stdout."""
    only_with: ClassVar = {"keys": "data", "tasks": "closed_loop", "seed": "closed_loop", "timeout": "closed_loop"}

    def run(self, console: Screen) -> Answer:
        from palmar.models.export import check_exportable, check_form, export
        from palmar.models.parity import BOUNDS, Bound
        from palmar.policy import load_policy

        check_form(self.to, self.precision)
        writable_folder(self.out)
        one_thread(self.checkpoint)
        policy = load_policy(self.checkpoint)
        check_exportable(policy)
        with console.status("recording observations …"):
            seen = _observations(policy, self.data, self.keys, self.observations)  # type: ignore[arg-type]
        usual = BOUNDS[self.precision]
        bound = Bound(
            usual.mean if self.mean_bound is None else self.mean_bound,
            usual.largest if self.largest_bound is None else self.largest_bound,
        )
        with tidy(self.out), console.status(f"exporting to {self.to} {self.precision} …"):
            found = export(policy, self.out, seen, self.to, self.precision, bound, self.checkpoint)  # type: ignore[arg-type]
        limit = f"bound: mean {bound.mean:g} σ, largest {bound.largest:g} σ"
        console.print(styled("[bold]{}[/]: the actions differ by {} ({})", self.out, found, limit))
        table = Table("action", "mean difference", "largest", title="in the action's own unit")
        for name, (mean, largest) in found.units.items():
            table.add_row(name, f"{mean:.2g}", f"{largest:.2g}")
        console.print(table)
        figures: dict[str, Any] = {"out": str(self.out), "parity": asdict(found), "bound": asdict(bound)}
        if self.closed_loop:
            figures["closed_loop"] = self._drive(console)
        console.print(styled("Next: palmar run --policy {}; palmar bench {}", self.out, self.checkpoint))
        return 0, figures

    def _drive(self, console: Screen) -> dict[str, Any]:
        """Both on the same tables."""
        from palmar.eval.results import shared
        from palmar.eval.stats import paired
        from palmar.lab.recorded import robot_of
        from palmar.lab.suite import EvalConfig, evaluate
        from palmar.policy import load_policy

        robot = robot_of(load_policy(str(self.out)))
        results = [
            evaluate(
                EvalConfig(where, self.closed_loop, self.tasks, seed=self.seed, timeout=self.timeout, robot=robot),
                progress=not self.json,
                note=note,
            )
            for where, note in ((self.checkpoint, "eager"), (str(self.out), f"{self.to} {self.precision}"))
        ]
        versus = paired(*shared(*results))
        took = [r.to_dict()["seconds_median"] for r in results]
        points = f"{100 * versus.difference:+.1f} points ({100 * versus.low:+.1f} to {100 * versus.high:+.1f})"
        console.print(
            f"closed loop: eager {results[0].rate()}, exported {results[1].rate()}: {points}, McNemar p = {versus.p:.3f}; "
            f"median seconds of a success {_number(took[0])} and {_number(took[1])}"
        )
        return {
            "eager": results[0].rate().to_dict(), "exported": results[1].rate().to_dict(), "difference": asdict(versus),
            "seconds_median": took,
        }  # fmt: skip


@dataclass(frozen=True)
class Bench:
    """Latency, memory, size, parity and success of a policy in each of its forms, in one run on one thread."""

    checkpoint: Positional[str] = "shipped"
    """Checkpoint folder, or "shipped"."""
    forms: tuple[str, ...] = ("all",)
    """eager, eager-bf16, compile, and RUNTIME-PRECISION of palmar export, such as onnx-int8-dynamic; all: each that can be made."""
    repeats: Count = 300
    """Chunks of each form."""
    closed_loop: Trials = 0
    """Tables for each task, driven by every form on the same seeds; 0: none."""
    tasks: tuple[str, ...] = ("all",)
    """Of the closed loop."""
    seed: Seed = 1000
    """First table of the closed loop."""
    timeout: Seconds = 15.0
    """Longest time of a trial of the closed loop [s]."""
    data: Path | None = None
    """Folder of a LeRobot data set to take the observations from; without it they are recorded in simulation."""
    keys: tuple[str, ...] = ()
    """With --data: which of its features are what: state=FEATURE action=FEATURE images.CAMERA=FEATURE."""
    observations: Count = 100
    """How many."""
    out: Path | None = None
    """Keep the exported forms in this folder, and take those that are there; without it they are thrown away."""
    memory: bool = True
    """Also measure memory, with a process for each form."""
    json: bool = False
    """One JSON object with every figure on stdout."""
    only_with: ClassVar = {"keys": "data", "tasks": "closed_loop", "seed": "closed_loop", "timeout": "closed_loop"}

    def run(self, console: Screen) -> Answer:
        if self.forms != ("all",):
            check_names("form", self.forms, FORMS)
        writable_folder(self.out)
        from palmar.lab.bench import Bench as Measurement
        from palmar.lab.bench import BenchConfig
        from palmar.lab.recorded import robot_of
        from palmar.models.acting import NeuralPolicy
        from palmar.policy import load_policy

        one_thread(self.checkpoint)
        policy = load_policy(self.checkpoint)
        if not isinstance(policy, NeuralPolicy):
            raise BadValue(
                f"'{self.checkpoint}' is a {type(policy).__name__}; expected a palmar checkpoint. Next: its folder"
            )
        robot = robot_of(policy) if self.closed_loop else "arm7"
        with console.status("recording observations …") as status, TemporaryDirectory() as scratch:
            seen = _observations(policy, self.data, self.keys, self.observations)
            forms = FORMS if self.forms == ("all",) else self.forms
            config = BenchConfig(
                self.checkpoint, forms, self.out or Path(scratch), self.repeats, self.closed_loop, self.tasks, robot, self.seed,
                self.memory, self.timeout,
            )  # fmt: skip
            rows = Measurement(config, seen, lambda text: status.update(f"{text} …")).run()
        console.print(table_of(rows))
        for row in rows:
            if row.why:
                console.print(styled("{}: [yellow]{}", row.form, row.why))
        load, cores = os.getloadavg()[0], os.cpu_count() or 1
        console.print(
            f"{self.repeats} chunks of each, forms in turns, one thread; load {load:.1f} on {cores} cores. ms: wall clock; CPU ms: "
            "what the thread computed, as on an idle core"
        )
        return 0, {"forms": [r.to_dict() for r in rows], "load": load, "cores": cores, "observations": len(seen)}


def table_of(rows: list[Row]) -> Table:
    """A line for each form that there is. ×: median CPU time of eager over its own."""
    driven = any(r.success is not None for r in rows)
    more = ("success (95 % Wilson)", "against eager", "seconds") if driven else ()
    table = Table(
        "form", "ms p50", "p90", "p99", "CPU ms p50", "p99", "×", "memory MB", "files MB", "mean σ", "largest σ", *more
    )
    base = rows[0].latency
    for row in rows:
        at = row.latency
        if at is None or base is None:
            continue
        faster = f"{base.cpu_p50 / at.cpu_p50:.1f}"
        times = [f"{x:.2f}" for x in (at.p50, at.p90, at.p99, at.cpu_p50, at.cpu_p99)]
        away = ("–", "–") if row.parity is None else (f"{row.parity.mean:.2g}", f"{row.parity.largest:.2g}")
        name = row.form if row.kept else styled("[red]{} (over its bound)", row.form)
        versus = _points(row.versus)
        loop = (str(row.success) if row.success else "", versus, _number(row.seconds)) if driven else ()
        table.add_row(name, *times, faster, _number(row.memory), _number(row.megabytes), *away, *loop)
    return table


def _observations(policy: NeuralPolicy, data: Path | None, keys: tuple[str, ...], count: int) -> list[Observation]:
    if data is None:
        from palmar.lab.recorded import simulated

        return simulated(policy, count)
    from palmar.data.roles import parse_keys
    from palmar.eval.frames import from_data

    return from_data(policy, data, count, parse_keys(keys))


def _points(p: Paired | None) -> str:
    """A difference of success with its 95 % interval, in points."""
    return "" if p is None else f"{100 * p.difference:+.0f} [{100 * p.low:+.0f}, {100 * p.high:+.0f}]"


def _number(value: float | None) -> str:
    return "–" if value is None or value != value else f"{value:.1f}"
