"""A policy on an openpi server: `openpi://host:port`. Needs numpy, websockets and msgpack, but no torch.

The server speaks first (its metadata); then one binary request, one binary reply. A text frame is its error message, and
the connection is dead after it. Source: openpi's `websocket_client_policy` and `websocket_policy_server`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from palmar.adapters.naming import STEPS, misfit, numbered
from palmar.adapters.wire import pack, unpack
from palmar.errors import BadValue, RobotFault, UnknownName, need
from palmar.mapping import Interface
from palmar.types import ActionChunk, Observation, Prefix

if TYPE_CHECKING:
    from websockets.sync.client import ClientConnection

LARGEST = 64 * 2**20  # bytes of a reply
KEY = "OPENPI_API_KEY"  # environment variable


@dataclass(frozen=True)
class Environment:
    """What the model of a server was trained in, which the protocol does not say.

    images: {camera of the interface: its key in a request}. state: {key in a request: how many values}, which together are the
    state of the interface, in its order.
    """

    interface: Interface
    images: Mapping[str, str]
    state: Mapping[str, int]
    prompt: str = "prompt"

    def __post_init__(self) -> None:
        if set(self.images) != set(self.interface.cameras):
            raise BadValue(
                f"images are of {', '.join(self.images) or 'none'}; the interface has {', '.join(self.interface.cameras)}. "
                "Next: a key for each camera of the interface"
            )
        if (count := sum(self.state.values())) != len(self.interface.state_names):
            raise BadValue(
                f"state takes {count} values; the interface has {len(self.interface.state_names)}. Next: one for each name"
            )


SIZE = (224, 224)  # px, to which openpi's own clients pad pictures
ENVIRONMENTS = {
    "libero": Environment(
        Interface(
            {"image": SIZE, "wrist_image": SIZE},
            ("eef_x", "eef_y", "eef_z", "eef_rx", "eef_ry", "eef_rz", "gripper_left", "gripper_right"),
            STEPS, 10, 1 / 20, state_units=("m",) * 3 + ("rad",) * 3 + ("m",) * 2,
            action_units=("1",) * 6 + ("closing_m1_1",),
        ),
        {"image": "observation/image", "wrist_image": "observation/wrist_image"}, {"observation/state": 8},
    ),
    "droid": Environment(
        Interface(
            {"exterior_image_1_left": SIZE, "wrist_image_left": SIZE}, (*numbered("joint_position", 7), "gripper_position"),
            (*numbered("joint_velocity", 7), "gripper_command"), 10, 1 / 15, state_units=("rad",) * 7 + ("closing",),
            action_units=("1",) * 7 + ("closing",),
        ),
        {c: f"observation/{c}" for c in ("exterior_image_1_left", "wrist_image_left")},
        {"observation/joint_position": 7, "observation/gripper_position": 1},
    ),
}  # fmt: skip
"""libero: position and axis-angle of the end effector, both fingers; steps of LIBERO's controller, -1 … 1. droid: joint
positions, gripper; joint velocities as shares of DROID's largest, -1 … 1. Source: `examples/libero/main.py` and
`examples/droid/main.py` of github.com/Physical-Intelligence/openpi. Horizon: that of π₀-FAST and of π₀.₅ in LIBERO."""


def load(where: str, env: str | Environment = "libero", horizon: int = 0, **options: Any) -> OpenPiPolicy:
    """The policy at `//host:port` (or a whole ws:// or wss:// address). env: a name of `ENVIRONMENTS`, or one of your own.
    horizon: how many actions of an answer are taken, 0 for as many as the environment says; a server that answers fewer is
    refused. The key a server may want is taken from the environment variable OPENPI_API_KEY."""
    if isinstance(env, str):
        if env not in ENVIRONMENTS:
            raise UnknownName("openpi environment", env, ENVIRONMENTS)
        env = ENVIRONMENTS[env]
    if horizon:
        env = replace(env, interface=replace(env.interface, horizon=horizon))
    address = where if where.startswith(("ws://", "wss://")) else "ws://" + where.removeprefix("//")
    return OpenPiPolicy(address, env, **options)


class OpenPiPolicy:
    """timeout: seconds to wait for a reply. wait: seconds to go on trying to connect. metadata: what the server said of
    itself. timing: {policy_timing, server_timing} of the last reply [ms]."""

    def __init__(self, address: str, env: Environment, timeout: float = 10.0, wait: float = 10.0) -> None:
        need("websockets", "serve")
        need("msgpack", "serve")
        self.address, self.env, self.timeout, self.wait = address, env, timeout, wait
        self.interface = env.interface
        self.metadata: Mapping[str, Any] = {}
        self.timing: Mapping[str, Any] = {}
        self._line: ClientConnection | None = None
        self._open = ExitStack()
        self._connect()

    def act(self, obs: Observation, prefix: Prefix | None = None) -> ActionChunk:
        """The server's chunk. `prefix` has no place in the protocol. Raises `BadValue` when the observation does not
        fit `interface`, `RobotFault` when the server fails or answers what does not fit it; the next call connects anew."""
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
        if wrong := misfit(actions, self.interface):
            raise self._dead(f"sends {wrong}: another environment or horizon than env= and horizon= say")
        return ActionChunk(actions[: self.interface.horizon].astype(np.float32), self.interface.dt, obs.time)

    def reset(self) -> None:
        """Nothing: the protocol has no such message, and a server keeps no memory of an episode."""

    def close(self) -> None:
        self._line = None
        self._open.close()

    def request(self, obs: Observation) -> dict[str, Any]:
        """What is sent for an observation. Raises `BadValue` naming what does not fit `interface`."""
        self.interface.check(obs)
        out: dict[str, Any] = {key: np.ascontiguousarray(obs.images[camera]) for camera, key in self.env.images.items()}
        start = 0
        for key, count in self.env.state.items():
            out[key] = np.asarray(obs.state[start : start + count], np.float32)
            start += count
        return out | {self.env.prompt: obs.instruction}

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
