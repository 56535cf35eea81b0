"""A leader arm of six motors, and a gamepad that gives displacements."""

from dataclasses import dataclass
from typing import ClassVar

from lerobot.motors import Bus
from lerobot.teleoperators import TeleoperatorConfig


class SOLeader:
    def __init__(self, config):
        self.config, self.bus = config, Bus(config.port, config.use_degrees)

    action_features = property(lambda self: {f"{m}.pos": float for m in self.bus.motors})
    is_connected = property(lambda self: self.bus.is_connected)
    is_calibrated = property(lambda self: self.bus.is_calibrated)

    def connect(self, calibrate=True):
        if calibrate and not self.is_calibrated:
            raise AssertionError("a person would be asked")
        self.bus.connect()

    def get_action(self):
        return self.bus.read()

    def disconnect(self):
        self.bus.disconnect()


class Gamepad:
    action_features = {"dtype": "float32", "shape": (3,), "names": {"delta_x": 0, "delta_y": 1, "delta_z": 2}}  # noqa: RUF012

    def __init__(self, config):
        """Nothing to connect."""


@TeleoperatorConfig.register_subclass("so101_leader")
@dataclass
class SOLeaderConfig(TeleoperatorConfig):
    device: ClassVar = SOLeader
    port: str
    use_degrees: bool = True


@TeleoperatorConfig.register_subclass("gamepad")
@dataclass
class GamepadConfig(TeleoperatorConfig):
    device: ClassVar = Gamepad
