"""A 7-joint arm with the kinematics and limits of the Franka Emika Panda, and a parallel gripper."""

from __future__ import annotations

import numpy as np

from palmar.embodiments import ActionSpaceName, Camera, Channel, Column, Embodiment, Floor, Frame
from palmar.kinematics import Chain

# Source of lengths and limits: Franka control interface documentation, "Robot and interface specifications"
# (Denavit-Hartenberg parameters; position, velocity, acceleration, jerk and torque limits).
LOWER = (-2.8973, -1.7628, -2.8973, -3.0718, -2.8973, -0.0175, -2.8973)  # [rad]
UPPER = (2.8973, 1.7628, 2.8973, -0.0698, 2.8973, 3.7525, 2.8973)
VELOCITY = (2.175, 2.175, 2.175, 2.175, 2.61, 2.61, 2.61)  # [rad/s]
ACCELERATION = (15.0, 7.5, 10.0, 12.5, 15.0, 20.0, 20.0)  # [rad/s²]
JERK = (7500.0, 3750.0, 5000.0, 6250.0, 7500.0, 10000.0, 10000.0)  # [rad/s³]
TORQUE = (87.0, 87.0, 87.0, 87.0, 12.0, 12.0, 12.0)  # [N·m]
HOME = (0.0, -0.35, 0.0, -2.45, 0.0, 2.1, np.pi / 4)
BLOCKED = 0.35  # a joint this far from its command has hit something [rad]
GRIPPER_WIDTH = 0.08  # between the pads when fully open [m]
GRIPPER_VELOCITY = 2.5  # openings a second
PADS = 0.1034  # from the flange of the hand to midway between the pads [m]


def arm7(action_space: ActionSpaceName = "ee_delta") -> Embodiment:
    """Channels joint1 … joint7 [rad] and gripper (opening 0 … 1); frame `tcp`; cameras front and wrist."""
    down, up = np.array([1.0, -1.0, 0.0, 0.0]), np.array([1.0, 1.0, 0.0, 0.0])
    eye = np.array([1.0, 0.0, 0.0, 0.0])
    chain = Chain(
        offsets=np.array(
            [[0, 0, 0.333], [0, 0, 0], [0, -0.316, 0], [0.0825, 0, 0], [-0.0825, 0.384, 0], [0, 0, 0], [0.088, 0, 0]]
        ),
        quats=np.stack([eye, down, up, up, down, up, up]),
        tool_offset=np.array([0.0, 0.0, 0.107 + PADS]),  # flange, then the hand down to the pads
        tool_quat=np.array([np.cos(np.pi / 8), 0.0, 0.0, -np.sin(np.pi / 8)]),  # the hand is mounted turned by -45°
    )
    joints = tuple(f"joint{i}" for i in range(1, 8))
    sheet = dict.fromkeys(("position", "velocity", "acceleration", "jerk", "effort"), "data sheet")
    rows = zip(joints, LOWER, UPPER, VELOCITY, ACCELERATION, JERK, TORQUE, HOME, strict=True)
    channels = [
        Channel(
            name, "revolute", "rad", low, high, velocity, acceleration, jerk, torque, home, BLOCKED, coupling="arm",
            sources=sheet,  # type: ignore[arg-type]
        )
        for name, low, high, velocity, acceleration, jerk, torque, home in rows
    ]  # fmt: skip
    channels.append(
        Channel(
            "gripper", "opening", "opening", 0.0, 1.0, GRIPPER_VELOCITY, home=1.0,
            sources={"position": "data sheet", "velocity": "data sheet"},
        )
    )  # fmt: skip
    tcp = Frame(
        "tcp", joints, chain, np.array([[0.25, -0.40, 0.012], [0.78, 0.40, 0.60]]),
        zones=(Floor(0.06, joints[2:]), Column(0.17, 0.5, joints[-2:])),
    )  # fmt: skip
    return Embodiment(
        "arm7", tuple(channels), (tcp,), (Camera("front"), Camera("wrist", fov=75.0)), action_space=action_space,
    )  # fmt: skip
