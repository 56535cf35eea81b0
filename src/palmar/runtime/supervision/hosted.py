"""The loop's side of the watchdog: a body that lives in a process of its own, driven like any other.

    with HostedBody("my_arm:MyArm", robot) as body:
        deploy(body, policy, "put the cup on the tray", body.reset(), latch=Latch(robot.name))

When the watchdog's process dies, this side notices at its next call, connects the body itself where the robot still moves, and
raises `RobotFault`; the commands that brake it then go to that connection.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np

from palmar.description.file import parse_robot
from palmar.description.guesses import check_deployable
from palmar.description.write import robot_text
from palmar.embodiments import Embodiment
from palmar.errors import BadValue, RobotFault
from palmar.runtime.bodies.approval import require_checked
from palmar.runtime.bodies.find import Attached, Found, find_body
from palmar.runtime.loop import LONGEST
from palmar.runtime.supervision.estop import Latch
from palmar.runtime.supervision.link import (
    SEED,
    Ended,
    Fault,
    Kind,
    Refused,
    answer_to,
    fault_of,
    observation,
    receive,
    send,
)  # fmt: skip
from palmar.runtime.supervision.watchdog import CLOSES
from palmar.types import Array, Observation

ANSWERS = 30.0
"""Longest time for a body at rest to answer [s]: cameras may have to warm up."""
PERIOD = 0.2
"""Longest time between two commands while the robot moves [s], where nothing else is said."""


class HostedBody:
    """A `Body` whose connection to the robot lives in the watchdog's process.

    where: `module:Class` or `mock:`. robot: its description, None when the body's own is to be used. period: of the watchdog [s];
    at least three control ticks.

    Raises `BadValue` and `RobotFault` as `Found.connect`. Only on systems with Unix sockets.
    """

    def __init__(self, where: str, robot: Embodiment | None = None, period: float = PERIOD) -> None:
        if robot is not None:
            check_period(period, robot)
        self.where, self.period = where, period
        self._described = robot
        self._own: Attached | None = None
        self._ended = ""
        self._press: threading.Thread | None = None
        self._moving = False
        self._last: Array | None = None
        ours, theirs = socket.socketpair()
        self.process = watchdog_process(theirs, where, period)
        theirs.close()
        self._sock = ours
        try:
            send(ours, Kind.HELLO, b"" if robot is None else robot_text(robot).encode())
            self.embodiment = self._robot()
            check_period(period, self.embodiment)
        except BaseException:
            self.close()
            raise

    def _robot(self) -> Embodiment:
        try:
            kind, payload = receive(self._sock)
        except Ended as error:
            code = self.process.wait()
            raise RobotFault(
                f"the watchdog's process of '{self.where}' ended with code {code} before the body was connected. Next: see "
                "its words above"
            ) from error
        if kind is Kind.FAULT:
            raise fault_of(payload)
        return self._described or parse_robot(bytes(payload).decode(), self.where)

    def __enter__(self) -> HostedBody:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ---------------------------------------------------------------------------------------------- Body

    def observe(self, images: bool = True) -> Observation:
        if self._own is not None:
            return self._own.observe(images)
        return self._seen(Kind.OBSERVE, bytes([images]), 2 * self.period + 0.5 if self._moving else ANSWERS)

    def apply(self, command: Array) -> None:
        command = np.ascontiguousarray(command, np.float64)
        if self._own is not None:
            self._own.apply(command)
        elif not self._ended:
            still = self._last is None or np.array_equal(command, self._last)
            self._last, self._moving = command.copy(), not still or bool(command[self.embodiment.speeds].any())
            self._sock.settimeout(self.period)
            try:
                send(self._sock, Kind.APPLY, command.tobytes())
            except (Ended, TimeoutError) as error:
                raise self._lost(error) from error

    def reset(self, seed: int | None = None) -> Observation:
        self._last, self._moving = None, False
        return self._seen(Kind.RESET, SEED.pack(-1 if seed is None else seed), None)

    def close(self) -> None:
        """Let go of the robot and end the watchdog's process. Safe to call twice."""
        if self._own is not None:
            self._own.close()
            self._own = None
        if self._press is not None:
            self._press.join()
        if self.process.poll() is None:
            try:
                self._sock.settimeout(LONGEST + CLOSES + 5.0)
                send(self._sock, Kind.CLOSE)
                while receive(self._sock)[0] is not Kind.CLOSED:
                    pass
            except (Ended, TimeoutError, RobotFault):
                self._sock.close()
            try:
                self.process.wait(5.0)
            except subprocess.TimeoutExpired:
                self._kill()
        self._sock.close()

    # ---------------------------------------------------------------------------------------------- inside

    def _seen(self, kind: Kind, payload: bytes, timeout: float | None) -> Observation:
        if self._ended:
            raise RobotFault(self._ended)
        try:
            return observation(answer_to(self._sock, kind, payload, timeout), self.embodiment)
        except (Ended, TimeoutError) as error:
            raise self._lost(error) from error
        except Refused as refused:
            if refused.stopped:  # it has braked the robot: nothing is to be sent any more
                self._ended = str(refused.fault)
            raise refused.fault from None

    def _lost(self, error: Exception) -> RobotFault | BadValue:
        """The watchdog does not answer. When it said that it stops the robot, that is the reason; else the robot is braked
        from here."""
        if not isinstance(error, TimeoutError) and (said := self._last_words()) is not None:
            self._ended = str(said)
            return said
        if isinstance(error, TimeoutError):
            self._kill()
            how = "does not answer"
        else:
            how = f"has ended (code {self._code()})"
        self._ended = f"the watchdog's process of '{self.where}' {how}"
        if self._moving:
            self._press = threading.Thread(target=self._latch)  # beside the braking: a disk may be slow
            self._press.start()
            try:
                self._own = find_body(self.where).connect(self.embodiment)
                self._ended += "; the robot is braked from the loop's process"
            except Exception as failed:
                self._ended += f", and the body cannot be connected from here ({failed}): switch the robot off"
        return RobotFault(f"{self._ended}. Next: look at the robot, then start again")

    def _last_words(self) -> RobotFault | BadValue | None:
        self._sock.settimeout(self.period)
        try:
            while True:
                kind, payload = receive(self._sock)
                if kind is Kind.FAULT and payload[0] == Fault.STOPPED:
                    return fault_of(payload)
        except (Ended, TimeoutError, RobotFault):
            return None

    def _code(self) -> int | str:
        until = time.monotonic() + self.period
        while (code := self.process.poll()) is None and time.monotonic() < until:
            time.sleep(0.001)
        return "unknown" if code is None else code

    def _latch(self) -> None:
        Latch(self.embodiment.name).press(self._ended, by="control loop")

    def _kill(self) -> None:
        self.process.kill()
        self.process.wait()


def watchdog_process(sock: socket.socket, where: str, period: float, *more: str) -> subprocess.Popen[bytes]:
    """The process that holds the body `where` and speaks to its loop by `sock`. more: further options of `watchdog.main`."""
    words = ["--socket", str(sock.fileno()), "--body", where, "--period", repr(period), *more]
    paths = [p or str(Path.cwd()) for p in sys.path]
    return subprocess.Popen(
        [sys.executable, "-m", "palmar.runtime.supervision.watchdog", *words],
        pass_fds=(sock.fileno(),), stdin=subprocess.DEVNULL, stdout=2, start_new_session=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
    )  # fmt: skip


def require_ready(found: Found, robot: Embodiment, asked: str, period: float | None) -> None:
    """All that can be said of a body before anything is switched on. asked: how the robot was asked for. period: of the watchdog,
    None for none.

    Raises `BadValue` for limits that are guesses, a body that has not been checked as this robot, a latched E-STOP and a period
    that is too short.
    """
    check_deployable(robot)
    require_checked(robot, found, asked)
    Latch(robot.name).require_released()
    if period is not None and not found.remote:
        check_period(period, robot)


def check_period(period: float, robot: Embodiment) -> None:
    """Raise `BadValue` for a period that a loop cannot keep: below three control ticks, or above 5 s."""
    least = 3 / robot.control_rate
    if not least <= period <= 5.0:
        raise BadValue(
            f"the watchdog's period is {period:g} s; {robot.name} gets {robot.control_rate:g} commands a second, expected "
            f"{least:g} … 5 s. Next: --watchdog {max(least, PERIOD):g}"
        )
