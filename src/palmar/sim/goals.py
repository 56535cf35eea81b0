"""Goals of several steps on one table, judged by the tasks' own success tests, whoever brings them about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from palmar.errors import BadValue
from palmar.runtime.loop import Body, Subscriber
from palmar.sim import tasks
from palmar.sim.scenario import Scenario, settled
from palmar.sim.tasks.place import lies_on
from palmar.sim.tasks.push import before_the_line, is_beyond, lane_free
from palmar.sim.things import DESTINATIONS, SHAPES, Item, apart, kind_of
from palmar.sim.world import World
from palmar.types import Array


@dataclass(frozen=True, slots=True)
class Goal:
    """task: reach, pick, place or push. target, goal: names of things, such as "red cube"; goal "" of place: any destination on
    which nothing else lies. direction: of push."""

    task: str
    target: str
    goal: str = ""
    direction: str = ""


class GoalState:
    """A world, asked for a goal: a `State` for success tests. Nothing is changed."""

    def __init__(self, world: World, goal: Goal) -> None:
        self._world, self.scenario = world, scenario_of_goal(world.scenario, goal)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._world, name)


def scenario_of_goal(scenario: Scenario, goal: Goal, instruction: str = "") -> Scenario:
    """The same things, asked for a goal. Raises `BadValue` for a thing that is not there."""
    names = [item.name for item in scenario.items]
    for name in (goal.target, goal.goal):
        if name and name not in names:
            raise BadValue(f"'{name}' is not on the table ({', '.join(names)}). Next: a thing that is")
    return replace(
        scenario, task=goal.task, instruction=instruction, target=names.index(goal.target),
        goal=names.index(goal.goal) if goal.goal else None, direction=goal.direction or None,
    )  # fmt: skip


class GoalWatch(Subscriber):
    """Which goals were reached while a world was driven: each must have held at some moment, in their order where that was asked
    for, and at the end the last of each thing must hold that is placed, pushed or picked up."""

    def __init__(self, world: World, goals: Sequence[Goal], ordered: bool) -> None:
        self.world, self.goals, self.ordered = world, tuple(goals), ordered
        self.reached = [False] * len(goals)

    def on_start(self, obs: Any, body: Body) -> None:
        self.look()

    def on_frame(self, obs: Any, action: Array) -> None:
        self.look()

    def look(self) -> None:
        """Judge the present state. To be called once more when all is at rest."""
        for i, goal in enumerate(self.goals):
            if self.reached[i]:
                continue
            if any(tasks.task(g.task).success(GoalState(self.world, g)) for g in self._meant(goal)):
                self.reached[i] = True
            elif self.ordered:
                return

    @property
    def fulfilled(self) -> bool:
        return all(self.reached) and all(self._holds(i) for i in range(len(self.goals)))

    def _holds(self, i: int) -> bool:
        goal, later = self.goals[i], self.goals[i + 1 :]
        if any(g.target == goal.target for g in later):
            return True
        asked = GoalState(self.world, goal)
        if goal.task == "place":
            return any(self._alone_on(g) for g in self._meant(goal))
        if goal.task == "push":
            return is_beyond(asked, asked.scenario.target, goal.direction)
        return goal.task == "reach" or tasks.task(goal.task).success(asked)

    def _meant(self, goal: Goal) -> list[Goal]:
        """The goal, or one for each destination."""
        if goal.task != "place" or goal.goal:
            return [goal]
        return [replace(goal, goal=item.name) for item in self.world.scenario.items if item.kind.foot]

    def _alone_on(self, goal: Goal) -> bool:
        scenario = scenario_of_goal(self.world.scenario, goal)
        assert scenario.goal is not None
        free = [i for i, item in enumerate(scenario.items) if not item.kind.foot]
        return [i for i in free if lies_on(self.world, i, scenario.goal)] == [scenario.target]


def table_for(
    things: Sequence[str], places: Sequence[str], goals: Sequence[Goal], seed: int, instruction: str = ""
) -> Scenario:
    """A table with these things, laid out from a seed so that every push has its lane free and begins before its line.

    things, places: colour and shape, such as "red cube". Raises `BadValue` for others, and where they do not fit.
    """
    rng = np.random.default_rng([41, seed])
    kinds = [kind_of(name, SHAPES) for name in things] + [kind_of(name, DESTINATIONS) for name in places]
    pushes = {g.target: g.direction for g in goals if g.task == "push"}

    def draw(kind: tuple[str, str], items: Sequence[Item]) -> Item:
        return _drawn(rng, *kind, pushes.get(" ".join(kind), ""))

    items = settled(kinds, draw, lambda item, items: all(_room(item, other, pushes) for other in items))
    if items is None:
        raise BadValue(
            f"{', '.join((*things, *places))} do not fit on the table with {len(pushes)} lanes. Next: fewer of them"
        )
    first = Goal("reach", goals[0].target if goals else things[0])
    return scenario_of_goal(Scenario(first.task, "", items, 0, seed=seed, split="layout"), first, instruction)


def _drawn(rng: np.random.Generator, colour: str, shape: str, direction: str) -> Item:
    scene = tasks.task("push").scene
    x, y = rng.uniform(*scene.area[0]), rng.uniform(*scene.area[1])
    if direction:
        x, y = before_the_line(rng, direction, None, x, y)
    return Item(shape, colour, float(x), float(y), float(rng.uniform(-scene.turn, scene.turn)))


def _room(a: Item, b: Item, pushes: dict[str, str]) -> bool:
    """Apart, and neither in the other's lane, unless it is pushed out of it before."""
    if not apart(a, b):
        return False
    order = list(pushes)
    for x, y in ((a, b), (b, a)):
        gone = y.name in pushes and x.name in pushes and order.index(y.name) < order.index(x.name)
        if x.name in pushes and not gone and not lane_free(x, y, pushes[x.name]):
            return False
    return True
