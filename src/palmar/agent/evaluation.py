"""Success rates of an agent on long instructions, by the simulator, compared with the single policy on the same tables."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from palmar.agent.carry_out import AgentLimits, AgentRun, carry_out
from palmar.agent.instructions import KINDS, Kind, LongInstruction, instructions
from palmar.agent.language_planner import find_planner
from palmar.agent.outside_limits import OutsideLimits
from palmar.agent.plans import Planner
from palmar.agent.seen import SceneDescription
from palmar.agent.simulated import performer
from palmar.agent.table import driver_in
from palmar.errors import BadValue, UserError, check_names
from palmar.eval.stats import Paired, Rate, paired
from palmar.files import write_text
from palmar.lab.worlds import Loaded
from palmar.ranges import Count, Processes, Seed, check_ranges
from palmar.runtime.chunks import ChunkBuffer
from palmar.runtime.loop import rollout
from palmar.runtime.pool import spread
from palmar.runtime.worker import Inline
from palmar.sim.goals import GoalWatch, table_for
from palmar.sim.reality import stage
from palmar.sim.scenario import TEST_SEED
from palmar.sim.world import World
from palmar.types import Policy

EACH = 15.0  # seconds that the single policy has for each goal


@dataclass(frozen=True)
class AgentEvalConfig:
    """policy: of the skills, "expert" for the script. planner: as of `language_planner.find_planner`. tables: of each
    instruction, from `seed` on. world: as of `lab.suite.EvalConfig`. kinds: of instructions. alone: the single policy, told the
    whole instruction, drives on the same tables for comparison."""

    policy: str = "shipped"
    planner: str = "rules"
    tables: Count = 3
    seed: Seed = 0
    world: str = "sim"
    kinds: tuple[Kind, ...] = KINDS
    alone: bool = True
    execute: Count = 4
    replans: Count = 8

    def __post_init__(self) -> None:
        check_ranges(self)
        check_names("kind", self.kinds, KINDS)
        stage(self.world, 0)

    @property
    def limits(self) -> AgentLimits:
        return AgentLimits(replans=self.replans)


@dataclass(frozen=True, slots=True)
class AgentTrial:
    """One instruction on one table. success: a feasible one's goals by the simulator, an impossible one refused before anything
    moved, an ambiguous one asked about before anything moved and then its goals. asked: questions. reached: goals that were.
    alone: of the single policy, None where it did not drive."""

    kind: Kind
    text: str
    seed: int
    world: str
    steps: int
    seen: bool
    success: bool
    ending: str
    why: str
    reached: int
    replans: int
    asked: int
    moved: bool
    seconds: float
    skills: int
    outside: int
    alone: bool | None = None


@dataclass(frozen=True)
class AgentResults:
    config: dict[str, Any]
    trials: tuple[AgentTrial, ...]

    def of(self, kind: Kind) -> tuple[AgentTrial, ...]:
        return tuple(t for t in self.trials if t.kind == kind)

    def rate(self, kind: Kind) -> Rate:
        trials = self.of(kind)
        return Rate(sum(t.success for t in trials), len(trials))

    def beside_the_policy(self) -> Paired | None:
        """Feasible ones: the single policy against the agent, on the same tables."""
        both = [t for t in self.of("feasible") if t.alone is not None]
        return paired([bool(t.alone) for t in both], [t.success for t in both]) if both else None

    def alone(self) -> Rate:
        """Of the single policy, on the feasible ones."""
        told = [t for t in self.of("feasible") if t.alone is not None]
        return Rate(sum(bool(t.alone) for t in told), len(told))

    def figures(self) -> dict[str, Any]:
        """Every figure, for `--json`."""
        pair = self.beside_the_policy()
        return {
            **{k: self.rate(k).to_dict() for k in KINDS if self.of(k)},
            "alone": None if pair is None else self.alone().to_dict(),
            "difference": None if pair is None else [pair.difference, pair.low, pair.high],
            "replans": sum(t.replans for t in self.trials), "questions": sum(t.asked for t in self.trials),
            "skills": sum(t.skills for t in self.trials), "outside": sum(t.outside for t in self.trials),
        }  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        return {"config": self.config, "trials": [asdict(t) for t in self.trials]}

    def save(self, file: Path) -> None:
        write_text(file, json.dumps(self.to_json(), indent=1))


def evaluate_agent(
    config: AgentEvalConfig,
    processes: Processes = None,
    progress: bool = True,
    watch: Callable[[AgentTrial], None] | None = None,
    chosen: Sequence[LongInstruction] | None = None,
) -> AgentResults:
    """Every instruction on every table. Equal configs give equal trials with a planner that answers alike."""
    from rich.progress import track

    told = [(i, x) for i, x in enumerate(chosen if chosen is not None else instructions()) if x.kind in config.kinds]
    if not told:
        raise BadValue(f"no instruction is {' or '.join(config.kinds)}. Next: kinds {', '.join(KINDS)}")
    jobs = [(config, i, x, config.seed + k) for k in range(config.tables) for i, x in told]
    trials = []
    results = spread(run_instruction, Loaded, jobs, processes)
    for trial in track(results, "long instructions", total=len(jobs), disable=not progress):
        trials.append(trial)
        if watch is not None:
            watch(trial)
    return AgentResults(json.loads(json.dumps(asdict(config))), tuple(trials))


def run_instruction(
    loaded: Loaded, job: tuple[AgentEvalConfig, int, LongInstruction, int], planner: Planner | None = None
) -> AgentTrial:
    """One trial, from the numbers of instruction and table alone. planner: in place of the one that the config names."""
    config, number, told, table = job
    seed = TEST_SEED + 1000 * number + table
    policy, world = driver_in(loaded, config.policy, stage(config.world, table))
    scenario = table_for(told.things, told.places, told.goals, seed, told.text)
    alone = None
    if config.alone and told.kind == "feasible" and config.policy != "expert":
        world.load(scenario, seed=seed)
        alone = _policy_alone(world, policy, told, config.execute)
    world.load(scenario, seed=seed)
    watch, outside = GoalWatch(world, told.goals, told.ordered), OutsideLimits(world.embodiment)
    answers = list(told.answers)
    execute = 1 if config.policy == "expert" else config.execute
    agent = performer(world, {"": policy}, execute, (watch, outside))
    before, asked_at = agent.describe(), list[float]()  # [s] of the world

    def answer(question: str) -> str | None:
        asked_at.append(world.time)
        return answers.pop(0) if answers else None

    agent.answer = answer
    try:
        run = carry_out(told.text, planner or find_planner(config.planner), agent, config.limits)
    except UserError as error:  # a planner that does not answer has not done it; the others go on
        run = AgentRun(told.text, "failed", str(error))
    watch.look()
    apart = _others_touched(told, before, agent.describe())
    asked_first = bool(asked_at) and asked_at[0] == 0.0
    return AgentTrial(
        told.kind, told.text, table, config.world, len(told.goals), told.seen,
        _succeeded(told, run, watch, asked_first) and not apart, run.ending, run.why,
        sum(watch.reached), run.replans, len(run.asked), run.moved, round(run.seconds, 1), len(run.results), outside.count, alone,
    )  # fmt: skip


def _others_touched(told: LongInstruction, before: SceneDescription, after: SceneDescription) -> bool:
    """Whether a thing that no goal names was taken, put or pushed over a line."""
    named = {g.target for g in told.goals}
    for thing in before.free:
        now = after.find(thing.name)
        if thing.name not in named and (
            now is None or after.holding == thing.name or (now.on, now.beyond) != (thing.on, thing.beyond)
        ):
            return True
    return False


def _succeeded(told: LongInstruction, run: AgentRun, watch: GoalWatch, asked_first: bool) -> bool:
    if told.kind == "impossible":
        return run.ending == "refused" and not run.moved
    if told.kind == "ambiguous":
        return asked_first and watch.fulfilled
    return watch.fulfilled


def _policy_alone(world: World, policy: Policy, told: LongInstruction, execute: int) -> bool:
    watch = GoalWatch(world, told.goals, told.ordered)
    policy.reset()
    rollout(
        world, Inline(policy), world.observe(), chunks=ChunkBuffer(min(execute, policy.interface.horizon)), subscribers=(watch,),
        until=lambda obs, chunk: watch.fulfilled, timeout=EACH * len(told.goals),
    )  # fmt: skip
    watch.look()
    return watch.fulfilled
