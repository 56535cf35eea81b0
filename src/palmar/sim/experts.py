"""Scripted experts: reactive, privileged, and stateless, so they can label any state a learner gets into (DAgger).

An expert asks the task's plan about the true positions and answers with one action. Every decision is a function of the
present state, with smooth funnels instead of timed phases: what a policy sees is enough to imitate it.
"""

from __future__ import annotations

import numpy as np

from palmar.embodiments import DELTA
from palmar.kinematics import matrix_to_rotvec
from palmar.runtime.control.actions import shorten
from palmar.sim import tasks
from palmar.sim.belief import Belief
from palmar.sim.params import WorldParams
from palmar.sim.task import Go, Speeds, State
from palmar.sim.world import World
from palmar.types import ActionChunk, Array, Observation, Prefix

GAIN = 0.4  # share of the remaining way asked for in one action of 0.1 s: the servos lag by about half an action


class Expert:
    """Does whatever the world's scenario asks. noise: standard deviation of what is added to its motion in 0.1 s [m] (DART).

    believed: world parameters that its plans go by in place of the true ones, so that what knowing them is worth can be
    measured. measured: it finds its gripper by the robot's own joint angles and kinematics, and things through a camera whose
    pose it believes, instead of by simulator truth (`sim.belief`).

    Actions: `ee_delta` of a robot with frames, of which one moves and the others stay; else commands of the channels.
    """

    def __init__(
        self,
        world: World,
        noise: float = 0.0,
        seed: int = 0,
        believed: WorldParams | None = None,
        measured: bool = False,
    ) -> None:
        self.world, self.noise, self.believed, self.measured = world, noise, believed, measured
        self._rng = np.random.default_rng([13, seed])
        robot = world.embodiment
        self.robot = robot.with_action_space("ee_delta" if robot.frames else "channels")
        self.interface = self.robot.interface(horizon=1)
        self._tenths = 10.0 / robot.policy_rate  # of a second, an action lasts

    def reset(self) -> None:
        """Nothing to forget."""

    def act(self, obs: Observation, prefix: Prefix | None = None) -> ActionChunk:
        state: State = self.world
        if self.believed is not None or self.measured:
            state = Belief(
                self.world, self.world.params if self.believed is None else self.believed, obs, self.measured
            )
        plan = tasks.task(self.world.scenario.task).plan(state)
        action = self._moved(plan, state) if isinstance(plan, Go) else self._driven(plan)
        return ActionChunk(action.astype(np.float32)[None], 1.0 / self.robot.policy_rate, obs.time)

    def _moved(self, plan: Go, state: State) -> Array:
        world, robot = self.world, self.robot
        frame, names = world.frame, robot.action_names
        away = plan.goal - state.tcp
        move = shorten(min(1.0, GAIN * self._tenths) * away, plan.step * self._tenths)
        if self.noise:  # less of it close to the goal, where it would only undo the grasp
            share = min(1.0, 0.3 + float(np.linalg.norm(away)) / 0.05) * self._tenths
            move = move + share * self._rng.normal(0, self.noise, 3)
        action = np.zeros(len(names))
        many = f"{frame.name}." if len(robot.frames) > 1 else ""
        for d, value in zip(DELTA[:3], move, strict=True):
            action[names.index(many + d)] = value
        if plan.rotation is not None and frame.rotates:
            turn = matrix_to_rotvec(plan.rotation @ state.place(frame.name)[1].T)
            turn = shorten(min(1.0, GAIN * self._tenths) * turn, plan.turn * self._tenths)
            for d, value in zip(DELTA[3:], turn, strict=True):
                action[names.index(many + d)] = value
        for i in robot.free:
            c = robot.channels[i]
            action[names.index(c.name)] = c.home
            if c.name == world.gripper:
                action[names.index(c.name)] = c.lower + plan.opening * (c.upper - c.lower)
        return action

    def _driven(self, plan: Speeds) -> Array:
        action = np.zeros(len(self.robot.channels))
        for i, c in enumerate(self.robot.channels):
            value = plan.values.get(c.name, 0.0)
            if self.noise:
                value += self._rng.normal(0, 10.0 * self.noise)
            action[i] = np.clip(value, c.lower, c.upper)
        return action
