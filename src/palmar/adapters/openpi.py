"""A policy on an openpi server: `openpi://host:port`. Needs numpy, websockets and msgpack, but no torch.

The server speaks first (its metadata); then one binary request, one binary reply. A text frame is its error message, and
the connection is dead after it. Source: openpi's `websocket_client_policy` and `websocket_policy_server`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from palmar.adapters.wire import pack, unpack
from palmar.errors import BadValue, RobotFault, UnknownName, need
from palmar.types import ActionChunk, Observation, Prefix

if TYPE_CHECKING:
    from websockets.sync.client import ClientConnection

LARGEST = 64 * 2**20  # bytes of a reply
KEY = "OPENPI_API_KEY"  # environment variable


@dataclass(frozen=True)
class Keys:
    """What a server's model calls things. images: {its key: our camera}. state: {its key: which of our state values},
    None for all. dt: seconds an action of it lasts."""

    images: Mapping[str, str]
    state: Mapping[str, Sequence[int] | None] = field(default_factory=dict)
    dt: float = 0.05
    prompt: str = "prompt"


ENVIRONMENTS = {
    "libero": Keys(
        {"observation/image": "front", "observation/wrist_image": "wrist"}, {"observation/state": None}, 1 / 20
    ),
    "droid": Keys(
        {"observation/exterior_image_1_left": "front", "observation/wrist_image_left": "wrist"},
        {"observation/joint_position": range(7), "observation/gripper_position": (7,)},
        1 / 15,
    ),
}


def load(where: str, env: str = "libero", keys: Keys | None = None, **options: Any) -> OpenPiPolicy:
    """The policy at `//host:port` (or a whole ws:// or wss:// address). env: which names it uses (`ENVIRONMENTS`), or
    give `keys`. The key a server may want is taken from the environment variable OPENPI_API_KEY."""
    if keys is None:
        if env not in ENVIRONMENTS:
            raise UnknownName("openpi environment", env, ENVIRONMENTS)
        keys = ENVIRONMENTS[env]
    address = where if where.startswith(("ws://", "wss://")) else "ws://" + where.removeprefix("//")
    return OpenPiPolicy(address, keys, **options)


class OpenPiPolicy:
    """timeout: seconds to wait for a reply. wait: seconds to go on trying to connect. metadata: what the server said of
    itself. timing: {policy_timing, server_timing} of the last reply [ms]."""

    interface = None  # the published files do not name its numbers; a `Mapping` does

    def __init__(self, address: str, keys: Keys, timeout: float = 10.0, wait: float = 10.0) -> None:
        need("websockets", "serve")
        need("msgpack", "serve")
        self.address, self.keys, self.timeout, self.wait = address, keys, timeout, wait
        self.metadata: Mapping[str, Any] = {}
        self.timing: Mapping[str, Any] = {}
        self._line: ClientConnection | None = None
        self._open = ExitStack()
        self._connect()

    def act(self, obs: Observation, prefix: Prefix | None = None) -> ActionChunk:
        """The server's chunk. `prefix` has no place in the protocol. Raises `BadValue` when the observation lacks
        something, `RobotFault` when the server fails; the next call connects anew."""
        request = self.request(obs)
        line = self._line or self._connect()
        from websockets.exceptions import WebSocketException

        try:
            line.send(pack(request))
            reply = line.recv(timeout=self.timeout)
        except TimeoutError as e:
            raise self._dead(f"no answer in {self.timeout} s") from e
        except (WebSocketException, OSError) as e:
            raise self._dead(f"lost: {e}") from e
        if isinstance(reply, str):
            raise self._dead(f"reports: {reply.strip().splitlines()[-1][:300] if reply.strip() else 'an error'}")
        try:
            answer = unpack(reply)
        except BadValue as e:
            raise self._dead(f"sends {e}") from e
        actions = answer.get("actions") if isinstance(answer, dict) else None
        if not isinstance(actions, np.ndarray) or actions.ndim != 2 or len(actions) == 0:
            got = type(actions).__name__ if not isinstance(actions, np.ndarray) else f"array {list(actions.shape)}"
            raise self._dead(f"sends actions that are a {got}; expected an array [T, A]")
        self.timing = {k: answer[k] for k in ("policy_timing", "server_timing") if k in answer}
        return ActionChunk(actions.astype(np.float32), self.keys.dt, obs.time)

    def reset(self) -> None:
        """Nothing: the protocol has no such message, and a server keeps no memory of an episode."""

    def close(self) -> None:
        self._line = None
        self._open.close()

    def request(self, obs: Observation) -> dict[str, Any]:
        """What is sent for an observation. Raises `BadValue` naming what it lacks."""
        out: dict[str, Any] = {}
        for theirs, ours in self.keys.images.items():
            if ours not in obs.images:
                have = ", ".join(obs.images) or "none"
                raise BadValue(f"camera '{ours}' ({theirs}) is missing (given: {have}). Next: name yours in `keys`")
            out[theirs] = np.ascontiguousarray(obs.images[ours])
        for theirs, which in self.keys.state.items():
            if which is not None and max(which) >= len(obs.state):
                raise BadValue(f"{theirs} is state {max(which)}; the state has {len(obs.state)} values")
            out[theirs] = np.asarray(obs.state if which is None else obs.state[list(which)], np.float32)
        return out | {self.keys.prompt: obs.instruction}

    def _connect(self) -> ClientConnection:
        from websockets.exceptions import WebSocketException
        from websockets.sync.client import connect

        key = os.environ.get(KEY)
        headers = {"Authorization": f"Api-Key {key}"} if key else None
        until = time.monotonic() + self.wait
        while True:
            try:
                connection = connect(
                    self.address, compression=None, max_size=LARGEST, additional_headers=headers, proxy=None,
                    open_timeout=self.timeout, close_timeout=1.0,
                    ping_interval=None,  # a stock server answers no ping while it computes
                )  # fmt: skip
                line = self._open.enter_context(connection)
                first = line.recv(timeout=self.timeout)
                break
            except (OSError, WebSocketException) as e:  # TimeoutError is an OSError
                self.close()
                if isinstance(e, ConnectionRefusedError) and time.monotonic() < until:
                    time.sleep(min(0.5, self.wait / 4))
                    continue
                raise RobotFault(
                    f"no policy server at {self.address} ({type(e).__name__}: {e}). Next: start it, or mend the address"
                ) from e
        self._line = line
        if isinstance(first, str):
            raise self._dead(f"reports: {first[:300]}")
        try:
            said = unpack(first)
        except BadValue as e:
            raise self._dead(f"is no openpi server: it sends {e}") from e
        self.metadata = said if isinstance(said, dict) else {}
        return line

    def _dead(self, why: str) -> RobotFault:
        self.close()
        return RobotFault(f"policy server {self.address} {why}. Next: look at the server's log")
