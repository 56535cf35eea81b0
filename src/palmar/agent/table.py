"""A table in simulation for an agent: the things that are named, and a performer of skills there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from palmar.agent.perceived import GroundedPerception
from palmar.agent.performing import Performer
from palmar.agent.simulated import performer
from palmar.errors import BadValue
from palmar.lab.worlds import Loaded, fitted_here
from palmar.robots import robot as robot_named
from palmar.runtime.loop import Subscriber
from palmar.sim.experts import Expert
from palmar.sim.goals import table_for
from palmar.sim.reality import check_world
from palmar.sim.world import World
from palmar.types import Policy

ROBOT = "arm7"
MOST = 5  # things and places on one table


def simulated_table(
    policy: str, things: Sequence[str], places: Sequence[str], world: str = "sim", seed: int = 0, execute: int = 4,
    subscribers: Sequence[Subscriber] = (), loaded: Loaded | None = None, perceive: bool = False,
    blackbox: Path | None = None,
) -> Performer:  # fmt: skip
    """perceive: the scene is what the policy's grounded heads find, and not simulator truth; places are known. policy: a
    checkpoint, "shipped" or "expert". things: such as "red cube"; places: such as "blue plate". world: as of
    `lab.suite.EvalConfig`. blackbox: as of `Performer`. Raises `BadValue` for what no table has, and for more than it holds."""
    if not things or len(things) + len(places) > MOST:
        raise BadValue(
            f"{len(things)} things and {len(places)} places; expected 1 or more things, and at most {MOST} of both. "
            f"Next: {'fewer of them' if things else 'name a thing, such as red cube'}"
        )
    if twice := [t for t in things if list(things).count(t) > 1]:
        raise BadValue(
            f"'{twice[0]}' lies {len([t for t in things if t == twice[0]])} times on the table; expected things of different "
            "colour or kind. Next: another colour for one of them"
        )
    check_world(world)  # one, such as near:3; several in turn are of an evaluation
    driver, here = driver_in(loaded or Loaded(), policy, world)
    here.load(table_for(things, places, (), seed), seed=seed)
    made = performer(here, {"": driver}, 1 if policy == "expert" else execute, subscribers, blackbox=blackbox)
    if perceive:
        perception = GroundedPerception(driver, tuple(places))
        made.describe = lambda: perception(here.observe())
        made.describe()  # an error now, and not in the middle
    return made


def driver_in(loaded: Loaded, policy: str, world: str) -> tuple[Policy, World]:
    """The policy and the world in which it drives, both of `loaded`."""
    robot = robot_named(ROBOT)
    if policy == "expert":
        here = loaded.world(world, ROBOT, "ee_delta", images=False)
        return Expert(here), here
    fit = fitted_here(loaded.policy(policy), robot)
    return fit.policy, loaded.world(world, ROBOT, fit.robot.action_space)
