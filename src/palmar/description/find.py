"""A robot by what a person calls it: the name of one that comes with palmar, a robot file, or a description file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from palmar.description.build import from_description
from palmar.description.file import read_robot
from palmar.embodiments import Embodiment
from palmar.errors import BadFile, UnknownName
from palmar.robots import robot, robots


def find_robot(what: str | Path, **options: Any) -> Embodiment:
    """The robot that is meant by a shipped name, a `.toml` robot file, or a URDF or MJCF file (`options` as those of
    `from_description`). Raises `UnknownName` for what is neither a name nor a path, `BadFile`, `BadValue`."""
    if str(what) in robots():
        return robot(str(what))
    path = Path(what)
    if path.suffix == ".toml":
        return read_robot(path)
    if path.is_dir():
        raise BadFile(
            f"'{path}' is a folder; expected a robot. Next, for a data set: palmar robot make {path} --out robot.toml"
        )
    if not path.suffix and not path.exists():
        raise UnknownName("robot", str(what), (*robots(), "FILE.toml", "FILE.urdf", "FILE.xml"))
    return from_description(path, **options)
