"""The control path, one value a rollout takes: action space → guards → command."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from palmar.embodiments import Embodiment
from palmar.runtime.chunks import Coming
from palmar.runtime.control.actions import ActionSpace, action_space, holding, resting
from palmar.runtime.control.pacing import Pacing
from palmar.runtime.safety.filter import Safety
from palmar.types import Array, Observation, Verdict

HALTS = frozenset({"controller", "stale", "tracking", "effort", "jump", "nan"})
"""Guards that brake whatever was asked for: the action space then begins anew."""


class Control:
    """From the current action to a command that is safe to send.

    space: what the policy's actions mean (`actions.action_space` of the robot). safety: the guards, with the robot's own
    limits; another instance where a test or a study wants other guards. slowing: follow a chunk more slowly along its own path
    before a guard has to clip (`pacing.Pacing`).

    speed: at which the last tick followed the chunk, 0 … 1 of its own.
    """

    def __init__(
        self, robot: Embodiment, safety: Safety | None = None, space: ActionSpace | None = None, slowing: bool = True
    ) -> None:
        self.robot = robot
        self.safety = safety or Safety(robot)
        self.space = space or action_space(robot)
        self.pacing = Pacing(self.space, self.safety) if slowing else None
        self.speed = 1.0

    def reset(self, command: Array) -> None:
        """The robot rests at this command, float64[N]."""
        self.safety.reset(command)
        self.space.reset(self.safety.command)
        self.command = self.safety.command
        self.speed = 1.0
        if self.pacing is not None:
            self.pacing.reset()

    def step(
        self,
        sampled: tuple[Array, float] | None,
        share: float,
        obs: Observation,
        now: float,
        coming: Coming | None = None,
    ) -> tuple[Array, Verdict]:
        """What was asked for, float64[N], and what is sent.

        sampled: the current action float32[A] and its phase when the tick begins, None when there is no action: joints and
        openings hold, speeds go to 0. share: part of the action's time one tick takes. coming: the chunk the action is of;
        None where it is not known, and the action is carried out at full speed.
        """
        self.speed = 1.0
        if sampled is None:
            self.space.reset(self.command)  # what comes next starts from where the robot rests
            target = resting(self.robot, self.command)
            if self.pacing is not None:
                self.pacing.reset()
        elif (led := self._led(sampled, share, coming)) is not None:
            target, self.space, self.speed = led
        else:
            target = self.space.target(sampled[0], share, sampled[1] + share, self.command)
        verdict = self.safety.check(target, obs, now)
        self.command = verdict.command
        if verdict.reasons and self.pacing is not None:
            self.space.deflected(self.pacing.rate(share))
        if any(r.guard in HALTS for r in verdict.reasons):
            self.space.reset(self.command)
            if self.pacing is not None:
                self.pacing.reset()
        return target, verdict

    def _led(
        self, sampled: tuple[Array, float], share: float, coming: Coming | None
    ) -> tuple[Array, ActionSpace, float] | None:
        """What slowing makes of this tick; None where it has nothing to say."""
        if self.pacing is None or coming is None:
            return None
        if not np.array_equal(coming.actions[coming.index], sampled[0]):  # corrected, or blended
            actions = np.array(coming.actions)
            actions[coming.index] = sampled[0]
            coming = replace(coming, actions=actions)
        return self.pacing.step(self.space, coming, share, self.command)

    @property
    def hold(self) -> Array:
        """float32[A]: the action that leaves the robot where it is."""
        return holding(self.robot, self.command)
