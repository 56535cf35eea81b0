"""A policy for other computers, over websocket: wire-compatible with openpi's clients, and more with those of palmar (`protocol`).

Inference runs on a thread of its own (`engine`), so that one slow answer blocks nobody's keepalive. Nothing that arrives is
unpickled or executed; what is too large, too many, too often or not what it says it is gets an answer in words, and the
connection ends.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import secrets
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from palmar.adapters.openpi import Environment
from palmar.adapters.wire import pack, unpack
from palmar.errors import BadValue, RobotFault, UserError, need
from palmar.ranges import Bytes, Clients, Hertz, Port, Seconds, check_ranges
from palmar.runtime.correcting import corrector
from palmar.serve.allowance import Allowance
from palmar.serve.engine import Answer, Engine
from palmar.serve.metrics import Metrics
from palmar.serve.protocol import Asked, metadata, read_request, reply
from palmar.serve.reach import check_certificate, check_key, check_reach, tls_context
from palmar.types import Observation, Policy

if TYPE_CHECKING:
    from websockets.asyncio.server import Server, ServerConnection
    from websockets.http11 import Request, Response

log = logging.getLogger("palmar.serve")


@dataclass(frozen=True)
class ServeConfig:
    """host, port: where to listen; port 0 for any that is free. connections: clients at a time. rate: requests a second that one
    client may send on average; it waits for what is more. largest: bytes of a request; None: twice what the pictures of the policy
    need. patience: seconds that inference, a handshake, or a client that does not read may take. key: what clients must send,
    "" for none. certificate, private_key: PEM files for TLS. open: other computers may connect without a key.
    """

    host: str = "127.0.0.1"
    port: Port = 8000
    connections: Clients = 16
    rate: Hertz = 200.0
    largest: Bytes = None
    patience: Seconds = 10.0
    key: str = ""
    certificate: Path | None = None
    private_key: Path | None = None
    open: bool = False

    def __post_init__(self) -> None:
        check_ranges(self)
        check_key(self.key)
        check_reach(self.host, self.key, self.open, "drive the policy")
        check_certificate(self.certificate, self.private_key)

    def context(self) -> ssl.SSLContext | None:
        """For TLS; None without. Raises `BadFile` for a certificate or key that cannot be used."""
        return tls_context(self.certificate, self.private_key)


class PolicyServer:
    """policy: what is served. name, fingerprint: what clients are told of it (`protocol.metadata`).

    `run` serves until it is cancelled; `address` is where, once it does. Raises `BadValue` for a policy that corrects actions
    between chunks (`runtime.correcting`).
    """

    def __init__(
        self, policy: Policy, config: ServeConfig | None = None, name: str = "policy", fingerprint: str = ""
    ) -> None:
        need("websockets", "serve")
        need("msgpack", "serve")
        if corrector(policy) is not None:
            raise BadValue(
                f"'{name}' corrects each action from the newest observation, which it cannot do from another computer. Next: serve "
                "the policy that it corrects, or run it where the robot is"
            )
        self.config = config or ServeConfig()
        self.context = self.config.context()
        self.engine, self.metrics = Engine(policy), Metrics()
        self.env = Environment.of(policy.interface)
        self.largest = self.config.largest or 2**16 + 2 * sum(3 * h * w for h, w in _largest_pictures(policy))
        self.first = pack(metadata(policy.interface, name, fingerprint))
        self.sessions = 0
        self.address = ""

    def warm(self) -> None:
        """One answer before anybody asks: the first reads files and fills caches, and a client may not wait so long."""
        face = self.engine.policy.interface
        pictures = {c: np.zeros((*size, 3), np.uint8) for c, size in face.cameras.items()}
        blank = Observation(pictures, np.zeros(len(face.state_names), np.float32), "reach")
        session = self.engine.open()
        try:
            self.engine.ask(session, blank, reset=True).result()
            session.reset()
        except Exception as error:  # a black picture may be none that it answers
            log.info("no answer to a first, black picture: %s", error)
        finally:
            self.engine.release(session)

    async def run(self, ready: Callable[[str], None] | None = None) -> None:
        """ready: called with the address once clients can connect. Raises `BadValue` where it cannot listen there."""
        from websockets.asyncio.server import serve

        config = self.config
        try:
            server = serve(
                self._talk, config.host, config.port, compression=None, max_size=self.largest, max_queue=2, origins=[None],
                process_request=self._answer_http, open_timeout=config.patience, close_timeout=2.0, ping_interval=10.0,
                ping_timeout=config.patience, ssl=self.context, server_header=None, logger=log.getChild("websockets"),
            )  # fmt: skip
            async with server as listening:
                self.address = _address(listening, self.context is not None)
                if ready is not None:
                    ready(self.address)
                await listening.serve_forever()
        except OSError as error:
            raise BadValue(
                f"cannot listen on {config.host}:{config.port} ({error.strerror or error}). Next: another --port, or 0 for any"
            ) from error
        finally:
            self.engine.close()

    # ---------------------------------------------------------------------------------------------- before a session

    def _answer_http(self, line: ServerConnection, request: Request) -> Response | None:
        """None for who may have a session; what anybody else is told."""
        if request.path == "/healthz":
            if (hangs := self.engine.computing) > self.config.patience:
                return line.respond(HTTPStatus.SERVICE_UNAVAILABLE, f"inference has hung for {hangs:.0f} s\n")
            return line.respond(HTTPStatus.OK, "OK\n")
        if not self._knows(request.headers.get_all("Authorization")):
            self.metrics.refused("key")
            return line.respond(HTTPStatus.UNAUTHORIZED, "a key is needed: Authorization: Api-Key KEY\n")
        if request.path == "/metrics":
            said = line.respond(HTTPStatus.OK, self.metrics.text())
            del said.headers["Content-Type"]
            said.headers["Content-Type"] = self.metrics.content_type
            return said
        if self.sessions >= (self.config.connections if self.engine.shares else 1):
            self.metrics.refused("connections")
            return line.respond(HTTPStatus.SERVICE_UNAVAILABLE, f"{self.sessions} clients are served, and no more\n")
        return None

    def _knows(self, headers: list[str]) -> bool:
        if not self.config.key:
            return True
        said = headers[0].encode("utf-8", "replace") if len(headers) == 1 else b""
        return hmac.compare_digest(said, f"Api-Key {self.config.key}".encode())

    # ---------------------------------------------------------------------------------------------- a session

    async def _talk(self, line: ServerConnection) -> None:
        from websockets.exceptions import ConnectionClosed

        try:
            session = self.engine.open()
        except BadValue as error:
            await self._refuse(line, str(error), "connections")
            return
        self.sessions += 1
        self.metrics.sessions.set(self.sessions)
        try:
            await self._converse(line, session)
        except ConnectionClosed as error:
            if error.rcvd is None and error.sent is not None and error.sent.code == 1009:
                self.metrics.refused("size")
        except TimeoutError:
            self.metrics.refused("not reading")
            line.transport.abort()
        finally:
            self.sessions -= 1
            self.metrics.sessions.set(self.sessions)
            self.engine.release(session)

    async def _converse(self, line: ServerConnection, session: Policy) -> None:
        await self._send(line, self.first)
        began = time.monotonic()
        allowed, last, previous = Allowance(self.config.rate), -1, 0.0
        async for message in line:
            arrived = time.perf_counter()
            if (wait := allowed.wait(time.monotonic())) > 0:
                self.metrics.slowed.inc()
                await asyncio.sleep(wait)
            try:
                if isinstance(message, str):
                    raise BadValue("a text message; expected msgpack, binary. Next: a client of openpi or of palmar")
                asked = read_request(self.env, unpack(message), time.monotonic() - began)
                if asked.id is not None and asked.id <= last:
                    raise BadValue(
                        f"request {asked.id} after {last}; expected a higher number. Next: what was sent before is not done again"
                    )
                last = last if asked.id is None else asked.id
            except BadValue as error:
                await self._refuse(line, str(error), "request")
                return
            answer = await self._answered(line, session, asked)
            if answer is None:
                return
            timing: dict[str, dict[str, float]] = {"policy_timing": {"infer_ms": answer.seconds * 1e3}}
            timing["server_timing"] = {"infer_ms": answer.seconds * 1e3}
            if previous:
                timing["server_timing"]["prev_total_ms"] = previous
            await self._send(line, pack(reply(answer.chunk, asked, timing)))
            total = time.perf_counter() - arrived
            previous = total * 1e3
            self.metrics.answered(total, answer.seconds, answer.together)

    async def _answered(self, line: ServerConnection, session: Policy, asked: Asked) -> Answer | None:
        """None where the client was told that there is no answer."""
        future = self.engine.ask(session, asked.observation, asked.prefix, asked.reset)
        try:
            return await asyncio.wait_for(asyncio.wrap_future(future), self.config.patience)
        except TimeoutError:
            await self._refuse(line, f"no answer within {self.config.patience:g} s", "timeout", 1011)
        except (UserError, RobotFault) as error:  # says what is wrong with the request, in words made to be shown
            await self._refuse(line, str(error), "request")
        except Exception as error:
            name = secrets.token_hex(4)
            log.exception("inference failed (%s)", name, exc_info=error)
            await self._refuse(line, f"inference failed; the server's log says why under {name}", "failed", 1011)
        return None

    async def _refuse(self, line: ServerConnection, why: str, reason: str, code: int = 1008) -> None:
        """The end of a connection, as openpi's: a text frame, then the close. 1008: the client's fault, 1011: the server's."""
        self.metrics.refused(reason)
        await self._send(line, why)
        await line.close(code, "")

    async def _send(self, line: ServerConnection, message: str | bytes) -> None:
        await asyncio.wait_for(line.send(message), self.config.patience)


def _largest_pictures(policy: Policy) -> list[tuple[int, int]]:
    """For each camera the largest size that is taken."""
    face = policy.interface
    return [max((size, *face.recorded.get(c, ())), key=lambda s: s[0] * s[1]) for c, size in face.cameras.items()]


def _address(server: Server, tls: bool) -> str:
    host, port = next(iter(server.sockets)).getsockname()[:2]
    return f"{'wss' if tls else 'ws'}://{f'[{host}]' if ':' in host else host}:{port}"


async def serve(server: PolicyServer, ready: Callable[[str], None] | None = None) -> None:
    """Until SIGINT or SIGTERM; clients are told that the server goes away (1001)."""
    import signal

    loop, running = asyncio.get_running_loop(), asyncio.current_task()
    assert running is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, running.cancel)
    try:
        await server.run(ready)
    except asyncio.CancelledError:
        log.info("stopped")
