"""Robots of other kinds: a base whose units nobody tells, and one whose package is not there."""

from dataclasses import dataclass
from typing import ClassVar

from lerobot.robots import RobotConfig


class Base:
    """It remembers what it was told. Its battery is measured, and no channel."""

    is_calibrated = is_connected = True

    def __init__(self, config):
        self.at = dict.fromkeys(self.action_features, 0.0)

    @property
    def action_features(self):
        return {"x.vel": float, "y.vel": float, "theta.vel": float}

    @property
    def observation_features(self):
        return self.action_features | {"battery": float}

    def connect(self, calibrate=True):
        """It always is."""

    def get_observation(self):
        return self.at | {"battery": 0.5}

    def send_action(self, action):
        self.at = dict(action)
        return action

    def disconnect(self):
        """It always is."""


class Odd:
    def __init__(self, config):
        raise ModuleNotFoundError("No module named 'its_sdk'", name="its_sdk")


@RobotConfig.register_subclass("base")
@dataclass
class BaseConfig(RobotConfig):
    device: ClassVar = Base


@RobotConfig.register_subclass("odd")
@dataclass
class OddConfig(RobotConfig):
    device: ClassVar = Odd
