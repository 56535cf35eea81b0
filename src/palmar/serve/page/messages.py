"""Between a run and the process of its page: messages on a stream socket, each JSON and bytes.

    "<II" bytes of the JSON and of the payload; the JSON, an object with its kind under "t"; the payload

Both sides are palmar's own; a message that is none of these ends the connection (`Broken`).
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from typing import Any

SIZES = struct.Struct("<II")
LARGEST = 1 << 27
"""Bytes of a payload: a picture of 6000 × 7000."""
WORDS = 1 << 20
"""Bytes of the JSON."""

Head = dict[str, Any]


class Broken(Exception):
    """The other side has closed the connection, has died, or says what nobody understands."""


def framed(head: Head, payload: bytes | memoryview = b"") -> tuple[bytes, bytes | memoryview]:
    """What is sent for a message, one after the other. Raises ValueError for one that the other side would refuse."""
    words = text_of(head).encode("utf-8", "backslashreplace")
    size = payload.nbytes if isinstance(payload, memoryview) else len(payload)
    if len(words) > WORDS or size > LARGEST:
        raise ValueError(f"'{head['t']}' has {len(words)} and {size} bytes; expected at most {WORDS} and {LARGEST}")
    return SIZES.pack(len(words), size) + words, payload


def text_of(head: Head) -> str:
    """JSON; a number that it has no word for is null."""
    text = json.dumps(head, ensure_ascii=False, default=str)
    if "NaN" in text or "Infinity" in text:
        text = json.dumps(json.loads(text, parse_constant=lambda _: None), ensure_ascii=False, allow_nan=False)
    return text


def receive(sock: socket.socket) -> tuple[Head, bytes]:
    """The next message, waited for. Raises `Broken`."""
    words, size = _sizes(_exactly(sock, SIZES.size))
    return _head(_exactly(sock, words)), _exactly(sock, size)


async def receive_async(reader: asyncio.StreamReader) -> tuple[Head, bytes]:
    """The same on an event loop."""
    try:
        words, size = _sizes(await reader.readexactly(SIZES.size))
        return _head(await reader.readexactly(words)), await reader.readexactly(size)
    except (asyncio.IncompleteReadError, OSError) as error:
        raise Broken(str(error)) from error


def _sizes(data: bytes) -> tuple[int, int]:
    words, size = SIZES.unpack(data)
    if words > WORDS or size > LARGEST:
        raise Broken(f"a message of {words} and {size} bytes; expected at most {WORDS} and {LARGEST}")
    return words, size


def _head(data: bytes) -> Head:
    try:
        head = json.loads(data)
    except ValueError as error:
        raise Broken(f"a message that is no JSON ({error})") from error
    if not isinstance(head, dict) or not isinstance(head.get("t"), str):
        raise Broken("a message without its kind")
    return head


def _exactly(sock: socket.socket, size: int) -> bytes:
    data, at = bytearray(size), 0
    while at < size:
        try:
            n = sock.recv_into(memoryview(data)[at:])
        except OSError as error:
            raise Broken(str(error)) from error
        if n == 0:
            raise Broken("the connection was closed")
        at += n
    return bytes(data)
