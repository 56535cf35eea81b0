"""Success on seeds nobody trained on: the one loop, the simulator's truth, and everything a report needs of each trial."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from palmar.choices import SPLITS, Split
from palmar.errors import BadValue, TooLongInstruction, check_names
from palmar.eval.results import Results, Trial
from palmar.lab.worlds import Loaded, fitted_here, seeing
from palmar.models.privileged import Privileged, told
from palmar.policy import Policy, check_policy
from palmar.ranges import LATENCY, Count, Processes, Seconds, Seed, check_ranges
from palmar.robots import robot as robot_named
from palmar.runtime.chunks import Averaged, ChunkBuffer
from palmar.runtime.fitting import check_execute
from palmar.runtime.loop import Subscriber, rollout
from palmar.runtime.monitor import Finished, SafetyCounts, Smoothness
from palmar.runtime.pool import spread
from palmar.runtime.worker import Inline
from palmar.sim import tasks
from palmar.sim.draws import Worlds
from palmar.sim.experts import Expert
from palmar.sim.free_words import free_instructions_of
from palmar.sim.params import NO_RANDOMIZATION
from palmar.sim.reality import stage
from palmar.sim.scenario import TEST_SEED, Scenario, check_seed
from palmar.sim.things import MOVING
from palmar.types import ActionChunk, Observation


@dataclass(frozen=True)
class EvalConfig:
    """What to evaluate.

    robot: one of `palmar.robots`; tasks: names, or "all" that fit it and are not extra. episodes: per task and split.
    seed: first test seed;
    the same seeds make the same scenes for every policy. world: sim, GRADE:SEED for a reality (twin,
    near, far or other), or GRADE:FIRST-LAST for several in turn (scene SEED stands in reality FIRST + SEED mod their number;
    twins:N is twin:0-(N - 1)). swap: ask for another object in the scene than the seed's own, and
    count which one the robot goes for. execute: actions carried out of each chunk. latency: of the policy [s], on the
    simulated clock. ensemble: average the chunks that overlap (temporal ensembling) instead of taking the newest. realtime:
    chunks fit on to what runs while they are computed (`ChunkBuffer.realtime`). unaided: a
    trial ends when the policy says that it is done, as on a robot, and not when the simulator sees success; success is
    judged then.
    """

    policy: str = "shipped"
    episodes: Count = 25
    tasks: tuple[str, ...] = tasks.ALL
    splits: tuple[Split, ...] = ("layout",)
    world: str = "sim"
    seed: Seed = 0
    randomization: Worlds = NO_RANDOMIZATION
    swap: bool = False
    execute: Count = 4
    latency: Annotated[float, LATENCY] = 0.0
    timeout: Seconds = 15.0
    ensemble: bool = False
    unaided: bool = False
    robot: str = "arm7"
    realtime: bool = False

    def __post_init__(self) -> None:
        check_ranges(self)
        object.__setattr__(self, "tasks", tasks.chosen(self.tasks, self.robot))
        for what, named, known in (("task", self.tasks, tasks.names(self.robot)), ("split", self.splits, SPLITS)):
            check_names(what, named, known)
            if len(set(named)) < len(named):
                raise BadValue(
                    f"{what}s are {' '.join(named)}; expected each once, or trials would count twice. "
                    "Next: name each once"
                )
        for name in self.tasks if "free" in self.splits else ():
            free_instructions_of(name)
        check_seed(self.seed, self.episodes)
        self.stage(0)
        if self.world != "sim" and self.randomization != NO_RANDOMIZATION:
            raise BadValue(
                f"world '{self.world}' has parameters of its own; it cannot be randomised. Next: strength 0, or world sim"
            )

    def stage(self, seed: int) -> str:
        """Which world the table of a seed stands in. Raises `BadValue` when there is no such world."""
        return stage(self.world, seed)


def evaluate(
    config: EvalConfig, processes: Processes = None, progress: bool = True, note: str = "evaluate",
    watch: Callable[[Trial], None] | None = None,
) -> Results:  # fmt: skip
    """Run every trial of the config. Equal configs give equal trials, whatever the number of processes.

    Raises what `check_policy` does before the first, and what `run` does.
    """
    if config.policy != "expert":
        check_policy(config.policy)
    from rich.markup import escape
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    jobs = [
        (config, k, s, config.seed + i) for s in config.splits for i in range(config.episodes) for k in config.tasks
    ]
    columns = (
        TextColumn(escape(note)),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[rate]}", markup=False),
    )
    trials: list[Trial] = []
    with Progress(*columns, disable=not progress) as bar:
        shown = bar.add_task(note, total=len(jobs), rate="")
        for trial in spread(run, Loaded, jobs, processes):
            trials.append(trial)
            bar.update(shown, completed=len(trials), rate=f"{100 * np.mean([t.success for t in trials]):.0f} % success")
            if watch:
                watch(trial)
    return Results(as_json(config), tuple(trials))


def evaluated(config: EvalConfig, kept: str | Path, note: str = "evaluate", processes: Processes = None) -> Results:
    """The results in the file `kept` when they are of this very config, or else made and saved there.
    processes: as of `evaluate`."""
    if Path(kept).exists():
        there = Results.load(kept)
        if {"robot": "arm7", "realtime": False} | there.config == as_json(config):  # older files name neither
            return there
    results = evaluate(config, processes, note=note)
    results.save(kept)
    return results


def as_json(config: EvalConfig) -> dict[str, Any]:
    """As it comes back from a file."""
    out: dict[str, Any] = json.loads(json.dumps(asdict(config), default=dict))
    return out


def run(loaded: Loaded, job: tuple[EvalConfig, str, Split, int], subscribers: Sequence[Subscriber] = ()) -> Trial:
    """One trial, from its seed alone, in a world of `loaded`; `subscribers` may watch it.

    Free words that are more than the policy reads are a trial that did not succeed. Raises `BadValue` for a policy that does not
    fit the robot by names, units, rate and length of chunk, and whatever else the policy raises: a trial of a failing policy
    would be counted as one that did not succeed.
    """
    config, task, split, seed = job
    stage = config.stage(seed)
    robot = robot_named(config.robot)
    own = told(_policy(loaded, config, stage), seeing(robot, False))
    fit = fitted_here(own, robot)
    truth = {"extents": own.extents, "physics": True, "images": False} if isinstance(own, Privileged) else {}
    policy, world = fit.policy, loaded.world(stage, config.robot, fit.robot.action_space, **truth)
    execute = 1 if config.policy == "expert" else config.execute  # the expert plans one action at a time
    check_execute(policy.interface, execute)
    if config.ensemble and not getattr(own, "ensembles", False):
        policy = Averaged(policy)
    asked, scenario = tasks.task(task), tasks.sample(task, split, seed)
    if config.swap:
        scenario = swapped(scenario)
    params = config.randomization.sample(np.random.default_rng([29, seed]))
    obs = world.load(scenario, params, TEST_SEED + seed)
    policy.reset()
    worker, smooth, safety = Inline(policy, config.latency), Smoothness(), SafetyCounts()
    closest: dict[int, float] = {}
    latencies: list[float] = []
    objects = _objects(scenario)
    done, finished = None, Finished()

    def until(seen: Observation, chunk: ActionChunk | None) -> bool:
        nonlocal done
        latencies.append(worker.latency)
        done = None if chunk is None or chunk.done is None else chunk.done > 0.5
        for i in objects:
            closest[i] = min(closest.get(i, 9.0), asked.distance(world, i))
        return finished(seen, chunk) if config.unaided else world.success()

    end = rollout(
        world, worker, obs, chunks=ChunkBuffer(execute, realtime=config.realtime),
        subscribers=[smooth, safety, *subscribers], until=until, timeout=config.timeout,
    )  # fmt: skip
    if not (split == "free" and isinstance(end.error, TooLongInstruction)):
        end.check()
    nearest = min(closest, key=lambda i: closest[i])
    motion = smooth.report()
    return Trial(
        task, split, stage, seed, scenario.instruction, world.success(), end.duration, nearest == scenario.target,
        scenario.items[nearest].name, done, float(np.median(latencies)), motion["jerk_rms"], motion["seam_mean"],
        safety.checked, safety.changed, dict(safety.counts),
    )  # fmt: skip


def swapped(scenario: Scenario) -> Scenario:
    """The same table, asked for the next object on it (the language-swap probe)."""
    shapes = tasks.task(scenario.task).scene.shapes
    others = [
        i for i in _objects(scenario) if i not in (scenario.target, scenario.goal) and scenario.items[i].shape in shapes
    ]
    if not others:
        raise BadValue(
            f"the table of seed {scenario.seed} holds one object only; nothing to swap to. Next: leave --swap out"
        )
    return scenario.ask_for(others[0])


def _objects(scenario: Scenario) -> list[int]:
    """Indices of the things that could have been asked for."""
    return [i for i, it in enumerate(scenario.items) if not it.kind.foot or it.kind.geom in MOVING]


def _policy(loaded: Loaded, config: EvalConfig, stage: str) -> Policy:
    if config.policy != "expert":
        return loaded.policy(config.policy)
    robot = robot_named(config.robot)
    return Expert(loaded.world(stage, config.robot, "ee_delta" if robot.frames else "channels"))
