"""What the simulator has no parameter for: what an effect of a reality is, and those that change the compiled model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from palmar.description.gl import import_mujoco
from palmar.embodiments import Embodiment
from palmar.robot_parts import Camera
from palmar.types import Array

GRAVITY_COMPENSATION = 0.99  # the real controller's model of its own weight is not perfect
GRIP_FORCE = 0.8  # share of the simulated gripper's force
VIGNETTE, GAMMA, BLUR = 0.25, 1.12, 0.25  # a real lens and sensor: dark corners, tone curve, share of a 3×3 blur


class Fault:
    """An effect in one episode. `command` is called once a tick and may remember; what sensors give may be asked for several
    times in a tick, and must then be the same."""

    def command(self, command: Array, time: float) -> Array:
        """What the servos get of a command float64[N] (units of the channels). time: since the start of the episode [s]."""
        return command

    def measured(self, position: Array, time: float) -> Array:
        """What the robot says of its positions float64[N] (units of the channels)."""
        return position

    def picture(self, image: Array, camera: Camera, time: float) -> Array:
        """What a camera gives, uint8[H, W, 3] in and out."""
        return image


@dataclass(frozen=True)
class Effect:
    """Something the simulator does not model. name: in reports.

    model: changes a compiled MuJoCo model, given the names of the actuators that close grippers. picture: changes what a
    camera gives, uint8[H, W, 3] in and out, the same at all times. begins: makes the `Fault` of an episode of a robot, with
    random numbers of its own that follow from the episode's seed.
    """

    name: str
    model: Callable[[Any, tuple[str, ...]], None] | None = None
    picture: Callable[[Array], Array] | None = None
    begins: Callable[[Embodiment, np.random.Generator], Fault] | None = None


def worn_pads(model: Any, grippers: tuple[str, ...], friction: float) -> None:
    """Pads that are worn smooth: their own friction counts, whatever they hold."""
    for name in grippers:
        joints = _joints(model, model.actuator(name).id)
        for body in {int(model.jnt_bodyid[j]) for j in joints}:
            first, count = model.body_geomadr[body], model.body_geomnum[body]
            model.geom_priority[first : first + count] = 1
            model.geom_friction[first : first + count, 0] = friction


def another_table(model: Any, grippers: tuple[str, ...], seed: int) -> None:
    """A table of planks: long grains in two browns or greys instead of the pattern that the simulator knows."""
    rng = np.random.default_rng([41, seed])
    t = model.texture("table").id
    h, w, start = model.tex_height[t], model.tex_width[t], model.tex_adr[t]
    grain = np.cumsum(rng.normal(0, 1, (1, w)), axis=1) + 0.4 * np.cumsum(rng.normal(0, 0.5, (h, w)), axis=0)
    grain = 0.5 + 0.5 * np.sin(grain)
    light, dark = np.array(rng.uniform((120, 90, 60), (215, 185, 150))), np.array(rng.uniform(25, 70, 3))
    planks = (1 - grain[..., None]) * light + grain[..., None] * dark
    planks[:, :: max(w // 4, 1)] = 20  # joints between planks
    model.tex_data[start : start + 3 * h * w] = planks.astype(np.uint8).ravel()
    model.mat_texrepeat[model.material("table").id] = 2


def _joints(model: Any, actuator: int) -> list[int]:
    """Joints that an actuator drives, directly or by a tendon."""
    mujoco = import_mujoco()
    first = int(model.actuator_trnid[actuator, 0])
    if model.actuator_trntype[actuator] != mujoco.mjtTrn.mjTRN_TENDON:
        return [first]
    start, count = model.tendon_adr[first], model.tendon_num[first]
    return [int(j) for j in model.wrap_objid[start : start + count]]


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
