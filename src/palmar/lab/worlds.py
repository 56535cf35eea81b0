"""Simulated worlds by name, and the worlds and policies that a process works through many scenes with."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import replace
from typing import TypeVar

from palmar.embodiments import ActionSpaceName, Embodiment
from palmar.errors import BadValue
from palmar.policy import checkpoint_of, load_policy
from palmar.robots import robot
from palmar.runtime.fitting import Fitted, fitted
from palmar.sim.reality import reality
from palmar.sim.world import World
from palmar.types import Policy

Value = TypeVar("Value")
WORLDS, POLICIES = 8, 2  # kept at once


def world_named(name: str, images: bool = True, robot: Embodiment | None = None) -> World:
    """A new world. name: sim, or GRADE:SEED of a reality. Raises `BadValue` for anything else."""
    return World(robot, images, reality=reality(name))


def fitted_here(policy: Policy, body: Embodiment) -> Fitted:
    """`fitted` where names cannot be given: a policy drives the simulated robot it was trained on, or one called alike."""
    try:
        return fitted(policy, body)
    except BadValue as error:
        own = policy.interface.embodiment
        raise BadValue(
            f"{str(error).partition('. Next: ')[0]}. Next: {f'--robot {own}, or ' if own and own != body.name else ''}a policy "
            f"trained on '{body.name}'"
        ) from error


def seeing(body: Embodiment, images: bool) -> Embodiment:
    """The robot, without its cameras where no pictures are wanted."""
    return body if images else replace(body, cameras=())


class Loaded:
    """Worlds and policies, each loaded once: an object that belongs to who works with it, such as one process of a pool.

    Scenes are loaded into a world in turn, so two who work at the same time need two of these. The 8 worlds and 2 policies
    used last are kept.
    """

    def __init__(self) -> None:
        self._worlds: dict[Hashable, World] = {}
        self._policies: dict[Hashable, Policy] = {}

    def world(
        self, name: str = "sim", robot_name: str = "arm7", space: ActionSpaceName | None = None, extents: bool = False,
        physics: bool = False, images: bool = True,
    ) -> World:  # fmt: skip
        """The world of a reality, a robot and an action space (None: the robot's own). extents, physics: as of `World`. images:
        False for a robot without cameras. Raises
        `BadValue` for the physics of a reality, which nobody may look up."""
        if physics and name != "sim":
            raise BadValue(
                f"the truth of world '{name}' was asked for; a reality tells no contacts, masses or frictions. Next: world sim, or "
                "a policy that looks (palmar student)"
            )

        def made() -> World:
            world = world_named(name, robot=seeing(robot(robot_name, space), images))
            world.extents, world.physics = extents, physics
            return world

        return _kept(self._worlds, (name, robot_name, space, extents, physics, images), made, WORLDS)

    def policy(self, where: str) -> Policy:
        """As `load_policy`; loaded anew when its checkpoint has been written again."""
        # of a policy and of a correction alike; its configuration is written after its weights
        files = [checkpoint_of(where) / name for name in ("config.json", "correction.json")]
        written = max((f.stat().st_mtime_ns for f in files if f.exists()), default=0)
        return _kept(self._policies, (where, written), lambda: load_policy(where), POLICIES)


def _kept(store: dict[Hashable, Value], key: Hashable, made: Callable[[], Value], most: int) -> Value:
    """The value of a key, made where there is none; the one used longest ago goes when there are more than `most`."""
    value = store.pop(key) if key in store else made()
    store[key] = value
    while len(store) > most:
        del store[next(iter(store))]
    return value
