"""A robot of the `lerobot` package as a `Body`, `--body "lerobot:TYPE?NAME=VALUE&…" --robot FILE.toml`."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, NoReturn

import numpy as np

from palmar.embodiments import Embodiment
from palmar.errors import BadValue, RobotFault
from palmar.robot_parts import Measurement
from palmar.runtime.bodies.lerobot_device import Asked, answered, asked, connect, make, said
from palmar.runtime.bodies.lerobot_numbers import SIDES, Joined, converted, joined, numbers
from palmar.types import Array, Observation


class LeRobotBody:
    """The robot that `where` names (`lerobot_device.asked`), connected and calibrated as lerobot has it.

    Its motors are the channels of `robot`, joined by name, converted to their units; its cameras are those of `robot`, by name and
    size. An observation is stamped with the seconds since it was connected. `reset` moves nothing.

    What lerobot raises while it is driven becomes a `RobotFault` that names the robot, or the camera that gave no picture; an
    answer that a connected bus misses is asked for once more first. Raises `BadValue` where names, units, pictures or calibration
    do not fit, `RobotFault` where it cannot be connected.
    """

    def __init__(self, where: str, robot: Embodiment) -> None:
        wanted = asked(where)
        self.where, self.embodiment, self._failed = wanted.name, robot, False
        self.device = make(wanted, "robots")
        told = self.device.action_features
        units = numbers(self.device, told, wanted)
        if odd := [n for n in told if n not in units]:
            raise BadValue(f"'{self.where}' is commanded by {', '.join(odd)}, which is no number. Next: another robot")
        self._commands = joined(self.where, units, robot)
        self._state = _state(
            wanted, numbers(self.device, self.device.observation_features, wanted), robot, self._commands
        )
        _check_cameras(self.where, self.device.observation_features, robot)
        for name, camera in getattr(self.device, "cameras", {}).items():
            mode = getattr(camera, "color_mode", "rgb")
            if str(getattr(mode, "value", mode)) != "rgb":
                raise BadValue(
                    f"camera '{name}' of '{self.where}' gives {mode}; expected rgb. Next: leave color_mode out"
                )
        connect(self.device, wanted, self.where, "robot", self._let_go)
        self._began = time.monotonic()

    def observe(self, images: bool = True) -> Observation:
        """lerobot reads motors and cameras in one call; images=False leaves the pictures out."""
        now = time.monotonic() - self._began
        seen = self._call(self.device.get_observation)
        pictures = (
            {c.name: self._picture(seen, c.name, (c.height, c.width)) for c in self.embodiment.cameras}
            if images
            else {}
        )
        return Observation(pictures, self._state.values(seen, f"'{self.where}'").astype(np.float32), time=now)

    def apply(self, command: Array) -> None:
        self._call(lambda: self.device.send_action(self._commands.given(command)))

    def reset(self, seed: int | None = None) -> Observation:
        return self.observe()

    def close(self) -> None:
        """Let go of motors and cameras, one by one where lerobot cannot. Raises `RobotFault` when motors may still hold."""
        try:
            self.device.disconnect()
        except Exception as error:
            left = self._let_go()
            if left and not self._failed:
                raise RobotFault(
                    f"'{self.where}' cannot be let go of: {said(error)}. Next: switch its power off"
                ) from error

    def _call(self, call: Callable[[], Any]) -> Any:
        try:
            return answered(self.device, call)
        except Exception as error:
            self._blame(error)

    def _blame(self, error: Exception) -> NoReturn:
        """Raise the `RobotFault` of what lerobot raised."""
        self._failed = True
        if camera := self._dark(error):
            raise RobotFault(
                f"camera '{camera}' of '{self.where}' gives no picture: {said(error)}. Next: its cable, then start again"
            ) from error
        raise RobotFault(
            f"'{self.where}' does not answer: {said(error)}. Next: its cable and its power, then start again"
        ) from error

    def _dark(self, error: Exception) -> str:
        """The camera that an error is about, "" for none: it is named in the error as lerobot calls it, or is not connected."""
        cameras = getattr(self.device, "cameras", {})
        named = [n for n, camera in cameras.items() if str(camera) in str(error)]
        return next(iter(named), "") or next(
            (n for n, c in cameras.items() if not getattr(c, "is_connected", True)), ""
        )

    def _picture(self, seen: Mapping[str, Any], camera: str, size: tuple[int, int]) -> Array:
        picture = np.asarray(seen.get(camera))
        if picture.shape != (*size, 3) or picture.dtype != np.uint8:
            self._failed = True
            raise RobotFault(
                f"camera '{camera}' of '{self.where}' gives {picture.dtype}{list(picture.shape)}; expected uint8"
                f"{[*size, 3]}. Next: its settings"
            )
        return picture

    def _let_go(self) -> bool:
        """Disconnect each part that can be; whether motors were left as they are."""
        left = False
        for device in (self.device, *(getattr(self.device, f"{s}_arm", None) for s in SIDES)):
            if (bus := getattr(device, "bus", None)) is not None and getattr(bus, "is_connected", False):
                try:
                    bus.disconnect()
                except Exception:
                    left = True
            for camera in getattr(device, "cameras", {}).values():
                with suppress(Exception):
                    camera.disconnect()
        return left


def _state(wanted: Asked, units: Mapping[str, str], robot: Embodiment, commands: Joined) -> Joined:
    """What the robot measures, as `Joined`: positions of channels by their motor, other numbers by their name."""
    motors = dict(zip(robot.channel_names, commands.names, strict=True))
    names, pairs = [], []
    for m in robot.state:
        about = m.quantity == "position" and m.of in motors
        name = motors[m.of] if about else m.name
        if name not in units:
            raise BadValue(
                f"the state of {robot.name} has '{m.name}'; '{wanted.name}' observes {', '.join(units)}. Next: a robot file whose "
                "state is the positions of the channels"
            )
        names.append(name)
        pairs.append(_measured(wanted.name, name, units[name], m, robot))
    scale, offset = np.array(pairs).reshape(-1, 2).T
    return Joined(tuple(names), scale, offset)


def _measured(where: str, name: str, unit: str, m: Measurement, robot: Embodiment) -> tuple[float, float]:
    channel = robot.channels[robot.index(m.of)] if m.of in robot.channel_names else robot.channels[0]
    return converted(where, name, unit, channel, m.unit or (channel.unit if m.quantity == "position" else unit))


def _check_cameras(where: str, features: Mapping[str, Any], robot: Embodiment) -> None:
    """Raise `BadValue` unless the cameras of both have the same names and sizes."""
    theirs = {n: tuple(f[:2]) for n, f in features.items() if isinstance(f, tuple) and len(f) == 3 and f[2] == 3}
    ours = {c.name: (c.height, c.width) for c in robot.cameras}
    for name, size in theirs.items():
        if ours.get(name) != size:
            has = f"{ours[name][0]}×{ours[name][1]} px" if name in ours else "no such camera"
            raise BadValue(
                f"'{where}' has a camera '{name}' of {size[0]}×{size[1]} px; {robot.name} has {has}. Next: [[camera]] name = "
                f'"{name}", height = {size[0]}, width = {size[1]} in the robot file'
            )
    if missing := [n for n in ours if n not in theirs]:
        height, width = ours[missing[0]]
        raise BadValue(
            f"{robot.name} has a camera '{missing[0]}', which '{where}' has not. Next: cameras={{{missing[0]}: {{type: opencv, "
            f"index_or_path: 0, width: {width}, height: {height}, fps: 30}}}} among its settings, or a robot file without it"
        )
