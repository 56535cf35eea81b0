"""Learning on the job: a new version of a policy from corrections, and the versions there are."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

from tyro.conf import Positional

from palmar.cli.shared import Answer, one_thread, writable_folder
from palmar.console import Screen, styled
from palmar.errors import BadValue
from palmar.ranges import BATCH, COUNT, RATE, SEED, Count, Processes, Range, Seconds, Seed
from palmar.train.adapt_config import AdaptConfig, Part

if TYPE_CHECKING:
    from palmar.lab.before_after import Tables


@dataclass(frozen=True)
class Adapt:
    """Learn from corrections in a minute, and let the new version act only if it passes a gate on held-out tables.

    --out holds every version with its manifest, and is a policy like any other: the version that acts. Without --new nothing
    is tried, and the new version stays a candidate.
    """

    policy: Positional[str]
    """Checkpoint folder, "shipped", or the --out of an earlier call, to go on from the version that acts."""
    corrections: tuple[Path, ...] = ()
    """Data sets of which the frames that a person drove are learned (column intervention; all frames where there is none)."""
    replay: tuple[Path, ...] = ()
    """Data sets of what the policy knew before, mixed into every batch."""
    out: Path = Path("runs/adapted")
    """Folder of the versions."""
    new: tuple[str, ...] = ()
    """Held-out tables like those of the corrections: sim, GRADE:SEED, or parameters of the world: camera_yaw=20 light=0.2."""
    old: tuple[str, ...] = ("sim",)
    """Held-out tables like those before, in the same words."""
    tasks: tuple[str, ...] = ("all",)
    """Tasks of the held-out tables."""
    trials: Count = 150
    """Held-out tables of each kind, each tried before and after. Fewer than 149 cannot show a loss of 2 points or less."""
    table_seed: Annotated[int | None, SEED] = None
    """Of the first held-out table. Not given: tables that no version in --out was tried on before; versions that are chosen on
    the same tables again and again would pass by luck."""
    timeout: Seconds = 10.0
    """Of a trial [s]."""
    margin: Annotated[float, Range(0, 1, below=True)] = 0.02
    """Largest loss of success on old tables, 0 … 1: a one-sided 95 % bound has to be within it."""
    part: Part = AdaptConfig.part
    """Which weights move: head, lora (low-rank adapters, merged at the end, and the head) or all."""
    steps: Annotated[int, COUNT] = AdaptConfig.steps
    """Of the optimiser."""
    lr: Annotated[float, RATE] = AdaptConfig.lr
    """Highest learning rate."""
    corrected_frames: Annotated[int, BATCH] = AdaptConfig.corrections
    """Frames of corrections in a batch."""
    replay_frames: Annotated[int, Range(0, 10**6)] = AdaptConfig.replay
    """Frames of old data in a batch; 0 for none, which forgets."""
    seed: Seed = 0
    processes: Processes = None
    """Of the trials; one a core when not given."""
    certified: str = ""
    """Name or file of the robot: from now on no version of --out acts without a certificate for it (palmar certify)."""
    promote: str = ""
    """Nothing is learned: this version of POLICY, a folder of versions, which has passed its gate, acts from now on."""
    certificate: Path | None = None
    """With --promote: the certificate of that version."""
    json: bool = False
    """One JSON object with every figure on stdout."""
    only_with: ClassVar = {
        "certificate": "promote",
        **{n: "new" for n in ("old", "tasks", "trials", "table_seed", "timeout", "margin", "processes")},
    }
    only_without: ClassVar = {
        n: ("promote",)
        for n in (
            "corrections", "replay", "out", "new", "part", "steps", "lr", "corrected_frames", "replay_frames", "seed", "certified",
        )
    }  # fmt: skip

    def run(self, console: Screen) -> Answer:
        if self.promote:
            return self._promote(console)
        from palmar.eval.gate import GateConfig
        from palmar.lab.before_after import judge
        from palmar.sim.instructions import paraphrases
        from palmar.train.adapting import AdaptRequest, adapted_version
        from palmar.train.speed import wait_quietly

        wait_quietly()
        if not self.corrections:
            raise BadValue(
                "--corrections names no folder. Next: palmar adapt POLICY --corrections SET, recorded with palmar run --correct or "
                "palmar collect --correct expert"
            )
        seed = self._table_seed() if self.new else None
        tables = None if seed is None else (self._tables(self.old, seed), self._tables(self.new, seed))
        config = AdaptConfig(
            self.part, self.steps, self.corrected_frames, self.replay_frames, lr=self.lr, seed=self.seed
        )  # fmt: skip
        gate = GateConfig(self.margin)
        if tables and self.trials < gate.least:
            raise BadValue(
                f"--trials is {self.trials}; expected at least {gate.least} held-out tables, or nothing passes the gate. "
                f"Next: --trials {Adapt.trials}"
            )
        writable_folder(self.out)
        one_thread("shipped")  # training sets its own number and puts this one back
        if self.certified:
            from palmar.description.find import find_robot

            find_robot(self.certified)  # what is wrong with it is told before anything is read
        used = None if seed is None else (seed, seed + self.trials)
        request = AdaptRequest(
            self.policy, self.corrections, self.replay, self.out, config, used, gate, self.certified
        )  # fmt: skip

        def judged(before: str, after: str):  # type: ignore[no-untyped-def]
            assert tables is not None
            return judge(before, after, *tables, gate, self.processes, progress=not self.json)

        made = adapted_version(request, judged if tables else None, paraphrases, console.print)
        if made.verdict is None:
            console.print(
                styled("[yellow]{} is a candidate: without --new nothing was tried on held-out tables.", made.name)
            )
            console.print(f"{made.parent} goes on acting. Next: palmar adapt with --new, such as --new twin:0")
        else:
            console.print(f"old tables: {made.verdict.old}")
            console.print(f"new tables: {made.verdict.new}")
            why = "; ".join(map(str, made.verdict.reasons))
            if made.promoted:
                console.print(styled("[green]{} acts now[/]", made.name))
            elif made.verdict.passed:
                console.print(styled("[yellow]{} passed its gate and needs a certificate.[/]", made.name))
                console.print(
                    styled("{} goes on acting. Next: palmar certify {} --out FILE.json", made.parent, made.path)
                )
            else:
                console.print(styled("[yellow]{} goes on acting[/]: {}", made.parent, why))
        return int(not made.promoted), {
            "version": made.name, "parent": made.parent, "path": str(made.path), "promoted": made.promoted,
            "training_seconds": made.adapted.seconds, "seconds": made.seconds, "person_seconds": made.adapted.person,
            "table_seed": seed, "gate": None if made.verdict is None else made.verdict.to_dict(), "training": asdict(config),
        }  # fmt: skip

    def _promote(self, console: Screen) -> Answer:
        from palmar.runtime.adaptation.versions import Versions, is_history

        if not is_history(self.policy):
            raise BadValue(
                f"'{self.policy}' is no folder of versions; --promote needs one. Next: the --out of palmar adapt"
            )
        versions = Versions(self.policy)
        before = versions.current
        versions.promote(self.promote, self.certificate)
        console.print(styled("[green]{} acts now[/], after {}", self.promote, before))
        return 0, {"version": self.promote, "parent": before, "promoted": True}

    def _table_seed(self) -> int:
        from palmar.lab.before_after import Tables
        from palmar.runtime.adaptation.versions import Versions, is_history

        if self.table_seed is not None:
            return self.table_seed
        if not is_history(self.out):
            return Tables.seed
        versions = Versions(self.out)
        used = [versions.version(name).training.get("tables") for name in versions.names()]
        return max([Tables.seed, *(int(u[1]) for u in used if u)])

    def _tables(self, words: tuple[str, ...], seed: int) -> Tables:
        from palmar.lab.before_after import Tables, condition
        from palmar.models import checkpoint
        from palmar.policy import checkpoint_of
        from palmar.robots import robots

        world, worlds = condition(words)
        robot = checkpoint.check(checkpoint_of(self.policy))[1].embodiment or Tables.robot
        if robot not in robots():
            raise BadValue(
                f"the policy drives '{robot}', and there are tables for {', '.join(robots())}. Next: leave --new out, and try the "
                "candidate on the robot (palmar run --ab)"
            )
        made = Tables(self.trials, world, worlds, self.tasks, seed, self.timeout, robot=robot)
        made.config("shipped")  # what is wrong with it is told before anything is trained
        return made
