"""ROS messages and palmar's values, both ways. Pure: anything with the messages' fields will do, so it is tested without ROS.

Joints are found by name (`Channel.joint`, else the channel's own) and are in ROS's units (rad, m, rad/s, m/s), converted to
the channels' own. An opening without a `span` has no joint position: its value is sent and read in the channel's own unit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from palmar.embodiments import Embodiment
from palmar.errors import BadValue
from palmar.robot_parts import Camera, Channel
from palmar.types import Array
from palmar.units import conversion

ENCODINGS = {"rgb8": 3, "bgr8": 3, "mono8": 1, "rgba8": 4, "bgra8": 4}
"""{encoding of sensor_msgs/Image: bytes a pixel}."""
LATEST = 10**9  # nanoseconds a second
LISTS = 32
"""So many lists of joint names are kept in mind, the newest: a sender that changes its list with each message fills no memory."""


def seconds(stamp: Any) -> float:
    """Of a builtin_interfaces/Time."""
    return float(stamp.sec) + float(stamp.nanosec) / LATEST


def joint_names(robot: Embodiment) -> tuple[str, ...]:
    """What the channels are called in JointState, in the order of a command."""
    return tuple(c.described for c in robot.channels)


def check_ros_robot(robot: Embodiment) -> None:
    """Raise `BadValue` for a robot that joint states cannot tell the whole of: measurements of another kind, joints named twice, or
    a unit that converts to no joint position."""
    if other := [m.name for m in robot.state if m.quantity == "other"]:
        raise BadValue(
            f"{robot.name} measures {', '.join(other)}, which no JointState holds; expected positions, velocities, efforts and "
            "poses. Next: a robot file without these, or a body of your own (module:Class)"
        )
    if twice := sorted(n for n, times in Counter(joint_names(robot)).items() if times > 1):
        raise BadValue(
            f"{robot.name}: two channels are joint '{twice[0]}'; expected different joints. Next: rename one"
        )
    if lacking := [c.name for c in robot.channels if not c.unit]:
        raise BadValue(
            f"the unit of {robot.name}'s {', '.join(lacking)} is not stated; ROS has rad and m. Next: state it in the robot file"
        )
    scales(robot)


def scales(robot: Embodiment) -> tuple[Array, Array]:
    """float64[N] scale and offset: value in ROS's unit = scale · channel value + offset. Raises `BadValue`."""
    pairs = np.array([_to_ros(c) for c in robot.channels])
    return pairs[:, 0], pairs[:, 1]


def _to_ros(channel: Channel) -> tuple[float, float]:
    if channel.kind == "velocity":
        return conversion(channel.unit, "m/s" if channel.unit == "m/s" else "rad/s")
    if channel.kind == "opening":
        return (1.0, 0.0) if channel.span is None else conversion(channel.unit, "rad", channel.span)
    return channel.to_si


@dataclass(frozen=True, slots=True)
class Joints:
    """What one JointState says of a robot: the channels it tells of int64[K], and float64[K] of their position, velocity and effort
    in the channels' units, NaN where it does not say."""

    channels: Array
    position: Array
    velocity: Array
    effort: Array


class JointReader:
    """Reads the JointStates of one robot. A message may hold more joints, or some of them, in any order."""

    def __init__(self, robot: Embodiment) -> None:
        check_ros_robot(robot)
        self.robot, self.names = robot, joint_names(robot)
        self._scale, self._offset = scales(robot)
        self._known = lru_cache(LISTS)(self._places)
        self._speeds = robot.speeds

    def read(self, message: Any) -> Joints:
        """Raises `BadValue` for joints named twice and for lists of other lengths than the names'."""
        names = tuple(message.name)
        here, there = self._known(names)
        position, velocity, effort = (
            self._values(getattr(message, what), names, what)[there] for what in ("position", "velocity", "effort")
        )
        scale, offset = self._scale[here], self._offset[here]
        speeds = self._speeds[here]
        rate = velocity / scale
        at = np.where(speeds, rate, (position - offset) / scale)
        return Joints(here, at, np.where(speeds, np.nan, rate), effort)

    def _places(self, names: tuple[str, ...]) -> tuple[Array, Array]:
        """(channels that these joints are, where they are among the names), int64[K] both."""
        if twice := sorted(n for n, times in Counter(names).items() if times > 1):
            raise BadValue(
                f"joint states name '{twice[0]}' twice; expected each joint once. Next: mend who publishes them"
            )
        found = [(i, names.index(n)) for i, n in enumerate(self.names) if n in names]
        pairs = np.array(found, np.int64).reshape(-1, 2)
        return pairs[:, 0], pairs[:, 1]

    def _values(self, values: Any, names: Sequence[str], what: str) -> Array:
        if not len(values):
            return np.full(len(names), np.nan)
        if len(values) != len(names):
            raise BadValue(
                f"joint states hold {len(values)} of {what} for {len(names)} names; expected as many, or none. Next: mend who "
                "publishes them"
            )
        return np.asarray(values, float)


@dataclass(frozen=True, slots=True)
class JointCommand:
    """The lists of a JointState that commands a robot, in ROS's units: `velocity` empty where no channel is a speed, else NaN marks
    what is not commanded in a list."""

    name: tuple[str, ...]
    position: list[float]
    velocity: list[float]


class CommandWriter:
    """Commands float64[N] of one robot as the lists of a JointState, and back."""

    def __init__(self, robot: Embodiment) -> None:
        check_ros_robot(robot)
        self.robot, self.names = robot, joint_names(robot)
        self._scale, self._offset = scales(robot)

    def write(self, command: Array) -> JointCommand:
        values, speeds = self._scale * command + self._offset, self.robot.speeds
        if not speeds.any():
            return JointCommand(self.names, values.tolist(), [])
        position, velocity = np.where(speeds, np.nan, values), np.where(speeds, values, np.nan)
        return JointCommand(self.names, position.tolist(), velocity.tolist())

    @property
    def rates(self) -> Array:
        """float64[N]: by which a change a second of a channel's value becomes one in ROS's unit; of a speed, the speed itself."""
        return self._scale

    def read(self, message: Any) -> Array:
        """The command float64[N] of a JointState. Raises `BadValue` for other joints, another order or other lengths."""
        names, n = tuple(message.name), len(self.names)
        if names != self.names:
            raise BadValue(
                f"commands name {', '.join(names)[:300] or 'no joint'}; {self.robot.name} has {', '.join(self.names)}. Next: the "
                "robot file of who publishes them"
            )
        speeds = self.robot.speeds
        position = np.asarray(message.position, float) if len(message.position) else np.full(n, np.nan)
        velocity = np.asarray(message.velocity, float) if len(message.velocity) else np.full(n, np.nan)
        if len(position) != n or len(velocity) != n:
            raise BadValue(
                f"commands hold {len(position)} positions and {len(velocity)} velocities for {n} joints; expected as many. Next: "
                "mend who publishes them"
            )
        return (np.where(speeds, velocity, position) - self._offset) / self._scale


def picture(message: Any, camera: Camera) -> Array:
    """uint8[H, W, 3] RGB of a sensor_msgs/Image; `step` is the bytes of a row, padding included.

    Raises `BadValue` for another encoding or size than the camera's, and for rows that the data do not hold.
    """
    encoding, height, width, step = message.encoding, message.height, message.width, message.step
    if encoding not in ENCODINGS:
        raise BadValue(
            f"camera '{camera.name}' sends encoding '{encoding}'; expected {', '.join(ENCODINGS)}. Next: set the driver's "
            "encoding, or convert it (image_proc)"
        )
    if (height, width) != (camera.height, camera.width):
        raise BadValue(
            f"camera '{camera.name}' sends {width} × {height} px; the robot file says {camera.width} × {camera.height}. Next: "
            "the driver's size in the robot file; the policy's is fitted to it"
        )
    depth, data = ENCODINGS[encoding], np.frombuffer(message.data, np.uint8)
    if step < width * depth or len(data) < step * height:
        raise BadValue(
            f"camera '{camera.name}' sends {len(data)} bytes in rows of {step}; {width} × {height} px of {encoding} need rows of "
            f"{width * depth} bytes or more, {height} of them. Next: mend its driver"
        )
    rows = data[: step * height].reshape(height, step)[:, : width * depth]
    pixels = rows.reshape(height, width, depth)
    if encoding == "mono8":
        return np.repeat(pixels, 3, axis=2)
    order = [2, 1, 0] if encoding.startswith("bgr") else [0, 1, 2]
    return np.ascontiguousarray(pixels[:, :, order])
