"""Robots: `RobotConfig`, `make_robot_from_config`; a type registers itself when its module is imported."""

from dataclasses import dataclass
from pathlib import Path

from draccus import ChoiceRegistry


@dataclass(kw_only=True)
class RobotConfig(ChoiceRegistry):
    id: str | None = None
    calibration_dir: Path | None = None


def make_robot_from_config(config):
    return config.device(config)
