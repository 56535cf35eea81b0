"""The control path, one value a rollout takes: action space → guards → command."""

from __future__ import annotations

from palmar.embodiments import Embodiment
from palmar.runtime.actions import ActionSpace, action_space, holding, resting
from palmar.runtime.safety import Safety
from palmar.types import Array, Observation, Verdict

HALTS = frozenset({"controller", "stale", "tracking", "effort", "jump", "nan"})
"""Guards that brake whatever was asked for: the action space then begins anew."""


class Control:
    """From the current action to a command that is safe to send.

    space: what the policy's actions mean (`actions.action_space` of the robot). safety: the guards, with the robot's own
    limits; another instance where a test or a study wants other guards.
    """

    def __init__(self, robot: Embodiment, safety: Safety | None = None, space: ActionSpace | None = None) -> None:
        self.robot = robot
        self.safety = safety or Safety(robot)
        self.space = space or action_space(robot)

    def reset(self, command: Array) -> None:
        """The robot rests at this command, float64[N]."""
        self.safety.reset(command)
        self.space.reset(self.safety.command)
        self.command = self.safety.command

    def step(
        self, sampled: tuple[Array, float] | None, share: float, obs: Observation, now: float
    ) -> tuple[Array, Verdict]:
        """What was asked for, float64[N], and what is sent.

        sampled: the current action float32[A] and its phase when the tick begins, None when there is no action: joints and
        openings hold, speeds go to 0. share: part of the action's time one tick takes.
        """
        if sampled is None:
            self.space.reset(self.command)  # what comes next starts from where the robot rests
            target = resting(self.robot, self.command)
        else:
            target = self.space.target(sampled[0], share, sampled[1] + share, self.command)
        verdict = self.safety.check(target, obs, now)
        self.command = verdict.command
        if any(r.guard in HALTS for r in verdict.reasons):
            self.space.reset(self.command)
        return target, verdict

    @property
    def hold(self) -> Array:
        """float32[A]: the action that leaves the robot where it is."""
        return holding(self.robot, self.command)
