"""A policy on an openpi server: `openpi://host:port`. Needs numpy, websockets and msgpack, but no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from palmar.adapters.line import Line
from palmar.adapters.naming import STEPS, misfit, numbered
from palmar.errors import BadValue, UnknownName
from palmar.mapping import Interface
from palmar.types import ActionChunk, Array, Observation, Prefix

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

    @classmethod
    def of(cls, interface: Interface) -> Environment:
        """The keys of a server of palmar: observation/CAMERA, observation/state, prompt."""
        width = len(interface.state_names)
        return cls(
            interface, {c: f"observation/{c}" for c in interface.cameras}, {"observation/state": width} if width else {}
        )

    def request(self, obs: Observation) -> dict[str, Any]:
        """What is sent for an observation. Raises `BadValue` naming what does not fit `interface`."""
        self.interface.check(obs)
        out: dict[str, Any] = {key: np.ascontiguousarray(obs.images[camera]) for camera, key in self.images.items()}
        start = 0
        for key, count in self.state.items():
            out[key] = np.asarray(obs.state[start : start + count], np.float32)
            start += count
        return out | {self.prompt: obs.instruction}

    def observation(self, request: Mapping[str, Any], now: float) -> Observation:
        """The inverse of `request`. Raises `BadValue` naming what is missing or is no picture, no state or no text."""
        images, state = {}, [np.zeros(0, np.float32)]
        for camera, key in self.images.items():
            picture = self._array(request, key)
            if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
                raise BadValue(
                    f"'{key}' is {picture.dtype}{list(picture.shape)}; expected uint8[H, W, 3] RGB. Next: RGB pictures as uint8"
                )
            images[camera] = picture.copy()  # what came over the wire cannot be written to
        for key, count in self.state.items():
            part = self._array(request, key)
            if part.dtype.kind not in "iuf" or part.shape != (count,):
                raise BadValue(
                    f"'{key}' is {part.dtype}{list(part.shape)}; expected {count} numbers. Next: a flat array of them"
                )
            state.append(part.astype(np.float32))
        prompt = request.get(self.prompt)
        if not isinstance(prompt, str):
            raise BadValue(
                f"'{self.prompt}' is a {type(prompt).__name__}; expected text. Next: what the robot is asked to do"
            )
        return Observation(images, np.concatenate(state), prompt, now)

    def _array(self, request: Mapping[str, Any], key: str) -> Array:
        if key not in request:
            have = ", ".join(sorted(map(str, request))[:8]) or "none"
            raise BadValue(
                f"'{key}' is missing (given: {have}). Next: send {', '.join((*self.images.values(), *self.state))}"
            )
        value = request[key]
        if not isinstance(value, np.ndarray):
            raise BadValue(f"'{key}' is a {type(value).__name__}; expected a numpy array. Next: pack it as one")
        return value


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
    """A policy behind `Line`. timeout: seconds to wait for a reply. wait: seconds to go on trying to connect. timing:
    {policy_timing, server_timing} of the last reply [ms]."""

    def __init__(self, address: str, env: Environment, timeout: float = 10.0, wait: float = 10.0) -> None:
        self.env, self.interface = env, env.interface
        self.timing: Mapping[str, Any] = {}
        self.line = Line(address, KEY, timeout, wait, again=wait)

    @property
    def metadata(self) -> Mapping[str, Any]:
        """What the server said of itself."""
        return self.line.metadata

    def act(self, obs: Observation, prefix: Prefix | None = None) -> ActionChunk:
        """The server's chunk. `prefix` has no place in the protocol. Raises `BadValue` when the observation does not
        fit `interface`, `PolicyUnreachable` when the server fails or answers what does not fit it; the next call connects anew."""
        answer = self.line.ask(self.env.request(obs))
        self.timing = {k: answer[k] for k in ("policy_timing", "server_timing") if k in answer}
        actions = answered(self.line, answer)
        if wrong := misfit(actions, self.interface):
            raise self.line.failed(f"sends {wrong}: another environment or horizon than env= and horizon= say")
        return ActionChunk(actions[: self.interface.horizon].astype(np.float32), self.interface.dt, obs.time)

    def reset(self) -> None:
        """Nothing: the protocol has no such message, and a server keeps no memory of an episode."""

    def close(self) -> None:
        self.line.close()


def answered(line: Line, answer: Mapping[str, Any]) -> Array:
    """The actions [T, A] of a reply. Raises `PolicyUnreachable` where there are none."""
    actions = answer.get("actions")
    if not isinstance(actions, np.ndarray) or actions.ndim != 2 or len(actions) == 0:
        got = type(actions).__name__ if not isinstance(actions, np.ndarray) else f"array {list(actions.shape)}"
        raise line.failed(f"sends actions that are a {got}; expected an array [T, A]")
    return actions
