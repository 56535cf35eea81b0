"""A reality as methods meet it: a robot's cell, of which nothing can be read but what its sensors say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from palmar.embodiments import Embodiment
from palmar.errors import BadValue
from palmar.robots import robot as robot_named
from palmar.sim.reality import Reality, reality
from palmar.sim.scenario import Scenario
from palmar.sim.world import World
from palmar.types import Array, Observation


class Cell:
    """A `Body` in a reality. A person lays a scene out (`lay`) and says afterwards whether the task is fulfilled (`success`).

    Unlike a `World` it has no parameters, no model, no positions of things, and its observations carry no privileged truth.
    name: as of `reality.reality`. made: makes its world from that reality, where it is not the robot's own tables: one with a
    marker board, say, already loaded. Raises `BadValue` for a name that is none, and for `made` beside `robot` or `images`, which
    it would say.
    """

    __slots__ = ("_verbs", "embodiment")

    def __init__(
        self, name: str, robot: Embodiment | None = None, images: bool = True,
        made: Callable[[Reality], World] | None = None,
    ) -> None:  # fmt: skip
        if made is not None and (robot is not None or not images):
            raise BadValue("a cell is given both a robot or images, and how its world is made. Next: say in made which")
        there = reality(name)
        world = made(there) if made else World(robot or robot_named("arm7"), images, reality=there)
        self.embodiment = world.embodiment
        # kept in functions, so that no attribute leads to the world
        self._verbs = (
            lambda scenario, seed: world.load(scenario, seed=seed),
            lambda seed: world.reset(seed),
            lambda images: world.observe(images),
            lambda command: world.apply(command),
            lambda: world.success(),
            lambda: world.close(),
        )

    def lay(self, scenario: Scenario, seed: int | None = None) -> Observation:
        """Lay the things of a scenario out, put the robot near its start pose and look. seed: of noise and start pose.

        Raises `BadValue` for a task that does not fit the robot.
        """
        return replace(self._verbs[0](scenario, seed), privileged=None)

    def reset(self, seed: int | None = None) -> Observation:
        """The scene that was laid out, again. Raises `BadValue` before any was."""
        return replace(self._verbs[1](seed), privileged=None)

    def observe(self, images: bool = True) -> Observation:
        return replace(self._verbs[2](images), privileged=None)

    def apply(self, command: Array) -> None:
        """Raises `BadValue` for what is no command, `RobotFault` when the simulation becomes unstable."""
        self._verbs[3](command)

    def success(self) -> bool:
        """Whether the task is fulfilled, as the person beside the robot says."""
        return bool(self._verbs[4]())

    def close(self) -> None:
        self._verbs[5]()
