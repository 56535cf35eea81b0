"""What a server of palmar says beyond openpi's protocol (`adapters.line`), in one extra entry of each message.

A client of openpi neither sends nor gets it. Metadata: `palmar` = {format, policy, fingerprint, interface, keys}. Request:
`palmar` = {id, time, reset, prefix}. Reply to such a request: `palmar` = {id, t0, dt, confidence, …}, the fields of `ActionChunk`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from palmar.adapters.openpi import Environment
from palmar.errors import BadValue, PalmarError
from palmar.mapping import Interface, interface_from_dict, interface_to_dict
from palmar.types import ActionChunk, Array, Observation, Prefix

FORMAT = 1
ENTRY = "palmar"
NUMBERS = ("confidence", "done")
ARRAYS = ("spread", "features")


def metadata(interface: Interface, policy: str, fingerprint: str) -> dict[str, Any]:
    """What the server says first. policy: its name; fingerprint: of its weights (`models.checkpoint.fingerprint`), "" where
    it has none."""
    env = Environment.of(interface)
    keys = {"images": dict(env.images), "state": dict(env.state), "prompt": env.prompt}
    said = {"format": FORMAT, "policy": policy, "fingerprint": fingerprint, "keys": keys}
    return {ENTRY: said | {"interface": interface_to_dict(interface)}}


@dataclass(frozen=True)
class Served:
    """What a server said of itself. Two that are equal serve the same."""

    interface: Interface
    policy: str
    fingerprint: str

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> Served:
        """Raises `BadValue` for the metadata of another kind of server."""
        mine = said.get(ENTRY)
        if not isinstance(mine, dict):
            raise BadValue(
                "it does not say what it serves: a policy server of another system. Next: openpi://HOST:PORT and env="
            )
        if mine.get("format") != FORMAT:
            raise BadValue(
                f"it speaks format {mine.get('format')!r}; expected {FORMAT}. Next: the same version of palmar on both sides"
            )
        try:
            return cls(interface_from_dict(mine["interface"]), str(mine["policy"]), str(mine["fingerprint"]))
        except (KeyError, TypeError, ValueError, AttributeError, PalmarError) as error:
            raise BadValue(
                f"its interface cannot be read ({type(error).__name__}: {error}). Next: the same version of palmar on both sides"
            ) from error


@dataclass(frozen=True)
class Asked:
    """A request. id: rises in a session, None from a client of openpi. reset: an episode begins."""

    observation: Observation
    id: int | None = None
    reset: bool = False
    prefix: Prefix | None = None


def request(env: Environment, asked: Asked) -> dict[str, Any]:
    """Raises `BadValue` for an observation that does not fit the interface."""
    mine: dict[str, Any] = {"id": asked.id, "time": float(asked.observation.time), "reset": asked.reset}
    if asked.prefix is not None:
        mine["prefix"] = {"actions": asked.prefix.actions, "committed": asked.prefix.committed}
    return env.request(asked.observation) | {ENTRY: mine}


def read_request(env: Environment, message: Any, now: float) -> Asked:
    """now: the time of an observation whose client does not say when it was taken [s]. Raises `BadValue`."""
    if not isinstance(message, dict):
        raise BadValue(f"a request is a {type(message).__name__}; expected a map. Next: a dict of arrays")
    mine = message.get(ENTRY)
    if mine is None:
        return Asked(_checked(env, env.observation(message, now)))
    if not isinstance(mine, dict) or type(mine.get("id")) is not int or mine.get("reset") not in (True, False):
        raise BadValue(
            f"'{ENTRY}' of a request is {str(mine)[:80]}; expected id, time and reset. Next: a client of this version"
        )
    when = mine.get("time")
    if not isinstance(when, int | float) or not math.isfinite(when):
        raise BadValue(f"time of an observation is {when!r}; expected seconds. Next: a finite number")
    obs = _checked(env, env.observation(message, float(when)))
    return Asked(obs, mine["id"], mine["reset"], _prefix(mine.get("prefix"), env.interface))


def _checked(env: Environment, obs: Observation) -> Observation:
    env.interface.check(obs)
    return obs


def _prefix(said: Any, interface: Interface) -> Prefix | None:
    if said is None:
        return None
    actions, committed = (said.get("actions"), said.get("committed")) if isinstance(said, dict) else (None, None)
    width = len(interface.action_names)
    if (
        not isinstance(actions, np.ndarray)
        or actions.dtype.kind != "f"
        or actions.ndim != 2
        or actions.shape[1] != width
        or not np.isfinite(actions).all()
        or type(committed) is not int
    ):
        raise BadValue(f"prefix is no actions [n, {width}] with a number committed. Next: a client of this version")
    return Prefix(actions.astype(np.float32), committed)


def reply(chunk: ActionChunk, asked: Asked, timing: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    """timing: `server_timing` and `policy_timing` [ms], as openpi calls them."""
    out: dict[str, Any] = {"actions": chunk.actions, "state": asked.observation.state} | dict(timing)
    if asked.id is None:
        return out
    mine: dict[str, Any] = {"id": asked.id, "t0": float(chunk.t0), "dt": float(chunk.dt), "execute": chunk.execute}
    mine |= {n: getattr(chunk, n) for n in (*NUMBERS, *ARRAYS)}
    mine["attention"] = None if chunk.attention is None else dict(chunk.attention)
    return out | {ENTRY: mine}


def read_reply(answer: Mapping[str, Any], actions: Array, asked: Asked, interface: Interface) -> ActionChunk:
    """actions: those of the answer [T, A]. Raises `ValueError` for what is no answer to this request."""
    mine = answer.get(ENTRY)
    if not isinstance(mine, dict) or mine.get("id") != asked.id:
        said = mine.get("id") if isinstance(mine, dict) else None
        raise ValueError(f"an answer to request {said}; expected one to {asked.id}")
    if mine.get("t0") != asked.observation.time or mine.get("dt") != interface.dt:
        raise ValueError(
            f"a chunk of t0 {mine.get('t0')!r}, dt {mine.get('dt')!r}; expected {asked.observation.time} and {interface.dt}"
        )
    for name in NUMBERS:
        if not (mine.get(name) is None or (type(mine[name]) in (int, float) and 0 <= mine[name] <= 1)):
            raise ValueError(f"{name} {mine[name]!r}; expected 0 … 1")
    arrays = {n: _array(n, mine.get(n)) for n in ARRAYS}
    looked = mine.get("attention")
    if looked is not None and not isinstance(looked, dict):
        raise ValueError(f"attention that is a {type(looked).__name__}; expected maps by name")
    execute = mine.get("execute")
    if not (execute is None or (type(execute) is int and execute >= 1)):
        raise ValueError(f"execute {execute!r}; expected 1 or more actions")
    maps = {str(k): _array(f"attention of {k}", v) for k, v in (looked or {}).items()}
    attention = {k: v for k, v in maps.items() if v is not None} or None
    return ActionChunk(
        actions.astype(np.float32), interface.dt, asked.observation.time, mine.get("confidence"), mine.get("done"), attention,
        arrays["spread"], execute, features=arrays["features"],
    )  # fmt: skip


def _array(what: str, value: Any) -> Array | None:
    if value is None:
        return None
    if not isinstance(value, np.ndarray) or value.dtype.kind != "f":
        raise ValueError(f"{what} that is a {type(value).__name__}; expected an array of floats")
    return value
