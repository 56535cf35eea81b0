"""What is drawn in a picture without being in the model: shadows under things, and clutter around the scene."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from palmar.sim.derived import surface
from palmar.sim.params import WorldParams
from palmar.sim.rooms import Room
from palmar.types import Array

RINGS = 2  # discs that a shadow is made of: its core and its half-shadow
FADE = 0.12  # a thing so far over the ground has half its shadow [m]

# Where clutter stands: shares of the ground's half length along x and y from its middle; half sides [m] at a table; hue.
CLUTTER = (
    (-0.70, 0.55, (0.05, 0.04, 0.07), 0.05), (-0.60, -0.58, (0.04, 0.04, 0.09), 0.55), (0.40, 0.62, (0.05, 0.05, 0.03), 0.85),
    (0.35, -0.60, (0.03, 0.06, 0.05), 0.30), (-0.20, 0.60, (0.03, 0.03, 0.06), 0.65), (-0.15, -0.62, (0.05, 0.03, 0.03), 0.12),
    (-0.90, 0.25, (0.04, 0.05, 0.10), 0.42), (-0.90, -0.28, (0.05, 0.04, 0.08), 0.95),
)  # fmt: skip


class Drawn(NamedTuple):
    """A box or a flat disc. size: half sides [m]; pos [3] [m], turn [3, 3]: where; rgba."""

    disc: bool
    size: tuple[float, float, float]
    pos: Array
    turn: Array
    rgba: tuple[float, float, float, float]


def clutter(room: Room, params: WorldParams) -> list[Drawn]:
    """The things that stand around: as many as the parameter says, on the ground, where nothing is done."""
    out = []
    for x, y, size, hue in CLUTTER[: round(params["clutter"])]:
        larger = room.size[0] / 0.45
        half = (size[0] * larger, size[1] * larger, size[2] * larger)
        at = room.centre[0] + x * room.size[0], room.centre[1] + y * room.size[1]
        pos, turn = surface(room, params, *at, half[2])
        colour = colorsys.hsv_to_rgb((hue + params["background"]) % 1.0, 0.55, 0.6)
        out.append(Drawn(False, half, pos, turn, (*colour, 1.0)))
    return out


def shadows(room: Room, params: WorldParams, things: list[tuple[Array, float]]) -> list[Drawn]:
    """Soft discs on the ground under things (centre [m], radius [m]), shifted away from the lamp, fainter the higher these are."""
    depth, softness = params["shadow"], params["shadow_softness"]
    if depth <= 0:
        return []
    out = []
    for k, (centre, radius) in enumerate(things):
        over = max(float(centre[2]) - params["table_height"] * room.rises, 0.0)
        alpha = 1 - (1 - min(depth * FADE / (FADE + over), 1.0)) ** (1 / RINGS)
        x = float(centre[0]) - 0.1 * over
        y = float(centre[1]) - 0.5 * params["light_x"] * over
        for ring in range(RINGS):
            wide = radius * (1.05 + softness * (ring / (RINGS - 1) - 0.5))
            pos, turn = surface(room, params, x, y, 6e-4 + 2e-4 * (RINGS * k + ring))
            out.append(Drawn(True, (wide, wide, 5e-5), pos, turn, (0.0, 0.0, 0.0, alpha)))
    return out


def draw(scene: Any, drawn: Sequence[Drawn], mujoco: Any) -> None:
    """Add them to an `mjvScene` that was updated."""
    for d in drawn:
        if scene.ngeom >= scene.maxgeom:
            return
        kind = mujoco.mjtGeom.mjGEOM_CYLINDER if d.disc else mujoco.mjtGeom.mjGEOM_BOX
        geom = scene.geoms[scene.ngeom]
        mujoco.mjv_initGeom(geom, kind, np.array(d.size), d.pos, d.turn.ravel(), np.array(d.rgba, np.float32))
        geom.category = mujoco.mjtCatBit.mjCAT_DECOR
        scene.ngeom += 1
