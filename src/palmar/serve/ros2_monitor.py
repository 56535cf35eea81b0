"""The safety monitor of ROS 2: a node in a process of its own that watches the robot, and whoever drives it.

    /joint_commands, /joint_states, /palmar/status → safety_monitor → ~/state (JSON), ~/stopped, and the E-STOP of this machine

Its `~/stop` service tells `~/stopped` first, which every policy node obeys at its next control tick, and then latches the E-STOP,
so that it outlives this process. `~/release` lets the robot be driven again.
"""

from __future__ import annotations

import json
import threading
import time
from typing import Any

from palmar.embodiments import Embodiment
from palmar.errors import BadFile
from palmar.runtime.ros2.spinning import Spinning
from palmar.runtime.ros2.topics import JOINT_COMMANDS, JOINT_STATES, MONITOR, STATUS, Topics
from palmar.runtime.ros2.watch import SILENCE, Watch
from palmar.runtime.supervision.estop import Latch

LOOKS = 0.02
"""How often it looks at ages and at the E-STOP [s]."""
TELLS = 0.1
"""How often it publishes its state [s]; `~/stopped` also at every change."""


class SafetyMonitor:
    """Watches one robot, and stops it where a policy node names other topics in its status. silence: of the policy node, as of
    `Watch`. latch: its E-STOP, by default that of its name on this machine.

    Raises `BadValue` for a robot that JointState cannot tell, `MissingPackage` where there is no ROS 2.
    """

    def __init__(
        self,
        robot: Embodiment,
        joint_states: str = JOINT_STATES,
        joint_commands: str = JOINT_COMMANDS,
        status: str = STATUS,
        silence: float = SILENCE,
        latch: Latch | None = None,
    ) -> None:
        self.robot, self.latch = robot, latch or Latch(robot.name)
        self.watch = Watch(robot, silence, Topics(joint_states, joint_commands))
        self.latch.prepare()
        self.reason = ""
        self.stopped, self.stops = False, 0
        self._unlatched = False  # the E-STOP could not be written: only `release` leads out
        self._press: threading.Thread | None = None
        self._told = 0.0
        self._ros = Spinning(MONITOR)
        try:
            self._connect(joint_states, joint_commands, status)
        except BaseException:
            self._ros.close()
            raise

    def _connect(self, joint_states: str, joint_commands: str, status: str) -> None:
        from sensor_msgs.msg import JointState
        from std_msgs.msg import Bool, String
        from std_srvs.srv import Trigger

        self._bool, self._string = Bool, String
        self._stopped = self._ros.publisher(Bool, f"/{MONITOR}/stopped", "state")
        self._state = self._ros.publisher(String, f"/{MONITOR}/state", "command")
        now = time.monotonic
        self._ros.subscribe(JointState, joint_commands, "command", lambda m: self.watch.command(m, now()))
        self._ros.subscribe(JointState, joint_states, "sensor", lambda m: self.watch.joints(m, now()))
        self._ros.subscribe(String, status, "command", lambda m: self.watch.status(m.data, now()))
        self._ros.node.create_service(Trigger, f"/{MONITOR}/stop", self._on_stop)
        self._ros.node.create_service(Trigger, f"/{MONITOR}/release", self._on_release)
        self._ros.every(LOOKS, self._look)
        self._ros.start()

    def close(self) -> None:
        self._ros.close()
        if self._press is not None:
            self._press.join()

    @property
    def failed(self) -> BaseException | None:
        """What ended the node, None while it lives."""
        return self._ros.failed

    def stop(self, reason: str, by: str = "safety monitor") -> None:
        """Stop the robot: told first, latched then, on a thread, for a disk may be slow."""
        if self.stopped:
            return
        self.stopped, self.reason, self.stops = True, reason, self.stops + 1
        self._tell_stopped()
        self._press = threading.Thread(target=self._latch, args=(reason, by))
        self._press.start()
        self._tell()

    def release(self) -> str:
        """Let it be driven again; what was latched, in words."""
        if self._press is not None:
            self._press.join()
        before = self.latch.release()
        self.stopped, self.reason, self._unlatched = False, "", False
        self.watch.forget()
        self._tell_stopped()
        self._tell()
        return str(before) if before else "nothing was latched"

    # ---------------------------------------------------------------------------------------------- inside

    def _latch(self, reason: str, by: str) -> None:
        try:
            self.latch.press(reason, by=by)
        except BadFile as error:
            self._unlatched, self.reason = True, f"{reason}; it could not be latched: {error}"

    def _look(self) -> None:
        pressing = self._press is not None and self._press.is_alive()
        if not self.stopped and (pressed := self.latch.read()) is not None:  # from a terminal, or by a watchdog
            self.stopped, self.reason, self.stops = True, str(pressed), self.stops + 1
            self._tell_stopped()
        elif self.stopped and not pressing and not self._unlatched and not self.latch.latched:
            self.stopped, self.reason = False, ""  # palmar estop --release
            self.watch.forget()
            self._tell_stopped()
        now = time.monotonic()
        if not self.stopped and (why := self.watch.judge(now).stop):
            self.stop(why)
        if now - self._told >= TELLS:
            self._tell()

    def _tell(self) -> None:
        self._told = time.monotonic()
        finding = self.watch.judge(self._told)
        state = {"robot": self.robot.name, "stopped": self.stopped, "reason": self.reason, **finding.said}
        self._state.publish(self._string(data=json.dumps(state, ensure_ascii=False)))
        self._tell_stopped()

    def _tell_stopped(self) -> None:
        self._stopped.publish(self._bool(data=self.stopped))

    def _on_stop(self, request: Any, response: Any) -> Any:
        self.stop("~/stop was called", by="a person or program, by ROS service")
        response.success, response.message = True, f"stopped: {self.reason}"
        return response

    def _on_release(self, request: Any, response: Any) -> Any:
        try:
            response.message = f"released: {self.release()}"
            response.success = True
        except BadFile as error:
            response.success, response.message = False, str(error)
        return response
