"""How the levels of a progressive transfer are trained and tried: simulated demonstrations and real ones in one batch, trials in
simulation, in a simulated reality, on a body, or told by a person.

`Practice` is the two functions that `transfer.progressive.progress` wants.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from palmar.data.language import Paraphrases
from palmar.data.mixture import Mixture
from palmar.errors import BadValue
from palmar.ranges import Processes
from palmar.transfer.progressive import Fit, Level, NoTrials, Try

LEAST_DEMOS, MOST_DEMOS = 50, 100
"""Demonstrations in the reality that the last level is meant for; fewer or more are taken, and said."""


@dataclass(frozen=True)
class Practice:
    """preset: of a policy that begins anew; init: checkpoint to begin from instead. episodes: demonstrations of the scripted
    expert in simulation, for each strength. real: folder of a LeRobot set recorded in the reality, such as by teleoperation. told:
    outcomes of trials that a person made there, for the gate that waits and no other; or attempt: a function that makes them
    (`on_body`). world: a simulated one in its place (twin:SEED), where `demos` demonstrations are made when `real` is None.
    processes: of the simulation. data: folder that demonstrations are collected in."""

    preset: str = "palmar-tiny"
    init: Path | None = None
    tasks: tuple[str, ...] = ("all",)
    robot: str = "arm7"
    episodes: int = 200
    real: Path | None = None
    world: str = ""
    demos: int = LEAST_DEMOS
    told: tuple[bool, ...] = ()
    attempt: Try | None = None
    batch_size: int = 64
    image_size: int = 96
    horizon: int = 16
    timeout: float = 12.0
    seed: int = 700_000
    processes: Processes = None
    progress: bool = True
    data: Path = Path("data")
    paraphrases: Paraphrases | None = None
    _told: list[bool] = field(default_factory=list, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.real is None and not self.world:
            raise BadValue(
                "no reality is named; expected a data set recorded there, or a simulated one. Next: --real FOLDER, or "
                "--world twin:0"
            )
        if self.world:
            from palmar.sim.reality import reality

            reality(self.world)
        self._told.extend(self.told)

    # ------------------------------------------------------------------------------------------------ training

    def fit(self, level: Level, folder: Path, before: Path | None) -> Path:
        """The checkpoint of a level, trained in `folder` from the one before. Interrupted, it goes on. Trials that were told until
        now are forgotten: they cannot have been made with it."""
        from palmar.models.presets import preset
        from palmar.train.loop import train
        from palmar.train.recipe import Recipe, Stage
        from palmar.train.request import TrainRequest
        from palmar.train.run import TrainConfig

        self._told.clear()
        sets: list[Any] = [self.simulated(level.strength)] if level.sim > 0 else []
        mixture = None
        if level.sim < 1:
            sets.append(self.recorded(sets[0] if sets else None))
            mixture = shares(level.sim, [len(s) for s in sets])
        config = TrainConfig(
            steps=level.steps, batch_size=self.batch_size, lr=level.lr, horizon=self.horizon, seed=self.seed,
            ema=min(0.999, 1 - 10 / level.steps) if level.steps > 10 else 0.0,
        )  # fmt: skip
        request = TrainRequest(
            preset(self.preset), sets, config, Recipe(level.name, (Stage(data=mixture),)), embodiment=self.robot,
            init=before if before is not None else self.init, paraphrases=self.paraphrases,
        )  # fmt: skip
        if request.init is not None:
            from dataclasses import replace

            from palmar.models.checkpoint import read_config

            request = replace(request, model=read_config(request.init)[0])
        return train(request, folder, resume=True, progress=self.progress)

    def simulated(self, strength: float) -> Any:
        """Demonstrations in worlds of this strength."""
        from palmar.sim.params import Randomization

        return self._demonstrated(self.data / f"sim-{strength:g}", "sim", self.episodes, Randomization(strength))

    def recorded(self, like: Any = None) -> Any:
        """What was recorded in the reality; with the names, order and picture sizes of `like` where one is given."""
        from palmar.data.mapped import MappedData
        from palmar.data.reader import Dataset
        from palmar.sim.params import NO_RANDOMIZATION

        if self.real is not None:
            found: Any = Dataset(self.real, image_size=self.image_size)
        else:
            found = self._demonstrated(self.data / "real", self.world, self.demos, NO_RANDOMIZATION)
        return found if like is None else MappedData(found, like=like)

    def _demonstrated(self, folder: Path, world: str, episodes: int, worlds: Any) -> Any:
        from palmar.data.reader import Dataset
        from palmar.lab.collect import CollectConfig, collect

        config = CollectConfig(episodes, self.tasks, self.seed, worlds, robot=self.robot, world=world)
        collect(folder, config, self.processes, resume=True, progress=False)
        return Dataset(folder, image_size=self.image_size)

    # ------------------------------------------------------------------------------------------------ trials

    def trials(self, level: Level, policy: Path, first: int, count: int) -> Sequence[bool]:
        """Outcomes of trials `first` …; see `Practice`. Raises `NoTrials` where a person has to make them."""
        if level.where == "real" and self.attempt is not None:
            return self.attempt(level, policy, first, count)
        if level.where == "real" and not self.world:
            if len(self._told) < count:
                raise NoTrials(
                    f"level '{level.name}' waits for {count} trials of '{policy}' in the reality: run it {count} times "
                    f"(palmar run --policy {policy} --body …), then the same command with --told and {count} times 1 or 0"
                )
            given, self._told[:count] = self._told[:count], []
            return given
        from palmar.lab.suite import EvalConfig, evaluate
        from palmar.sim import tasks
        from palmar.sim.params import NO_RANDOMIZATION, Randomization

        chosen = tasks.chosen(self.tasks, self.robot)
        simulated = level.where == "sim"
        config = EvalConfig(
            str(policy), -(-count // len(chosen)), chosen, world="sim" if simulated else self.world, seed=first,
            randomization=Randomization(level.strength) if simulated else NO_RANDOMIZATION, timeout=self.timeout, robot=self.robot,
        )  # fmt: skip
        made = evaluate(config, self.processes, progress=self.progress, note=level.name).trials
        return [t.success for t in made[:count]]


def shares(sim: float, frames: Sequence[int]) -> Mixture:
    """A mixture in which the simulated set has this share of a batch, whatever the sizes of the two sets in frames."""
    if len(frames) == 1:
        return Mixture(temperature=1.0)
    return Mixture(temperature=1.0, sources=(sim / frames[0], (1 - sim) / frames[1]))


def on_body(body: Any, instructions: Sequence[str], judge: Callable[[str], bool], **options: Any) -> Try:
    """Trials on a `Body`, as `runtime.deploy.deploy` runs a policy. instructions: taken in turn. judge: called after each with its
    instruction, whether it succeeded, such as a question to a person. The body's `reset` lays the scene, or waits for who does.
    options: of `deploy`, such as the E-STOP's latch and the longest time of a trial."""

    def attempt(level: Level, policy: Path, first: int, count: int) -> list[bool]:
        from palmar.lab.worlds import fitted_here
        from palmar.policy import load_policy
        from palmar.runtime.deploy import deploy
        from palmar.runtime.monitor import Finished

        fit = fitted_here(load_policy(str(policy)), body.embodiment)
        outcomes = []
        for i in range(first, first + count):
            said = instructions[i % len(instructions)]
            deploy(body, fit.policy, said, body.reset(i), until=Finished(), **options)
            outcomes.append(bool(judge(said)))
        return outcomes

    return attempt


def functions(practice: Practice) -> tuple[Fit, Try]:
    """What `progress` takes."""
    return practice.fit, practice.trials
