"""A task at a simulated robot as a Gymnasium environment: `gymnasium.make("palmar/Table-v0", task="pick")`
(`palmar.sim.registered`).

One step is one action of a policy, carried out by the loop's own control path: action space → guards → command, at the robot's
control rate. Needs gymnasium (`pip install palmar[gym]`).
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import gymnasium
import numpy as np
from gymnasium import spaces

from palmar.embodiments import DELTA, Embodiment
from palmar.errors import BadValue, UnknownName
from palmar.robots import robot as robot_named
from palmar.runtime.control.path import Control
from palmar.runtime.loop import resting_command
from palmar.runtime.safety.filter import Safety
from palmar.runtime.safety.guards import GUARDS, saturation
from palmar.sim import rewards, tasks
from palmar.sim.params import Randomization
from palmar.sim.scenario import Split
from palmar.sim.world import World
from palmar.types import Array, Observation

Reward = Literal["sparse", "dense", "shaped"]
LEARNING = tuple(g for g in GUARDS if g is not saturation)
"""All guards but the one that asks whether the units are right: who explores asks for more than the limits allow."""
TABLES = 1_000_000
"""Seeds of tables that a reset draws from: below those that `palmar eval` tests on."""


def action_box(robot: Embodiment) -> spaces.Box:
    """Bounds of an action in the units of `Embodiment.action_units`: the largest step of a frame, the ends of a channel; for one
    without ends a turn either way."""
    low, high = [], []
    if robot.action_space == "ee_delta":
        for frame in robot.frames:
            step = [frame.max_step[0]] * 3 + [frame.max_step[1]] * (len(DELTA) - 3 if frame.rotates else 0)
            low += [-s for s in step]
            high += step
    turn = robot.widths
    for i in robot.free if robot.action_space == "ee_delta" else range(len(robot.channels)):
        c = robot.channels[i]
        low.append(c.lower if np.isfinite(c.lower) else -turn[i])
        high.append(c.upper if np.isfinite(c.upper) else turn[i])
    return spaces.Box(np.array(low, np.float32), np.array(high, np.float32))


class TableEnv(gymnasium.Env[dict[str, Array], Array]):
    """Observation: `state` float32[S] (`Embodiment.state_names`) and, with images, a uint8[H, W, 3] for each camera. The
    instruction is in `info`, as are `is_success`, `state_names`, and `changed`, the share of commands that the guards changed.

    task, robot: which. split, strength: of the tables, and how far worlds differ from the nominal one (0 … 2). images: False
    leaves the cameras off. reward: sparse: 1 when the task is fulfilled; dense: beside it the metres by which the hand came
    nearer to the thing and the thing to its goal (a potential: it does not change which policy is best; Ng et al. 1999);
    shaped: what `sim.rewards` says of the task. truth: also observe `privileged`, float32[P], simulator truth in the order of
    `info["truth_names"]`, with contacts, masses and the world's parameters (`sim.privileged`): for teachers.
    timeout: [s], after which an episode is truncated; so is one that a guard stops, as on a robot that does not follow what
    shakes it (`info["stopped"]`). action_space: of the robot, "" for its own.

    reset(options={"table": SEED}) lays a table of one's choice. Raises `UnknownName`, `BadValue`.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012 - as Gymnasium declares it

    def __init__(
        self,
        task: str = "reach",
        robot: str = "arm7",
        split: Split = "seen",
        strength: float = 0.0,
        images: bool = True,
        reward: Reward = "sparse",
        timeout: float = 15.0,
        action_space: str = "",
        render_mode: str | None = None,
        truth: bool = False,
    ) -> None:
        if reward not in get_args(Reward):
            raise UnknownName("reward", reward, get_args(Reward))
        if render_mode not in (None, "rgb_array"):
            raise UnknownName("render_mode", str(render_mode), ["rgb_array"])
        body = robot_named(robot)
        if action_space:
            if action_space not in body.action_spaces:
                raise UnknownName(f"action space of {robot}", action_space, body.action_spaces)
            body = body.with_action_space(action_space)
        (self.task,) = tasks.chosen((task,), robot)
        tasks.sample(task, split)  # raises for a split there is none of
        self.split, self.strength, self.reward, self.timeout = split, strength, reward, timeout
        if not timeout > 0:
            raise BadValue(f"timeout is {timeout} s; expected more than 0. Next: 15")
        self.render_mode, self._world, self._randomised = (
            render_mode,
            World(body, images=images),
            Randomization(strength),
        )
        self._world.physics = self.truth = truth
        self.robot, self._every = body, round(body.control_rate / body.policy_rate)
        self.metadata = self.metadata | {"render_fps": round(body.policy_rate)}
        self.action_space = action_box(body)
        width = len(body.state_names)
        seen: dict[str, spaces.Space[Any]] = {"state": spaces.Box(-np.inf, np.inf, (width,), np.float32)}
        seen |= {c.name: spaces.Box(0, 255, (c.height, c.width, 3), np.uint8) for c in body.cameras if images}
        if truth:
            seen["privileged"] = spaces.Box(-np.inf, np.inf, (len(self._world.truth_names),), np.float32)
        self.observation_space = spaces.Dict(seen)  # type: ignore[assignment]

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Array], dict[str, Any]]:
        """A table drawn from the seed, or the one in options."""
        super().reset(seed=seed)
        table = (options or {}).get("table")
        table = int(self.np_random.integers(TABLES)) if table is None else table
        scenario = tasks.sample(self.task, self.split, table)
        params = self._randomised.sample(self.np_random)
        self._seen = self._world.load(scenario, params, int(self.np_random.integers(2**31)))
        self._control = Control(self.robot, Safety(self.robot, guards=LEARNING))
        self._control.reset(resting_command(self.robot, self._seen))
        self._ticks = self._changed = 0
        self._potential = self._near()
        return self._shown(self._seen), self._info()

    def step(self, action: Array) -> tuple[dict[str, Array], float, bool, bool, dict[str, Any]]:
        """Carry one action out. Raises `BadValue` for another number of values."""
        wanted = np.asarray(action, np.float32)
        if wanted.shape != self.action_space.shape:
            raise BadValue(
                f"action has shape {list(wanted.shape)}; expected {list(self.action_space.shape or ())}. Next: one value for each "
                f"of {', '.join(self.robot.action_names)}"
            )
        stopped = ""
        for k in range(self._every):
            if k:
                self._seen = self._world.observe(images=False)
            sampled, now = (wanted, k / self._every), self._ticks / self.robot.control_rate
            verdict = self._control.step(sampled, 1.0 / self._every, self._seen, now)[1]
            self._world.apply(verdict.command)
            self._ticks += 1
            self._changed += bool(verdict.reasons)
            stopped = stopped or (str(verdict.fault) if verdict.stop else "")
        self._seen = self._world.observe()
        success, before = self._world.success(), self._potential
        self._potential = self._near()
        late = self._ticks / self.robot.control_rate >= self.timeout - 1e-9
        if self.reward == "shaped":
            reward = rewards.shaped(before, self._potential, success)
        else:
            reward = float(success) + (self._potential - before if self.reward == "dense" else 0.0)
        info = self._info() | ({"stopped": stopped} if stopped else {})
        return self._shown(self._seen), reward, success, late or bool(stopped), info

    def render(self) -> Array | None:
        """uint8[240, 320, 3] for people; None without a render mode."""
        if self.render_mode is None:
            return None
        return self._world.picture(self.robot.cameras[0].name if self.robot.cameras else "front")

    @property
    def world(self) -> World:
        """The world of the table, for experts and teachers."""
        return self._world

    def close(self) -> None:
        self._world.close()

    def _near(self) -> float:
        """The potential of the reward [m]."""
        return (rewards.potential if self.reward == "shaped" else rewards.approach)(self._world)

    def _shown(self, obs: Observation) -> dict[str, Array]:
        truth = {} if obs.privileged is None or not self.truth else {"privileged": obs.privileged}
        return {"state": obs.state, **obs.images, **truth}

    def _info(self) -> dict[str, Any]:
        return {
            "instruction": self._world.scenario.instruction, "is_success": self._world.success(),
            "state_names": self.robot.state_names, **({"truth_names": self._world.truth_names} if self.truth else {}),
            "changed": self._changed / max(self._ticks, 1),
        }  # fmt: skip
