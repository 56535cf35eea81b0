"""Effects that remember during an episode: of commands, of what the robot says of itself, and of pictures."""

from __future__ import annotations

from collections import deque

import numpy as np

from palmar.embodiments import Embodiment
from palmar.robot_parts import Camera
from palmar.sim.effects import Fault
from palmar.types import Array


def _degrees(robot: Embodiment, angle: float) -> Array:
    """float64[N]: an angle [deg] in the units of the channels that turn joints, 0 of the others."""
    turning = robot.moves_joint & np.array([c.kind != "prismatic" for c in robot.channels])
    scale = np.array([abs(c.to_si[0]) if c.moves_joint else 1.0 for c in robot.channels])
    return np.where(turning, np.deg2rad(angle) / scale, 0.0)


class Eccentric(Fault):
    """Gears that run out of true: a joint is off by up to `size` [deg], as it turns."""

    def __init__(self, robot: Embodiment, rng: np.random.Generator, size: float) -> None:
        n = len(robot.channels)
        self._size, self._phase = _degrees(robot, size) * rng.uniform(0.5, 1.0, n), rng.uniform(0, 2 * np.pi, n)
        self._turn = np.array([abs(c.to_si[0]) if c.moves_joint else 0.0 for c in robot.channels]) * rng.integers(
            2, 5, n
        )

    def command(self, command: Array, time: float) -> Array:
        return command + self._size * np.sin(self._turn * command + self._phase)


class DeadBand(Fault):
    """A servo that does not stir for less than `size` [deg] of change."""

    def __init__(self, robot: Embodiment, rng: np.random.Generator, size: float) -> None:
        self._band, self._held = _degrees(robot, size), np.zeros(0)

    def command(self, command: Array, time: float) -> Array:
        if not self._held.size:
            self._held = command.copy()
        self._held = np.where(np.abs(command - self._held) > self._band, command, self._held)
        return self._held


class Lost(Fault):
    """A field bus that loses its commands for a while: every second or so the servos keep the last for up to `size` [s]."""

    def __init__(self, robot: Embodiment, rng: np.random.Generator, size: float) -> None:
        self._rng, self._size, self._held = rng, size, np.zeros(0)
        self._until, self._next = 0.0, rng.uniform(0.3, 1.0)

    def command(self, command: Array, time: float) -> Array:
        if time >= self._next:
            self._until = time + self._rng.uniform(0.4, 1.0) * self._size
            self._next = self._until + self._rng.uniform(0.3, 1.2)
        if not self._held.size or time >= self._until:
            self._held = command.copy()
        return self._held


class Late(Fault):
    """Positions that are told `size` ticks late."""

    def __init__(self, robot: Embodiment, rng: np.random.Generator, size: float) -> None:
        self._kept: deque[tuple[float, Array]] = deque(maxlen=round(size) + 1)

    def measured(self, position: Array, time: float) -> Array:
        if not self._kept or self._kept[-1][0] < time:
            self._kept.append((time, position.copy()))
        return self._kept[0][1].copy()


class Drift(Fault):
    """Encoders that warm up: what they say wanders off by `size` [deg] in ten seconds, each its own way."""

    def __init__(self, robot: Embodiment, rng: np.random.Generator, size: float) -> None:
        self._way = _degrees(robot, size) * rng.uniform(-1, 1, len(robot.channels))

    def _off(self, time: float) -> Array:
        return self._way * min(time / 10.0, 1.5)

    def command(self, command: Array, time: float) -> Array:
        return command - self._off(time)

    def measured(self, position: Array, time: float) -> Array:
        return position + self._off(time)


class Sagging(Fault):
    """A camera mount that slips: pictures shift down and aside by half of `size` of their height at once, by all of it in 10 s."""

    def __init__(self, robot: Embodiment, rng: np.random.Generator, size: float) -> None:
        self._size, self._side = size, rng.uniform(-1, 1)

    def picture(self, image: Array, camera: Camera, time: float) -> Array:
        down = self._size * (0.5 + 0.5 * min(time / 10.0, 1.0)) * image.shape[0]
        return _shifted(image, round(down), round(self._side * down))


class Hunting(Fault):
    """Exposure control that hunts: pictures turn brighter and darker, by up to `size` stops."""

    def __init__(self, robot: Embodiment, rng: np.random.Generator, size: float) -> None:
        self._size, self._rate, self._phase = size, rng.uniform(0.3, 0.8), rng.uniform(0, 2 * np.pi)

    def picture(self, image: Array, camera: Camera, time: float) -> Array:
        stops = self._size * np.sin(2 * np.pi * self._rate * time + self._phase)
        return _coded(image.astype(np.float32) * 2.0 ** (stops / 2.2))


class Frozen(Fault):
    """A camera driver that hangs: now and then the same picture for up to `size` [s]."""

    def __init__(self, robot: Embodiment, rng: np.random.Generator, size: float) -> None:
        starts = np.cumsum(rng.uniform(0.8, 1.6, 60) + size)
        self._spells = np.stack([starts, starts + size * rng.uniform(0.5, 1.0, 60)], 1)
        self._last: dict[str, Array] = {}

    def picture(self, image: Array, camera: Camera, time: float) -> Array:
        hangs = bool(np.any((self._spells[:, 0] <= time) & (time < self._spells[:, 1])))
        if not hangs or camera.name not in self._last:
            self._last[camera.name] = image.copy()
        return self._last[camera.name]


class Glare(Fault):
    """A window that shines into the lens: a veil over the picture and a bright patch, as strong as `size` of full white."""

    def __init__(self, robot: Embodiment, rng: np.random.Generator, size: float) -> None:
        self._size, self._at = size, rng.uniform(0.25, 0.75, 2)

    def picture(self, image: Array, camera: Camera, time: float) -> Array:
        v, u = _grid(image)
        patch = np.exp(-((u - self._at[0]) ** 2 + (v - self._at[1]) ** 2) / 0.05)
        white = self._size * (0.35 + 0.65 * patch)[..., None]
        return _coded(image * (1 - white) + 255 * white)


class Dirt(Fault):
    """Finger marks on the lenses: blurred patches that take up to `size` of the contrast there."""

    def __init__(self, robot: Embodiment, rng: np.random.Generator, size: float) -> None:
        self._size, self._at = size, rng.uniform(0.1, 0.9, (4, 2))

    def picture(self, image: Array, camera: Camera, time: float) -> Array:
        v, u = _grid(image)
        mark = np.max([np.exp(-((u - x) ** 2 + (v - y) ** 2) / 0.012) for x, y in self._at], axis=0)
        soft = _blurred(_blurred(image.astype(np.float32), 4), 4)
        a = (self._size * mark)[..., None]
        return _coded(image * (1 - a) + (0.7 * soft + 40) * a)


class Compression(Fault):
    """A video link that saves bits: blocks of 8 pixels lose most of their detail, `size` of it."""

    def __init__(self, robot: Embodiment, rng: np.random.Generator, size: float) -> None:
        self._size = size

    def picture(self, image: Array, camera: Camera, time: float) -> Array:
        h, w = image.shape[0] // 8 * 8, image.shape[1] // 8 * 8
        blocks = image[:h, :w].reshape(h // 8, 8, w // 8, 8, 3).astype(np.float32)
        small = blocks.reshape(h // 8, 2, 4, w // 8, 2, 4, 3).mean((2, 5), keepdims=True)
        flat = np.broadcast_to(small, (h // 8, 2, 4, w // 8, 2, 4, 3)).reshape(blocks.shape)
        out = image.astype(np.float32)
        out[:h, :w] = ((1 - self._size) * blocks + self._size * flat).reshape(h, w, 3)
        return _coded(out)


class Somebody(Fault):
    """Somebody at work behind the robot: dark and skin-coloured shapes that move about, `size` of the picture wide."""

    def __init__(self, robot: Embodiment, rng: np.random.Generator, size: float) -> None:
        self._size, self._phase, self._pace = size, rng.uniform(0, 2 * np.pi), rng.uniform(0.2, 0.5)

    def picture(self, image: Array, camera: Camera, time: float) -> Array:
        v, u = _grid(image)
        at = 0.5 + 0.45 * np.sin(2 * np.pi * self._pace * time + self._phase)
        out = image.astype(np.float32)
        body = (np.abs(u - at) < self._size / 2) & (v < 0.35)
        hand = ((u - at + 0.1) / (0.35 * self._size)) ** 2 + ((v - 0.38) / 0.07) ** 2 < 1
        out[body], out[hand] = (60, 62, 80), (205, 160, 130)
        return _coded(out)


def _grid(image: Array) -> tuple[Array, Array]:
    v, u = np.mgrid[0 : 1 : image.shape[0] * 1j, 0 : 1 : image.shape[1] * 1j]
    return v, u


def _coded(x: Array) -> Array:
    return np.asarray((np.clip(x, 0, 255) + 0.5).astype(np.uint8))


def _blurred(x: Array, half: int) -> Array:
    """Mean over a window of 2 · half + 1 pixels in both directions, edges repeated."""
    for axis in (0, 1):
        pads = [(half + 1, half) if k == axis else (0, 0) for k in range(x.ndim)]
        total = np.cumsum(np.pad(x, pads, mode="edge"), axis=axis)
        n = x.shape[axis]
        top, bottom = np.arange(n) + 2 * half + 1, np.arange(n)
        x = (np.take(total, top, axis) - np.take(total, bottom, axis)) / (2 * half + 1)
    return x


def _shifted(image: Array, down: int, right: int) -> Array:
    """The picture moved, edges repeated."""
    h, w = image.shape[:2]
    rows, columns = np.clip(np.arange(h) - down, 0, h - 1), np.clip(np.arange(w) - right, 0, w - 1)
    return image[rows][:, columns]
