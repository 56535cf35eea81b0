"""A camera as a package that extends lerobot: it draws where the arm of so101_bus.py is, over noise. A file `dark` beside the
ports of the arm ends its pictures, as a cable that is pulled does."""

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from lerobot.cameras import Camera, CameraConfig
from lerobot.utils.errors import DeviceNotConnectedError


@CameraConfig.register_subclass("drawn")
@dataclass
class DrawnCameraConfig(CameraConfig):
    folder: Path = Path()
    motor: int = 0


class DrawnCamera(Camera):
    def __init__(self, config):
        super().__init__(config)
        self.config, self._connected, self._rng = config, False, np.random.default_rng(config.motor)

    def __str__(self):
        return f"DrawnCamera({self.config.motor})"

    @property
    def is_connected(self):
        return self._connected

    @staticmethod
    def find_cameras():
        return []

    def connect(self, warmup=True):
        self._connected = True

    def disconnect(self):
        self._connected = False

    def read(self):
        return self.read_latest()

    def async_read(self, timeout_ms=200):
        return self.read_latest()

    def read_latest(self, max_age_ms=500):
        if not self._connected:
            raise DeviceNotConnectedError(f"{self} is not connected.")
        if (self.config.folder / "dark").exists():
            raise TimeoutError(f"{self} latest frame is too old: 501.0 ms (max allowed: {max_age_ms} ms).")
        ticks = struct.unpack("<6d", (self.config.folder / "state").read_bytes())
        picture = self._rng.integers(0, 40, (self.height, self.width, 3), np.uint8)
        across = round((self.width - 12) * ticks[self.config.motor] / 4095)
        down = round((self.height - 12) * ticks[self.config.motor + 1] / 4095)
        picture[down : down + 12, across : across + 12] = (220, 60, 60)
        return picture
