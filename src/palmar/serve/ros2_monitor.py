"""The safety monitor of ROS 2: a node in a process of its own that watches the robot, and whoever drives it.

    /joint_commands, /joint_states, /palmar/status → safety_monitor → ~/state (JSON), ~/stopped, and the E-STOP of this machine

Its `~/stop` service tells `~/stopped` first, which the body obeys where it lives (its watchdog, and every policy node), and then
latches the E-STOP, so that it outlives this process. It has a thread of its own and waits for no disk and no message.
`~/release` lets the robot be driven again.
"""

from __future__ import annotations

import json
import threading
import time
from typing import Any

from palmar.embodiments import Embodiment
from palmar.errors import BadFile, RobotFault
from palmar.runtime.ros2.spinning import Spinning
from palmar.runtime.ros2.topics import JOINT_COMMANDS, JOINT_STATES, MONITOR, SILENCE, STATUS, Topics
from palmar.runtime.ros2.watch import Watch
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
        self._state_lock = threading.Lock()  # of `stopped`, with what is published of it
        self._asked = 0  # times that `stop` was called
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
        self._ros.service(Trigger, f"/{MONITOR}/stop", self._on_stop, alone=True)
        self._ros.service(Trigger, f"/{MONITOR}/release", self._on_release)
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
        """Stop the robot: told first, latched then, on a thread, for a disk may be slow. From any thread."""
        with self._state_lock:
            self._asked += 1
            if self.stopped:
                if not self._unlatched:  # `palmar estop --release` may just have taken it away, unseen by `_look` yet
                    self._latching(self.reason, by)
                return
            self._set(True, reason)
            self._latching(reason, by)
        self._told = -float("inf")  # `_look` tells the rest

    def release(self) -> str:
        """Let it be driven again; what was latched, in words. On the node's thread. Raises `RobotFault` when `stop` was called
        meanwhile: it stays stopped."""
        with self._state_lock:  # a thread that is made there and not yet begun cannot be joined
            asked, press = self._asked, self._press
        if press is not None:
            press.join()
        before = self.latch.release()
        with self._state_lock:
            if self._asked != asked:
                self._latching(self.reason, "safety monitor")
                raise RobotFault(
                    "stopped again while it was released: stays stopped. Next: look at the robot, then release it"
                )
            self._unlatched = False
            self._set(False)
        self.watch.forget()
        self._tell()
        return str(before) if before else "nothing was latched"

    # ---------------------------------------------------------------------------------------------- inside

    def _set(self, stopped: bool, reason: str = "") -> None:
        """Change it and say so at once. `_state_lock` is held."""
        self.stopped, self.reason, self.stops = stopped, reason, self.stops + stopped
        self._stopped.publish(self._bool(data=stopped))

    def _latching(self, reason: str, by: str) -> None:
        self._press = threading.Thread(target=self._latch, args=(reason, by, self._press))
        self._press.start()

    def _latch(self, reason: str, by: str, before: threading.Thread | None) -> None:
        """before: what presses already."""
        if before is not None:
            before.join()
        try:
            self.latch.press(reason, by=by)
        except BadFile as error:
            self._unlatched, self.reason = True, f"{reason}; it could not be latched: {error}"

    def _look(self) -> None:
        with self._state_lock:
            stopped, asked = self.stopped, self._asked
            pressing = self._press is not None and self._press.is_alive()
        pressed = self.latch.read()  # by a disk that may be slow: nobody waits for it but this thread
        with self._state_lock:
            if self._asked == asked and pressed is not None and not stopped:  # from a terminal, or by a watchdog
                self._set(True, str(pressed))
            elif self._asked == asked and pressed is None and stopped and not pressing and not self._unlatched:
                self._set(False)  # palmar estop --release
                self.watch.forget()
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
        with self._state_lock:
            self._stopped.publish(self._bool(data=self.stopped))

    def _on_stop(self, request: Any, response: Any) -> Any:
        self.stop("~/stop was called", by="a person or program, by ROS service")
        response.success, response.message = True, f"stopped: {self.reason}"
        return response

    def _on_release(self, request: Any, response: Any) -> Any:
        try:
            response.message = f"released: {self.release()}"
            response.success = True
        except (BadFile, RobotFault) as error:
            response.success, response.message = False, str(error)
        return response
