"""Realities a policy may meet: plain simulation, and stand-ins for the real robot, graded by how far they are from it.

A reality is a value: a hidden point of the parameter space, and effects that the simulator does not model. Methods meet one as a
body (`cell.Cell`) and never read `hidden`; only reports do, to compare.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from palmar.choices import GRADES
from palmar.embodiments import Embodiment
from palmar.errors import BadValue
from palmar.sim import effects
from palmar.sim.causes import CAUSES, FAR, FAULTS, SEVERAL
from palmar.sim.effects import GRAVITY_COMPENSATION, GRIP_FORCE, TWIN_EFFECTS, Effect, Fault, lens
from palmar.sim.params import SPACE, Param, WorldParams, uniform
from palmar.types import Array

__all__ = ["GRAVITY_COMPENSATION", "GRIP_FORCE", "Effect", "Fault", "lens"]

TWIN_ROWS = (
    "light", "light_x", "temperature", "camera_x", "camera_y", "camera_z", "camera_pitch", "camera_yaw", "fov", "table_hue",
    "table_saturation", "table_value", "table_pattern", "background", "object_hue", "object_value", "brightness", "contrast",
    "hue", "friction", "mass", "link_mass", "damping", "gain", "action_noise", "action_delay", "image_noise", "proprio_noise",
    "image_latency", "object_scale", "table_height",
)  # fmt: skip
"""What differs in a twin, in the order of its draws: more rows of the space change no twin."""


@dataclass(frozen=True)
class Reality:
    """hidden: the parameters of every scene in it; None: those that the scene is loaded with. effects: in this order."""

    name: str = "sim"
    hidden: WorldParams | None = None
    effects: tuple[Effect, ...] = ()

    @property
    def rebuilds(self) -> bool:
        """Whether effects change the compiled model, which must then be compiled for each scene."""
        return any(e.model is not None for e in self.effects)

    def modify(self, model: Any, grippers: tuple[str, ...]) -> None:
        """Change a compiled model as the effects say."""
        for effect in self.effects:
            if effect.model is not None:
                effect.model(model, grippers)

    def begin(self, robot: Embodiment, seed: int) -> list[Fault]:
        """The effects of an episode of a robot, in their order; equal seeds, equal episodes."""
        return [
            effect.begins(robot, np.random.default_rng([17, seed, k]))
            for k, effect in enumerate(self.effects)
            if effect.begins is not None
        ]

    def photograph(self, image: Array) -> Array:
        """What its cameras make of a picture, uint8[H, W, 3]."""
        for effect in self.effects:
            if effect.picture is not None:
                image = effect.picture(image)
        return image


SIMULATION = Reality()


def twin(seed: int = 0) -> Reality:
    """A stand-in for the real robot with 31 parameters inside their ranges and three effects, another for each seed. The first
    that palmar had; `near` has all parameters. Raises `BadValue` for a seed below 0."""
    return Reality(f"twin:{seed}", hidden(seed), TWIN_EFFECTS)


def hidden(seed: int = 0) -> WorldParams:
    """A twin's parameters: away from nominal in all of `TWIN_ROWS`, inside the ranges, different for each seed.

    Raises `BadValue` for a seed below 0.
    """
    _check(seed, "twin")
    rng = np.random.default_rng([23, seed])
    values = {n: _away(SPACE[n], rng.uniform(0.4, 0.8), rng.uniform() < 0.5) for n in TWIN_ROWS}
    return WorldParams({n: float(round(v)) if SPACE[n].unit == "ticks" else v for n, v in values.items()})


def near(seed: int = 0) -> Reality:
    """Every parameter but the task's differs from nominal, by 40 … 80 % of the way to an end of its range; no effects beside.
    Raises `BadValue` for a seed below 0."""
    _check(seed, "near")
    values = {}
    for p in SPACE.values():
        if p.group != "task":
            u, side = (uniform(seed, f"near {what} {p.name}") for what in ("share", "side"))
            values[p.name] = _away(p, 0.4 + 0.4 * u, side < 0.5)
    return Reality(f"near:{seed}", WorldParams(values))


def far(seed: int = 0) -> Reality:
    """As near, but `CAUSES` of the causes in `FAR` put their parameters outside the ranges.

    Raises `BadValue` for a seed below 0.
    """
    _check(seed, "far")
    values = dict((near(seed).hidden or WorldParams()).values)
    for cause in _some(FAR, CAUSES, seed):
        for name, (least, most) in FAR[cause].items():
            p = SPACE[name]
            u, side = (uniform(seed, f"far {what} {name}") for what in ("size", "side"))
            below = p.high <= p.nominal or (p.low < p.nominal and side < 0.5 and p.nominal - most >= p.least)
            value = p.nominal + (least + u * (most - least)) * (-1 if below else 1)
            values[name] = min(max(value, p.least), p.most)
    return Reality(f"far:{seed}", WorldParams(values))


def other(seed: int = 0) -> Reality:
    """As near, with effects that the simulator has no parameter for: `SEVERAL` of `FAULTS`, worn pads, another table. Raises
    `BadValue` for a seed below 0."""
    _check(seed, "other")
    several = []
    for name in _some(FAULTS, SEVERAL, seed):
        kind, least, most = FAULTS[name]
        size = least + uniform(seed, f"other size {name}") * (most - least)
        several.append(Effect(name, begins=partial(_of_size, kind, size)))
    pads = 0.3 + 0.15 * uniform(seed, "other worn pads")
    several.append(Effect("worn pads", model=partial(effects.worn_pads, friction=pads)))
    several.append(Effect("another table", model=partial(effects.another_table, seed=seed)))
    return replace(near(seed), name=f"other:{seed}", effects=tuple(several))


def _of_size(
    kind: Callable[[Embodiment, np.random.Generator, float], Fault],
    size: float,
    robot: Embodiment,
    rng: np.random.Generator,
) -> Fault:
    return kind(robot, rng, size)


def _some(names: Any, count: int, seed: int) -> list[str]:
    """So many of the names, drawn from the seed."""
    return sorted(names, key=lambda n: uniform(seed, f"chosen {n}"))[:count]


def _check(seed: int, kind: str) -> None:
    if seed < 0:
        raise BadValue(f"{kind} is {seed}; expected 0 or more. Next: {kind}:0")


def _away(p: Param, share: float, down: bool) -> float:
    """A value at a share of the way from nominal to one end of the range."""
    end = p.low if (down and p.low < p.nominal) or p.high <= p.nominal else p.high
    return float(p.nominal + share * (end - p.nominal))


MAKERS = {"twin": twin, "near": near, "far": far, "other": other}


def check_world(name: str, many: bool = False) -> None:
    """Raise `BadValue` with every form there is unless `name` is a reality. many: several in turn are one too."""
    try:
        worlds = _seeds(name)
    except ValueError:
        worlds = None
    if worlds is not None and (many or (len(worlds) == 1 and name.partition(":")[0] in ("sim", *GRADES))):
        return
    kinds = ", ".join(f"{g}:SEED" for g in GRADES)
    forms = f"sim, {kinds}" + (", GRADE:FIRST-LAST or twins:N (several in turn)" if many else "")
    raise BadValue(f"world is '{name}'; expected {forms}. Next: sim, or near:0")


def _seeds(name: str) -> range | None:
    """Seeds of the realities that a name means, range(1) for plain simulation; None for what is no name."""
    kind, _, number = name.partition(":")
    if name in ("sim", *GRADES):
        return range(1)
    first, dash, last = number.partition("-")
    for part in (first, last) if dash else (first,):
        if not (part.isdecimal() and part.isascii() and len(part) < 19):  # fits 64 bits
            return None
    if kind == "twins" and not dash:
        return range(int(first)) if int(first) else None
    if kind not in GRADES:
        return None
    found = range(int(first), int(last if dash else first) + 1)
    return found if len(found) else None


def several(name: str) -> list[str]:
    """The realities that a name means in turn: GRADE:FIRST-LAST, twins:N, or one alone. Raises `BadValue` for none."""
    check_world(name, many=True)
    worlds, kind = _seeds(name), name.partition(":")[0]
    assert worlds is not None
    one = len(worlds) == 1 and kind != "twins" and "-" not in name
    return [name] if one else [f"{kind.removesuffix('s')}:{k}" for k in worlds]


def stage(name: str, seed: int) -> str:
    """The reality that the table of a seed stands in, of several in turn: GRADE:FIRST-LAST, or twins:N for the first N twins.

    Raises `BadValue` for a name that is none.
    """
    check_world(name, many=True)
    worlds, kind = _seeds(name), name.partition(":")[0]
    assert worlds is not None
    if len(worlds) == 1 and kind != "twins" and "-" not in name:
        return name
    return f"{kind.removesuffix('s')}:{worlds[seed % len(worlds)]}"


def reality(name: str) -> Reality:
    """sim: the simulator. twin, near, far or other with :SEED behind it (0 where it is missing): such a reality. Raises
    `BadValue` for anything else."""
    check_world(name)
    kind, _, number = name.partition(":")
    return MAKERS[kind](int(number.partition("-")[0] or 0)) if kind in MAKERS else SIMULATION
