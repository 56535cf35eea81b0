"""A body on another computer: `--body tcp://HOST:PORT` of `palmar serve-body`. The watchdog is there, with the robot."""

from __future__ import annotations

import os
import socket
from urllib.parse import urlsplit

import numpy as np

from palmar.description.file import parse_robot
from palmar.embodiments import Embodiment
from palmar.errors import BadValue, RobotFault
from palmar.runtime.bodies.same import check_equal
from palmar.runtime.loop import LONGEST
from palmar.runtime.supervision.handshake import KEY, enter
from palmar.runtime.supervision.link import SEED, Ended, Kind, Refused, answer_to, fault_of, observation, receive, send
from palmar.types import Array, Observation

TCP = "tcp://"
PORT = 8800
CONNECT, ANSWERS = 5.0, 30.0
"""Longest wait for a connection, and for a body to answer [s]: cameras may have to warm up."""
SENDS = 1.0
"""Longest time for a command to be taken by the network [s]."""


def address(where: str) -> tuple[str, int]:
    """(host, port) of tcp://HOST:PORT. Raises `BadValue`."""
    try:
        parts = urlsplit(where)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or " " in host or parts.path not in ("", "/"):
        raise BadValue(f"body is '{where}'; expected tcp://HOST:PORT. Next: the address that palmar serve-body prints")
    return host, port or PORT


class RemoteBody:
    """A `Body` that `palmar serve-body` serves. Its watchdog brakes the robot where no command comes for its period, or the
    connection ends while the robot moves.

    robot: its description here; it has to be the one that is served, limits included. None: the served one.
    Raises `BadValue` where it may not drive or the robots differ, `RobotFault` where nobody answers.
    """

    def __init__(self, where: str, robot: Embodiment | None = None) -> None:
        self.where, self._ended = where, ""
        host, port = address(where)
        try:
            self._sock = socket.create_connection((host, port), timeout=CONNECT)
        except OSError as error:
            raise RobotFault(
                f"no body at {where} ({error}). Next: palmar serve-body there, or mend the address"
            ) from error
        try:
            tuned(self._sock)
            enter(self._sock, os.environ.get(KEY, ""), where)
            self._sock.settimeout(ANSWERS)
            send(self._sock, Kind.HELLO)
            kind, payload = receive(self._sock)
            if kind is not Kind.HELLO:
                raise fault_of(payload)
            theirs = parse_robot(bytes(payload).decode(), where)
            if robot is not None:
                check_equal(theirs, robot, where)
        except (OSError, Ended) as error:
            self._sock.close()
            raise RobotFault(
                f"the body at {where} does not answer ({error}). Next: look at the words of palmar serve-body"
            ) from error
        except BaseException:
            self._sock.close()
            raise
        self.embodiment = robot or theirs

    def observe(self, images: bool = True) -> Observation:
        return self._seen(Kind.OBSERVE, bytes([images]))

    def apply(self, command: Array) -> None:
        if self._ended:
            raise RobotFault(self._ended)
        self._sock.settimeout(SENDS)
        try:
            send(self._sock, Kind.APPLY, np.ascontiguousarray(command, np.float64).tobytes())
        except (Ended, TimeoutError) as error:
            raise self._lost(error) from error

    def reset(self, seed: int | None = None) -> Observation:
        return self._seen(Kind.RESET, SEED.pack(-1 if seed is None else seed))

    def close(self) -> None:
        """The body is let go of there. Safe to call twice."""
        if not self._ended:
            self._ended = "the body was closed"
            try:
                self._sock.settimeout(LONGEST)
                send(self._sock, Kind.CLOSE)
                while receive(self._sock)[0] is not Kind.CLOSED:
                    pass
            except (Ended, TimeoutError, RobotFault):
                self._sock.close()
        self._sock.close()

    def _seen(self, kind: Kind, payload: bytes) -> Observation:
        if self._ended:
            raise RobotFault(self._ended)
        try:
            return observation(answer_to(self._sock, kind, payload, ANSWERS), self.embodiment)
        except (Ended, TimeoutError) as error:
            raise self._lost(error) from error
        except Refused as refused:
            if refused.stopped:
                self._ended = str(refused.fault)
            raise refused.fault from None

    def _lost(self, error: Exception) -> RobotFault:
        self._sock.close()
        self._ended = (
            f"the connection to the body at {self.where} is lost ({error}); its watchdog brakes the robot there. Next: look at the "
            "robot, then start again"
        )
        return RobotFault(self._ended)


def tuned(sock: socket.socket) -> None:
    """Commands are sent at once, and a peer that is gone without a word is noticed within a few seconds, also at rest."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", 2), ("TCP_KEEPINTVL", 1), ("TCP_KEEPCNT", 3), ("TCP_USER_TIMEOUT", 4000)):
        if hasattr(socket, name):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
