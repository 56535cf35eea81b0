"""The SO-101, a 5-joint arm with a gripper of six STS3215 servos, in the units that LeRobot's calibration writes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from palmar.embodiments import Embodiment
from palmar.kinematics import Chain
from palmar.links import (
    Link,
    LinkJoint,
    Mechanics,
    Mount,
    Point,
    Servo,
    Shape,
    Start,
    collision_shapes,
    cuboid,
    looking,
    rod,
)
from palmar.robot_parts import Camera, Channel, Floor, Frame, Measurement
from palmar.shapes import Collision, CollisionShape

# Lengths [m], axes, ranges [rad] and masses [kg]: TheRobotStudio/SO-ARM100, Simulation/SO101/so101_new_calib.xml. Offsets are
# from joint to joint with the arm in its zero pose (forearm and gripper level, forward); all frames are parallel there.
JOINTS = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll")
OFFSETS = (
    (0.0388, 0.0, 0.0624), (0.0304, -0.0183, 0.0542), (0.0280, 0.0, 0.1126), (0.1349, 0.0, 0.0052), (0.0611, 0.0183, 0.0),
)  # fmt: skip
AXES = ((0, 0, -1), (0, 1, 0), (0, 1, 0), (0, 1, 0), (-1, 0, 0))
TOOL = (0.0982, 0.0, -0.0079)  # from the roll joint to midway between the jaws
JAW = (0.0234, 0.0178, 0.0211)  # from the roll joint to the moving jaw's pivot
JAW_TIP = (0.074, -0.026)  # x, z of the moving jaw's tip from its pivot, closed
SPANS = (
    (-1.91986, 1.91986), (-1.74533, 1.74533), (-1.69, 1.69), (-1.65806, 1.65806), (-2.74385, 2.84121),
)  # fmt: skip
JAW_SPAN = (-0.17453, 1.74533)
MASSES = (0.100, 0.103, 0.104, 0.079, 0.087)  # of the link behind each joint
JAW_MASS = 0.012

# The STS3215 servo at 12 V. Source: kscalelabs/sysid, measured (model m1: dry and viscous friction).
DRY_FRICTION = 0.0909  # [N·m]
VISCOUS_FRICTION = 0.0481  # [N·m·s/rad]
ARMATURE = 0.0262  # rotor inertia seen at the joint [kg·m²]
KT, RESISTANCE = 2.565, 5.269  # [N·m/A], [Ω]
SERVO_DAMPING = KT**2 / RESISTANCE  # back-EMF of a voltage-driven motor [N·m·s/rad]
MAX_SPEED = 4.55  # [rad/s]
STALL_TORQUE = 2.94  # data sheet, 30 kg·cm [N·m]
STIFFNESS = 25.0  # proportional gain of the servo [N·m/rad], chosen: the arm sags by about 2° at full reach
ACCELERATION = 30.0  # [rad/s²], chosen
BLOCKED = 0.35  # a joint this far from its command has hit something [rad]
HOME = (0.0, -0.712, 0.616, 1.097, 0.0)  # gripper down before the base, as far as the wrist bends [rad]

WHITE, BLACK = (0.90, 0.90, 0.88, 1.0), (0.12, 0.12, 0.13, 1.0)
FORWARD = np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]])  # the tool's z axis leads out of the gripper

TABLE = CollisionShape("table", "box", (0.6, 0.6, 0.05), pos=(0.2, 0.0, -0.05))  # the arm stands on it
# The jaws reach the table to grasp; how deep, the workspace says. The moving one is taken closed, half open and open. The
# others are 3 cm apart or more at all positions (8 000 drawn, half of them with joints at their ends).
ON_TABLE = ("wrist_roll.2", "jaw.1", "jaw.2", "jaw.3", "shoulder_lift")
ALLOWED = (
    *((name, "table") for name in ON_TABLE), *(("elbow_flex", name) for name in ("wrist_roll.1", *ON_TABLE[:4])),
    ("base.1", "shoulder_lift"), ("base.2", "shoulder_lift"),
)  # fmt: skip


def so101() -> Embodiment:
    """Channels shoulder_pan.pos … wrist_roll.pos [−100 … 100 % of the range] and gripper.pos [0 … 100 %]; state: the same six.

    Frame `tcp`: its actions are dx, dy, dz, since five joints cannot keep a rotation. Cameras front and wrist; 30 Hz.
    """
    channels = []
    for name, (low, high), home in zip(JOINTS, SPANS, HOME, strict=True):
        unit = (high - low) / 200  # [rad]
        channels.append(
            Channel(
                f"{name}.pos", "revolute", "range_m100_100", -100.0, 100.0, MAX_SPEED / unit, ACCELERATION / unit,
                effort=STALL_TORQUE, home=(home - low) / unit - 100, tolerance=BLOCKED / unit, joint=name, span=(low, high),
                coupling="arm",
                sources={
                    "position": "description file", "velocity": "data", "acceleration": "user", "effort": "data sheet",
                    "tolerance": "user",
                },
            )
        )  # fmt: skip
    jaw = (JAW_SPAN[1] - JAW_SPAN[0]) / 100
    channels.append(
        Channel(
            "gripper.pos", "opening", "range_0_100", 0.0, 100.0, MAX_SPEED / jaw, ACCELERATION / jaw, effort=STALL_TORQUE,
            home=5.0, joint="gripper", sources={"position": "description file", "velocity": "data", "acceleration": "user"},
        )
    )  # fmt: skip
    names = tuple(c.name for c in channels[:5])
    box = np.array([[0.12, -0.24, 0.012], [0.40, 0.24, 0.32]])
    tcp = Frame("tcp", names, _chain(), box, (Floor(0.03, names[3:]),), max_step=(0.02, 0.1), rotates=False)
    state = tuple(Measurement(c.name, c.unit, "position", c.name) for c in channels)
    robot = Embodiment(
        "so101", tuple(channels), (tcp,), (Camera("front"), Camera("wrist", fov=75.0)), state, control_rate=30.0,
        policy_rate=30.0, action_space="ee_delta",
    )  # fmt: skip
    return replace(robot, collision=Collision((*collision_shapes(_links(), robot), TABLE), ALLOWED))


def _chain() -> Chain:
    return Chain.aligned(OFFSETS, AXES, TOOL, FORWARD)  # type: ignore[arg-type]


def _links() -> list[Link]:
    """The base, five links of which the last has the fixed jaw, and a jaw that turns."""
    base = (
        Shape("box", (0.045, 0.045, 0.016), (0.0, 0.0, 0.016), colour=WHITE),
        Shape("box", (0.022, 0.022, 0.022), (0.03, 0.0, 0.045), colour=BLACK),
    )
    shapes = (
        (Shape("box", (0.020, 0.026, 0.028), (0.012, 0.0, 0.035), colour=WHITE),),
        (Shape("capsule", (0.017,), (0.0, 0.0183, 0.0), (0.028, 0.0183, 0.1126), WHITE),),
        (Shape("capsule", (0.016,), (0.0, 0.0183, 0.0), (0.1349, 0.0183, 0.0052), WHITE),),
        (Shape("box", (0.026, 0.020, 0.018), (0.028, 0.0183, 0.0), colour=BLACK),),
        (
            Shape("box", (0.018, 0.022, 0.020), (0.012, 0.0, 0.0), colour=BLACK),
            Shape("box", (0.040, 0.010, 0.004), (0.062, 0.0, -0.017), colour=WHITE, solid=True, grip=1.2),
        ),
    )
    links = [Link("base", shapes=base)]
    for i, name in enumerate(JOINTS):
        length = float(np.linalg.norm(OFFSETS[i + 1] if i < 4 else TOOL))
        end = OFFSETS[i + 1] if i < 4 else TOOL
        along = int(np.argmax(np.abs(end)))
        joint = LinkJoint(name, AXES[i], *SPANS[i], damping=VISCOUS_FRICTION, armature=ARMATURE, friction=DRY_FRICTION)
        links.append(
            Link(
                name, JOINTS[i - 1] if i else "base", OFFSETS[i], joints=(joint,), mass=MASSES[i],
                com=(end[0] / 2, end[1] / 2, end[2] / 2), inertia=rod(MASSES[i], length, 0.02, along), shapes=shapes[i],
            )
        )  # fmt: skip
    turning = LinkJoint("gripper", (0, -1, 0), *JAW_SPAN, VISCOUS_FRICTION, ARMATURE, DRY_FRICTION)
    jaw = Shape(
        "capsule", (0.006,), (0.0, -0.0178, 0.0), (JAW_TIP[0], -0.0178, JAW_TIP[1]), WHITE, solid=True, grip=1.2
    )
    links.append(
        Link(
            "jaw", "wrist_roll", JAW, joints=(turning,), mass=JAW_MASS, com=(0.03, -0.0178, -0.01),
            inertia=cuboid(JAW_MASS, (0.035, 0.01, 0.01)), shapes=(jaw,), tool=True,
        )
    )  # fmt: skip
    return links


def mechanics() -> Mechanics:
    """Five links, the gripper with its fixed jaw, and a jaw that turns."""
    servos = [Servo(f"{name}.pos", (name,), STIFFNESS, SERVO_DAMPING, STALL_TORQUE) for name in JOINTS]
    reach = float(np.hypot(*JAW_TIP))
    width = (
        2 * reach * np.sin((JAW_SPAN[1] - JAW_SPAN[0]) / 2)
    )  # the way of the tip, which rests on the fixed jaw when closed
    servos.append(Servo("gripper.pos", ("gripper",), STIFFNESS, SERVO_DAMPING, STALL_TORQUE, JAW_SPAN, float(width)))
    eye = (0.52, 0.0, 0.38)
    # The wrist camera sits on the gripper, on the side of the moving jaw, and looks along the jaws.
    on_hand = (0.01, 0.0, 0.055)
    return Mechanics(
        links=tuple(_links()),
        points=(Point("tcp", "wrist_roll", TOOL, (np.sqrt(0.5), 0.0, np.sqrt(0.5), 0.0)),),
        servos=tuple(servos),
        mounts=(
            Mount("front", "", eye, looking(eye, (0.19, 0.0, 0.05))),
            Mount("wrist", "wrist_roll", on_hand, looking(on_hand, (0.12, 0.0, -0.01))),
        ),
        starts=(Start("tcp", (0.22, 0.0, 0.15), (-0.03, -0.05, -0.03), (0.03, 0.05, 0.03)),),
        grippers={"tcp": "gripper.pos"},
        timestep=1 / 240,
    )
