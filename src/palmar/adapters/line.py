"""The client's end of openpi's protocol: one request, one reply. Needs websockets and msgpack, no torch.

The server speaks first (its metadata); then one binary request, one binary reply. A text frame is its error message, and
the connection is dead after it. Source: openpi's `websocket_client_policy` and `websocket_policy_server`.
"""

from __future__ import annotations

import os
import ssl
import time
from collections.abc import Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from palmar.adapters.wire import pack, unpack
from palmar.errors import BadValue, PolicyUnreachable, need

if TYPE_CHECKING:
    from websockets.sync.client import ClientConnection

LARGEST = 64 * 2**20  # bytes of a reply
RETRY = 0.1  # seconds between two tries to connect
SHOWN = 300  # characters of a server's error message


class Line:
    """A connection to a policy server, opened at once and anew after it was lost.

    address: ws:// or wss://. key: environment variable that holds the server's key, if it wants one. timeout: seconds to wait for a
    reply. wait: seconds to go on trying while nobody listens there, at first; `again` later. ping: seconds between keepalive
    pings; None for a server that answers none while it computes. metadata: what the server said of itself.
    """

    def __init__(
        self,
        address: str,
        key: str,
        timeout: float = 10.0,
        wait: float = 10.0,
        again: float = 10.0,
        ping: float | None = None,
    ) -> None:
        need("websockets", "serve")
        need("msgpack", "serve")
        self.address, self.key, self.timeout, self.wait, self.again, self.ping = (
            address, key, timeout, wait, again, ping,
        )  # fmt: skip
        self.metadata: Mapping[str, Any] = {}
        self.opened = 0  # connections so far
        self._line: ClientConnection | None = None
        self._open = ExitStack()
        self.connect()

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The server's reply. Raises `PolicyUnreachable` when it fails; the next call connects anew."""
        from websockets.exceptions import WebSocketException

        line = self._line or self.connect()
        try:
            line.send(pack(request))
            reply = line.recv(timeout=self.timeout)
        except TimeoutError as e:
            raise self.failed(f"no answer in {self.timeout} s") from e
        except (WebSocketException, OSError) as e:
            raise self.failed(f"lost: {e}") from e
        if isinstance(reply, str):
            raise self.failed(f"reports: {reply.strip().splitlines()[-1][:SHOWN] if reply.strip() else 'an error'}")
        try:
            answer = unpack(reply)
        except BadValue as e:
            raise self.failed(f"sends {e}") from e
        if not isinstance(answer, dict):
            raise self.failed(f"sends a {type(answer).__name__}; expected a map")
        return answer

    @property
    def lost(self) -> bool:
        """Whether the connection that was open is not open any more. Asks nobody, and may be called from any thread."""
        from websockets.protocol import State

        line = self._line
        return line is not None and line.protocol.state is not State.OPEN

    @property
    def closed(self) -> bool:
        """Whether the next `ask` connects anew."""
        return self._line is None

    def close(self) -> None:
        self._line = None
        self._open.close()

    def connect(self) -> ClientConnection:
        """A new connection; `metadata` is what the server says first. Raises `PolicyUnreachable`."""
        from websockets.exceptions import WebSocketException
        from websockets.sync.client import connect

        self.close()
        key = os.environ.get(self.key)
        headers = {"Authorization": f"Api-Key {key}"} if key else None
        until = time.monotonic() + (self.again if self.opened else self.wait)
        while True:
            try:
                connection = connect(
                    self.address, compression=None, max_size=LARGEST, additional_headers=headers, proxy=None,
                    open_timeout=self.timeout, close_timeout=1.0, ping_interval=self.ping, ping_timeout=self.ping,
                )  # fmt: skip
                line = self._open.enter_context(connection)
                first = line.recv(timeout=self.timeout)
                break
            except (OSError, WebSocketException) as e:  # TimeoutError is an OSError
                self.close()
                # an SSLError here is one of threads (`serve.reach.tls_context`): what TLS refuses is raised as it is
                begins = isinstance(e, ConnectionRefusedError) or isinstance(e.__cause__, ssl.SSLError)
                if begins and time.monotonic() < until:
                    time.sleep(RETRY)
                    continue
                raise PolicyUnreachable(
                    f"no policy server at {self.address} ({type(e).__name__}: {e}). Next: {self._advice(e)}"
                ) from e
        if isinstance(first, str):
            raise self.failed(f"reports: {first[:SHOWN]}")
        try:
            said = unpack(first)
        except BadValue as e:
            raise self.failed(f"is no openpi server: it sends {e}") from e
        self.metadata = said if isinstance(said, dict) else {}
        self._line, self.opened = line, self.opened + 1
        return line

    def failed(self, why: str) -> PolicyUnreachable:
        """To be raised; the connection is closed."""
        self.close()
        return PolicyUnreachable(f"policy server {self.address} {why}. Next: look at the server's log")

    def _advice(self, error: Exception) -> str:
        status = getattr(getattr(error, "response", None), "status_code", None)
        if status == 401:
            return f"give its key in the environment variable {self.key}"
        if status == 503:
            return "it serves as many clients as it may; close one, or raise its --connections"
        return "start it, or mend the address"
