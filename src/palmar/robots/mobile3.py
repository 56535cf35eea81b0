"""A round base on omnidirectional wheels that takes three speeds, with odometry, a forward camera and one overhead."""

from __future__ import annotations

from dataclasses import replace

from palmar.embodiments import Embodiment
from palmar.links import Drive, Link, LinkJoint, Mechanics, Mount, Point, Shape, collision_shapes, looking
from palmar.robot_parts import Camera, Channel, Measurement, state_of
from palmar.shapes import Collision

# Sizes, masses and speeds are chosen, near those of LeRobot's LeKiwi base.
RADIUS, HEIGHT = 0.15, 0.10  # [m]
MASS = 6.0  # [kg]
SPEED, TURN = 0.5, 1.5  # [m/s], [rad/s]
ACCELERATION, TURNING = 1.0, 4.0  # [m/s²], [rad/s²]
JERK, TURNING_JERK = 50.0, 200.0
START = {"base_x": (-1.08, -0.92), "base_y": (-0.15, 0.15), "base_yaw": (-0.25, 0.25)}  # [m], [rad]

DARK, LIGHT = (0.20, 0.21, 0.23, 1.0), (0.93, 0.93, 0.93, 1.0)


def mobile3() -> Embodiment:
    """Channels vx (forward), vy (left) [m/s] and wz (to the left) [rad/s] of the base; no frames; state: the three speeds and
    odometry x, y [m], yaw [rad] in the room."""
    sources = {"position": "user", "velocity": "user", "acceleration": "user", "jerk": "user"}
    more = {"sources": sources, "coupling": "base"}
    channels = (
        Channel("vx", "velocity", "m/s", -SPEED, SPEED, SPEED, ACCELERATION, JERK, **more),  # type: ignore[arg-type]
        Channel("vy", "velocity", "m/s", -SPEED, SPEED, SPEED, ACCELERATION, JERK, **more),  # type: ignore[arg-type]
        Channel("wz", "velocity", "rad/s", -TURN, TURN, TURN, TURNING, TURNING_JERK, **more),  # type: ignore[arg-type]
    )
    odometry = tuple(Measurement(f"odometry.{n}", unit) for n, unit in (("x", "m"), ("y", "m"), ("yaw", "rad")))
    robot = Embodiment(
        "mobile3", channels, (), (Camera("front", fov=85.0), Camera("overhead")), (*state_of(channels), *odometry),
    )  # fmt: skip
    return replace(robot, collision=Collision(collision_shapes((_base(),), robot)))


def _base() -> Link:
    """One body that slides and turns on the floor."""
    joints = (
        LinkJoint("base_x", (1, 0, 0), slides=True),
        LinkJoint("base_y", (0, 1, 0), slides=True),
        LinkJoint("base_yaw", (0, 0, 1)),
    )
    shapes = (
        Shape("cylinder", (RADIUS, HEIGHT / 2), (0, 0, HEIGHT / 2 + 0.01), colour=DARK, solid=True),
        Shape("box", (0.055, 0.03, 0.02), (0.085, 0, HEIGHT + 0.03), colour=LIGHT),  # shows from above where it faces
        Shape("cylinder", (0.02, 0.06), (-0.02, 0, HEIGHT + 0.06), colour=LIGHT),
    )
    turning = 0.5 * MASS * RADIUS**2
    inertia = (turning / 2, turning / 2, turning)
    return Link("base", joints=joints, mass=MASS, com=(0, 0, HEIGHT / 2), inertia=inertia, shapes=shapes)


def mechanics() -> Mechanics:
    """One body that slides and turns on the floor, pushed in its own directions."""
    eye, above = (0.0, 0.0, 0.26), (0.0, 0.0, 3.1)
    return Mechanics(
        links=(_base(),),
        points=(Point("base", "base"),),
        drives=(
            Drive("vx", "base", (1, 0, 0), kd=80.0, force=40.0),
            Drive("vy", "base", (0, 1, 0), kd=80.0, force=40.0),
            Drive("wz", "base", (0, 0, 1), kd=1.5, force=3.0, turns=True),
        ),
        mounts=(
            Mount("front", "base", eye, looking(eye, (1.0, 0.0, 0.10))),
            Mount("overhead", "", above, looking(above, (0.0, 0.0, 0.0), up=(1, 0, 0))),
        ),
        scatter=START,
        sensors={f"odometry.{n}": f"base_{n}" for n in ("x", "y", "yaw")},
        moving="base",
    )
