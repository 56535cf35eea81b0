"""Between the process that drives a robot and the one its body lives in: messages of fixed layout on a stream socket.

    header    "<2sBxI": b"pb", kind, bytes that follow
    APPLY     float64[N]                         no answer
    OBSERVE   uint8: with pictures               answered by SEEN
    RESET     int64 seed, −1 for none            answered by SEEN
    CLOSE                                        answered by CLOSED
    SEEN      "<dBIH" time [s], state is float64, bit mask of the cameras, bytes of the instruction; float[S]; "<II" height and
              width of each picture; the instruction in UTF-8; uint8[H, W, 3] of each picture
    HELLO     the robot as the text of a robot file, before anything else
    FAULT     uint8: 0 the robot's fault, 1 a mistake in what was asked, 2 stopped by the watchdog; uint8 kind of the request
              that it answers, 0 for none; words in UTF-8

Nothing in a message is code, and none is larger than its robot allows.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Sequence
from enum import IntEnum

import numpy as np

from palmar.embodiments import Embodiment
from palmar.errors import BadValue, RobotFault
from palmar.types import Array, Observation

HEADER = struct.Struct("<2sBxI")
SEEN = struct.Struct("<dBIH")
SIZE = struct.Struct("<II")
SEED = struct.Struct("<q")
MAGIC = b"pb"
LONGEST = 1 << 28
"""Bytes of the longest message: about 80 pictures of 1280 × 720."""


class Kind(IntEnum):
    HELLO = 1
    OBSERVE = 2
    APPLY = 3
    RESET = 4
    CLOSE = 5
    SEEN = 6
    CLOSED = 7
    FAULT = 8


class Fault(IntEnum):
    """What a FAULT message is about."""

    ROBOT = 0
    ASKED = 1
    STOPPED = 2


class Ended(Exception):
    """The other side has closed the connection, or its process has ended."""


def send(sock: socket.socket, kind: Kind, *parts: bytes | memoryview) -> None:
    """One message. Raises `Ended` when nobody is there, TimeoutError when it is not taken within the socket's timeout."""
    size = sum(len(p) if isinstance(p, bytes) else p.nbytes for p in parts)
    try:
        sock.sendall(b"".join((HEADER.pack(MAGIC, kind, size), *(p for p in parts if isinstance(p, bytes)))))
        for p in parts:
            if not isinstance(p, bytes):
                sock.sendall(p)
    except TimeoutError:
        raise
    except OSError as error:
        raise Ended(str(error)) from error


def receive(sock: socket.socket) -> tuple[Kind, memoryview]:
    """The next message. Raises `Ended` when there is none, TimeoutError, `RobotFault` for what is none of these messages."""
    magic, number, size = HEADER.unpack(_exactly(sock, HEADER.size))
    if magic != MAGIC or number not in set(Kind) or size > LONGEST:
        raise RobotFault(
            f"a message begins {magic!r}, kind {number}, {size} bytes; expected {MAGIC!r} and a known kind. Next: the same version "
            "of palmar on both sides"
        )
    return Kind(number), _exactly(sock, size)


def _exactly(sock: socket.socket, size: int) -> memoryview:
    view = memoryview(bytearray(size))
    done = 0
    while done < size:
        try:
            n = sock.recv_into(view[done:])
        except TimeoutError:
            raise
        except OSError as error:
            raise Ended(str(error)) from error
        if n == 0:
            raise Ended("the connection was closed")
        done += n
    return view


def observed(obs: Observation, cameras: Sequence[str]) -> list[bytes | memoryview]:
    """The parts of a SEEN message. cameras: of the robot, in its order. Raises `RobotFault` for a picture of another camera.

    The fixed parts come first, as bytes; pictures follow without a copy.
    """
    if unknown := [name for name in obs.images if name not in cameras]:
        raise RobotFault(
            f"the body answers a picture of camera '{unknown[0]}'; its robot has {', '.join(cameras) or 'none'}. Next: name the "
            "cameras of the robot's file"
        )
    words = obs.instruction.encode()[: 2**16 - 1]
    mask, sizes, pictures = 0, b"", []
    for i, name in enumerate(cameras):
        if (image := obs.images.get(name)) is not None:
            mask |= 1 << i
            sizes += SIZE.pack(*image.shape[:2])
            pictures.append(np.ascontiguousarray(image).reshape(-1).data)
    wide = obs.state.dtype == np.float64
    state = np.ascontiguousarray(obs.state, np.float64 if wide else np.float32)
    return [SEEN.pack(obs.time, wide, mask, len(words)) + state.tobytes() + sizes + words, *pictures]


def observation(payload: memoryview, robot: Embodiment) -> Observation:
    """The observation of a SEEN message: the inverse of `observed`. Raises `RobotFault` when it is none of this robot."""
    try:
        time, wide, mask, length = SEEN.unpack_from(payload)
        at = SEEN.size
        state = np.frombuffer(payload, np.float64 if wide else np.float32, len(robot.state), at).copy()
        at += state.nbytes
        names = [c.name for i, c in enumerate(robot.cameras) if mask >> i & 1]
        sizes = [SIZE.unpack_from(payload, at + SIZE.size * k) for k in range(len(names))]
        at += SIZE.size * len(names)
        words = bytes(payload[at : at + length]).decode()
        at += length
        images: dict[str, Array] = {}
        for name, (height, width) in zip(names, sizes, strict=True):
            images[name] = np.frombuffer(payload, np.uint8, height * width * 3, at).reshape(height, width, 3)
            at += height * width * 3
    except (struct.error, ValueError) as error:
        raise RobotFault(
            f"an observation of {len(payload)} bytes does not fit {robot.name} ({error}). Next: palmar check-body"
        ) from error
    return Observation(images, state, words, time)


class Refused(Exception):
    """A request was answered by a fault. stopped: the watchdog has braked the robot."""

    def __init__(self, fault: RobotFault | BadValue, stopped: bool) -> None:
        super().__init__(str(fault))
        self.fault, self.stopped = fault, stopped


def answer_to(sock: socket.socket, kind: Kind, payload: bytes, timeout: float | None) -> memoryview:
    """Ask, and return what SEEN holds. Raises `Refused` for a fault, also of a command before; `Ended`, TimeoutError."""
    sock.settimeout(timeout)
    send(sock, kind, payload)
    said, answer = receive(sock)
    fault = fault_of(answer) if said is Kind.FAULT else None
    while said is Kind.FAULT and answer[1] == Kind.APPLY:  # of commands before; the answer is still to come
        said, answer = receive(sock)
    if said is Kind.FAULT and answer[0] == Fault.STOPPED:
        raise Refused(fault_of(answer), True)
    if fault is not None or said is Kind.FAULT:
        raise Refused(fault or fault_of(answer), False)
    return answer


def fault_of(payload: memoryview) -> RobotFault | BadValue:
    """What a FAULT message says, to be raised."""
    what, said = payload[0], bytes(payload[2:]).decode(errors="replace")
    if what == Fault.ASKED:
        return BadValue(said)
    if what == Fault.STOPPED:
        return RobotFault(f"{said}; the watchdog brakes the robot. Next: look at the robot, then start again")
    return RobotFault(said)
