"""Simulator truth as a row of numbers, written and read here and nowhere else, by the names of cameras and things.

It rides along as `observation.environment_state` of a data set: positions in the robot's base frame [m]; u right and v down
in 0 … 1 of a camera's image; visible 0 or 1. `goal` is where the thing asked for (or the gripper) should end; its pixel is
visible only when the goal is a thing in the scene.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from palmar.embodiments import Embodiment
from palmar.errors import BadValue
from palmar.robot_parts import POSE
from palmar.sim import privileged
from palmar.types import Array

THINGS = ("target", "goal")
DECIMETRE = 0.1  # of relative positions as networks learn them [m]
LabelMaker = Callable[[Array, Array], dict[str, Array]]


def names(robot: Embodiment, extents: bool = False, physics: bool = False) -> tuple[str, ...]:
    """What a row of this robot's truth holds, in its order.

    THING.x, y, z; CAMERA.THING.u, v, visible of the robot's cameras; where the robot has a frame, tool.x, y, z of the one that
    its task asks for, without the zero errors and the noise that its state has. extents: also THING.turn.cos, sin (of 4 × yaw,
    since a cube looks alike after a quarter turn; zeros for what is round) and CAMERA.THING.box.u, v, w, h (middle and sides of the
    box around a thing in the picture, hidden or not, cut at the edges; zeros when there is none). physics: also what
    `sim.privileged` names.
    """
    cameras = [c.name for c in robot.cameras]
    row = [f"{t}.{axis}" for t in THINGS for axis in "xyz"]
    row += [f"{c}.{t}.{x}" for c in cameras for t in THINGS for x in ("u", "v", "visible")]
    if robot.frames:
        row += [f"tool.{axis}" for axis in "xyz"]
    if extents:
        row += [f"{t}.turn.{x}" for t in THINGS for x in ("cos", "sin")]
        row += [f"{c}.{t}.box.{x}" for c in cameras for t in THINGS for x in ("u", "v", "w", "h")]
    return (*row, *(privileged.names(robot) if physics else ()))


def encode(order: Sequence[str], values: Mapping[str, float]) -> Array:
    """float32[P]: the values in the order of `names`. Raises `BadValue` for one that is missing."""
    if lost := [n for n in order if n not in values]:
        raise BadValue(f"the truth lacks '{lost[0]}'; expected every one of {', '.join(order)}. Next: give every one")
    return np.array([values[n] for n in order], np.float32)


def decoder(order: Sequence[str], cameras: Sequence[str], state_names: Sequence[str]) -> LabelMaker | None:
    """A function (truth [B, P], state [B, S]) → the arrays of `models.base.Labels`, for these cameras in their order; None
    where the truth tells nothing of them. Where things are from the gripper: by tool.x, y, z of the row, else (rows of older
    sets) by the pose of the one frame that the state tells.

    What a row does not hold is NaN there, or marked as not placed, not known.
    """
    at = {n: i for i, n in enumerate(order)}
    state_at = {n: i for i, n in enumerate(state_names)}
    told = [n.removesuffix(".x") for n in state_names if n.endswith(".x")]
    frames = [f for f in told if all(f"{f}.{part}" in state_at for part in POSE)]
    tool = [state_at[f"{frames[0]}.{a}"] for a in "xyz"] if len(frames) == 1 else []
    if not any(f"{c}.{t}.u" in at for c in cameras for t in THINGS):
        return None
    says_more = any(".box." in n or ".turn." in n for n in order)

    def make(truth: Array, state: Array) -> dict[str, Array]:
        truth = np.asarray(truth, np.float32)
        nothing = np.full(len(truth), np.nan, np.float32)

        def column(name: str) -> Array:
            return truth[:, at[name]] if name in at else nothing

        def per_view(part: str) -> Array:
            return np.stack([np.stack([column(f"{c}.{t}.{part}") for t in THINGS], -1) for c in cameras], 1)

        points, visible = np.stack([per_view("u"), per_view("v")], -1), per_view("visible")
        placed = np.isfinite(points).all(-1) & np.isfinite(visible)
        where = np.stack([np.stack([column(f"{t}.{a}") for a in "xyz"], -1) for t in THINGS], 1)
        if "tool.x" in at:
            relative = (where - truth[:, None, [at[f"tool.{a}"] for a in "xyz"]]) / DECIMETRE
        elif tool:
            relative = (where - state[:, None, tool]) / DECIMETRE
        else:
            relative = np.full_like(where, np.nan)
        known = np.isfinite(relative).all(-1)
        more: dict[str, Array] = {}
        if says_more:
            boxes = np.stack([per_view(f"box.{part}") for part in "uvwh"], -1)
            turns = np.stack([np.stack([column(f"{t}.turn.{x}") for x in ("cos", "sin")], -1) for t in THINGS], 1)
            more = {
                "boxes": np.nan_to_num(boxes), "boxed": np.all(boxes[..., 2:] > 0, axis=-1),
                "turns": np.nan_to_num(turns), "turned": np.asarray(np.linalg.norm(turns, axis=-1) > 0.5),
            }  # fmt: skip
        return more | {
            "points": np.where(placed[..., None], points, 0.5).astype(np.float32),
            "visible": np.where(placed, visible, 0.0).astype(np.float32),
            "placed": placed,
            "relative": np.where(known[..., None], relative, 0.0).astype(np.float32),
            "known": known,
        }

    return make
