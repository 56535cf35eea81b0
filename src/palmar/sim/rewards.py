"""What learning by trial is rewarded with, task by task. Not measured by any success test: those are in the tasks.

    reward of a step = SCALE · (Φ after - Φ before) + BONUS · success - TIME

Φ is a potential [m], 0 where nothing is left to do: a difference of potentials does not change which policy is best where an
episode is not discounted (Ng, Harada and Russell 1999).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from palmar.sim import tasks
from palmar.sim.privileged import pads, touches
from palmar.sim.world import World

SCALE, BONUS, TIME = 10.0, 5.0, 0.02
HELD = 0.05  # what a thing between the pads is worth [m]
Potential = Callable[[World], float]


def approach(world: World) -> float:
    """Less than 0: the metres from the hand to the thing, and from the thing to its goal."""
    target = world.item(world.scenario.target)
    goal = tasks.task(world.scenario.task).goal(world)
    return -float(np.linalg.norm(world.tcp - target) + np.linalg.norm(goal - target))


def hand(world: World) -> float:
    """Less than 0: the metres from the hand to the goal, which is a place for the hand."""
    return -float(np.linalg.norm(world.tcp - tasks.task(world.scenario.task).goal(world)))


def held(world: World) -> float:
    """As `approach`, the way of the thing twice, and more while the gripper touches the thing from both sides."""
    target = world.item(world.scenario.target)
    goal = tasks.task(world.scenario.task).goal(world)
    gripper, links = pads(world.embodiment), {link.name for link in world.mechanics.links}
    felt = touches(world.model, world.data, world.body_of(world.scenario.target), gripper, links)
    both = sum(felt[f"touch.{link}"] for link in gripper) >= 2
    near = -float(np.linalg.norm(world.tcp - target) + 2 * np.linalg.norm(goal - target))
    return near + HELD * both


POTENTIALS: dict[str, Potential] = {"reach": hand, "pick": held, "place": held}
"""By task; any other has `approach`."""


def potential(world: World) -> float:
    """Φ of the task that the world is laid out for [m]."""
    return POTENTIALS.get(world.scenario.task, approach)(world)


def shaped(before: float, after: float, success: bool) -> float:
    """The reward of a step between two potentials."""
    return SCALE * (after - before) + BONUS * success - TIME
