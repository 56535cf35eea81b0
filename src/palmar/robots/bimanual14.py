"""A pair of ViperX 300 arms with grippers that face each other over a table, as ALOHA has them: 14 channels.

Base frame: midway between the arms on the table, x away from the person, y to the left.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from palmar.embodiments import Embodiment
from palmar.kinematics import Chain, matrix_to_quat, rotvec_to_matrix
from palmar.links import (
    Link,
    LinkJoint,
    Mechanics,
    Mount,
    Point,
    Quaternion,
    Servo,
    Shape,
    Start,
    collision_shapes,
    cuboid,
    looking,
    rod,
)
from palmar.robot_parts import Camera, Channel, Floor, Frame
from palmar.shapes import Collision, CollisionShape
from palmar.types import Array

# Lengths [m], axes, ranges [rad], speeds and masses [kg]: Trossen Robotics, ViperX 300 6DOF specifications and description
# (interbotix_xsarm_descriptions, vx300s). Offsets are from joint to joint in the zero pose (forearm level, forward).
JOINTS = ("waist", "shoulder", "elbow", "forearm_roll", "wrist_angle", "wrist_rotate")
OFFSETS = ((0, 0, 0.079), (0, 0, 0.04805), (0.05955, 0, 0.3), (0.2, 0, 0), (0.1, 0, 0), (0.069744, 0, 0))
AXES = ((0, 0, 1), (0, 1, 0), (0, 1, 0), (1, 0, 0), (0, 1, 0), (1, 0, 0))
TOOL = (0.1072, 0.0, 0.0)  # from the last joint to midway between the fingers
LOWER = (-3.14158, -1.85005, -1.76278, -3.14158, -1.8675, -3.14158)
UPPER = (3.14158, 1.25664, 1.6057, 3.14158, 2.23402, 3.14158)
VELOCITY = 3.14  # [rad/s]
MASSES = (0.80, 0.79, 0.32, 0.41, 0.12, 0.35)  # of the link behind each joint
# Servos: XM540 (10.6 N·m), two at shoulder and elbow, XM430 (4.1 N·m) at the last. Stiffness and damping are chosen.
TORQUE = (10.6, 21.2, 21.2, 10.6, 10.6, 4.1)
STIFFNESS = (300.0, 500.0, 400.0, 80.0, 80.0, 40.0)  # [N·m/rad]
SERVO_DAMPING = (20.0, 30.0, 24.0, 4.0, 4.0, 2.0)  # [N·m·s/rad]
ARMATURE = (0.05, 0.10, 0.10, 0.02, 0.02, 0.01)  # [kg·m²]
ACCELERATION = 12.0  # [rad/s²], chosen
BLOCKED = 0.35  # a joint this far from its command has hit something [rad]
HOME = (0.0, -0.75, 1.15, 0.0, 1.17, 0.0)  # gripper down [rad]
TRAVEL = 0.036  # of each finger [m]
OPENINGS = 2.5  # a second
ARMS = {"left": (0.469, -np.pi / 2), "right": (-0.469, np.pi / 2)}  # y of the base [m], where it faces [rad]

BLACK, GREY = (0.13, 0.13, 0.14, 1.0), (0.35, 0.36, 0.38, 1.0)
DOWN = np.diag([1.0, -1.0, -1.0])  # rotation of either frame where its gripper points down

TABLE = CollisionShape("table", "box", (0.7, 0.8, 0.05), pos=(0.0, 0.0, -0.05))  # both arms stand on it
FINGERS = ("finger_left", "finger_right")
# The fingers reach the table to grasp; how deep, the workspace says. The others are over 3 cm apart at all positions (5 000
# drawn, half of them with joints at their ends).
ALLOWED = (
    *((f"{arm}_{name}", "table") for arm in ARMS for name in (*FINGERS, "shoulder")),
    *(
        (f"{arm}_{a}", f"{arm}_{b}")
        for arm in ARMS
        for a, b in (("waist", "elbow"), *((link, f) for link in ("elbow", "forearm_roll") for f in FINGERS))
    ),
    *(
        (f"{arm}_{a}", f"{other}_{b}")
        for arm, other in (("left", "right"), ("right", "left"))
        for a in ("base", "waist")
        for b in ("base", *JOINTS, *FINGERS)
    ),
    ("left_shoulder", "right_shoulder"), ("left_shoulder", "right_elbow"), ("left_elbow", "right_shoulder"),
)  # fmt: skip


def bimanual14() -> Embodiment:
    """Channels left_waist … left_wrist_rotate [rad], left_gripper (opening 0 … 1), and the same of the right arm; frames
    `left` and `right`; cameras high, left_wrist, right_wrist."""
    channels, frames = [], []
    for side, (y, yaw) in ARMS.items():
        names = tuple(f"{side}_{j}" for j in JOINTS)
        for i, name in enumerate(names):
            channels.append(
                Channel(
                    name, "revolute", "rad", LOWER[i], UPPER[i], VELOCITY, ACCELERATION, effort=TORQUE[i], home=HOME[i],
                    tolerance=BLOCKED, coupling=side,
                    sources={
                        "position": "data sheet", "velocity": "data sheet", "effort": "data sheet", "acceleration": "user",
                        "tolerance": "user",
                    },
                )
            )  # fmt: skip
        channels.append(
            Channel(
                f"{side}_gripper", "opening", "opening", 0.0, 1.0, OPENINGS, home=1.0,
                sources={"position": "data sheet", "velocity": "user"},
            )
        )  # fmt: skip
        turn = _turned(yaw)
        offsets = [turn @ np.array(o) for o in OFFSETS]
        offsets[0] = offsets[0] + [0.0, y, 0.0]
        chain = Chain.aligned(offsets, [turn @ np.array(a) for a in AXES], turn @ np.array(TOOL), turn @ _tool(yaw))
        across = np.array([-0.08, 0.36]) if side == "left" else np.array([-0.36, 0.08])
        box = np.array([[-0.24, across[0], 0.012], [0.24, across[1], 0.40]])
        frames.append(Frame(side, names, chain, box, (Floor(0.06, names[2:]),)))
    robot = Embodiment(
        "bimanual14", tuple(channels), tuple(frames),
        (Camera("high"), Camera("left_wrist", fov=70.0), Camera("right_wrist", fov=70.0)), action_space="ee_delta",
    )  # fmt: skip
    links = [link for side, (y, yaw) in ARMS.items() for link in _arm(side, y, yaw)[0]]
    return replace(robot, collision=Collision((*collision_shapes(links, robot), TABLE), ALLOWED))


def _tool(yaw: float) -> Array:
    """Rotation of the frame in the last link, both parallel to the arm in its zero pose: a quarter turn of the wrist makes
    it `DOWN`."""
    return rotvec_to_matrix(np.array([0.0, -np.pi / 2, 0.0])) @ _turned(yaw).T @ DOWN


def _turned(yaw: float) -> Array:
    return rotvec_to_matrix(np.array([0.0, 0.0, yaw]))


def mechanics() -> Mechanics:
    """Two arms alike, each with two fingers that move together."""
    links: list[Link] = []
    servos: list[Servo] = []
    for side, (y, yaw) in ARMS.items():
        arm, own = _arm(side, y, yaw)
        links += arm
        servos += own
    eye = (-0.30, 0.0, 0.48)
    on_hand = (0.03, 0.0, 0.10)
    return Mechanics(
        links=tuple(links),
        points=tuple(Point(s, f"{s}_wrist_rotate", TOOL, _quaternion(_tool(yaw))) for s, (_, yaw) in ARMS.items()),
        servos=tuple(servos),
        mounts=(
            Mount("high", "", eye, looking(eye, (0.02, 0.0, 0.02))),
            *(Mount(f"{s}_wrist", f"{s}_wrist_rotate", on_hand, looking(on_hand, (0.15, 0.0, 0.0))) for s in ARMS),
        ),
        starts=tuple(
            Start(s, (0.0, np.sign(y) * 0.20, 0.20), (-0.06, -0.03, -0.03), (0.06, 0.03, 0.03), DOWN)
            for s, (y, _) in ARMS.items()
        ),
        grippers={s: f"{s}_gripper" for s in ARMS},
    )


def _quaternion(rotation: Array) -> Quaternion:
    w, x, y, z = (float(v) for v in matrix_to_quat(rotation))
    return (w, x, y, z)


def _arm(side: str, y: float, yaw: float) -> tuple[list[Link], list[Servo]]:
    half = yaw / 2
    base = Link(
        f"{side}_base", "", (0.0, y, 0.0), (float(np.cos(half)), 0.0, 0.0, float(np.sin(half))),
        shapes=(Shape("box", (0.06, 0.05, 0.035), (0.0, 0.0, 0.035), colour=GREY),),
    )  # fmt: skip
    links, servos = [base], []
    for i, j in enumerate(JOINTS):
        name = f"{side}_{j}"
        end = OFFSETS[i + 1] if i < 5 else TOOL
        joint = LinkJoint(name, AXES[i], LOWER[i], UPPER[i], damping=1.0, armature=ARMATURE[i])
        radius = (0.045, 0.032, 0.032, 0.028, 0.026, 0.028)[i]
        if i < 5:
            shapes = (Shape("capsule", (radius,), (0.0, 0.0, 0.0), end, BLACK if i % 2 else GREY),)
        else:
            shapes = (Shape("box", (0.030, 0.048, 0.020), (0.040, 0.0, 0.0), colour=GREY, solid=True),)
        length = float(np.linalg.norm(end))
        links.append(
            Link(
                name, links[-1].name, OFFSETS[i], joints=(joint,), mass=MASSES[i], com=(end[0] / 2, 0.0, end[2] / 2),
                inertia=rod(MASSES[i], length, radius, int(np.argmax(np.abs(end)))), shapes=shapes,
            )
        )  # fmt: skip
        servos.append(Servo(name, (name,), STIFFNESS[i], SERVO_DAMPING[i], TORQUE[i]))
    fingers = (f"{side}_finger_left", f"{side}_finger_right")
    for name, sign in zip(fingers, (1.0, -1.0), strict=True):
        slide = LinkJoint(name, (0, sign, 0), 0.0, TRAVEL, damping=10.0, armature=0.05, slides=True)
        pad = Shape("box", (0.030, 0.006, 0.010), (0.0, sign * 0.006, 0.0), colour=BLACK, solid=True, grip=1.2)
        links.append(
            Link(
                name, f"{side}_wrist_rotate", (0.0987, 0.0, 0.0), joints=(slide,), mass=0.05, com=(0.0, sign * 0.006, 0.0),
                inertia=cuboid(0.05, (0.03, 0.006, 0.01)), shapes=(pad,), tool=True,
            )
        )  # fmt: skip
    servos.append(Servo(f"{side}_gripper", fingers, 1000.0, 50.0, 25.0, travel=(0.0, TRAVEL)))
    return links, servos
