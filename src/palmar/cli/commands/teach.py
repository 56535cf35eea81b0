"""From simulation to reality by way of a teacher: one that reads the simulator, a student that looks, and levels with gates."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from tyro.conf import Positional

from palmar.cli.shared import Answer, tidy, writable_folder
from palmar.console import Screen, styled
from palmar.errors import BadValue
from palmar.ranges import BATCH, COUNT, RATE, SHARE, STRENGTH, Count, Processes, Range, Seconds, Seed, Strength


@dataclass(frozen=True, kw_only=True)
class TeacherCommand:
    """Train a teacher in simulation: a policy without eyes that reads the simulator (positions, contacts, mass, friction).

    It drives in simulation alone (palmar eval tests it); palmar student makes a policy of it that looks.
    """

    by: Literal["dagger", "ppo"] = "dagger"
    """dagger: from the scripted expert, which labels what the teacher drives. ppo: from a reward, by trial, for one task
    (pip install 'palmar[rl]')."""
    tasks: tuple[str, ...] = ("reach",)
    """Tasks, or all; one with ppo."""
    out: Path = Path("runs/teacher")
    """Folder of the rounds and their data, and of the checkpoint."""
    robot: str = "arm7"
    """One of the robots that can be simulated."""
    strength: Strength = 1.0
    """Of the randomised worlds, 0 … 2."""
    demos: Count = 100
    """With --by dagger: demonstrations of the expert before the first training."""
    rounds: Annotated[int, Range(1, 1000)] = 3
    """With --by dagger: of driving, labelling and training."""
    episodes: Count = 50
    """With --by dagger: that the teacher drives in each round."""
    steps: Annotated[int | None, COUNT] = None
    """Of each training, 2000 where none is given; with --by ppo: of the environment, 100000."""
    lr: Annotated[float, RATE] = 1e-3
    """Of learning."""
    seed: Seed = 0
    """Of the tables and of what is drawn; with dagger no two seeds share a table."""
    processes: Processes = None
    """With --by dagger: of the simulation; one a core when not given."""
    json: bool = False
    """One JSON object with every figure on stdout."""
    only_with: ClassVar = {n: "by=dagger" for n in ("demos", "rounds", "episodes", "processes")}

    def run(self, console: Screen) -> Answer:
        from palmar.train.speed import wait_quietly

        wait_quietly()
        writable_folder(self.out)
        with tidy(self.out):
            folder, figures = self._tried(console) if self.by == "ppo" else self._cloned(console)
        tasks = " ".join(self.tasks)
        console.print(
            styled(
                "teacher in [bold]{}[/]. Next: palmar eval --policy {} --tasks {}; palmar student {} --tasks {}", folder, folder,
                tasks, folder, tasks,
            )
        )  # fmt: skip
        return 0, {"checkpoint": str(folder), **figures}

    def _cloned(self, console: Screen) -> tuple[Path, dict[str, Any]]:
        from palmar.sim.scenario import seed_block
        from palmar.train.dagger import Dagger
        from palmar.train.teacher import TeacherTraining, clone

        frames: list[int] = []
        training = TeacherTraining(
            self.tasks, self.robot, self.demos, self.rounds, self.episodes, self.steps or 2000, lr=self.lr, strength=self.strength,
            seed=seed_block(600_000, self.seed, Dagger.tables(self.demos, self.rounds, self.episodes)),
        )  # fmt: skip
        folder = clone(training, self.out, self.processes, not self.json, watch=lambda done: frames.append(done.frames))
        return folder, {"frames": frames}

    def _tried(self, console: Screen) -> tuple[Path, dict[str, Any]]:
        from palmar.train.reinforce import Reinforce, reinforce

        if len(self.tasks) != 1 or self.tasks == ("all",):
            raise BadValue(
                f"--tasks is {' '.join(self.tasks)}; expected one with ppo, whose reward is of one task. Next: --tasks reach"
            )
        if (self.out / "config.json").exists():
            raise BadValue(f"'{self.out}' holds a checkpoint already. Next: another --out")
        rows: list[dict[str, float]] = []

        def watch(row: dict[str, float]) -> None:
            rows.append(row)
            said = f"{row['step']:.0f} steps · reward of an episode {row['reward']:.2f} · success {100 * row['success']:.0f} %"
            console.print(said)

        trial = Reinforce(self.tasks[0], self.robot, self.steps or 100_000, self.strength, lr=self.lr, seed=self.seed)
        return reinforce(trial, self.out, watch), {"rows": rows}


@dataclass(frozen=True, kw_only=True)
class StudentCommand:
    """Train a policy that looks from a teacher that reads the simulator: the student drives, the teacher says what it would do."""

    teacher: Positional[str]
    """Checkpoint folder of palmar teacher."""
    preset: str = "palmar-tiny"
    """Which model; `palmar models` lists them."""
    out: Path = Path("runs/student")
    """Folder of the rounds and their data."""
    tasks: tuple[str, ...] = ("reach",)
    """Those that the teacher can do, or all."""
    robot: str = "arm7"
    """The teacher's."""
    demos: Count = 100
    """Episodes that the teacher drives before the first training."""
    rounds: Annotated[int, Range(1, 1000)] = 3
    """Of driving, labelling and training."""
    episodes: Count = 50
    """That the student drives in each round."""
    steps: Annotated[int, COUNT] = 2000
    """Of each training."""
    batch_size: Annotated[int, BATCH] = 64
    lr: Annotated[float, RATE] = 1e-3
    """Highest learning rate."""
    weight: Annotated[float, SHARE] = 0.5
    """Of the distance to the teacher's chunk in the loss; the rest is cloning what it labelled."""
    distance: Literal["kl", "l1", "own"] = "kl"
    """Between the chunks: kl of Gaussians, l1, or the student's own loss (for heads that draw their answer)."""
    strength: Annotated[float, STRENGTH] = 0.7
    """Of the randomised worlds."""
    seed: Seed = 0
    """Of the tables, of which no two seeds share any, and of what is drawn."""
    processes: Processes = None
    """Of the simulation; one a core when not given."""
    json: bool = False
    """One JSON object with every figure on stdout."""

    def run(self, console: Screen) -> Answer:
        from palmar.sim.instructions import paraphrases
        from palmar.sim.scenario import seed_block
        from palmar.train.dagger import Dagger
        from palmar.train.speed import wait_quietly
        from palmar.train.student import StudentTraining, student, teacher_of

        wait_quietly()
        teacher_of(self.teacher)
        writable_folder(self.out)
        training = StudentTraining(
            self.preset, self.tasks, self.robot, self.demos, self.rounds, self.episodes, steps=self.steps,
            batch_size=self.batch_size, lr=self.lr, weight=self.weight, distance=self.distance, strength=self.strength,
            seed=seed_block(650_000, self.seed, Dagger.tables(self.demos, self.rounds, self.episodes)), paraphrases=paraphrases,
        )  # fmt: skip
        frames: list[int] = []
        with tidy(self.out):
            folder = student(
                self.teacher, training, self.out, processes=self.processes, progress=not self.json,
                watch=lambda done: frames.append(done.frames),
            )  # fmt: skip
        console.print(styled("student in [bold]{}[/]. Next: palmar eval --policy {}", folder, folder))
        return 0, {"checkpoint": str(folder), "frames": frames}


@dataclass(frozen=True, kw_only=True)
class ProgressCommand:
    """Simple simulation, realistic simulation, simulation and reality, fine-tuning in reality: each level behind a gate of trials.

    The same command goes on where it stopped. Exit code 0: deployed, all gates passed; 1: a gate was missed, or waits for trials.
    """

    out: Path = Path("runs/progress")
    """Folder of the levels and their state; a policy like any other once all gates are passed."""
    preset: str = "palmar-tiny"
    """Which model begins; `palmar models` lists them."""
    init: Path | None = None
    """Checkpoint to begin from instead."""
    tasks: tuple[str, ...] = ("all",)
    """Of the demonstrations and of the trials."""
    robot: str = "arm7"
    """One of the robots that can be simulated."""
    real: Path | None = None
    """LeRobot data set recorded in the reality, 50 to 100 demonstrations."""
    world: str = ""
    """A simulated reality in place of the real one, such as twin:0: demonstrations and trials are made there."""
    told: Annotated[tuple[int, ...], Range(0, 1)] = ()
    """Outcomes of trials that you made in the reality for the gate that waits: 1 or 0 each."""
    episodes: Count = 200
    """Demonstrations in simulation, of each strength."""
    demos: Count = 50
    """With --world, and no --real: demonstrations in the simulated reality."""
    steps: Annotated[int, COUNT] = 2000
    """Of each training; the last level gets half."""
    bounds: Annotated[tuple[float, ...], Range(0, 1, above=True, below=True)] = (0.8, 0.7, 0.6, 0.8)
    """Success rate that each gate wants shown."""
    batch: Annotated[int, BATCH] = 10
    """Trials between two looks at a gate."""
    most: Annotated[int, BATCH] = 60
    """Trials after which a gate counts as missed."""
    tries: Annotated[int, Range(1, 100)] = 2
    """Trainings of a level."""
    timeout: Seconds = 12.0
    """Of a simulated trial [s]."""
    processes: Processes = None
    """Of the simulation; one a core when not given."""
    json: bool = False
    """One JSON object with every figure on stdout."""
    only_without: ClassVar = {"preset": ("init",), "demos": ("real",), "told": ("world",)}

    def run(self, console: Screen) -> Answer:
        from dataclasses import asdict, replace

        from palmar.models.presets import preset
        from palmar.sim.instructions import paraphrases
        from palmar.train.speed import wait_quietly
        from palmar.transfer.progress_run import Practice, functions
        from palmar.transfer.progressive import LEVELS, ProgressConfig, progress

        wait_quietly()
        if len(self.bounds) != len(LEVELS):
            raise BadValue(
                f"--bounds has {len(self.bounds)} numbers; expected {len(LEVELS)}, one a level. Next: 0.8 0.7 0.6 0.8"
            )
        levels = tuple(
            replace(level, least=bound, steps=max(1, self.steps // (2 if i == len(LEVELS) - 1 else 1)))
            for i, (level, bound) in enumerate(zip(LEVELS, self.bounds, strict=True))
        )
        config = ProgressConfig(levels, self.batch, self.most, tries=self.tries)
        practice = Practice(
            self.preset, self.init, self.tasks, self.robot, self.episodes, self.real, self.world, self.demos,
            tuple(bool(x) for x in self.told), timeout=self.timeout, processes=self.processes, progress=not self.json,
            data=self.out / "data", paraphrases=paraphrases,
        )  # fmt: skip
        writable_folder(self.out)
        if self.real is not None:  # before hours of simulation
            from palmar.data.reader import Dataset

            Dataset(self.real, cache=False).close()
        if self.init is not None:
            from palmar.models.checkpoint import read_config

            read_config(self.init)
        preset(self.preset)
        with tidy(self.out):
            done = progress(
                config, self.out, *functions(practice),
                watch=lambda level, tried, verdict: console.print(
                    styled("[bold]{}[/], training {}: {}", level.name, tried.number, verdict)
                ),
            )  # fmt: skip
        if done.deployed:
            console.print(styled("all gates passed: [bold]{}[/]. Next: palmar run --policy {}", self.out, self.out))
        else:
            console.print(styled("[yellow]stopped[/]: {}", done.reason))
        return int(not done.deployed), asdict(done)
