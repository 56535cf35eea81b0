"""LeRobot imports this package by its name; importing it makes `--policy.type=palmar` known, and `--env.type=palmar` where
`lerobot_env_palmar` is installed: LeRobot 0.4 does not look for environments itself."""

from importlib.util import find_spec

from lerobot_policy_palmar.configuration_palmar import PalmarConfig

if find_spec("lerobot_env_palmar") is not None:
    import lerobot_env_palmar  # noqa: F401

__all__ = ["PalmarConfig"]
