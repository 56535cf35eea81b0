"""Robots from files: MJCF and URDF descriptions, data sets, and robot files (TOML) that a person reads and edits."""

from palmar.description.build import from_description, from_mjcf, from_urdf
from palmar.description.dataset import from_dataset
from palmar.description.file import read_robot
from palmar.description.find import find_robot
from palmar.description.guesses import check_deployable
from palmar.description.join import joined, with_data
from palmar.description.write import robot_text, write_robot

__all__ = [
    "check_deployable", "find_robot", "from_dataset", "from_description", "from_mjcf", "from_urdf", "joined", "read_robot",
    "robot_text", "with_data", "write_robot",
]  # fmt: skip
