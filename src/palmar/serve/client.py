"""A policy on a server of palmar: `ws://HOST:PORT`, or `wss://` with TLS. Needs numpy, websockets and msgpack, but no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from palmar.adapters.line import Line
from palmar.adapters.openpi import Environment, answered
from palmar.errors import BadValue, PolicyUnreachable
from palmar.runtime.supervision.handshake import KEY
from palmar.serve.protocol import Asked, Served, read_reply, request
from palmar.types import ActionChunk, Observation, Prefix

AGAIN = 0.0
"""How long a connection that was lost is waited for within one call [s]: the loop asks again at its next policy step."""
PING = 2.0
"""Seconds between keepalive pings, and until one that is not answered means that the network is cut."""


def load(address: str, **options: Any) -> RemotePolicy:
    """The policy that the server at an address serves."""
    return RemotePolicy(address, **options)


class RemotePolicy:
    """What the server serves, as a `Policy`: its interface is the server's. The key it may want is taken from the environment
    variable PALMAR_API_KEY.

    timeout: seconds to wait for a reply. wait: seconds to go on trying to connect at first.
    timing: {policy_timing, server_timing} of the last reply [ms].
    """

    def __init__(self, address: str, timeout: float = 10.0, wait: float = 5.0) -> None:
        self.line = Line(address, KEY, timeout, wait, again=AGAIN, ping=PING)
        try:
            self.served = Served.of(self.line.metadata)
        except BadValue as error:
            self.line.close()
            raise BadValue(f"policy server {address}: {error}") from error
        self.interface = self.served.interface
        self.env = Environment.of(self.interface)
        self.timing: Mapping[str, Any] = {}
        self._id, self._reset = 0, True

    def act(self, obs: Observation, prefix: Prefix | None = None) -> ActionChunk:
        """The server's chunk. Raises `BadValue` when the observation does not fit `interface`, `PolicyUnreachable` when the
        server fails, serves another policy now, or answers what does not fit; the next call connects anew."""
        if self.line.lost:
            self.line.close()
        self._id += 1
        asked = Asked(obs, self._id, self._reset, prefix)
        said = request(self.env, asked)  # before a connection is made: it may not fit
        if self.line.closed:
            self._again()
            said = request(self.env, asked := Asked(obs, self._id, True, prefix))  # a new session remembers nothing
        answer = self.line.ask(said)
        self._reset = False
        self.timing = {k: answer[k] for k in ("policy_timing", "server_timing") if k in answer}
        actions = answered(self.line, answer)
        if actions.shape[1] != len(self.interface.action_names):
            raise self.line.failed(
                f"sends actions {list(actions.shape)}; expected [T, {len(self.interface.action_names)}]"
            )
        try:
            return read_reply(answer, actions, asked, self.interface)
        except ValueError as error:
            raise self.line.failed(f"sends {error}") from error

    def reset(self) -> None:
        """The server's policy forgets the episode before it answers next."""
        self._reset = True

    @property
    def unreachable(self) -> PolicyUnreachable | None:
        """Why no answer can be expected now, although nobody has asked: the connection was lost. Costs nothing, from any thread."""
        if not self.line.lost:
            return None
        return PolicyUnreachable(
            f"policy server {self.line.address} is not there any more. Next: look at the server's log"
        )

    def close(self) -> None:
        self.line.close()

    def _again(self) -> None:
        """Connect anew. Raises `PolicyUnreachable` when another policy is served there now."""
        self.line.connect()
        try:
            now = Served.of(self.line.metadata)
        except BadValue as error:
            raise self.line.failed(str(error)) from error
        if now != self.served:
            names = f"'{now.policy}' {now.fingerprint}".strip()
            before = f"'{self.served.policy}' {self.served.fingerprint}".strip()
            raise self.line.failed(f"serves another policy now, {names} instead of {before}")
