"""A robot on ROS 2 for tests and benchmarks, a process of its own: camera, joint states, and a controller that follows commands.

    python ros2_player.py ROBOT.toml [JOINT_STATES_HZ] [CLOCK_OFFSET_S]

Each line of its input is a request, answered by a line of JSON. Its stamps are those of a clock of its own, so many seconds off. It
needs rclpy, numpy and palmar's base, and knows nothing of how palmar speaks ROS.
"""

from __future__ import annotations

import json
import sys
import threading
import time

import numpy as np
import rclpy
from builtin_interfaces.msg import Time
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy, qos_profile_sensor_data
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import Bool, String
from std_srvs.srv import Trigger

from palmar.description.file import read_robot

CAMERA = 30.0  # pictures a second
FOLLOWS = 40.0  # share of its way to the command that a joint goes in a second


class Player:
    def __init__(self, robot, hertz: float, offset: float) -> None:
        self.robot, self.hertz, self.offset = robot, hertz, offset
        self.names = [c.name for c in robot.channels]
        self.speeds = np.array([c.kind == "velocity" for c in robot.channels])
        rad = np.array([np.pi / 180 if c.unit == "deg" else 1.0 for c in robot.channels])  # ROS has no degrees
        self.at = rad * [c.home for c in robot.channels]
        self.goal, self.rate = self.at.copy(), np.zeros(len(self.at))
        self.stops = rad * [c.lower for c in robot.channels], rad * [c.upper for c in robot.channels]
        self.fastest = rad * [c.velocity for c in robot.channels]
        self.muted: set[str] = set()
        self.log: list[tuple[float, float, list[float]]] = []
        self.states: list[tuple[float, dict]] = []
        self.status: dict = {}
        self.stopped: list[tuple[float, bool]] = []
        self.last_states = 0.0
        self.rng = np.random.default_rng(0)
        self.node = rclpy.create_node("player")
        reliable = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self.joints = self.node.create_publisher(JointState, "/joint_states", reliable)
        self.camera = self.node.create_publisher(Image, "/camera/image_raw", qos_profile_sensor_data)
        self.words = self.node.create_publisher(String, "/task_instruction", reliable)
        self.stranger = rclpy.create_node("stranger")  # never spun: what it has may be destroyed at any time
        self.foreign = None
        self.node.create_subscription(JointState, "/joint_commands", self.on_command, reliable)
        self.node.create_subscription(String, "/safety_monitor/state", self.on_state, reliable)
        self.node.create_subscription(String, "/palmar/status", self.on_status, reliable)
        self.node.create_subscription(Bool, "/safety_monitor/stopped", self.on_stopped, latched)
        self.stop = self.node.create_client(Trigger, "/safety_monitor/stop")
        self.release = self.node.create_client(Trigger, "/safety_monitor/release")
        self.node.create_timer(1.0 / hertz, self.publish_joints)
        self.node.create_timer(1.0 / CAMERA, self.publish_picture)

    def now(self) -> float:
        return time.time() + self.offset

    def stamp(self) -> Time:
        now = self.now()
        return Time(sec=int(now // 1), nanosec=int(now % 1 * 1e9))

    def publish_joints(self) -> None:
        step = self.fastest / self.hertz
        before = self.at.copy()
        self.at = np.where(
            self.speeds, self.goal, self.at + np.clip(FOLLOWS * (self.goal - self.at) / self.hertz, -step, step)
        )
        self.at = np.clip(self.at, *self.stops)
        self.rate = (self.at - before) * self.hertz
        if "joints" in self.muted:
            return
        message = JointState(name=self.names)
        message.position = np.where(self.speeds, 0.0, self.at).tolist()
        message.velocity = np.where(self.speeds, self.at, self.rate).tolist()
        message.header.stamp = self.frozen if "stamps" in self.muted else self.stamp()
        self.last_states = time.time()
        self.joints.publish(message)

    def publish_picture(self) -> None:
        if "camera" in self.muted:
            return
        size = self.robot.cameras[0]
        message = Image(height=size.height, width=size.width, encoding="rgb8", step=3 * size.width + 2)
        message.header.stamp = self.stamp()
        message.data = self.rng.integers(0, 256, size.height * message.step, np.uint8).tobytes()
        self.camera.publish(message)

    def on_command(self, message: JointState) -> None:
        position, velocity = (
            np.array(x) if len(x) else np.full(len(self.names), np.nan) for x in (message.position, message.velocity)
        )
        self.goal = np.where(self.speeds, velocity, position)
        stamp = message.header.stamp
        self.log.append((self.now(), stamp.sec + stamp.nanosec * 1e-9, self.goal.tolist()))

    def on_state(self, message: String) -> None:
        self.states.append((time.time(), json.loads(message.data)))

    def on_status(self, message: String) -> None:
        self.status = json.loads(message.data)

    def on_stopped(self, message: Bool) -> None:
        self.stopped.append((time.time(), message.data))

    def call(self, client) -> dict:
        """The answer of a service, when it was called and when it answered [s]."""
        client.wait_for_service(5.0)
        came = threading.Event()
        began = time.time()
        future = client.call_async(Trigger.Request())
        future.add_done_callback(lambda _: came.set())
        came.wait(5.0)
        return {
            "called": began,
            "answered": time.time(),
            "success": future.result().success,
            "message": future.result().message,
        }

    def answer(self, words: list[str]) -> dict:
        verb, rest = words[0], " ".join(words[1:])
        if verb == "say":
            while not self.words.get_subscription_count():
                time.sleep(0.01)
            self.words.publish(String(data=rest))
        elif verb == "tell":  # a topic of its own
            other = self.node.create_publisher(String, words[1], 10)
            while not other.get_subscription_count():
                time.sleep(0.01)
            other.publish(String(data=" ".join(words[2:])))
        elif verb in ("stop", "release"):
            return self.call(getattr(self, verb))
        elif verb == "mute":
            self.frozen = self.stamp()
            self.muted.add(rest)
        elif verb == "unmute":
            self.muted.discard(rest)
        elif verb == "rename":
            self.names = rest.split()
        elif verb == "inside" and self.foreign is not None:
            self.stranger.destroy_publisher(self.foreign)
            self.foreign = None
        elif verb == "clear":
            self.log, self.states, self.stopped = [], [], []
        elif verb == "outside":  # a command that no safety layer would send
            self.foreign = self.foreign or self.stranger.create_publisher(JointState, "/joint_commands", 10)
            while self.foreign.get_subscription_count() < 2:
                time.sleep(0.01)
            self.foreign.publish(
                JointState(name=self.names, position=[9.0] * len(self.names), velocity=[0.0] * len(self.names))
            )
        return {
            "now": time.time(), "log": self.log, "states": self.states, "stopped": self.stopped, "status": self.status,
            "at": self.at.tolist(), "last_states": self.last_states,
        }  # fmt: skip


def main() -> None:
    sys.setswitchinterval(0.0002)  # its own threads must not be what is measured
    rclpy.init()
    hertz, offset = (
        (float(x) for x in [*sys.argv[2:], "200", "0"][:2]) if len(sys.argv) != 3 else (float(sys.argv[2]), 0.0)
    )
    player = Player(read_robot(sys.argv[1]), hertz, offset)
    threading.Thread(target=rclpy.spin, args=(player.node,), daemon=True).start()
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        print(json.dumps(player.answer(line.split())), flush=True)


if __name__ == "__main__":
    main()
