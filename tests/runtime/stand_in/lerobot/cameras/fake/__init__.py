"""A camera that shows how often it was looked at."""

from dataclasses import dataclass

import numpy as np

from lerobot.cameras import CameraConfig
from lerobot.simulated import port


@CameraConfig.register_subclass("fake")
@dataclass
class FakeCameraConfig(CameraConfig):
    index_or_path: int = 0
    wrong: str = ""
    color_mode: str = "rgb"


class FakeCamera:
    def __init__(self, config):
        self.config, self.looks, self.is_connected, self.color_mode = config, 0, False, config.color_mode

    def __str__(self):
        return f"FakeCamera({self.config.index_or_path})"

    def connect(self):
        self.is_connected = True

    def disconnect(self):
        self.is_connected = False

    def read_latest(self):
        if port(f"camera{self.config.index_or_path}").dark:
            raise TimeoutError(f"{self} latest frame is too old: 812.0 ms (max allowed: 500 ms).")
        self.looks += 1
        size = self.config.height, self.config.width, 3
        if self.config.wrong == "size":
            size = self.config.height // 2, self.config.width, 3
        return np.random.default_rng(self.looks).integers(0, 255, size, np.uint8)
