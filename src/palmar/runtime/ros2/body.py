"""A robot on ROS 2 as a `Body`: `--body ros2: --robot FILE.toml`.

It subscribes to joint states and cameras and publishes commands. Callbacks only keep the newest of each; the loop reads them.

Time. An observation's time is when its joint states were captured, on this machine's monotonic clock (`stamps.Stamps`). Of several
publishers that each tell some of the joints it is that of the oldest. A camera whose newest picture is older than `STALE`, or joint
states that do not come, make the observation as old as they are, and the loop's guard `stale` stops the robot. So does a monitor
that has to be there (`silence`) and is not heard any more.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import numpy as np

from palmar.embodiments import Embodiment
from palmar.errors import BadValue, PalmarError, RobotFault
from palmar.runtime.ros2.merged import Merged
from palmar.runtime.ros2.messages import LISTS, CommandWriter, JointReader, picture, seconds
from palmar.runtime.ros2.spinning import Spinning
from palmar.runtime.ros2.stamps import Stamps
from palmar.runtime.ros2.topics import BY_MONITOR, MONITOR, topics_of
from palmar.types import Array, Observation

STALE = 0.3
"""Age from which a sensor is stale [s]; that of the loop's guard (`Safety.stale_after`)."""
FIRST = 5.0
"""Longest wait for a new message of every sensor, and for who takes commands [s]."""
NAMED = 12
"""Joints that are named where none of them is the robot's."""
NODE = "palmar_body"
STEP = 1e-6
"""Between the times of two observations that nothing new came for [s]."""
OFTEN = 0.5
"""Joint states that come more often than this part of the control period are waited for: the age of the newest at a tick, half
their period on average, would be the larger part of the latency."""


class Ros2Body:
    """where: as `topics_of` reads it. robot: its description; cameras and joints are found by its names.

    Joint states that come at twice the control rate or more are waited for in `observe`, so that what is observed has just been
    measured. Commands go out as JointState. Its stamp is that of the newest joint states it answers, on the clock of who stamped
    them. With a
    `rate` only a part of the loop's commands is sent: samples of the same path, within the same limits. While the robot is being
    stopped (the monitor's topic `stopped` is true, or a sensor is stale) each of them is, and none waits for joint states.

    Raises `BadValue` for settings and robots that do not fit, `MissingPackage` where there is no ROS 2.
    """

    def __init__(self, where: str, robot: Embodiment) -> None:
        topics = topics_of(where)
        topics.check(robot)
        self.embodiment, self.topics = robot, topics
        self._reader, self._writer, self._every = JointReader(robot), CommandWriter(robot), topics.every(robot)
        self._lock = threading.RLock()
        self._came = threading.Condition(self._lock)  # joint states of every joint, newer than before
        self._apart = np.inf  # between those, smoothed [s]
        self._began = time.monotonic()
        self._joints = Merged(robot)
        self._stamps = lru_cache(LISTS)(lambda names: Stamps())  # of who sends these joints
        self._camera_stamps = {c.name: Stamps() for c in robot.cameras}
        self._pictures: dict[str, tuple[Any, float]] = {}  # newest message, when it was captured
        self._stamp: Any = None  # of the newest joint states
        self._answered: Any = None  # of those that were observed last
        self._seen: set[str] = set()
        self._fault: PalmarError | None = None
        self._stopped, self._heard, self._told = False, -np.inf, -np.inf
        self._tell_stopped: Callable[[str], None] = lambda reason: None
        self._unsent: Array | None = None
        self._since, self._applied = self._every, -np.inf
        self._ros = Spinning(NODE)
        try:
            self._connect()
        except BaseException:
            self._ros.close()
            raise

    def _connect(self) -> None:
        from sensor_msgs.msg import Image, JointState
        from std_msgs.msg import Bool

        self._message: Callable[[], Any] = JointState
        self._commands = self._ros.publisher(JointState, self.topics.joint_commands, "command")
        self._ros.subscribe(JointState, self.topics.joint_states, "sensor", self._on_joints)
        for camera in self.embodiment.cameras:
            topic = self.topics.camera(camera.name, self.embodiment)
            self._ros.subscribe(Image, topic, "sensor", partial(self._on_picture, camera.name))
        self._ros.subscribe(Bool, self.topics.stopped, "state", self._on_stopped, alone=True)
        self._ros.every(0.05, self._flush)
        self._ros.start()

    # ---------------------------------------------------------------------------------------------- Body

    def reset(self, seed: int | None = None) -> Observation:
        """Moves nothing: waits until every sensor has something new. Raises `RobotFault` when one has not, nobody takes commands,
        another node sends some, the monitor says stopped, or is not heard though it has to be."""
        until = time.monotonic() + FIRST
        while True:
            if self._stopped:
                raise RobotFault(
                    f"{self.topics.stopped} says stopped. Next: look at the robot, then call the monitor's release"
                )
            with self._lock:
                self._since = self._every
                if not (late := self._late(time.monotonic())) and not (why := self._unheard() or self._commanded()):
                    return self.observe()
            if time.monotonic() > until:
                raise RobotFault(f"{'; '.join(late)}. Next: ros2 topic hz TOPIC" if late else why)
            self._check()
            time.sleep(0.01)

    def when_stopped(self, tell: Callable[[str], None]) -> None:
        """Tell, on a thread of the node, why the robot is stopped each time the monitor says so, "" when it no more is; at once
        when it is stopped now. `tell` must return at once."""
        self._tell_stopped = tell
        if self._stopped:
            tell(BY_MONITOR)

    def observe(self, images: bool = True) -> Observation:
        self._check()
        with self._lock:
            self._wait_for_joints()
            robot, now = self.embodiment, time.monotonic()
            captured = float(self._joints.captured.min())
            kept = dict(self._pictures)
            for _, when in kept.values():
                captured = min(captured, when) if now - when > STALE else captured
            if self._unheard():
                captured = min(captured, max(self._heard, self._began))
            state, self._answered = self._joints.state(), self._stamp
        fresh = captured - self._began
        self._told = fresh if fresh < self._told - STALE / 2 else max(fresh, self._told + STEP)
        seen = {}
        if images:
            for camera in robot.cameras:
                if camera.name in kept:
                    seen[camera.name] = picture(kept[camera.name][0], camera)
        return Observation(seen, state, time=self._told)

    def apply(self, command: Array) -> None:
        with self._lock:
            self._unsent, self._applied = np.array(command, float), time.monotonic()
            self._since += 1
            if self._since >= self._every or self._stopped or self._late(self._applied):
                self._send()

    def close(self) -> None:
        """The last command is sent if it was not. Safe to call twice."""
        with self._lock:
            self._send()
        self._ros.close()

    # ---------------------------------------------------------------------------------------------- inside

    def _wait_for_joints(self) -> None:
        """Until joint states come that are newer than now, where they are due within `OFTEN` of a control period. The lock is
        held before and after."""
        newest = float(self._joints.captured.min())
        longest = min(1.5 * self._apart, OFTEN / self.embodiment.control_rate)
        if self._apart <= longest and time.monotonic() - newest < 2 * self._apart and not self._stopped:
            self._came.wait_for(lambda: self._stopped or self._joints.captured.min() > newest, longest)

    def _check(self) -> None:
        if self._fault is not None:
            raise self._fault
        if self._ros.failed is not None:
            raise RobotFault(f"the ROS node has ended: {self._ros.failed}. Next: look at ROS, then start again")

    def _late(self, now: float) -> list[str]:
        """Which sensors have nothing newer than `STALE`, in words."""
        names = np.array(self._reader.names)
        late = []
        if len(missing := names[np.isneginf(self._joints.captured)]):
            said = f"; it names {', '.join(sorted(self._seen))}" if self._seen else ""
            late.append(f"no joint states of {', '.join(missing)} on {self.topics.joint_states}{said}")
        elif len(old := names[now - self._joints.captured > STALE]):
            late.append(f"no new joint states of {', '.join(old)} on {self.topics.joint_states}")
        for camera in self.embodiment.cameras:
            if now - self._pictures.get(camera.name, (None, -np.inf))[1] > STALE:
                late.append(f"no new picture of '{camera.name}' on {self.topics.camera(camera.name, self.embodiment)}")
        return late

    def _unheard(self) -> str:
        """Why the monitor could not stop the robot through this node, which may hear of it later than other nodes do; "" when it
        can, or need not."""
        if not self.topics.silence or time.monotonic() - self._heard < self.topics.silence:
            return ""
        return (
            f"the safety monitor is not heard on {self.topics.stopped}. Next: palmar ros2-monitor, or without it: "
            "palmar ros2 --no-monitor, or no silence=SECONDS"
        )

    def _commanded(self) -> str:
        """Why commands would not reach the robot, or not only ours; "" when they do."""
        node, topic = self._ros.node, self.topics.joint_commands
        takes = [e.node_name for e in node.get_subscriptions_info_by_topic(topic) if e.node_name != MONITOR]
        if not takes:
            return f"nobody takes commands from {topic}. Next: start the robot's controller, or joint_commands=TOPIC"
        others = [e.node_name for e in node.get_publishers_info_by_topic(topic)]
        if len(others) > 1:
            others.remove(NODE)
            return f"another node sends commands on {topic}: {', '.join(others)}. Next: end it; one drives a robot at a time"
        return ""

    def _send(self) -> None:
        """The newest command, unless it was sent."""
        if self._unsent is None:
            return
        fields, message = self._writer.write(self._unsent), self._message()
        message.name, message.position, message.velocity = list(fields.name), fields.position, fields.velocity
        if self._answered is not None:
            message.header.stamp = self._answered
        self._commands.publish(message)
        self._unsent, self._since = None, 0

    def _flush(self) -> None:
        """The last command of a motion may be one of those that are not sent."""
        with self._lock:
            if time.monotonic() - self._applied > 2.5 * self._every / self.embodiment.control_rate:
                self._send()

    def _on_stopped(self, message: Any) -> None:
        self._heard = time.monotonic()
        before, self._stopped = self._stopped, bool(message.data)
        if self._stopped == before:
            return
        self._tell_stopped(BY_MONITOR if self._stopped else "")
        if self._stopped:
            with self._lock:
                self._send()  # it may be the first that brakes: a loop in this process may have heard before
                self._came.notify_all()

    def _on_joints(self, message: Any) -> None:
        arrival = time.monotonic()
        try:
            joints = self._reader.read(message)
        except BadValue as error:
            self._fault = RobotFault(str(error))
            return
        with self._lock:
            if not len(joints.channels):
                self._seen.update(message.name[: NAMED - len(self._seen)])
                return
            stamp = seconds(message.header.stamp)
            captured = self._stamps(tuple(message.name)).captured(stamp, arrival)
            before = float(self._joints.captured.min())
            if self._joints.take(joints, captured):
                self._stamp = message.header.stamp
            if (apart := float(self._joints.captured.min()) - before) > 0:
                self._apart = apart if not np.isfinite(self._apart) else self._apart + 0.05 * (apart - self._apart)
                self._came.notify_all()

    def _on_picture(self, name: str, message: Any) -> None:
        arrival = time.monotonic()
        with self._lock:
            captured = self._camera_stamps[name].captured(seconds(message.header.stamp), arrival)
            if captured > self._pictures.get(name, (None, -np.inf))[1]:
                self._pictures[name] = message, captured
