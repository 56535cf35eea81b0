"""What a task is: its scenes, its words, its goal, its success test, and an expert's plan, as one value.

A task is one file in `palmar.sim.tasks` that ends in a `TASK`. Success thresholds live there and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from palmar.errors import BadValue
from palmar.sim.params import WorldParams
from palmar.sim.scenario import Scenario, Scene
from palmar.types import Array


class State(Protocol):
    """What a success test or a plan may read of a world: positions in the base frame at the start [m]."""

    scenario: Scenario
    params: WorldParams

    @property
    def tcp(self) -> Array:
        """The point of the frame that the scenario's hand names, of the first frame where it names none."""
        ...

    @property
    def opening(self) -> float:
        """Of the gripper at `tcp`, 0 closed … 1 open."""
        ...

    @property
    def grip_width(self) -> float:
        """Between the pads of the gripper at `tcp` when it is open [m]."""
        ...

    @property
    def table(self) -> float:
        """Height of the ground that things stand on [m]."""
        ...

    def item(self, i: int) -> Array:
        """Centre of a thing, or foot of a destination [m]."""
        ...

    def speed(self, i: int) -> float:
        """How fast the centre of a thing moves [m/s]."""
        ...

    def contents(self, i: int) -> Array:
        """Where the balls are that a thing held at the start [n, 3] [m]."""
        ...

    def ajar(self, i: int) -> float:
        """How far a drawer or door is open, 0 … 1."""
        ...

    def handle(self, i: int) -> tuple[Array, Array]:
        """Position [3] [m] of the handle of a drawer or door, and the direction [3] it goes in when that opens."""
        ...

    def rotation(self, i: int) -> Array:
        """From a thing's frame to the base frame at the start [3, 3]."""
        ...

    def place(self, point: str) -> tuple[Array, Array]:
        """Position [3] [m] and rotation [3, 3] of a named point of the robot."""
        ...


class Go(NamedTuple):
    """A plan for a gripper: where its frame goes [m], its opening 0 … 1, and the largest step of an action at 10 Hz [m].

    rotation: that it turns to [3, 3], as it is where None; turn: the largest turn of an action at 10 Hz [rad].
    """

    goal: Array
    opening: float
    step: float
    rotation: Array | None = None
    turn: float = 0.12


class Speeds(NamedTuple):
    """A plan for channels that take speeds: {channel: value in its unit}; the others stand still."""

    values: Mapping[str, float]


Wanted = Go | Speeds


@dataclass(frozen=True)
class Task:
    """A task as a value.

    robots: names of those it fits. stream: whole number of its own that its seeds are mixed with; no two tasks share one.
    wordings: instructions it is trained on, unseen: those kept for the split "wording" (words in braces: `scenario.phrase`).
    goal: where the thing asked for, or the gripper, should end [m]. success: whether it is done now. plan: what an expert
    would do now; both are functions of the present state alone. verbs: words of a typed instruction that mean this task;
    parts: tasks it consists of, in order, itself last. extra: done only where it is named: "all" tasks are those without it,
    which the shipped policy is trained, evaluated and certified on.
    """

    name: str
    robots: tuple[str, ...]
    stream: int
    scene: Scene
    wordings: tuple[str, ...]
    unseen: tuple[str, ...]
    goal: Callable[[State], Array]
    success: Callable[[State], bool]
    plan: Callable[[State], Wanted]
    verbs: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()
    extra: bool = False

    def __post_init__(self) -> None:
        if not (self.robots and self.wordings and self.unseen):
            raise BadValue(
                f"task '{self.name}' lacks robots, wordings or unseen wordings; expected at least one of each. "
                "Next: add them to the task's file"
            )
        if shared := set(self.wordings) & set(self.unseen):
            raise BadValue(
                f"task '{self.name}': '{shared.pop()}' is a training wording and an unseen one. "
                "Next: take it out of one of the two"
            )

    def distance(self, state: State, i: int) -> float:
        """How far the robot is from a thing [m]: which one it goes for is the nearest it came to."""
        return float(np.linalg.norm(state.item(i) - state.tcp))
