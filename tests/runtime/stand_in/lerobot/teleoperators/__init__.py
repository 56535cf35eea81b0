"""Teleoperators: `TeleoperatorConfig`, `make_teleoperator_from_config`."""

from dataclasses import dataclass
from pathlib import Path

from draccus import ChoiceRegistry


@dataclass(kw_only=True)
class TeleoperatorConfig(ChoiceRegistry):
    id: str | None = None
    calibration_dir: Path | None = None


def make_teleoperator_from_config(config):
    return config.device(config)
