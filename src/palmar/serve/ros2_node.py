"""The policy node of ROS 2: instructions come by a topic, each is one deployment on the body `ros2:`.

    /task_instruction → deploy(HostedBody("ros2:…"), policy) → /joint_commands

The node is that body and the one loop. The body lives in the watchdog's process, where there is one, with a node of its own
(`palmar_body`): it brakes the robot when this process dies. This one listens to instructions and to the safety monitor, and
publishes what it does ten times a second (`STATUS`, JSON).
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from queue import SimpleQueue
from typing import Any

from palmar.console import say, warn
from palmar.description.guesses import check_deployable
from palmar.embodiments import Embodiment
from palmar.errors import BadValue, RobotFault, UserError
from palmar.policy import Policy
from palmar.ranges import Count, Hertz, Period, Seconds, check_ranges
from palmar.runtime.bodies.approval import require_checked
from palmar.runtime.bodies.find import find_body
from palmar.runtime.deploy import Report, deploy
from palmar.runtime.fitting import fitted
from palmar.runtime.loop import Body, Subscriber, Tick
from palmar.runtime.monitor import Finished
from palmar.runtime.ros2.messages import check_ros_robot
from palmar.runtime.ros2.spinning import Spinning
from palmar.runtime.ros2.topics import BY_MONITOR, INSTRUCTION, NODE_RATE, SILENCE, STATUS, check_topic, topics_of
from palmar.runtime.supervision.controller import Controller, Mode
from palmar.runtime.supervision.estop import Latch
from palmar.runtime.supervision.hosted import PERIOD, HostedBody, check_period
from palmar.types import Observation

TELLS = 0.1
"""How often it publishes its status [s]."""
DISCOVERY = 3.0
"""Longest wait for a monitor that has not been heard yet: nodes find each other only after they start [s]."""


@dataclass(frozen=True)
class NodeConfig:
    """body: `ros2:` with its topics. rate: commands a second that are sent [Hz]. instruction, status: topics. timeout: of one
    instruction [s]. execute: actions carried out of each chunk. realtime: real-time chunking. watchdog: as of `palmar run`, None
    for none. monitor: nothing is driven without the safety monitor, which may be silent for
    `silence` at most [s]."""

    body: str = "ros2:"
    rate: Hertz = NODE_RATE
    instruction: str = INSTRUCTION
    status: str = STATUS
    timeout: Seconds = 60.0
    execute: Count = 4
    realtime: bool = False
    watchdog: Period = PERIOD
    monitor: bool = True
    silence: Seconds = SILENCE

    def __post_init__(self) -> None:
        check_ranges(self)
        check_topic(self.instruction, "instructions")
        check_topic(self.status, "status")
        topics = topics_of(self.body)
        if topics.rate:
            raise BadValue(f"body '{self.body}' has a rate; expected it apart. Next: --rate {topics.rate:g}")
        if topics.silence:
            raise BadValue(
                f"body '{self.body}' has a silence; expected it apart. Next: --silence {topics.silence:g}, or --no-monitor"
            )

    @property
    def where(self) -> str:
        """The body at this rate, which hears the monitor itself, as often as the node, where there has to be one."""
        return topics_of(self.body).at(self.rate, self.silence if self.monitor else 0.0).where


class PolicyNode(Subscriber):
    """Drives one robot by what it is told on the instruction's topic, until `end`.

    A new instruction ends the one before, the robot brakes to rest between them; an empty one only ends it. Nothing is driven while
    the E-STOP is latched, or the monitor is not heard: that is told, and published, as is what fails in a run. asked: what was
    asked for `robot`, in messages.

    Raises `BadValue` when the policy does not fit the robot, the robot has guessed limits, or the body has not passed
    `palmar check-body`; `MissingPackage` where there is no ROS 2.
    """

    def __init__(self, robot: Embodiment, policy: Policy, config: NodeConfig | None = None, asked: str = "") -> None:
        self.config = config or NodeConfig()
        topics_of(self.config.where).check(robot)
        check_ros_robot(robot)
        check_deployable(robot)
        if self.config.watchdog is not None:
            check_period(self.config.watchdog, robot)
        require_checked(robot, find_body(self.config.body), asked)
        fit = fitted(policy, robot)
        self.robot, self.policy, self.notes = fit.robot, fit.policy, fit.notes
        self.latch = Latch(robot.name)
        self.runs = 0
        self._ended, self._due = False, threading.Event()
        self._instructions: SimpleQueue[str] = SimpleQueue()  # heard, and not yet taken
        self._controller: Controller | None = None
        self._body: Body | None = None
        self._text = ""
        self._stopped, self._monitored = False, -float("inf")
        self._state: dict[str, Any] = {"state": "idle", "robot": robot.name, "instruction": "", "ticks": 0}
        self._state["topics"] = topics_of(self.config.body).watched  # which the monitor must watch
        self._ros = Spinning("palmar")
        try:
            self._connect()
        except BaseException:
            self._ros.close()
            raise

    def _connect(self) -> None:
        from std_msgs.msg import Bool, String

        self._string, config = String, self.config
        self._status = self._ros.publisher(String, config.status, "command")
        self._ros.subscribe(String, config.instruction, "command", self._on_instruction)
        self._ros.subscribe(Bool, topics_of(config.body).stopped, "state", self._on_stopped)
        self._ros.every(TELLS, self._tell)
        self._ros.start()

    # ---------------------------------------------------------------------------------------------- a person's side

    def run(self, ready: Callable[[], None] = lambda: None) -> None:
        """Carry out instructions until `end`, a signal while the robot moves, or a fault of the robot, which is raised."""
        try:
            self._body = self._connected()
            ready()
            while not self._ended:
                self._due.wait(0.1)
                self._due.clear()
                self._check()
                if (text := self._taken()) is not None and text.strip():
                    self._drive(text)
        finally:
            self.close()

    def end(self) -> None:
        """Brake the robot to rest and end `run`. From any thread or signal handler, which may interrupt one that holds an event's
        lock."""
        self._ended = True
        if (controller := self._controller) is not None:
            controller.finish("asked to end")

    def close(self) -> None:
        """Let go of the robot. Safe to call twice."""
        self._state["state"] = "ended"
        if self._body is not None:
            self._body.close()
            self._body = None
        if self._ros.failed is None:
            self._tell()
        self._ros.close()

    # ---------------------------------------------------------------------------------------------- one instruction

    def _drive(self, text: str) -> None:
        if why := self._refused():
            self._say("refused", text, why)
            warn("“{}” is refused: {}", text, why)
            return
        say("“{}”", text)
        try:
            self._deployed(text)
        except (RobotFault, UserError) as error:  # the next instruction may find robot, policy and E-STOP well again
            self._say("fault" if isinstance(error, RobotFault) else "refused", text, str(error))
            warn("“{}”: {}", text, str(error))
        finally:
            self._controller = None

    def _deployed(self, text: str) -> None:
        body = self._rested()
        body.embodiment = self.robot
        # the first call warms the caches: not on the robot's time
        self.policy.act(replace(body.observe(), instruction=text))
        controller = self._controller = Controller()
        if self._stopped or self._ended or not self._instructions.empty():  # meanwhile
            return
        self._text = text
        self.runs += 1
        config = self.config
        report = deploy(
            body, self.policy, text, body.observe(), timeout=config.timeout, execute=config.execute,
            realtime=config.realtime, controller=controller, until=Finished(), subscribers=(self,), latch=self.latch,
        )  # fmt: skip
        self._report(text, report)

    def _report(self, text: str, report: Report) -> None:
        reason = report.reason or report.ended_by or report.outcome.reason
        self._say("idle", text, reason, report.mode)
        say(
            "“{}”: {} after {} s{}",
            text,
            report.outcome.reason,
            f"{report.outcome.duration:.1f}",
            reason and f" ({reason})",
        )
        if report.ended_by.startswith("SIG"):
            self._ended = True

    def _rested(self) -> Body:
        """The body after its reset; connected anew when the watchdog had stopped the last one."""
        if self._body is not None:
            try:
                self._body.reset()
                return self._body
            except RobotFault:
                self._body.close()
        self._body = self._connected()
        self._body.reset()
        return self._body

    def _connected(self) -> Body:
        where, period = self.config.where, self.config.watchdog
        if period is None:
            return find_body(where).connect(self.robot)
        return HostedBody(where, self.robot, period)

    def _refused(self) -> str:
        """Why nothing is driven now, "" when it can be."""
        if (pressed := self.latch.read()) is not None:
            return f"the E-STOP is latched: {pressed}. Next: look at the robot, then call the monitor's release"
        if self._stopped:
            return "the safety monitor says stopped. Next: look at the robot, then call its release"
        until = time.monotonic() + DISCOVERY
        while self.config.monitor and self._monitored < 0 and time.monotonic() < until and not self._ended:
            time.sleep(0.02)
        if self._ended:
            return "the node was asked to end"
        if self.config.monitor and time.monotonic() - self._monitored > self.config.silence:
            return "the safety monitor is not heard. Next: palmar ros2-monitor, or --no-monitor"
        return ""

    # ---------------------------------------------------------------------------------------------- heard and told

    def on_start(self, obs: Observation, body: Body) -> None:
        """The next thing the loop does is to send commands: before, the monitor would miss them."""
        self._say("running", self._text)

    def on_tick(self, tick: Tick) -> None:
        self._state["ticks"] = tick.index + 1
        controller = self._controller
        if controller is not None:
            self._state["mode"], self._state["reason"] = controller.mode.name, controller.reason
            quiet = time.monotonic() - self._monitored
            if self.config.monitor and quiet > self.config.silence:
                controller.handoff(f"the safety monitor is silent for {quiet:.1f} > {self.config.silence:g} s")

    def _on_instruction(self, message: Any) -> None:
        self._instructions.put(str(message.data))
        if (controller := self._controller) is not None:
            controller.finish("new instruction")
        self._due.set()

    def _on_stopped(self, message: Any) -> None:
        self._monitored, before, self._stopped = time.monotonic(), self._stopped, bool(message.data)
        if self._stopped and (controller := self._controller) is not None:
            controller.emergency_stop(BY_MONITOR)
        if before and not self._stopped:
            self._release()

    def _release(self) -> None:
        """The E-STOP of this machine, when the monitor is on another one and pressed it through us."""
        if (pressed := self.latch.read()) is not None and pressed.reason == BY_MONITOR:
            self.latch.release()

    def _taken(self) -> str | None:
        """The newest instruction that was not taken yet, None for none."""
        text = None
        while not self._instructions.empty():
            text = self._instructions.get()
        return text

    def _say(self, state: str, instruction: str, reason: str = "", mode: Mode = Mode.RUN) -> None:
        self._state |= {"state": state, "instruction": instruction, "reason": reason, "mode": mode.name}
        self._tell()

    def _tell(self) -> None:
        self._status.publish(self._string(data=json.dumps(self._state, ensure_ascii=False)))

    def _check(self) -> None:
        if self._ros.failed is not None:
            raise RobotFault(f"the ROS node has ended: {self._ros.failed}. Next: look at ROS, then start again")
