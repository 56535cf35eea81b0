"""A ROS 2 node of its own, spun on a thread: what the body, the policy node and the monitor have in common."""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Callable
from typing import Any, Literal

from palmar.errors import MissingPackage
from palmar.runtime.undisturbed import first_in_line

Kind = Literal["sensor", "command", "state"]


def need_ros() -> None:
    """Raise `MissingPackage` unless `rclpy` and the messages can be imported: they come with ROS 2, not with palmar."""
    for package in ("rclpy", "sensor_msgs", "std_msgs", "std_srvs"):
        if importlib.util.find_spec(package) is None:
            raise MissingPackage(
                f"'{package}' is not to be found by this Python; ROS 2 needs it. Next: source /opt/ros/DISTRO/setup.bash and use "
                "its Python, or see docs/ros2.md"
            )


def quality(kind: Kind) -> Any:
    """The QoS of a topic. sensor: best effort, the newest only. command: reliable, the newest only. state: reliable, and who comes
    later gets the last one."""
    from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=1,
        reliability=ReliabilityPolicy.BEST_EFFORT if kind == "sensor" else ReliabilityPolicy.RELIABLE,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if kind == "state" else DurabilityPolicy.VOLATILE,
    )


class Spinning:
    """The node `name`, in a context of its own: nothing global is set, and signals are left to the process.

    Publishers, subscriptions, services and timers are added before `start`; callbacks run one at a time on the node's thread. What
    is `alone` is of a second node (`NAME_stop`) with a thread of its own, of real-time priority where the system allows it, and
    waits for no callback of the first. failed: what a callback raised, None while none has; its thread has ended then.
    """

    def __init__(self, name: str) -> None:
        need_ros()
        import rclpy
        from rclpy.context import Context
        from rclpy.signals import SignalHandlerOptions

        self._context: Any = Context()
        rclpy.init(args=[], context=self._context, signal_handler_options=SignalHandlerOptions.NO)
        self._spun: list[tuple[Any, Any, threading.Thread]] = []  # node, executor, thread
        self._ending = False
        self.failed: BaseException | None = None
        self.name, self.node = name, self._node(name)
        self._second: Any = None

    def start(self) -> None:
        for *_, thread in self._spun:
            thread.start()

    def publisher(self, message: Any, topic: str, kind: Kind) -> Any:
        return self.node.create_publisher(message, topic, quality(kind))

    def subscribe(
        self, message: Any, topic: str, kind: Kind, heard: Callable[[Any], None], alone: bool = False
    ) -> None:
        self._of(alone).create_subscription(message, topic, heard, quality(kind))

    def service(self, service: Any, name: str, answer: Callable[[Any, Any], Any], alone: bool = False) -> None:
        """answer: `request, response → response`."""
        self._of(alone).create_service(service, name, answer)

    def every(self, period: float, call: Callable[[], None]) -> None:
        """Call it each `period` seconds."""
        self.node.create_timer(period, call)

    def close(self) -> None:
        """Safe to call twice, and from the node's own thread."""
        if self._ending:
            return
        self._ending = True
        for node, executor, thread in reversed(self._spun):
            executor.shutdown(timeout_sec=1.0)
            if thread.is_alive() and thread is not threading.current_thread():
                thread.join(2.0)
            node.destroy_node()
        self._context.try_shutdown()

    def _of(self, alone: bool) -> Any:
        if alone and self._second is None:
            self._second = self._node(f"{self.name}_stop", enable_rosout=False, start_parameter_services=False)
        return self._second if alone else self.node

    def _node(self, name: str, **options: bool) -> Any:
        import rclpy
        from rclpy.executors import SingleThreadedExecutor

        node: Any = rclpy.create_node(name, context=self._context, use_global_arguments=False, **options)
        executor: Any = SingleThreadedExecutor(context=self._context)
        executor.add_node(node)
        thread = threading.Thread(
            target=self._spin, args=(executor, bool(self._spun)), name=f"ros2-{name}", daemon=True
        )
        self._spun.append((node, executor, thread))
        return node

    def _spin(self, executor: Any, alone: bool) -> None:
        try:
            if alone:
                first_in_line(2)
            executor.spin()
        except BaseException as error:
            if not self._ending:
                self.failed = error
