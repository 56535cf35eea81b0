"""A policy and a loop to try what may stop a robot with: any robot, on a mock."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from palmar.certify.hostile import excess, spans
from palmar.embodiments import Embodiment
from palmar.runtime.clock import SimClock
from palmar.runtime.control.path import Control
from palmar.runtime.loop import Outcome, Subscriber, rollout
from palmar.runtime.mock import MockBody
from palmar.runtime.safety.filter import Safety
from palmar.runtime.safety.guards import GUARDS
from palmar.runtime.supervision.controller import Controller
from palmar.runtime.worker import Inline
from palmar.types import ActionChunk, Array, Observation, Policy, Prefix

SHARE = 0.03
"""Of a channel's range that it sways by."""


class Sway:
    """Moves every joint to and fro about home. robot: commanded by channels. calls: times it was asked."""

    def __init__(self, robot: Embodiment) -> None:
        self.robot, self.interface, self.calls = robot, robot.interface(8), 0
        low, high = spans(robot)
        side = np.where(high - robot.home > robot.home - low, 1.0, -1.0)
        self.far = robot.home + np.where(robot.moves_joint, side * SHARE * (high - low), 0.0)

    def act(self, obs: Observation, prefix: Prefix | None = None) -> ActionChunk:
        self.calls += 1
        goal = self.far if self.calls % 6 < 3 else self.robot.home
        return ActionChunk(np.tile(goal.astype(np.float32), (8, 1)), self.interface.dt, obs.time)

    def reset(self) -> None:
        """Nothing is kept of an episode."""


def driven(
    robot: Embodiment, policy: Policy, controller: Controller, seconds: float, subscribers: Sequence[Subscriber] = ()
) -> tuple[Array, Outcome]:
    """Commands float64[K, N] and outcome of a mock on simulated time, the controller in charge."""
    body, safety = MockBody(robot), Safety(robot, guards=(*GUARDS, controller))
    outcome = rollout(
        body,
        Inline(policy),
        body.reset(),
        clock=SimClock(),
        control=Control(robot, safety),
        subscribers=(*subscribers, controller),
        stop=controller.over,
        timeout=seconds,
    )
    return np.array(body.commands), outcome


def at_rest(robot: Embodiment, commands: Array) -> bool:
    """Whether the robot moved, kept its limits all the way, and rests at the end."""
    if len(commands) < 3:
        return False
    moved = np.abs(commands - robot.home).max() > 0
    rests = np.allclose(commands[-1], commands[-2], rtol=0, atol=1e-9)
    return bool(moved and rests and max(excess(robot, robot.home, commands).values()) <= 0)
