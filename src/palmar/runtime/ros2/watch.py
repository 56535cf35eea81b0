"""What the safety monitor checks: commands and joint states against the robot file, their age, and whether the policy node lives.

Pure: messages and times go in, findings come out. Times are those of arrival, on the monitor's monotonic clock: it compares no
clocks. A sender that repeats an old stamp is one that says nothing new.
"""

from __future__ import annotations

import json
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from palmar.embodiments import LITTLE, Embodiment
from palmar.errors import BadValue
from palmar.runtime.ros2.body import STALE
from palmar.runtime.ros2.messages import CommandWriter, JointReader, seconds
from palmar.runtime.ros2.topics import SILENCE, Topics
from palmar.types import Array, Reason

DRIVEN = 0.5
"""The robot is driven when a command came within the last so many seconds [s]."""
BURST = 0.5
"""How many seconds' worth of a channel's velocity limit may come at once: commands that were held up arrive together [s]."""
OUTSIDE = 0.1
"""How far outside its limits a measured joint may be, as a share of its range."""
RATE_OVER = 2.0
"""Commands are counted over so many seconds [s]."""


@dataclass(frozen=True)
class Finding:
    """State of what is watched. stop: why the robot must be stopped, "" when it need not. said: {what: in words}."""

    stop: str
    said: dict[str, str] = field(default_factory=dict)


class Watch:
    """Of one robot. `command`, `joints` and `status` are told what arrived and when [s]; `judge` says what it comes to.

    silence: longest time without a sign of life of the policy node [s]. topics: where commands and joint states are watched; a
    policy node that names others is a fault. A fault of a message is kept until `forget`, when a person has looked.
    """

    def __init__(self, robot: Embodiment, silence: float = SILENCE, topics: Topics | None = None) -> None:
        self.silence, self.topics = silence, (topics or Topics()).watched
        self.robot, self._writer, self._reader = robot, CommandWriter(robot), JointReader(robot)
        n = len(robot.channels)
        self._slack = LITTLE * robot.widths
        self._last: Array | None = None
        self._budget, self._commanded = np.zeros(n), -np.inf
        self._times: deque[float] = deque()
        self._heard, self._stamps = np.full(n, -np.inf), np.full(n, -np.inf)
        self._fault = ""
        self._status: dict[str, Any] = {}
        self._status_at = -np.inf
        self._began = np.inf  # when the run that is reported began

    def forget(self) -> None:
        """A person has looked: begin anew, also with who drives."""
        self._fault, self._last, self._commanded = "", None, -np.inf
        self._status, self._status_at = {}, -np.inf
        self._times.clear()

    def command(self, message: Any, now: float) -> None:
        self._times.append(now)
        try:
            command = self._writer.read(message)
        except BadValue as error:
            self._fail(str(error))
            return
        robot = self.robot
        channels, limit = robot.channels, np.where(robot.speeds, np.inf, robot.array("velocity"))
        if not np.isfinite(command).all():
            i = int(np.argmin(np.isfinite(command)))
            self._fail(f"command {channels[i].name} is {command[i]}")
            return
        low, high = robot.lower - self._slack, robot.upper + self._slack
        if self._last is not None:  # who starts a little outside may come back
            low, high = np.minimum(low, self._last), np.maximum(high, self._last)
        else:
            low, high = low - OUTSIDE * robot.widths, high + OUTSIDE * robot.widths
        if (bad := (command < low) | (command > high)).any():
            i = int(np.argmax(bad))
            bound = channels[i].upper if command[i] > high[i] else channels[i].lower
            self._fail(self._reason("command position", i, command[i], bound, command[i] > high[i]))
        if self._last is not None:
            way = np.abs(robot.difference(command, self._last))
            with np.errstate(invalid="ignore"):
                self._budget = np.minimum(self._budget + limit * (now - self._commanded), limit * BURST) - way
            if (bad := self._budget < -self._slack).any():
                i = int(np.argmax(bad))
                self._fail(self._reason("command step", i, way[i], limit[i] * BURST, True))
        else:
            self._budget = limit * BURST
        self._last, self._commanded = command, now

    def joints(self, message: Any, now: float) -> None:
        try:
            joints = self._reader.read(message)
        except BadValue as error:
            self._fail(str(error))
            return
        here, robot = joints.channels, self.robot
        stamp = seconds(message.header.stamp) or now
        fresh = stamp != self._stamps[here]
        self._heard[here] = np.where(fresh, now, self._heard[here])
        self._stamps[here] = stamp
        room = OUTSIDE * robot.widths[here]
        bad = ~((joints.position >= robot.lower[here] - room) & (joints.position <= robot.upper[here] + room))
        if bad.any() and self.driven(now):
            k = int(np.argmax(bad))
            i, value = int(here[k]), joints.position[k]
            over = bool(value > robot.upper[i])
            bound = robot.channels[i].upper if over else robot.channels[i].lower
            self._fail(self._reason("measured position", i, value, bound, over))

    def status(self, text: str, now: float) -> None:
        """What the policy node says of itself (JSON)."""
        try:
            said = json.loads(text)
            state = str(said["state"])
        except (ValueError, KeyError, TypeError):
            self._fail("the policy node's status is no JSON object with a state")
            return
        self._compare(said.get("topics"))
        running = state == "running"
        self._began = min(self._began, now) if running else np.inf
        self._status, self._status_at = said, now

    def driven(self, now: float) -> bool:
        return now - self._commanded <= DRIVEN

    def judge(self, now: float) -> Finding:
        """What is found at this time [s]."""
        stop, said = self._fault, {}
        names = np.array(self.robot.channel_names)
        age = float(now - self._heard.min())
        if np.isinf(age):
            said["joint_states"] = f"none yet of {', '.join(names[np.isinf(self._heard)])}"
        elif age > STALE:
            said["joint_states"] = f"stale: nothing new of {names[int(self._heard.argmin())]} for {age:.2f} s"
        else:
            said["joint_states"] = "fresh"
        if age > STALE and self.driven(now):
            stop = stop or f"stale joint states while commands are sent: {said['joint_states']}"
        while self._times and now - self._times[0] > RATE_OVER:
            self._times.popleft()
        said["commands"] = f"{len(self._times) / RATE_OVER:.1f} Hz" if self.driven(now) else "none"
        running, silent = self._status.get("state") == "running", now - self._status_at
        if np.isinf(silent):
            said["policy"] = "not heard of"
        elif silent > self.silence:
            said["policy"] = f"silent for {silent:.1f} s: the policy node has ended or hangs"
            if running:
                stop = stop or f"the policy node is silent for {silent:.1f} > {self.silence:g} s while it drove"
        else:
            said["policy"] = str(self._status["state"])
            if running and now - max(self._began, self._commanded) > self.silence:
                stop = stop or f"the policy node drives and sends no commands for {self.silence:g} s"
        return Finding(stop, said)

    def _compare(self, topics: Any) -> None:
        """Unwatched is who commands, or is measured, on another topic."""
        for what, ours in self.topics.items() if isinstance(topics, dict) else ():
            theirs = str(topics.get(what, ours))
            if theirs.lstrip("/") != ours.lstrip("/"):
                self._fail(
                    f"the policy node has {what} on {theirs}, the monitor watches {ours}; expected the same. "
                    f"Next: palmar ros2-monitor --{what.replace('_', '-')} {theirs}"
                )

    def _fail(self, why: str) -> None:
        self._fault = self._fault or why

    def _reason(self, what: str, i: int, value: float, bound: float, over: bool) -> str:
        channel = self.robot.channels[i]
        return str(Reason("monitor", f"{what} {channel.name}", float(value), float(bound), channel.unit, bool(over)))
