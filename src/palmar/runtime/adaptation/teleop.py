"""A person at a keyboard as a policy: keys move the first frame of an arm, or drive a base; for corrections, and for nothing finer.

w s  +x −x   a d  +y −y   r f  +z −z   i k, j l, u o  turn about y, x, z   g  open or close   tab  take over   b  give back
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

import numpy as np

from palmar.embodiments import DELTA, Embodiment
from palmar.errors import BadValue
from palmar.runtime.supervision.deadman import FIRST, GRACE
from palmar.runtime.typed import Typed
from palmar.types import ActionChunk, Array, Observation, Prefix

PAIRS = (("w", "s"), ("a", "d"), ("r", "f"), ("j", "l"), ("i", "k"), ("u", "o"))
GRIP, TAKE, GIVE = "g", "\t", "b"
SPEED, TURN = 0.10, 0.6
"""Of a frame while a key is held [m/s], [rad/s]; well within what an arm may do."""
DRIVE = 0.5
"""Share of the greatest speed of a channel that is driven by its speed."""


class Keys(Protocol):
    """held: whether a key is down now. pressed: whether it has gone down since this was last asked about it. typed: whether it has
    arrived at all, pressed or repeated."""

    def held(self, key: str) -> bool: ...
    def pressed(self, key: str) -> bool: ...
    def typed(self, key: str) -> bool: ...


class Keyboard:
    """The keys of a terminal, which repeats those that are held and never says that one is let go.

    option: what asks for it, in messages. Raises `BadValue` where there is no terminal. `close` puts it back.
    """

    def __init__(
        self, file: int | None = None, now: Callable[[], float] = time.monotonic, option: str = "--correct keys"
    ) -> None:
        self._terminal, self._now = Typed(option, "run it in a terminal", file), now
        self._seen: dict[str, float] = {}
        self._repeats: dict[str, bool] = {}
        self._presses: dict[str, int] = {}
        self._arrived: set[str] = set()

    def held(self, key: str) -> bool:
        self._read()
        within = GRACE if self._repeats.get(key) else FIRST
        return key in self._seen and self._now() - self._seen[key] <= within

    def pressed(self, key: str) -> bool:
        """An even number of presses since the last time is none: whoever asks switches over and back."""
        self._read()
        return self._presses.pop(key, 0) % 2 == 1

    def typed(self, key: str) -> bool:
        """A terminal cannot tell a key that is held from one that is hammered on: for what does no harm when it is said again."""
        self._read()
        arrived = key in self._arrived
        self._arrived.discard(key)
        return arrived

    def _read(self) -> None:
        now = self._now()
        for key in self._terminal.read():
            again = key in self._seen and now - self._seen[key] <= FIRST
            self._presses[key] = self._presses.get(key, 0) + (not again)
            self._repeats[key], self._seen[key] = again, now
            self._arrived.add(key)

    def close(self) -> None:
        self._terminal.close()


class Teleop:
    """A policy whose actions are what a person's keys say. What no key moves stays where the policy before left it.

    robot: in an action space of displacements of frames, or driven by speeds. Raises `BadValue` for another.
    """

    def __init__(self, robot: Embodiment, keys: Keys) -> None:
        self.robot, self.keys, self.interface = robot, keys, robot.interface(2)
        self.moves, self.grips = bindings(robot)
        self._absolute = absolute(robot)
        self._rest: Array | None = None

    def reset(self) -> None:
        self._rest = None
        self.keys.pressed(GRIP)

    def take_over(self, command: Array) -> None:
        """From a policy, where float64[N] was commanded last: what is commanded by its value, such as an opening or a joint on no
        frame's path, stays there. Presses of before count for nothing."""
        self.keys.pressed(GRIP)
        self._rest = np.zeros(len(self.robot.action_names))
        for i in self._absolute:
            self._rest[i] = command[self.robot.index(self.robot.action_names[i])]

    def act(self, obs: Observation, prefix: Prefix | None = None) -> ActionChunk:
        """Without a policy before it (`take_over`), what is commanded by its value stays where it is measured at the first."""
        if self._rest is None:
            self._rest = resting(self.robot, obs)
        action = self._rest.copy()
        for key, (i, value) in self.moves.items():
            if self.keys.held(key):
                action[i] += value
        if self.grips and self.keys.pressed(GRIP):
            for i in self.grips:
                c = self.robot.channels[self.robot.index(self.robot.action_names[i])]
                middle = (c.lower + c.upper) / 2
                action[i] = self._rest[i] = c.lower if self._rest[i] > middle else c.upper
        dt = 1.0 / self.robot.policy_rate
        return ActionChunk(np.stack([action, action]).astype(np.float32), dt, obs.time, execute=1)


def absolute(robot: Embodiment) -> list[int]:
    """Places of the actions that are neither displacements nor speeds."""
    return [
        i for i, name in enumerate(robot.action_names)
        if name.split(".")[-1] not in DELTA and not robot.action_units[i].endswith("/s")
    ]  # fmt: skip


def resting(robot: Embodiment, obs: Observation) -> Array:
    """float64[A]: no displacement, no speed, and the measured value of what is neither; home for what is not measured."""
    rest, measured = np.zeros(len(robot.action_names)), robot.measured(obs.state)
    for i in absolute(robot):
        channel = robot.index(robot.action_names[i])
        c = robot.channels[channel]
        rest[i] = np.clip(measured[channel], c.lower, c.upper) if np.isfinite(measured[channel]) else c.home
    return rest


def bindings(robot: Embodiment) -> tuple[dict[str, tuple[int, float]], tuple[int, ...]]:
    """({key: (place of the action, what it adds while held)}, places of openings). Raises `BadValue` for a robot none of whose
    actions are displacements or speeds."""
    dt, names = 1.0 / robot.policy_rate, robot.action_names
    moves: dict[str, tuple[int, float]] = {}
    if robot.action_space == "ee_delta":
        first = names[0].rpartition(".")[0]
        for (plus, minus), d in zip(PAIRS, DELTA, strict=True):
            name = f"{first}.{d}" if first else d
            if name in names:
                value = (SPEED if d in DELTA[:3] else TURN) * dt
                moves |= {plus: (names.index(name), value), minus: (names.index(name), -value)}
    else:
        driven = [i for i, unit in enumerate(robot.action_units) if unit.endswith("/s")]
        for (plus, minus), i in zip(PAIRS, driven, strict=False):
            value = DRIVE * robot.channels[robot.index(names[i])].upper
            moves |= {plus: (i, value), minus: (i, -value)}
    if not moves:
        raise BadValue(
            f"no keys for {robot.name} in the action space '{robot.action_space}': {', '.join(names)}; expected displacements of a "
            "frame or speeds. Next: a policy that acts in 'ee_delta'"
        )
    grips = tuple(
        i for i, n in enumerate(names)
        if n.split(".")[-1] not in DELTA and robot.channels[robot.index(n)].kind == "opening"
    )  # fmt: skip
    return moves, grips
