"""A Gymnasium environment as a `Body`, `--body gym:ENV --robot FILE.toml`: an action is a command, one a control tick."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from palmar.embodiments import Embodiment
from palmar.errors import BadValue, RobotFault, need
from palmar.types import Array, Observation

STATES = ("state", "agent_pos", "observation.state", "proprio")
"""Under which an environment's observation may hold what the robot measures. An observation that is one array is the state."""


class GymnasiumBody:
    """The environment `name`, driven at `robot.control_rate`; its actions and state are in the units and order of the channels and
    of the state.

    Cameras are found under their names, also inside `pixels` or `images`; where a robot has one camera and the observation none,
    it shows what `render` draws. An environment is over when it terminates or truncates: commands are refused until `reset`.

    Raises `BadValue` for an environment whose actions are not one number for each channel, or whose state or pictures are missing.
    """

    def __init__(self, name: str, robot: Embodiment) -> None:
        need("gymnasium", "gym")
        import gymnasium
        from gymnasium import spaces

        self.embodiment = robot
        try:
            self.env = gymnasium.make(name, render_mode="rgb_array")
        except TypeError:
            self.env = gymnasium.make(name)
        except gymnasium.error.Error as error:
            raise BadValue(
                f"there is no environment '{name}': {error}. Next: import the package that registers it (MODULE:ENV)"
            ) from error
        space, count = self.env.action_space, len(robot.channels)
        if not isinstance(space, spaces.Box) or space.shape != (count,):
            raise BadValue(
                f"'{name}' takes actions {space}; {robot.name} gives {count} numbers: {', '.join(robot.channel_names)}. Next: a "
                "robot file with these actions as channels, or a wrapper around the environment"
            )
        self.name, self._low, self._high = name, space.low, space.high
        self._ticks, self._ended = 0, ""
        self._last: Any = None
        self.reset()

    def observe(self, images: bool = True) -> Observation:
        seen = {}
        if images:
            for camera in self.embodiment.cameras:
                seen[camera.name] = self._picture(camera.name)
        return Observation(seen, self._state(), time=self._ticks / self.embodiment.control_rate)

    def apply(self, command: Array) -> None:
        """Raises `RobotFault` when the environment is over, and for a command outside its action space."""
        if self._ended:
            raise RobotFault(f"'{self.name}' {self._ended}. Next: reset it")
        outside = (command < self._low - 1e-6) | (command > self._high + 1e-6)
        if outside.any():
            i = int(np.argmax(outside))
            raise RobotFault(
                f"command {command[i]:g} of {self.embodiment.channel_names[i]} is outside the environment's {self._low[i]:g} … "
                f"{self._high[i]:g}. Next: limits in the robot file that are within them"
            )
        action = np.clip(command, self._low, self._high).astype(self._low.dtype)
        self._last, _, terminated, truncated, _ = self.env.step(action)
        self._ticks += 1
        self._ended = "has terminated" if terminated else "was truncated" if truncated else ""

    def reset(self, seed: int | None = None) -> Observation:
        self._last, _ = self.env.reset(seed=seed)
        self._ticks, self._ended = 0, ""
        return self.observe()

    def close(self) -> None:
        self.env.close()

    def _state(self) -> Array:
        found = self._last
        if isinstance(found, Mapping):
            key = next((k for k in STATES if k in found), None)
            if key is None:
                raise BadValue(
                    f"'{self.name}' observes {', '.join(map(str, found))}; expected one of {', '.join(STATES)}. Next: a wrapper "
                    "that calls it so"
                )
            found = found[key]
        state = np.asarray(found, np.float32).reshape(-1)
        if len(state) != (width := len(self.embodiment.state)):
            raise BadValue(
                f"'{self.name}' measures {len(state)} numbers; {self.embodiment.name} has {width}: "
                f"{', '.join(self.embodiment.state_names)}. Next: a robot file with this state"
            )
        return state

    def _picture(self, camera: str) -> Array:
        places = [self._last] if isinstance(self._last, Mapping) else []
        places += [p[k] for p in places for k in ("pixels", "images") if isinstance(p.get(k), Mapping)]
        for place in places:
            for key in (camera, f"observation.images.{camera}"):
                if key in place:
                    return np.asarray(place[key])
        if len(self.embodiment.cameras) == 1:
            drawn = self.env.render()
            if isinstance(drawn, np.ndarray):
                return drawn
        raise BadValue(
            f"'{self.name}' shows no camera '{camera}'. Next: a camera of the robot file that is called as in the observation"
        )
