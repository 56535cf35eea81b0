"""Robots as values: names, units, limits, rates and cameras. A new robot is a new value here and a body that moves it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np

from palmar.errors import BadValue
from palmar.kinematics import Chain
from palmar.types import Array

ActionSpaceName = Literal["ee_delta", "joint_position"]

_POSITIVE = ("velocity", "acceleration", "jerk", "torque")
EE_DELTA_NAMES = ("dx", "dy", "dz", "drx", "dry", "drz", "gripper")


@dataclass(frozen=True)
class Camera:
    """A colour camera as the policy sees it. fov: vertical field of view [deg]."""

    name: str
    height: int = 96
    width: int = 96
    fov: float = 60.0


@dataclass(frozen=True)
class Embodiment:
    """One robot arm with a gripper.

    Limits are float64[J]: position_lower/upper [rad], velocity [rad/s], acceleration [rad/s²], jerk [rad/s³], torque [N·m].
    workspace: float64[2, 3] lower and upper corner of the box the TCP may be in, base frame [m].
    gripper_width: opening between the pads when fully open [m]. gripper_velocity: largest change of the opening command,
    in openings (0 … 1) a second. home: float64[J] neutral joint angles [rad].
    control_rate: commands a second the body takes [Hz]. policy_rate: actions a second a policy gives [Hz].
    max_step: float64[2] largest translation [m] and rotation [rad] of one `ee_delta` action.
    """

    name: str
    joints: tuple[str, ...]
    position_lower: Array
    position_upper: Array
    velocity: Array
    acceleration: Array
    jerk: Array
    torque: Array
    home: Array
    chain: Chain
    workspace: Array
    gripper_width: float
    gripper_velocity: float
    cameras: tuple[Camera, ...]
    control_rate: float = 50.0
    policy_rate: float = 10.0
    max_step: tuple[float, float] = (0.04, 0.2)
    action_space: ActionSpaceName = "ee_delta"

    def __post_init__(self) -> None:
        J = len(self.joints)
        if (n := len(self.chain.quats)) != J:
            raise BadValue(f"{self.name} has {J} joints but its chain has {n}")
        shapes = dict.fromkeys(("position_lower", "position_upper", *_POSITIVE, "home"), (J,))
        for name, shape in {**shapes, "workspace": (2, 3), "max_step": (2,)}.items():
            value = np.asarray(getattr(self, name))
            if value.shape != shape:
                raise BadValue(f"{self.name}: {name} has shape {list(value.shape)}; expected {list(shape)}")
            if not np.isfinite(value).all():
                raise BadValue(f"{self.name}: {name} is {value.tolist()}; expected finite numbers")
        for name, low, high in (
            ("position", self.position_lower, self.position_upper), ("workspace", *self.workspace),
        ):  # fmt: skip
            if not np.all(low < high):
                raise BadValue(f"{self.name}: {name} is {low.tolist()} … {high.tolist()}; expected lower < upper")
        for name in (*_POSITIVE, "max_step", "gripper_width", "gripper_velocity", "control_rate", "policy_rate"):
            value = np.asarray(getattr(self, name))
            if not (np.isfinite(value).all() and np.all(value > 0)):
                raise BadValue(f"{self.name}: {name} is {value.tolist()}; expected > 0")
        ratio = self.control_rate / self.policy_rate
        if ratio < 0.5 or abs(ratio - round(ratio)) > 1e-6:
            raise BadValue(
                f"{self.name}: control_rate {self.control_rate} Hz is {ratio:.4g} × policy_rate {self.policy_rate} Hz; "
                f"expected a whole number of control ticks an action"
            )

    @property
    def action_names(self) -> tuple[str, ...]:
        return EE_DELTA_NAMES if self.action_space == "ee_delta" else (*self.joints, "gripper")

    @property
    def state_names(self) -> tuple[str, ...]:
        """Joint angles [rad], joint velocities [rad/s], gripper opening 0 … 1, TCP position [m], TCP quaternion wxyz."""
        return (
            *(f"{j}.pos" for j in self.joints),
            *(f"{j}.vel" for j in self.joints),
            "gripper.pos",
            *("tcp.x", "tcp.y", "tcp.z", "tcp.qw", "tcp.qx", "tcp.qy", "tcp.qz"),
        )

    @property
    def command_width(self) -> int:
        """J + 1: a body takes joint position targets [rad] and the gripper opening."""
        return len(self.joints) + 1

    def with_action_space(self, name: ActionSpaceName) -> Embodiment:
        return replace(self, action_space=name)


def fitting(robot: Embodiment, action_names: Sequence[str] | None) -> Embodiment:
    """The robot with the action space that has these names; as it is for None. Raises `BadValue` when none has."""
    if action_names is None:
        return robot
    spaces = [robot.with_action_space(s) for s in get_args(ActionSpaceName)]
    found = next((r for r in spaces if r.action_names == tuple(action_names)), None)
    if found is None:
        ours = "; or ".join(", ".join(r.action_names) for r in spaces)
        raise BadValue(
            f"the policy's actions are {', '.join(action_names)}; {robot.name} takes {ours}. Next: a policy trained for this robot"
        )
    return found


def arm7(action_space: ActionSpaceName = "ee_delta") -> Embodiment:
    """A 7-joint arm with the kinematics and limits of the Franka Emika Panda, and a parallel gripper.

    Source of lengths and limits: Franka control interface documentation, "Robot and interface specifications"
    (Denavit-Hartenberg parameters; position, velocity, acceleration, jerk and torque limits).
    """
    down, up = np.array([1.0, -1.0, 0.0, 0.0]), np.array([1.0, 1.0, 0.0, 0.0])
    eye = np.array([1.0, 0.0, 0.0, 0.0])
    chain = Chain(
        offsets=np.array(
            [[0, 0, 0.333], [0, 0, 0], [0, -0.316, 0], [0.0825, 0, 0], [-0.0825, 0.384, 0], [0, 0, 0], [0.088, 0, 0]]
        ),
        quats=np.stack([eye, down, up, up, down, up, up]),
        tool_offset=np.array([0.0, 0.0, 0.107 + 0.1034]),  # flange, then the hand down to the pads
        tool_quat=np.array([np.cos(np.pi / 8), 0.0, 0.0, -np.sin(np.pi / 8)]),  # the hand is mounted turned by -45°
    )
    return Embodiment(
        name="arm7",
        joints=tuple(f"joint{i}" for i in range(1, 8)),
        position_lower=np.array([-2.8973, -1.7628, -2.8973, -3.0718, -2.8973, -0.0175, -2.8973]),
        position_upper=np.array([2.8973, 1.7628, 2.8973, -0.0698, 2.8973, 3.7525, 2.8973]),
        velocity=np.array([2.175, 2.175, 2.175, 2.175, 2.61, 2.61, 2.61]),
        acceleration=np.array([15.0, 7.5, 10.0, 12.5, 15.0, 20.0, 20.0]),
        jerk=np.array([7500.0, 3750.0, 5000.0, 6250.0, 7500.0, 10000.0, 10000.0]),
        torque=np.array([87.0, 87.0, 87.0, 87.0, 12.0, 12.0, 12.0]),
        home=np.array([0.0, -0.35, 0.0, -2.45, 0.0, 2.1, np.pi / 4]),
        chain=chain,
        workspace=np.array([[0.25, -0.40, 0.012], [0.78, 0.40, 0.60]]),
        gripper_width=0.08,
        gripper_velocity=2.5,
        cameras=(Camera("front"), Camera("wrist", fov=75.0)),
        action_space=action_space,
    )
