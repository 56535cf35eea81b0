"""An arm of six motors with cameras."""

from dataclasses import dataclass, field
from typing import ClassVar

from lerobot.cameras import CameraConfig
from lerobot.cameras.fake import FakeCamera
from lerobot.motors import Bus
from lerobot.robots import RobotConfig
from lerobot.utils.errors import DeviceNotConnectedError


class SOFollower:
    name = "so_follower"

    def __init__(self, config):
        self.config, self.calibration_fpath = config, f"/calibration/{config.id}.json"
        self.bus = Bus(config.port, config.use_degrees)
        self.cameras = {n: FakeCamera(c) for n, c in config.cameras.items()}

    action_features = property(lambda self: {f"{m}.pos": float for m in self.bus.motors})
    is_connected = property(lambda self: self.bus.is_connected and all(c.is_connected for c in self.cameras.values()))
    is_calibrated = property(lambda self: self.bus.is_calibrated)

    @property
    def observation_features(self):
        return self.action_features | {n: (c.height, c.width, 3) for n, c in self.config.cameras.items()}

    def connect(self, calibrate=True):
        self.bus.connect()
        if calibrate and not self.is_calibrated:
            raise AssertionError("a person would be asked")
        for camera in self.cameras.values():
            camera.connect()

    def get_observation(self):
        return self.bus.read() | {n: c.read_latest() for n, c in self.cameras.items()}

    def send_action(self, action):
        if not self.is_connected:
            raise DeviceNotConnectedError("not connected")
        self.bus.port.use()
        self.bus.port.sent.append(dict(action))
        self.bus.port.at = {n.removesuffix(".pos"): v for n, v in action.items()}
        return action

    def disconnect(self):
        if not self.is_connected:
            raise DeviceNotConnectedError("not connected")
        self.bus.disconnect()
        for camera in self.cameras.values():
            camera.disconnect()


@RobotConfig.register_subclass("so101_follower")
@dataclass
class SOFollowerConfig(RobotConfig):
    device: ClassVar = SOFollower
    port: str
    use_degrees: bool = True
    cameras: dict[str, CameraConfig] = field(default_factory=dict)
