"""An agent's robot in simulation: the scene told from simulator truth, skills judged by the tasks' own success tests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from palmar.agent.performing import Performer, Until
from palmar.agent.seen import SceneDescription, SeenObject
from palmar.agent.skills import Skill
from palmar.errors import BadValue
from palmar.runtime.chunks import ChunkBuffer
from palmar.runtime.clock import SimClock
from palmar.runtime.control.path import Control
from palmar.runtime.loop import Outcome, Subscriber, brake_to_rest, rollout
from palmar.runtime.records.blackbox import BlackBox
from palmar.runtime.safety.filter import Safety
from palmar.runtime.worker import Inline
from palmar.sim import tasks
from palmar.sim.goals import Goal, scenario_of_goal
from palmar.sim.skills import holds
from palmar.sim.tasks.pick import is_lifted
from palmar.sim.tasks.place import lies_on
from palmar.sim.tasks.push import DIRECTIONS, is_beyond
from palmar.sim.world import World
from palmar.types import ActionChunk, Observation, Policy

TASK_OF = {"move_to": "reach", "grasp": "pick", "place_on": "place", "push": "push", "open": "open"}
SKILL_OF = {task: skill for skill, task in TASK_OF.items()}
GONE = -0.05  # below the table by so much: it has fallen off [m]


def scene_of(world: World) -> SceneDescription:
    """What stands on a world's table, by simulator truth: confidence 1. What has fallen off is not seen."""
    items = world.scenario.items
    fixed = [i for i, x in enumerate(items) if x.kind.foot]
    things, held = [], ""
    for i, item in enumerate(items):
        where = world.item(i)
        if where[2] - world.table < GONE:
            continue
        x, y, z = (round(float(v), 3) for v in where)
        if i in fixed:
            things.append(SeenObject(item.name, True, (x, y, z)))
            continue
        on = next((items[g].name for g in fixed if lies_on(world, i, g)), "")
        if not held and holds(world, i) and is_lifted(world, i):
            held, on = item.name, ""
        beyond = () if held == item.name else tuple(d for d in DIRECTIONS if is_beyond(world, i, d))
        things.append(SeenObject(item.name, False, (x, y, z), on, beyond))
    return SceneDescription(tuple(things), held)


def goal_of(skill: Skill) -> Goal:
    """Raises `BadValue` for what no task does."""
    if skill.name not in TASK_OF:
        raise BadValue(f"{skill} is no task of the simulator. Next: one of {', '.join(TASK_OF)}")
    return Goal(TASK_OF[skill.name], skill.object, skill.destination, skill.direction)


class TruthCheck:
    """`SuccessCheck` by the simulator."""

    def __init__(self, world: World) -> None:
        self.world = world

    def begin(self, skill: Skill) -> None:
        self.world.ask(scenario_of_goal(self.world.scenario, goal_of(skill), skill.instruction))

    def over(self, obs: Observation, chunk: ActionChunk | None) -> bool:
        return self.world.success()

    def done(self, outcome: Outcome) -> bool:
        return self.world.success()

    def left(self) -> float:
        world, scenario = self.world, self.world.scenario
        goal = tasks.task(scenario.task).goal(world)
        return float(np.linalg.norm(goal - (world.tcp if scenario.task == "reach" else world.item(scenario.target))))


def performer(
    world: World,
    policies: dict[str, Policy],
    execute: int = 4,
    subscribers: Sequence[Subscriber] = (),
    slow: float = 1.0,
    blackbox: Path | None = None,
) -> Performer:
    """A performer in a loaded world, on the simulated clock. policies: as of `Performer`, made for the world's robot.
    slow, blackbox: as of `Performer`."""

    def drive(
        policy: Policy, instruction: str, until: Until, timeout: float, watchers: Sequence[Subscriber]
    ) -> Outcome:
        policy.reset()
        safety, clock = Safety(world.embodiment), SimClock()
        for box in (w for w in watchers if isinstance(w, BlackBox)):
            box.safety = safety
        try:
            return rollout(
                world, Inline(policy), world.observe(), clock=clock, control=Control(world.embodiment, safety),
                chunks=ChunkBuffer(min(execute, policy.interface.horizon)), subscribers=(*watchers, *subscribers),
                until=until, timeout=timeout,
            )  # fmt: skip
        finally:  # also on Ctrl-C
            brake_to_rest(world, safety, clock)

    return Performer(
        world.embodiment, policies, lambda: scene_of(world), drive, TruthCheck(world), slow=slow, blackbox=blackbox
    )
