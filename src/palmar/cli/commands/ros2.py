"""A policy, and a safety monitor, as nodes of ROS 2."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

from palmar.cli.shared import Answer, configured, one_thread
from palmar.console import Screen, styled
from palmar.errors import RobotFault
from palmar.ranges import Count, Hertz, Period, Seconds


@dataclass(frozen=True)
class Ros2:
    """A policy as a ROS 2 node: cameras, joint states and instructions by topics, commands at 10 Hz, until Ctrl-C.

    /task_instruction (std_msgs/String) begins, an empty one ends. The body must have passed palmar check-body --body ros2: and the
    safety monitor (palmar ros2-monitor) must run. Topics, QoS and units: docs/ros2.md. Needs a Python that has rclpy.
    """

    robot: str
    """Name of a robot that comes with palmar, or a robot file (.toml): joint names and limits."""
    policy: str = "shipped"
    """As of palmar run; ws://HOST:PORT where this Python has no torch."""
    body: str = "ros2:"
    """Topics that are not the usual ones: ros2:joint_states=/a,joint_commands=/b,CAMERA=/c/image_raw,stopped=/d."""
    rate: Hertz = 10.0
    """Commands a second; each one of the loop's while the robot is stopped."""
    instruction: str = "/task_instruction"
    """Topic of the instructions."""
    status: str = "/palmar/status"
    """Topic of what the node does (JSON)."""
    timeout: Seconds = 60.0
    """Longest time to try one instruction [s]."""
    execute: Count = 4
    """Actions carried out of each chunk."""
    realtime: bool = False
    """Real-time chunking, for policies that take long."""
    watchdog: Period = 0.2
    """Longest time without a command before the watchdog's process brakes the robot [s]. None for no watchdog."""
    monitor: bool = True
    """Drive only while the safety monitor is heard."""
    silence: Seconds = 1.0
    """With --monitor: how long the safety monitor may be silent [s]."""
    json: bool = False
    """One JSON object with every figure on stdout."""
    only_with: ClassVar = {"silence": "monitor"}

    def run(self, console: Screen) -> Answer:
        from palmar.description.find import find_robot
        from palmar.policy import check_policy, load_policy
        from palmar.runtime.ros2.spinning import need_ros
        from palmar.serve.ros2_node import NodeConfig, PolicyNode

        config, robot = configured(NodeConfig, self), find_robot(self.robot)
        need_ros()
        check_policy(self.policy)
        one_thread(self.policy)
        node = PolicyNode(robot, load_policy(self.policy), config, self.robot)
        for note in node.notes:
            console.print(styled("[yellow]{}", note))

        def ready() -> None:
            console.print(
                styled(
                    "[bold]{}[/] drives {} by [bold]{}[/]; Ctrl-C ends it", self.policy, robot.name, self.instruction
                )
            )
            sys.stdout.flush()  # whoever started it in the background reads it here

        with _ended_by_signals(node.end):
            node.run(ready)
        console.print(f"ended; {node.runs} instructions were carried out")
        return 0, {"robot": robot.name, "policy": self.policy, "runs": node.runs}


@dataclass(frozen=True)
class Ros2Monitor:
    """The safety monitor as a ROS 2 node of its own: watches commands and joint states, and stops the robot, until Ctrl-C.

    /safety_monitor/state (JSON), /safety_monitor/stopped (std_msgs/Bool), services /safety_monitor/stop and /safety_monitor/release
    (std_srvs/Trigger), tied to the E-STOP of palmar estop.
    """

    robot: str
    """Name of a robot that comes with palmar, or a robot file (.toml): joint names and limits."""
    joint_states: str = "/joint_states"
    """Topic of the joint states; that of palmar ros2 --body, or the robot is stopped."""
    joint_commands: str = "/joint_commands"
    """Topic of the commands; likewise."""
    status: str = "/palmar/status"
    """Topic of what the policy node does."""
    silence: Seconds = 1.0
    """How long the policy node may be silent while it drives [s]."""
    json: bool = False
    """One JSON object with every figure on stdout."""

    def run(self, console: Screen) -> Answer:
        from palmar.description.find import find_robot
        from palmar.runtime.ros2.topics import check_topic
        from palmar.serve.ros2_monitor import SafetyMonitor

        robot = find_robot(self.robot)
        for name in ("joint_states", "joint_commands", "status"):
            check_topic(getattr(self, name), f"--{name.replace('_', '-')}")
        ended: list[bool] = []
        sys.setswitchinterval(0.0002)  # what is told by topics must not keep the stop service waiting
        monitor = SafetyMonitor(robot, self.joint_states, self.joint_commands, self.status, self.silence)
        try:
            with _ended_by_signals(lambda: ended.append(True)):
                console.print(styled("[bold]{}[/] is watched; Ctrl-C ends it", robot.name))
                sys.stdout.flush()
                told = ""
                while not ended:
                    if monitor.failed is not None:
                        raise RobotFault(
                            f"the monitor's node has ended: {monitor.failed}. Next: look at ROS, then start it again"
                        )
                    if (now := monitor.reason if monitor.stopped else "") != told:
                        console.print(styled("[red]stopped[/]: {}", now) if now else "released")
                        sys.stdout.flush()
                        told = now
                    time.sleep(0.05)
        finally:
            monitor.close()
        return 0, {"robot": robot.name, "stops": monitor.stops}


@contextmanager
def _ended_by_signals(end: Callable[[], Any]) -> Iterator[None]:
    """Ctrl-C and SIGTERM call `end` inside; put back after it."""
    before = {n: signal.signal(n, lambda *_: end()) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
