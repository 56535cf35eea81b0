"""Automatic domain randomisation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from rich.table import Table
from tyro.conf import Positional

from palmar.cli.identified import identified
from palmar.cli.shared import Answer, configured, one_thread, writable, writable_folder
from palmar.console import Screen, styled
from palmar.errors import BadFile, BadValue
from palmar.files import write_text
from palmar.ranges import BATCH, COUNT, RATE, Count, Processes, Range, Seconds, Seed, Share

if TYPE_CHECKING:
    from palmar.transfer.adr import AdrConfig, AdrState, Moved
    from palmar.transfer.adr_history import AdrHistory
    from palmar.transfer.adr_run import Rounds, Trials

STEP = Range(0, 1, above=True)


@dataclass(frozen=True)
class Adr:
    """Automatic domain randomisation: each end of each parameter's range moves outwards where the policy succeeds there,
    inwards where it does not. Without --train the policy stays as it is, and the ranges say how far it reaches; with it, it
    is trained on in them."""

    policy: Positional[str] = "shipped"
    """Checkpoint folder, "shipped", or "expert" for the script that knows where things are."""
    out: Path = Path("runs/adr.json")
    """The history: ranges, buffers and outcomes after every iteration; --resume goes on from it."""
    parameters: tuple[str, ...] = ("all",)
    """Whose ranges move: all, groups (visual, dynamics, sensor, geometric), or names of parameters. The others stay nominal."""
    iterations: Count = 100
    """Iterations in all, those of an earlier run included."""
    episodes: Count = 20
    """Boundary episodes of an iteration."""
    buffer: Count = 10
    """Outcomes of an end before it is judged."""
    threshold: Share = 0.7
    """Share of successes from which an end moves outwards."""
    grow: Annotated[float, STEP] = 0.05
    """How far it moves outwards, as a share of the parameter's ordinary width."""
    shrink: Annotated[float, STEP] = 0.02
    """How far it moves inwards otherwise."""
    begin: Share = 0.1
    """Width of the first ranges, as a share of the ordinary ones."""
    limits: tuple[str, ...] = ()
    """NAME=LOW:HIGH: an end does not leave these; not given: the physical bounds."""
    identified: tuple[Path, ...] = ()
    """Ranges begin around what `palmar sysid --out` and `palmar calibrate --out` identified, instead of around nominal."""
    robot: str = "arm7"
    """A robot that comes with palmar (docs/robots.md)."""
    tasks: tuple[str, ...] = ("all",)
    """Tasks that take turns; all: those that fit the robot."""
    timeout: Seconds = 10.0
    """Of an episode [s]."""
    execute: Count = 4
    """Actions carried out of each chunk."""
    seed: Seed = 0
    """Of the boundary episodes."""
    tables: Seed = 620_000
    """Seed of the first table."""
    train: Path | None = None
    """Train the policy on as well, in rounds in this folder: demonstrations of the expert in the present ranges, then
    more steps."""
    every: Count = 10
    """With --train: iterations between rounds."""
    demonstrations: Count = 40
    """With --train: demonstrations of a round."""
    steps: Annotated[int, COUNT] = 200
    """With --train: steps of the optimiser a round."""
    batch_size: Annotated[int, BATCH] = 64
    """With --train."""
    lr: Annotated[float, RATE] = 3e-4
    """With --train: highest learning rate."""
    svg: Path | None = None
    """Draw the ranges over the iterations here."""
    resume: bool = False
    """Go on from --out, with the settings it was begun with."""
    force: bool = False
    """Replace the files of --out and --svg when they are there."""
    processes: Processes = None
    json: bool = False
    """One JSON object with every figure on stdout."""
    only_with: ClassVar = {n: "train" for n in ("every", "demonstrations", "steps", "batch_size", "lr")}

    def run(self, console: Screen) -> Answer:
        from palmar.transfer.adr import adr
        from palmar.transfer.adr_history import AdrHistory
        from palmar.transfer.adr_run import in_simulation, training

        config, trials, rounds = self._checked()
        about: dict[str, Any] = {"policy": self.policy, "trials": trials.to_dict(), "every": self.every}
        about["rounds"] = None if rounds is None else rounds.to_dict()
        if self.resume:
            history = AdrHistory.resume(self.out, config, about)
        else:
            history = AdrHistory.begin(self.out, config, about)
            history.save()
        one_thread(self.policy)
        done = history.state.iteration

        def watch(state: AdrState, successes: Sequence[bool], moved: Sequence[Moved]) -> None:
            history.add(state, successes, moved)
            ends = ", ".join(f"{m.parameter} {m.side} {m.successes}/{m.n} → {m.to:.3g}" for m in moved)
            console.print(
                f"{state.iteration}: {sum(successes)} of {len(successes)} at the ends succeeded{ends and '; ' + ends}"
            )

        teach = None if rounds is None else training(rounds, config, trials, self.processes)
        adr(config, in_simulation(trials, self.processes), self.iterations, history.state, teach, self.every, watch)
        return self._told(console, history, done)

    def _told(self, console: Screen, history: AdrHistory, before: int) -> Answer:
        state = history.state
        table = Table("parameter", "hand-tuned", "final", "width, of the hand-tuned")
        for row in history.table():
            table.add_row(*row)
        console.print(table)
        entropy = "none: a range is a point" if state.entropy is None else f"{state.entropy:.3f} nats a parameter"
        console.print(
            styled(
                "{} iterations, history in [bold]{}[/]; entropy {} (0: as wide as the hand-tuned ones)",
                state.iteration,
                self.out,
                entropy,
            )
        )
        if self.train is not None and state.policy != self.policy:
            console.print(styled("policy in [bold]{}[/]. Next: palmar eval --policy {}", state.policy, state.policy))
        if self.svg:
            from palmar.eval.span_plot import spans
            from palmar.sim.params import SPACE

            rows = {n: [tuple(r["ranges"][n]) for r in history.rows] for n in state.ranges}
            write_text(self.svg, spans(rows, {n: (SPACE[n].low, SPACE[n].high) for n in rows}))
            console.print(f"ranges over the iterations: {self.svg}")
        return 0, state.to_dict() | {
            "history": str(self.out),
            "ran": state.iteration - before,
            "widths": state.widths(),
        }

    def _checked(self) -> tuple[AdrConfig, Trials, Rounds | None]:
        """What is asked for, before anything runs or is written."""
        from palmar.policy import check_policy
        from palmar.sim.params import WorldParams
        from palmar.transfer.adr import AdrConfig
        from palmar.transfer.adr_run import Rounds, Trials

        if self.train is not None and self.policy == "expert":
            raise BadValue(
                "the expert is a script and learns nothing; expected a checkpoint to train on. Next: shipped, or no --train"
            )
        centre = WorldParams()
        if self.identified:
            centre = identified(self.identified, 0.0, robot=self.robot).centre
        config = configured(AdrConfig, self, centre=centre, limits=_limits(self.limits), widen=self.grow)
        trials = configured(Trials, self)
        if self.policy != "expert":
            check_policy(self.policy)
        if not self.resume:
            writable(self.out, self.force)
        writable(self.svg, self.force or self.resume)
        if self.train is None:
            return config, trials, None
        writable_folder(self.train)
        if not self.resume and self.train.is_dir() and any(self.train.iterdir()):
            raise BadFile(
                f"'{self.train}' is not empty; expected a new folder for the rounds. Next: another --train, or --resume"
            )
        rounds = Rounds(self.train, self.demonstrations, self.steps, self.batch_size, self.lr)
        return config, trials, rounds


def _limits(words: Sequence[str]) -> dict[str, tuple[float, float]]:
    """{NAME: (LOW, HIGH)} of NAME=LOW:HIGH … Raises `BadValue` for another word."""
    out = {}
    for word in words:
        name, _, span = word.partition("=")
        try:
            low, high = map(float, span.split(":"))
        except ValueError:
            raise BadValue(f"--limits has '{word}'; expected NAME=LOW:HIGH. Next: --limits friction=0.3:2") from None
        if name in out:
            raise BadValue(f"--limits has {name} twice; expected each once. Next: leave one out")
        out[name] = (low, high)
    return out
