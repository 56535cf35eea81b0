"""Motors and their bus."""

from dataclasses import dataclass
from enum import StrEnum

from lerobot.simulated import JOINTS, port
from lerobot.utils.errors import DeviceNotConnectedError


class MotorNormMode(StrEnum):
    RANGE_0_100 = "range_0_100"
    RANGE_M100_100 = "range_m100_100"
    DEGREES = "degrees"


@dataclass
class Motor:
    id: int
    model: str
    norm_mode: MotorNormMode


class Bus:
    def __init__(self, name, degrees):
        body = MotorNormMode.DEGREES if degrees else MotorNormMode.RANGE_M100_100
        self.port = port(name)
        self.motors = {
            n: Motor(i + 1, "sts3215", MotorNormMode.RANGE_0_100 if n == "gripper" else body)
            for i, n in enumerate(JOINTS)
        }

    is_connected = property(lambda self: self.port.connected)
    is_calibrated = property(lambda self: self.port.calibrated)

    def connect(self):
        self.port.use()
        self.port.connected = self.port.torque = True

    def disconnect(self):
        self.port.use()
        self.port.connected = self.port.torque = False

    def read(self):
        if not self.port.connected:
            raise DeviceNotConnectedError("not connected")
        self.port.use()
        return {f"{n}.pos": v for n, v in self.port.at.items()}
