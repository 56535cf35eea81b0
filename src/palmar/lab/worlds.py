"""Simulated worlds by name, one of each kind in a process: whoever works through many scenes loads them into it in turn."""

from __future__ import annotations

from functools import lru_cache

from palmar.embodiments import ActionSpaceName, Embodiment
from palmar.robots import robot
from palmar.sim.reality import reality
from palmar.sim.world import World


def world_named(name: str, images: bool = True, robot: Embodiment | None = None) -> World:
    """A new world. name: sim, twin or twin:SEED. Raises `BadValue` for anything else."""
    return World(robot, images, reality=reality(name))


@lru_cache(maxsize=8)
def shared_world(
    name: str = "sim", robot_name: str = "arm7", space: ActionSpaceName | None = None, extents: bool = False
) -> World:
    """The world of this process for a reality, a robot and an action space (None: the robot's own); who asks alike gets the
    same. extents: as `World.extents`."""
    world = world_named(name, robot=robot(robot_name, space))
    world.extents = extents
    return world
