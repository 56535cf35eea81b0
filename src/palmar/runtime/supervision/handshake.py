"""Who may drive a body over the network: the key itself never travels.

body's computer    "palmar body 1\\n", 32 random bytes
loop's computer    HMAC-SHA256 of the key over "driver" and these bytes
body's computer    one byte, `Entry`
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import socket
from enum import IntEnum

from palmar.errors import BadValue, RobotFault

HELLO = b"palmar body 1\n"
KEY = "PALMAR_API_KEY"
"""Environment variable that holds the key, on both sides."""


class Entry(IntEnum):
    WELCOME = 0
    KEY = 1
    BUSY = 2
    ESTOP = 3


WHY = {
    Entry.KEY: f"has another key. Next: the same key in the environment variable {KEY} on both computers",
    Entry.BUSY: "is driven by somebody else. Next: end that run first",
    Entry.ESTOP: "is stopped by its E-STOP. Next: look at the robot, then palmar estop --release there",
}


def _mac(key: str, nonce: bytes) -> bytes:
    return hmac.new(key.encode(), b"driver" + nonce, hashlib.sha256).digest()


def challenge(sock: socket.socket, key: str) -> bool:
    """The body's side: whether the other one has the key, compared in constant time. Raises OSError."""
    nonce = secrets.token_bytes(32)
    sock.sendall(HELLO + nonce)
    return hmac.compare_digest(_exactly(sock, 32), _mac(key, nonce))


def enter(sock: socket.socket, key: str, where: str) -> None:
    """The loop's side. Raises `BadValue` where it may not drive, `RobotFault` for what is no body of palmar; OSError."""
    said = _exactly(sock, len(HELLO) + 32)
    if not said.startswith(HELLO):
        raise RobotFault(
            f"what listens at {where} is no body of palmar ({said[:14]!r}). Next: the address that palmar serve-body prints"
        )
    sock.sendall(_mac(key, said[len(HELLO) :]))
    entry = _exactly(sock, 1)[0]
    if entry != Entry.WELCOME:
        known = WHY.get(Entry(entry)) if entry in set(Entry) else None
        raise BadValue(
            f"the body at {where} {known or f'answers {entry}. Next: the same version of palmar on both sides'}"
        )


def _exactly(sock: socket.socket, size: int) -> bytes:
    got = b""
    while len(got) < size:
        part = sock.recv(size - len(got))
        if not part:
            raise ConnectionError("the connection was closed")
        got += part
    return got
