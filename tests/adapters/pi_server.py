"""A policy server on a thread that speaks openpi's protocol, for tests of the client."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any

from websockets.http11 import Response
from websockets.sync.server import ServerConnection, serve

from palmar.adapters.wire import pack, unpack

Answer = Callable[[dict[str, Any]], Any]
"""Observation → what to reply: a map, raw bytes, or an exception to fail with, as the stock server does."""


@contextmanager
def pi_server(answer: Answer, metadata: Any = None):
    """Yields (address '//127.0.0.1:port', list of the Authorization headers seen)."""
    headers: list[str | None] = []

    def talk(line: ServerConnection) -> None:
        headers.append(line.request.headers.get("Authorization"))
        first = {} if metadata is None else metadata
        line.send(first if isinstance(first, bytes | str) else pack(first))
        for message in line:
            said = answer(unpack(message))
            if isinstance(said, Exception):
                line.send(f"Traceback (most recent call last):\n  ...\n{type(said).__name__}: {said}")
                line.close(1011, "Internal server error")
                return
            line.send(said if isinstance(said, bytes) else pack(said))

    def health(line: ServerConnection, request: Any) -> Response | None:
        return line.respond(HTTPStatus.OK, "OK\n") if request.path == "/healthz" else None

    with serve(talk, "127.0.0.1", 0, compression=None, max_size=None, process_request=health) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"//127.0.0.1:{server.socket.getsockname()[1]}", headers
        finally:
            server.shutdown()
            thread.join(5)
