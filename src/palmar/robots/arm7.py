"""A 7-joint arm with the kinematics and limits of the Franka Emika Panda, and a parallel gripper."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from palmar.embodiments import ActionSpaceName, Embodiment
from palmar.kinematics import Chain, quat_to_matrix, rotvec_to_matrix
from palmar.links import Link, LinkJoint, Mechanics, Mount, Point, Servo, Shape, Start, collision_shapes, looking
from palmar.robot_parts import Camera, Channel, Column, Floor, Frame
from palmar.shapes import Collision, CollisionShape

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

# Identified mass [kg], centre of mass [m] and inertia about it [kg·m²] (xx, yy, zz, xy, xz, yz) of each Panda link.
# Source: Gaz, Cognetti, Oliva, Robuffo Giordano, De Luca 2019, "Dynamic Identification of the Franka Emika Panda Robot".
LINK_INERTIA = (
    (4.970684, (0.003875, 0.002081, -0.04762), (0.70337, 0.70661, 0.0091170, -0.000139, 0.006772, 0.019169)),
    (0.646926, (-0.003141, -0.02872, 0.003495), (0.007962, 0.02811, 0.025995, -0.003925, 0.010254, 0.000704)),
    (3.228604, (0.027518, 0.039252, -0.066502), (0.037242, 0.036155, 0.01083, -0.004761, -0.011396, -0.012805)),
    (3.587895, (-0.05317, 0.104419, 0.027454), (0.025853, 0.019552, 0.028323, 0.007796, -0.001332, 0.008641)),
    (1.225946, (-0.011953, 0.041065, -0.038437), (0.035549, 0.029474, 0.008627, -0.002117, -0.004037, 0.000229)),
    (1.666555, (0.060149, -0.014117, -0.010517), (0.001964, 0.004354, 0.005433, 0.000109, -0.001158, 0.000341)),
    (0.735522, (0.010517, -0.004252, 0.061597), (0.012516, 0.010027, 0.004815, -0.000428, -0.001196, -0.000741)),
)
STIFFNESS = (4500.0, 4500.0, 3500.0, 3500.0, 2000.0, 2000.0, 2000.0)  # joint servos [N·m/rad]
SERVO_DAMPING = (180.0, 180.0, 140.0, 140.0, 80.0, 80.0, 80.0)  # [N·m·s/rad]
JOINT_DAMPING = 20.0  # of the joint itself [N·m·s/rad]
ARMATURE = 0.1  # rotor inertia seen at the joint [kg·m²]
WHITE, GREY, DARK = (0.92, 0.92, 0.93, 1.0), (0.55, 0.57, 0.60, 1.0), (0.16, 0.17, 0.18, 1.0)

# Capsules that draw a link: (from, to, radius) in the link's frame [m].
LINK_SHAPES = (
    ((0, 0, -0.19), (0, 0, 0.0), 0.060),
    ((0, 0, -0.05), (0, -0.12, 0.0), 0.058),
    ((0, 0, -0.19), (0.05, 0, 0.0), 0.056),
    ((0, 0, 0.0), (-0.05, 0.12, 0.0), 0.052),
    ((0, 0.02, -0.24), (0, 0.0, 0.0), 0.050),
    ((0, 0, 0.0), (0.06, 0, 0.0), 0.048),
    ((0, 0, -0.02), (0, 0, 0.07), 0.042),
)

TABLE = CollisionShape("table", "box", (1.0, 1.0, 0.05), pos=(0.5, 0.0, -0.05))  # the arm stands on it
# The fingers reach the table to grasp; how deep, the workspace says. Links 5 and 7, and 1 and 3, are drawn so near each other.
# The others are over 2 cm apart at all positions (12 000 drawn, half of them with joints at their ends).
ALLOWED = (
    ("finger_left", "table"), ("finger_right", "table"), ("link5", "link7"), ("link1", "link3"),
    ("link2", "table"), ("link3", "table"), ("link0", "link2"), ("link0", "link3"), ("link0", "link4"), ("link1", "link4"),
    ("link2", "link4"), ("link2", "link5"), ("link3", "link5"), ("link3", "link6"), ("link3", "link7"), ("link4", "link6"),
    ("link4", "link7"), ("link4", "hand"),
)  # fmt: skip


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
    sheet["tolerance"] = "user"
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
    robot = Embodiment(
        "arm7", tuple(channels), (tcp,), (Camera("front"), Camera("wrist", fov=75.0)), action_space=action_space,
    )  # fmt: skip
    shapes = (*collision_shapes(_links(robot), robot), TABLE)
    return replace(robot, collision=Collision(shapes, ALLOWED))


def _links(robot: Embodiment) -> list[Link]:
    """The base, seven links, a hand and two fingers."""
    frame = robot.frame()
    chain = frame.chain
    base = Shape("capsule", (0.075,), (-0.06, 0.0, 0.06), (0.0, 0.0, 0.1), WHITE)
    links = [Link("link0", shapes=(base,))]
    for i, (name, (mass, com, inertia), (start, end, radius)) in enumerate(
        zip(frame.joints, LINK_INERTIA, LINK_SHAPES, strict=True)
    ):
        joint = LinkJoint(name, lower=LOWER[i], upper=UPPER[i], damping=JOINT_DAMPING, armature=ARMATURE)
        shape = Shape("capsule", (radius,), start, end, GREY if i in (1, 3, 5) else WHITE)
        links.append(
            Link(
                f"link{i + 1}", f"link{i}", _numbers(chain.offsets[i]), _numbers(chain.quats[i]), (joint,), mass, com, inertia,
                (shape,), floats=True,
            )
        )  # fmt: skip
    palm = Shape("box", (0.02, 0.1, 0.03), (0, 0, 0.03), colour=WHITE, solid=True)
    links.append(
        Link(
            "hand", "link7", _numbers(chain.tool_offset - np.array([0, 0, PADS])), _numbers(chain.tool_quat), mass=0.73,
            com=(-0.01, 0, 0.03), inertia=(0.001, 0.0025, 0.0017), shapes=(palm,), tool=True, floats=True,
        )
    )  # fmt: skip
    for side, sign in (("left", 1.0), ("right", -1.0)):
        pad = Shape("box", (0.012, 0.006, 0.027), (0, sign * 0.006, 0.027), colour=DARK, solid=True, grip=1.2)
        slide = LinkJoint(
            f"finger_{side}", (0, sign, 0), 0.0, GRIPPER_WIDTH / 2, damping=10.0, armature=0.05, slides=True
        )  # fmt: skip
        links.append(
            Link(
                f"finger_{side}", "hand", (0, 0, 0.0584), joints=(slide,), mass=0.1, com=(0, sign * 0.01, 0.02),
                inertia=(1e-4, 1e-4, 5e-5), shapes=(pad,), tool=True, floats=True,
            )
        )  # fmt: skip
    return links


def mechanics() -> Mechanics:
    """The seven links, a hand with two fingers that move alike, and where the two cameras sit."""
    robot = arm7()
    servos = [
        Servo(name, (name,), STIFFNESS[i], SERVO_DAMPING[i], TORQUE[i]) for i, name in enumerate(robot.frame().joints)
    ]
    fingers = ("finger_left", "finger_right")
    servos.append(Servo("gripper", fingers, 1500.0, 60.0, 30.0, travel=(0.0, GRIPPER_WIDTH / 2)))
    # The wrist camera sits in front of the hand and looks along the fingers, tipped towards the TCP.
    tip = rotvec_to_matrix(np.array([0.0, np.deg2rad(22.0), 0.0])) @ quat_to_matrix(np.array([0.0, 1.0, 0.0, 0.0]))
    turned = tip @ rotvec_to_matrix(np.array([0.0, 0.0, np.pi / 2]))
    eye = (0.88, 0.0, 0.40)
    return Mechanics(
        links=tuple(_links(robot)),
        points=(Point("tcp", "hand", (0, 0, PADS)),),
        servos=tuple(servos),
        mounts=(
            Mount("front", "", eye, looking(eye, (0.51, 0.0, 0.02))),
            Mount("wrist", "hand", (-0.07, 0, 0.01), turned),
        ),
        starts=(
            Start("tcp", (0.44, 0.0, 0.24), (-0.05, -0.08, -0.04), (0.05, 0.08, 0.06), np.diag([1.0, -1.0, -1.0])),
        ),
        grippers={"tcp": "gripper"},
    )


def _numbers(array: np.ndarray) -> Any:
    """A row of floats as plain numbers, 3 of a position or 4 of a quaternion."""
    return tuple(float(x) for x in array)
