"""One world out of what was measured: dynamics from an identification, the camera from a calibration."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from palmar.errors import BadFile, BadValue, regular_file
from palmar.robots import mechanics, robot
from palmar.sim.params import SPACE, Randomization
from palmar.sim.space import ZEROS
from palmar.transfer.calibrated import FORMAT, CameraCalibration
from palmar.transfer.identification import Identification
from palmar.transfer.posterior import Posterior, posterior

CAMERA = {
    "camera_x": "x",
    "camera_y": "y",
    "camera_z": "z",
    "camera_pitch": "turn_x",
    "camera_yaw": "turn_y",
    "camera_roll": "turn_z",
}
"""World parameters of a camera beside the robot, and the estimates of a calibration that they come from."""


def camera_ranges(found: CameraCalibration) -> dict[str, tuple[float, float]]:
    """{camera_x … camera_roll, fov: (low, high)} of worlds in which the robot's camera is where it was found, by its 95 %
    intervals. What is known no better than by the range of its parameter is left out. A turn that is known too badly to be claimed
    is kept: the rest of the camera was found together with it. Raises `UnknownName` and `BadValue` for a robot or a camera that
    the simulator has not."""
    made = robot(found.robot)
    mount = next((m for m in mechanics(made).mounts if m.camera == found.camera and not m.link), None)
    camera = next((c for c in made.cameras if c.name == found.camera), None)
    if mount is None or camera is None:
        beside = [m.camera for m in mechanics(made).mounts if not m.link]
        raise BadValue(
            f"'{found.camera}' is no camera beside {made.name} in simulation; there is {', '.join(beside) or 'none'}. Next: "
            f"palmar calibrate --camera {beside[0] if beside else 'NAME'}"
        )
    values = found.world_params(mount, camera).values
    out: dict[str, tuple[float, float]] = {}
    for name, of in CAMERA.items():
        e, p = found.estimates[of], SPACE[name]
        half = (e.high - e.low) / 2
        if 2 * half <= p.high - p.low:
            out[name] = (values[name] - half, values[name] + half)
    focal = found.estimates.get("f") or found.estimates.get("fy")
    if focal is not None and focal.identified:
        # d fov / d f of fov = 2 atan(height / 2f)
        half = (
            float(np.rad2deg(found.pinhole.height / (focal.value**2 + found.pinhole.height**2 / 4)))
            * (focal.high - focal.low)
            / 2
        )
        out["fov"] = (values["fov"] - half, values["fov"] + half)
    return {n: (max(low, SPACE[n].least), min(high, SPACE[n].most)) for n, (low, high) in out.items()}


def zero_ranges(found: CameraCalibration) -> dict[str, tuple[float, float]]:
    """{zero_1 …: (low, high)} [deg] of worlds whose encoders are off as they were found, by the 95 % intervals. A calibration tells
    what to add to a reading, a world what the reading has too much.

    Of a camera that stands: the first joint of the frame is at 0, for its zero turns the camera about the base, and the camera was
    found with that zero at 0. The last one, which no view tells, is left out, and so is a joint whose interval is wider than the
    range of its parameter. A zero that is known too badly to be claimed is better than none here: the camera was found with it.
    Raises `UnknownName` for a robot that there is not."""
    made = robot(found.robot)
    turning = [c for c, moves in zip(made.channels, made.moves_joint, strict=True) if moves and c.kind != "prismatic"]
    joints = made.frame(found.frame).joints
    out: dict[str, tuple[float, float]] = {}
    for k, channel in enumerate(turning[:ZEROS], 1):
        e, p = found.estimates.get(f"{channel.name}.zero"), SPACE[f"zero_{k}"]
        if e is None or channel.name == joints[-1]:
            continue
        scale = float(np.rad2deg(abs(channel.to_si[0])))
        low, high = (0.0, 0.0) if channel.name == joints[0] else (-scale * e.high, -scale * e.low)
        if high - low <= p.high - p.low:
            out[p.name] = (max(low, p.least), min(high, p.most))
    return out


def digital_twin(
    parts: Sequence[Identification | CameraCalibration], strength: float = 0.0, widen: float = 1.0
) -> Posterior:
    """Worlds as measured: what is identified is drawn from its posterior, the camera and the joint zeros from their intervals; the
    others as `strength` says, 0 … 2: with 0 they are nominal. widen: as of `posterior`. `.centre` is the world at the estimates
    themselves.

    Raises `BadValue` for two identifications of the dynamics, or two calibrations: which of them counts is not known.
    """
    dynamics = [p for p in parts if isinstance(p, Identification)]
    cameras = [p for p in parts if isinstance(p, CameraCalibration)]
    for found in (dynamics, cameras):
        if len(found) > 1:
            raise BadValue(
                f"{len(parts)} files, several of them a {type(found[0]).__name__}; expected one of each kind at most. "
                "Next: the newest"
            )
    worlds = posterior(dynamics[0], strength, widen=widen) if dynamics else Posterior(rest=Randomization(strength))
    if not cameras:
        return worlds
    ranges = camera_ranges(cameras[0]) | zero_ranges(cameras[0])
    centre = worlds.rest.centre.replace(**{n: (low + high) / 2 for n, (low, high) in ranges.items()})
    return replace(worlds, rest=replace(worlds.rest, centre=centre, ranges={**worlds.rest.ranges, **ranges}))


def read_part(path: str | Path) -> Identification | CameraCalibration:
    """What `palmar sysid --out` or `palmar calibrate --out` wrote. Raises `BadFile`."""
    try:
        told = json.loads(regular_file(path).read_text("utf-8"))
    except FileNotFoundError:
        raise BadFile(
            f"there is no '{path}'. Next: palmar sysid --out {path}, or palmar calibrate --out {path}"
        ) from None
    except (ValueError, RecursionError) as error:
        why = "too deeply nested" if isinstance(error, RecursionError) else error
        raise BadFile(
            f"'{path}' is no JSON ({why}). Next: palmar sysid --out {path}, or palmar calibrate --out {path}"
        ) from None
    if isinstance(told, dict) and told.get("format") == FORMAT:
        return CameraCalibration.load(path)
    return Identification.load(path)
