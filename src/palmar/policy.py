"""What drives a robot: anything with `act` and `reset`. Wrap a policy rather than add a flag to one."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Protocol, runtime_checkable

from palmar.errors import BadFile, UnknownName, need
from palmar.types import ActionChunk, Array, Observation


@runtime_checkable
class Policy(Protocol):
    """A scripted expert, a neural policy, a person with a joystick, or a wrapper around one of them."""

    def act(self, obs: Observation, prefix: Array | None = None) -> ActionChunk:
        """The next T actions for what is seen now.

        prefix: float32[d, A] actions that will run while this call computes (real-time chunking); None when there are none.
        """
        ...

    def reset(self) -> None:
        """Forget the past: a new episode begins."""
        ...


class Averaged:
    """Keep the inner policy's newest chunks and answer with their exponentially weighted mean (temporal ensembling).

    Weight exp(-decay · age) with the oldest chunk at age 0. Source: ACT, Zhao et al. 2023, arXiv 2304.13705, §IV-B.
    """

    def __init__(self, inner: Policy, decay: float = 0.01) -> None:
        self.inner, self.decay = inner, decay
        self._chunks: list[ActionChunk] = []

    def reset(self) -> None:
        self._chunks.clear()
        self.inner.reset()

    def act(self, obs: Observation, prefix: Array | None = None) -> ActionChunk:
        import numpy as np

        new = self.inner.act(obs, prefix)
        end = len(new.actions)
        shift = [round((new.t0 - c.t0) / new.dt) for c in self._chunks]
        self._chunks = [c for c, s in zip(self._chunks, shift, strict=True) if 0 <= s < end] + [new]
        total, weight = np.zeros_like(new.actions, dtype=float), np.zeros((end, 1))
        for age, chunk in enumerate(self._chunks):
            s = round((new.t0 - chunk.t0) / new.dt)
            n = len(chunk.actions) - s
            w = np.exp(-self.decay * age)
            total[:n] += w * chunk.actions[s:]
            weight[:n] += w
        mean = (total / weight).astype(np.float32)
        return ActionChunk(mean, new.dt, new.t0, new.confidence, new.done, new.attention)


ADAPTERS = ("openvla", "octo", "lerobot", "openpi")
"""Published systems that `load_policy` reaches as `kind:where`; each is a module of `palmar.models.adapters`."""


def load_policy(where: str, **options: object) -> Policy:
    """A policy from a checkpoint folder, `shipped` for the one inside the package, or `kind:where` of another system:
    openvla:FOLDER, octo:FOLDER, lerobot:FOLDER, or openpi://host:port. options: of that kind's `load`.

    Torch is set to one thread: a small network acts fastest so, and on busy cores many times faster.

    Raises `BadFile` when there is no checkpoint there, `UnknownName` for an unknown kind, `MissingPackage` when torch, or
    what the kind needs, is not installed.
    """
    kind, colon, rest = where.partition(":")
    if colon and kind in ADAPTERS:
        if kind != "openpi":
            _one_thread()
        adapter = importlib.import_module(f"palmar.models.adapters.{kind}")
        loaded: Policy = adapter.load(rest, **options)
        return loaded
    path = shipped() if where == "shipped" else Path(where)
    if not path.exists():
        if colon and kind.isalnum() and len(kind) > 1:
            raise UnknownName("kind of policy", kind, ADAPTERS)
        raise BadFile(f"no checkpoint at '{path}'. Next: train one (palmar train) or use --checkpoint shipped")
    _one_thread()
    from palmar.models.checkpoint import load

    return load(path, **options)  # type: ignore[arg-type]


def _one_thread() -> None:
    need("torch", "learn")
    import torch

    torch.set_num_threads(1)


def shipped() -> Path:
    """The folder of the checkpoint that comes with the package."""
    return Path(__file__).parent / "assets" / "palmar-tiny"
