"""Realities a policy may meet: plain simulation, and twins, stand-ins for the real robot.

A reality is a value: a hidden point of the parameter space, and effects that the simulator does not model. Training and
identification never read `hidden`; only reports do, to compare.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from palmar.errors import BadValue
from palmar.sim.params import SPACE, Param, WorldParams
from palmar.types import Array

GRAVITY_COMPENSATION = 0.99  # the real controller's model of its own weight is not perfect
GRIP_FORCE = 0.8  # share of the simulated gripper's force
VIGNETTE, GAMMA, BLUR = 0.25, 1.12, 0.25  # a real lens and sensor: dark corners, tone curve, share of a 3×3 blur


@dataclass(frozen=True)
class Effect:
    """Something the simulator does not model. name: in reports.

    model: changes a compiled MuJoCo model, given the names of the actuators that close grippers. picture: changes what a
    camera gives, uint8[H, W, 3] in and out.
    """

    name: str
    model: Callable[[Any, tuple[str, ...]], None] | None = None
    picture: Callable[[Array], Array] | None = None


@dataclass(frozen=True)
class Reality:
    """hidden: the parameters of every scene in it; None: those that the scene is loaded with. effects: in this order."""

    name: str = "sim"
    hidden: WorldParams | None = None
    effects: tuple[Effect, ...] = ()

    def modify(self, model: Any, grippers: tuple[str, ...]) -> None:
        """Change a compiled model as the effects say."""
        for effect in self.effects:
            if effect.model is not None:
                effect.model(model, grippers)

    def photograph(self, image: Array) -> Array:
        """What its cameras make of a picture, uint8[H, W, 3]."""
        for effect in self.effects:
            if effect.picture is not None:
                image = effect.picture(image)
        return image


SIMULATION = Reality()


def _weigh(model: Any, grippers: tuple[str, ...]) -> None:
    model.body_gravcomp[model.body_gravcomp > 0] = GRAVITY_COMPENSATION


def _weaken(model: Any, grippers: tuple[str, ...]) -> None:
    for name in grippers:
        model.actuator_forcerange[model.actuator(name).id] *= GRIP_FORCE


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


TWIN_EFFECTS = (
    Effect("gravity compensation", model=_weigh), Effect("grip force", model=_weaken), Effect("lens", picture=lens),
)  # fmt: skip


def twin(seed: int = 0) -> Reality:
    """A stand-in for the real robot, another for each seed. Raises `BadValue` for a seed below 0."""
    return Reality(f"twin:{seed}", hidden(seed), TWIN_EFFECTS)


def hidden(seed: int = 0) -> WorldParams:
    """A twin's parameters: away from nominal in everything, inside the ranges, different for each seed.

    Raises `BadValue` for a seed below 0.
    """
    if seed < 0:
        raise BadValue(f"twin is {seed}; expected 0 or more. Next: --twin 0")
    rng = np.random.default_rng([23, seed])
    return WorldParams({p.name: _away(p, rng) for p in SPACE.values()})


def _away(p: Param, rng: np.random.Generator) -> float:
    """A value at 40 … 80 % of the way from nominal to one end of the range."""
    u, side = rng.uniform(0.4, 0.8), rng.uniform() < 0.5
    end = p.low if (side and p.low < p.nominal) or p.high <= p.nominal else p.high
    value = float(p.nominal + u * (end - p.nominal))
    return float(round(value)) if p.unit == "ticks" else value


def check_world(name: str, many: bool = False) -> None:
    """Raise `BadValue` with every form there is unless `name` is a reality. many: several twins in turn are one too."""
    kind, _, number = name.partition(":")
    whole = number.isdecimal() and len(number) < 19  # fits 64 bits
    known = name in ("sim", "twin") or (kind == "twin" and whole)
    if known or (many and kind == "twins" and whole and int(number)):
        return
    forms = "sim, twin, twin:SEED or twins:N (N twins in turn)" if many else "sim, twin or twin:SEED"
    raise BadValue(f"world is '{name}'; expected {forms}. Next: sim, or twin:0")


def reality(name: str) -> Reality:
    """sim: the simulator. twin or twin:SEED: a twin. Raises `BadValue` for anything else."""
    check_world(name)
    kind, _, number = name.partition(":")
    return twin(int(number or 0)) if kind == "twin" else SIMULATION
