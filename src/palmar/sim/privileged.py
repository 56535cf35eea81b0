"""What only the simulator knows beside where things are: exact state, contacts, mass, friction, the world's parameters.

A teacher acts from it (`models.privileged`); a student never sees it. The columns are asked for (`World.physics`,
`CollectConfig.physics`): data sets without them stay as they are.

    true.CHANNEL                  the robot's state (`Embodiment.state_names`) without noise
    hand.x, y, z                  of the frame that the scenario asks for, base frame at the start [m]
    target.quat.w, x, y, z        rotation of the target, base frame at the start
    target.vel.x, y, z            its speed [m/s], target.spin.x, y, z its rate of turn [rad/s], axes of the base at the start
    target.half.x, y, z           half sides of the cuboid around it [m]
    target.mass, target.friction  [kg], and the sliding coefficient of its surface
    touch.LINK                    1 where this part of the gripper touches the target
    touch.ground                  1 where anything that is not the robot touches it
    touch.force                   sum of the normal forces between robot and target [N]
    world.NAME                    the parameters of the groups dynamics, sensor and geometric (`sim.params`), in their units
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from palmar.embodiments import Embodiment
from palmar.robots import mechanics
from palmar.sim.derived import item_scale
from palmar.sim.params import SPACE
from palmar.sim.things import half_extent
from palmar.types import Array

if TYPE_CHECKING:
    from palmar.sim.world import World

FELT = ("dynamics", "sensor", "geometric")
"""Groups of parameters that are told; the visual ones change nothing for who has no eyes."""


def names(robot: Embodiment) -> tuple[str, ...]:
    """The columns for this robot, in their order. Raises `BadValue` for a robot that the simulator has no description of."""
    row = [f"true.{n}" for n in robot.state_names] + [f"hand.{a}" for a in "xyz"]
    row += [f"target.quat.{a}" for a in "wxyz"]
    row += [f"target.{what}.{a}" for what in ("vel", "spin", "half") for a in "xyz"]
    row += ["target.mass", "target.friction"]
    row += [f"touch.{link}" for link in pads(robot)] + ["touch.ground", "touch.force"]
    return (*row, *(f"world.{p.name}" for p in SPACE.values() if p.group in FELT))


def pads(robot: Embodiment) -> tuple[str, ...]:
    """Links of the gripper that can touch things."""
    if robot.name not in _PADS:
        links = mechanics(robot).links
        _PADS[robot.name] = tuple(link.name for link in links if link.tool and any(s.solid for s in link.shapes))
    return _PADS[robot.name]


_PADS: dict[str, tuple[str, ...]] = {}  # by robot: its description takes milliseconds to make


def values(world: World) -> dict[str, float]:
    """{column: its value now} of `names(world.embodiment)`."""
    from palmar.sim.scenes import mujoco

    robot, model, data = world.embodiment, world.model, world.data
    target = world.scenario.target
    body, item = world.body_of(target), world.scenario.items[target]
    twist = np.zeros(6)
    mujoco.mj_objectVelocity(model, data, mujoco.mjtObj.mjOBJ_BODY, body, twist, 0)
    half = half_extent(item) * (1.0 if item.kind.foot else item_scale(target, world.params))
    found = dict(zip((f"true.{n}" for n in robot.state_names), map(float, world.exact_state()), strict=True))
    found |= _vector("hand", "xyz", world.tcp) | _vector("target.quat", "wxyz", data.xquat[body])
    found |= _vector("target.spin", "xyz", twist[:3]) | _vector("target.vel", "xyz", twist[3:])
    found |= _vector("target.half", "xyz", half)
    found["target.mass"] = float(model.body_mass[body])
    found["target.friction"] = float(model.geom_friction[model.body_geomadr[body], 0])
    found |= touches(model, data, body, pads(robot), {link.name for link in world.mechanics.links})
    return found | {f"world.{p.name}": world.params[p.name] for p in SPACE.values() if p.group in FELT}


def touches(model: Any, data: Any, body: int, gripper: tuple[str, ...], links: set[str]) -> dict[str, float]:
    """The columns touch.… of a body: which links touch it, whether anything else does, and the robot's normal forces [N]."""
    from palmar.sim.scenes import mujoco

    found = dict.fromkeys((*(f"touch.{link}" for link in gripper), "touch.ground", "touch.force"), 0.0)
    force = np.zeros(6)
    for i in range(data.ncon):
        pair = [int(model.geom_bodyid[g]) for g in data.contact[i].geom]
        if body not in pair:
            continue
        other = model.body(pair[0] if pair[1] == body else pair[1]).name
        if other not in links:
            found["touch.ground"] = 1.0
            continue
        if other in gripper:
            found[f"touch.{other}"] = 1.0
        mujoco.mj_contactForce(model, data, i, force)
        found["touch.force"] += float(force[0])
    return found


def _vector(name: str, axes: str, value: Array) -> dict[str, float]:
    return {f"{name}.{a}": float(x) for a, x in zip(axes, value, strict=True)}
