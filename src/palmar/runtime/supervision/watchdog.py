"""The watchdog: a process of its own in which the body lives, and which stops it when the control loop does not.

    loop's process: rollout → HostedBody ══ socket ══ watchdog's process: Host → body

The process that holds the connection to the robot outlives the one that computes. When no command has come for one period
while the robot moves, it brakes the robot within its limits from the last command and latches the E-STOP; at once when the
loop's process has ended. It also brakes when the E-STOP is pressed from elsewhere, when somebody on the robot's side says stop
(the body's `when_stopped`, where it has one), and when the body does not come back from `observe`: then from a second thread, and
by the body's `stop()`, where it has one, if it takes no commands either.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from palmar.description.file import parse_robot
from palmar.description.write import robot_text
from palmar.embodiments import Embodiment
from palmar.errors import BadFile, RobotFault, UserError
from palmar.runtime.bodies.find import find_body
from palmar.runtime.loop import LONGEST, Body
from palmar.runtime.safety.limits import Limits
from palmar.runtime.supervision.estop import Latch
from palmar.runtime.supervision.link import SEED, Ended, Fault, Kind, observed, receive, send
from palmar.runtime.undisturbed import first_in_line
from palmar.types import Array

LOOKS = 0.02
"""How often the E-STOP is looked at, at least [s]."""
CLOSES = 10.0
"""Longest time for a body to come back from `close` before its process ends all the same [s]."""
LATCHES = 0.1
"""After a stop from the robot's side the E-STOP is latched here too when nobody else has done so for so long [s]."""
LINGERS = 2.0
"""How long a body that was stopped because it did not answer may still take to come back before its process ends [s]."""


class Host:
    """Serves one body to one loop, and stops it. `serve` runs on the main thread, `watch` on one of its own.

    period: longest time between two commands while the robot moves [s]. latch: the E-STOP; None: of the robot's name.
    far: the loop is on another computer, and cannot see the E-STOP of this one: it is told.
    stopped: why the watchdog has stopped the robot, "" while it has not.
    """

    def __init__(
        self, body: Body, sock: socket.socket, period: float, latch: Latch | None = None, far: bool = False
    ) -> None:
        self.body, self.sock, self.period, self.far = body, sock, period, far
        self.robot: Embodiment = body.embodiment
        self.latch = latch or Latch(self.robot.name)
        self.limits, self.cameras = Limits.of(self.robot), [c.name for c in self.robot.cameras]
        self.stopped, self.ended = "", threading.Event()
        self._command: Array | None = None  # the last that was sent, the rate it was reached with, and its change
        self._rate = self._change = np.zeros(len(self.robot.channels))
        self._beat, self._moving, self._calling = time.monotonic(), False, ""
        self._sent = -float("inf")  # when the last command went to the body
        self._asked = -float("inf")  # when the call began that the body is in, or was
        self._called, self._stands = "", False  # why the robot's side has said stop, and whether it still does
        self._wake = threading.Event()
        self._bus, self._words, self._once = threading.Lock(), threading.Lock(), threading.Lock()
        self._asked_to_end, self._rests = False, threading.Event()
        if callable(when_stopped := getattr(getattr(body, "inner", body), "when_stopped", None)):
            when_stopped(self.stop)

    # ---------------------------------------------------------------------------------------------- the loop's requests

    def serve(self) -> None:
        """Answer until the loop closes the connection or is gone; then the body is at rest and closed."""
        try:
            while self._answer(*receive(self.sock)):
                pass
        except (Ended, RobotFault) as error:
            if self._moving and not self.stopped:
                self.halt(f"the control loop's process ended while the robot moved ({error})")
            self._close()
        self.ended.set()
        self._wake.set()

    def _answer(self, kind: Kind, payload: memoryview) -> bool:
        """One request; whether to go on."""
        try:
            if kind is Kind.APPLY:
                self._apply(np.frombuffer(payload, np.float64))
            elif kind is Kind.OBSERVE:
                self._refuse_when_stopped()
                obs = self._call("observe", lambda: self.body.observe(images=bool(payload[0])))
                self._say(Kind.SEEN, *observed(obs, self.cameras))
            elif kind is Kind.RESET:
                if self.stopped:
                    raise Stopped(self.stopped)
                (seed,) = SEED.unpack(payload)
                self._come_to_rest()
                self._command, self._moving = None, False
                self._rate = self._change = np.zeros(len(self._rate))
                obs = self._call("reset", lambda: self.body.reset(None if seed < 0 else seed))
                if self.stopped:
                    raise Stopped(self.stopped)
                self._say(Kind.SEEN, *observed(obs, self.cameras))
            elif kind is Kind.CLOSE:
                if self._moving and not self.stopped:
                    self.halt("the body was closed while it moved", latch=False)
                self._close()
                self._say(Kind.CLOSED)
                return False
        except Ended:
            raise
        except Exception as error:
            self._complain(error, kind)
        return True

    def _apply(self, command: Array) -> None:
        """Send a command to the body, unless the watchdog has stopped it. Raises `RobotFault` for what is no command."""
        if command.shape != self._rate.shape or not np.isfinite(command).all():
            raise RobotFault(
                f"a command is {command.tolist()}; expected {len(self._rate)} finite numbers. Next: the same robot on both sides"
            )
        before = command if self._command is None else self._command
        rate = (command - before) / self.limits.dt
        moving = bool(rate.any()) or bool(command[self.limits.speeds].any())

        def go() -> None:
            if not self.stopped:
                if not self._moving:  # the period begins with the first command that moves it
                    self._beat = time.monotonic()
                self._moving = self._moving or moving
                self.body.apply(command.copy())
                self._change = (rate - self._rate) / self.limits.dt
                self._command, self._rate, self._moving = command.copy(), rate, moving
                self._beat = self._sent = time.monotonic()

        self._call("apply", go)

    def _come_to_rest(self) -> None:
        """Brake by commands like the loop's: what the body does in `reset` begins at rest. Raises `Stopped`."""
        if self._moving and self._command is not None:
            for command in braking(self.limits, self._command, self._rate, self._change):
                self._apply(command)
                time.sleep(self.limits.dt)
        if self.stopped:
            raise Stopped(self.stopped)

    def _call(self, verb: str, call: Callable[[], Any]) -> Any:
        with self._bus:
            self._asked, self._calling = time.monotonic(), verb
            try:
                return call()
            finally:
                self._calling = ""

    def _refuse_when_stopped(self) -> None:
        """A loop that was away and comes back is told why nothing moves; one that brakes for an E-STOP may look on, and is told
        when whoever said stop has released it meanwhile: it may have heard of neither."""
        released = bool(self._called) and not self._stands
        if self.stopped and (self.far or released or not self.stopped.startswith("E-STOP")):
            raise Stopped(self.stopped)

    # ---------------------------------------------------------------------------------------------- the watch

    def watch(self) -> None:
        """Until the end: brake when a command is missed or an E-STOP is pressed."""
        first_in_line(2)
        while not self.ended.is_set():
            # in this order: a beat newer than `now` or `moving` is no alarm, an older one may be a false one
            now, moving = time.monotonic(), self._moving
            missed = self._beat + self.period
            if not self.stopped:
                if self._called:
                    self.halt(f"E-STOP: {self._called}", latch=False)
                elif self.latch.latched:
                    self.halt(f"E-STOP: {self.latch.read()}", latch=False)
                elif moving and now >= missed:
                    blocked = self._calling
                    late = blocked and now - self._asked >= self.period / 2  # not one that only just came
                    why = f"the body has not come back from {blocked}" if late else "no command came"
                    self.halt(f"watchdog: {why} for {self.period:g} s")
                    if blocked:
                        self._linger()
            if self._asked_to_end:
                self._end()
            left = max(missed - time.monotonic(), 0.001) if self._moving and not self.stopped else LOOKS
            if self._wake.wait(min(left, LOOKS)):
                self._wake.clear()

    def stop(self, reason: str) -> None:
        """Somebody on the robot's side stops it, or with "" says that it is released. From any thread; returns at once, and `watch`
        brakes. A release does not undo a stop: the loop connects the body anew."""
        self._called, self._stands = self._called or reason, bool(reason)
        self._wake.set()

    def end(self) -> None:
        """Brake, close and end, within `LOOKS`: from a signal handler, which may interrupt a thread that holds an event's lock."""
        self._asked_to_end = True

    def halt(self, reason: str, latch: bool = True) -> None:
        """Brake the body within its limits from the last command, and take no command any more. Returns when it rests, or
        was told to `stop()` because it takes no commands or moves by itself in its `reset`."""
        if not self._once.acquire(blocking=False):
            return  # another thread does; `_close` waits for it
        self.stopped = reason
        # A call in progress may still come back in time: two at once would be too much for most buses. One that is late
        # already is not waited for.
        done, now = threading.Event(), time.monotonic()
        patience = max(min(self._beat + self.period - now, self.period / 2), self.limits.dt)
        self._beat = now
        threading.Thread(target=self._brake, args=(done, patience), daemon=True).start()
        press = threading.Thread(target=self._press if latch else self._press_also, args=(reason,), daemon=True)
        if latch or self._called:  # beside the braking: a disk may be slow
            press.start()
        if self.far or not reason.startswith("E-STOP"):  # beside it as well: a loop that hangs reads nothing
            said = (Kind.FAULT, bytes([Fault.STOPPED, 0]), reason.encode())
            threading.Thread(target=self._say, args=said, daemon=True).start()
        while not done.wait(self.period) and time.monotonic() - self._beat < self.period:
            time.sleep(0)  # it takes the commands that brake it
        if self._moving:
            self._cut()
        self._moving = False
        if latch:
            press.join(LINGERS)
        self._rests.set()

    def _brake(self, done: threading.Event, patience: float) -> None:
        """A command that the body refuses is not the last: the next ones are tried for one period."""
        held = self._bus.acquire(timeout=patience)
        refused: Exception | None = None
        try:
            path = [] if self._command is None else braking(self.limits, self._command, self._rate, self._change)
            # a tick after the last command, not sooner: closer together they would outrun the limits
            time.sleep(max(self._sent + self.limits.dt - time.monotonic(), 0.0))
            for command in path:
                when = time.monotonic() + self.limits.dt
                try:
                    self.body.apply(command)
                    self._beat, refused = time.monotonic(), None
                except Exception as error:
                    refused = error
                    if when - self._beat > self.period:
                        break
                time.sleep(max(when - time.monotonic(), 0.0))
            self._moving = refused is not None or (not held and self._calling == "reset")
            if refused is not None:
                _tell(f"the body does not take the commands that brake it: {refused}")
        finally:
            done.set()
            if held:
                self._bus.release()

    def _cut(self) -> None:
        """The body's own way to stop without commands, where it has one."""
        inner = getattr(self.body, "inner", self.body)
        if callable(stop := getattr(inner, "stop", None)):
            try:
                stop()
            except Exception as error:
                _tell(f"stop() of the body raised {type(error).__name__}: {error}")
        else:
            _tell("the body takes no commands and has no stop(): switch the robot off")

    def _press_also(self, _: str = "") -> None:
        """Where who said stop has not latched the E-STOP of this machine, such as a monitor on another one; the first reason
        stays."""
        self.ended.wait(LATCHES)
        if self._stands:
            self._press(self._called)

    def _press(self, reason: str) -> None:
        try:
            self.latch.press(reason, by="watchdog")
        except BadFile as error:
            _tell(f"the E-STOP cannot be latched: {error}")

    def _linger(self) -> None:
        """After a body that did not answer was stopped: its process ends when it does not come back."""
        until = time.monotonic() + LINGERS
        while self._calling and time.monotonic() < until:
            time.sleep(0.01)
        if self._calling:
            self._leave()

    def _end(self) -> None:
        self._asked_to_end = False
        if not self.stopped:  # at rest too: a command may just be on its way, or the body move by itself in its `reset`
            self.halt("watchdog: its process was told to end", latch=False)
        self._close()
        self._leave()

    def _leave(self) -> None:
        self.sock.close()
        os._exit(1)

    # ---------------------------------------------------------------------------------------------- words

    def _close(self) -> None:
        if self.stopped:
            self._rests.wait(LONGEST)
        late = threading.Timer(CLOSES, self._leave)
        late.daemon = True
        late.start()
        held = self._bus.acquire(timeout=LINGERS)
        try:
            self.body.close()
        except Exception as error:
            _tell(f"the body could not be closed: {error}")
        finally:
            late.cancel()
            if held:
                self._bus.release()

    def _complain(self, error: Exception, kind: Kind) -> None:
        what = (
            Fault.STOPPED
            if isinstance(error, Stopped)
            else Fault.ASKED
            if isinstance(error, UserError)
            else Fault.ROBOT
        )
        if not isinstance(error, UserError | RobotFault | Stopped):
            _tell("".join(traceback.format_exception(error)))
        said = str(error) if isinstance(error, UserError | RobotFault | Stopped) else f"{type(error).__name__}: {error}"
        self._say(Kind.FAULT, bytes([what, kind]), said.encode())

    def _say(self, kind: Kind, *parts: bytes | memoryview) -> None:
        """Send, unless another thread is in the middle of a message that nobody takes, or nobody is there."""
        if not self._words.acquire(timeout=self.period):
            return
        try:
            with contextlib.suppress(Ended, TimeoutError):  # `serve` notices that the loop has gone
                send(self.sock, kind, *parts)
        finally:
            self._words.release()


def braking(limits: Limits, value: Array, rate: Array, change: Array) -> list[Array]:
    """The commands float64[N], one a control tick, that bring a robot to rest within its limits: joints and openings brake,
    speeds go to 0. value: the last command; rate: its change a second; change: that of the rate, float64[N].

    A rate beyond the limits, of a loop without guards, is taken to be at them; no command leaves the robot's range, or goes
    further out of it. At most `LONGEST` seconds of commands.
    """
    low, high = np.minimum(limits.lower, value), np.maximum(limits.upper, value)
    rate = np.clip(rate, -limits.velocity, limits.velocity)
    change = np.clip(change, -limits.acceleration, limits.acceleration)
    path: list[Array] = []
    while (rate.any() or value[limits.speeds].any()) and len(path) * limits.dt < LONGEST:
        before, rate = rate, limits.stopping(value, rate, change)
        change = (rate - before) / limits.dt
        value = np.clip(value + rate * limits.dt, low, high)
        path.append(value)
    return path


class Stopped(Exception):
    """The watchdog has stopped the robot."""


def run(sock: socket.socket, where: str, text: str, period: float, far: bool = False) -> None:
    """The watchdog's process: connect the body, say so, serve it and watch. text: the robot's file, "" for the body's own. far: see
    `Host`."""
    try:
        body = find_body(where).connect(parse_robot(text) if text else None)
    except Exception as error:
        known = isinstance(error, UserError | RobotFault)
        what = Fault.ASKED if isinstance(error, UserError) else Fault.ROBOT
        send(sock, Kind.FAULT, bytes([what, 0]), (str(error) if known else f"{type(error).__name__}: {error}").encode())
        return
    host = Host(body, sock, period, far=far)
    signal.signal(signal.SIGTERM, lambda *_: host.end())
    threading.Thread(target=host.watch, name="palmar-watchdog", daemon=True).start()
    send(sock, Kind.HELLO, robot_text(body.embodiment).encode())
    host.serve()


def _tell(words: str) -> None:
    with contextlib.suppress(OSError, ValueError):  # the terminal may be gone
        print(f"palmar watchdog: {words}", file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m palmar.runtime.supervision.watchdog", description="Started by palmar run."
    )
    parser.add_argument("--socket", type=int, required=True, help="file descriptor of the connection to the loop")
    parser.add_argument("--body", required=True, help="module:Class, or mock:")
    parser.add_argument("--period", type=float, required=True, help="[s]")
    parser.add_argument(
        "--robot", help="file of its description, whatever the loop says: the loop is on another computer"
    )
    given = parser.parse_args()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the loop's to handle
    sys.setswitchinterval(0.0002)  # threads of the body, such as a driver's, must not keep commands waiting
    sock = socket.socket(fileno=given.socket)
    try:
        kind, payload = receive(sock)
        if kind is Kind.HELLO:
            text = bytes(payload).decode() if given.robot is None else Path(given.robot).read_text("utf-8")
            run(sock, given.body, text, given.period, far=given.robot is not None)
    except Ended:
        sys.exit(1)


if __name__ == "__main__":
    main()
