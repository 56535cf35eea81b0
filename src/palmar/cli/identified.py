"""Worlds drawn from files of `palmar sysid --out` and `palmar calibrate --out`, as commands take them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from palmar.errors import BadFile, BadValue, UnknownName, regular_file

if TYPE_CHECKING:
    from palmar.transfer.calibrated import CameraCalibration
    from palmar.transfer.identification import Identification
    from palmar.transfer.posterior import Posterior


def identified(paths: Sequence[Path], strength: float, widen: float = 1.0, robot: str = "arm7") -> Posterior:
    """The worlds that files of `palmar sysid --out` and `palmar calibrate --out` leave possible; strength and widen as of
    `transfer.posterior.posterior`. robot: the worlds' robot. Raises `BadFile`, which names the file, also where that is of another
    robot, and what `digital_twin` does."""
    from palmar.transfer.digital_twin import digital_twin

    return digital_twin([_read(path, robot) for path in paths], strength, widen)


def _read(path: Path, robot: str) -> Identification | CameraCalibration:
    from palmar.transfer.calibrated import CameraCalibration
    from palmar.transfer.digital_twin import camera_ranges, read_part
    from palmar.transfer.posterior import posterior
    from palmar.transfer.torque_identification import FORMAT as TORQUES

    regular_file(path)
    why = "it is not JSON"
    try:
        told = json.loads(path.read_text("utf-8")) if path.exists() else None
        why = "it lacks what one has, or holds something else in its place"
        if isinstance(told, dict) and told.get("format") == TORQUES:
            why = "it is of torques, from palmar sysid --data, and no world takes those; without --data it makes one of a world"
        found = read_part(path)
        for name, e in found.estimates.items():
            if not e.low <= e.value <= e.high:
                why = f"{name} is {e.value}, outside its interval {e.low} … {e.high}"
                raise BadValue(why)
        if isinstance(found, CameraCalibration):
            why = "it is of a camera that the simulator has not, or with numbers that are none"
            camera_ranges(found)
        else:
            posterior(found)
    except (ValueError, TypeError, LookupError, AttributeError, BadFile) as error:  # whatever an edited file holds
        if not path.exists():
            raise
        why = str(error) if isinstance(error, UnknownName) else why
        raise BadFile(
            f"'{path}' is no identification: {why}. Next: palmar sysid --out FILE.json, which writes one"
        ) from error
    if found.robot != robot:
        raise BadFile(
            f"'{path}' is of the robot '{found.robot}'; expected '{robot}', whose worlds are drawn. Next: --robot {found.robot}, "
            f"or a file of {robot}"
        )
    return found
