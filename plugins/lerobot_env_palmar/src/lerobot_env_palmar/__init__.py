"""LeRobot imports this package by its name; importing it makes `--env.type=palmar` known. Nothing of the simulator is loaded."""

from lerobot_env_palmar.configuration_palmar import PalmarEnvConfig

__all__ = ["PalmarEnvConfig"]
