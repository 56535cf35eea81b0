"""Simulated motors by their port, and what is wrong with them."""

from dataclasses import dataclass, field

JOINTS = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")


@dataclass
class Port:
    """at: where each motor is, in the unit of its norm mode. fault: what a use raises, None for nothing, once it has been used more
    often than `after`. sent: what it was told. dark: of a camera's port, it gives no picture."""

    at: dict = field(default_factory=lambda: dict.fromkeys(JOINTS, 10.0))
    fault: Exception | None = None
    after: int = 0
    calibrated: bool = True
    connected: bool = False
    torque: bool = False
    sent: list = field(default_factory=list)
    used: int = 0
    dark: bool = False

    def use(self):
        self.used += 1
        if self.fault is not None and self.used > self.after:
            raise self.fault


PORTS: dict[str, Port] = {}


def port(name):
    return PORTS.setdefault(name, Port())
