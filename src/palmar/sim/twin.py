"""A reality twin: a stand-in for the real robot. A hidden point of the parameter space, plus effects the simulator does not model.

Training and identification never read `hidden`; only reports do, to compare.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from palmar.embodiments import ActionSpaceName, Camera, Embodiment
from palmar.errors import BadValue
from palmar.robots.arm7 import arm7
from palmar.sim.params import SPACE, Param, WorldParams
from palmar.sim.tasks import Scenario
from palmar.sim.world import World
from palmar.types import Array, Observation

GRAVITY_COMPENSATION = 0.99  # the real controller's model of its own weight is not perfect
GRIP_FORCE = 0.8  # share of the simulated gripper's force
VIGNETTE, GAMMA, BLUR = 0.25, 1.12, 0.25  # a real lens and sensor: dark corners, tone curve, share of a 3×3 blur


def hidden(seed: int = 0) -> WorldParams:
    """The twin's parameters: away from nominal in everything, inside the ranges, different for each seed.

    Raises `BadValue` for a seed below 0.
    """
    if seed < 0:
        raise BadValue(f"twin is {seed}; expected 0 or more")
    rng = np.random.default_rng([23, seed])
    return WorldParams({p.name: _away(p, rng) for p in SPACE.values()})


class Twin(World):
    """The same table in "reality": `load` takes a scenario only, the parameters are the twin's own."""

    def __init__(self, seed: int = 0, robot: Embodiment | None = None, images: bool = True) -> None:
        super().__init__(robot, images)
        self.hidden = hidden(seed)

    def load(self, scenario: Scenario, params: WorldParams | None = None, seed: int | None = None) -> Observation:
        return super().load(scenario, self.hidden, seed)

    def modify(self, model: Any) -> None:
        """What the simulator does not model about the robot."""
        model.body_gravcomp[model.body_gravcomp > 0] = GRAVITY_COMPENSATION
        grip = model.actuator("gripper").id
        model.actuator_forcerange[grip] *= GRIP_FORCE

    def photograph(self, camera: Camera) -> Array:
        return lens(super().photograph(camera))


def check_world(name: str, many: bool = False) -> None:
    """Raise `BadValue` with every form there is unless `name` is a world. many: several twins in turn are one too."""
    kind, _, number = name.partition(":")
    whole = number.isdecimal() and len(number) < 19  # fits 64 bits
    known = name in ("sim", "twin") or (kind == "twin" and whole)
    if known or (many and kind == "twins" and whole and int(number)):
        return
    forms = "sim, twin, twin:SEED or twins:N (N twins in turn)" if many else "sim, twin or twin:SEED"
    raise BadValue(f"world is '{name}'; expected {forms}")


def world_named(name: str, images: bool = True, robot: Embodiment | None = None) -> World:
    """sim: the simulator. twin or twin:SEED: a reality twin. Raises `BadValue` for anything else."""
    check_world(name)
    kind, _, number = name.partition(":")
    return Twin(int(number or 0), robot, images) if kind == "twin" else World(robot, images)


def standing(name: str = "sim", space: ActionSpaceName = "ee_delta", extents: bool = False) -> World:
    """As `world_named`, but one for each process: whoever works through many tables loads them into it in turn, and two who
    ask alike get the same. extents: as `World.extents`."""
    return _standing(name, space, extents)


@lru_cache(maxsize=8)
def _standing(name: str, space: ActionSpaceName, extents: bool) -> World:
    world = world_named(name, robot=arm7(space))
    world.extents = extents
    return world


def lens(image: Array) -> Array:
    """Vignette, tone curve and blur of a cheap lens. uint8[H, W, 3] in and out."""
    x = image.astype(np.float32) / 255.0
    padded = np.pad(x, ((1, 1), (1, 1), (0, 0)), mode="edge")
    h, w = x.shape[:2]
    box = sum(padded[i : i + h, j : j + w] for i in range(3) for j in range(3)) / 9.0
    x = (1 - BLUR) * x + BLUR * box
    v, u = np.mgrid[-1 : 1 : h * 1j, -1 : 1 : w * 1j]
    x = np.clip(x, 0, 1) ** GAMMA * (1 - VIGNETTE * (u**2 + v**2) / 2)[..., None]
    return (np.clip(x, 0, 1) * 255 + 0.5).astype(np.uint8)


def _away(p: Param, rng: np.random.Generator) -> float:
    """A value at 40 … 80 % of the way from nominal to one end of the range."""
    u, side = rng.uniform(0.4, 0.8), rng.uniform() < 0.5
    end = p.low if (side and p.low < p.nominal) or p.high <= p.nominal else p.high
    value = float(p.nominal + u * (end - p.nominal))
    return float(round(value)) if p.unit == "ticks" else value
