"""Simulate a recorded motion under other parameters: the arm alone, many candidates in one batch; and a sliding cube."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from palmar.embodiments import Embodiment
from palmar.links import Mechanics
from palmar.robots import mechanics
from palmar.robots.arm7 import GRIPPER_WIDTH
from palmar.sim.params import WorldParams
from palmar.sim.scenes import add_item, add_robot, add_room, mujoco, new_spec
from palmar.sim.things import Item
from palmar.transfer.search import GRAVITY
from palmar.types import Array

SPIN = 2.0  # the swing turns the cube as it turns the hand [rad/s]
NONE = slice(0, 0)
ARM = ("gain", "damping", "link_mass", "action_delay", GRAVITY)


def arm_model(
    robot: Embodiment, values: Mapping[str, float], timestep: float = 0.004, parts: Mechanics | None = None
) -> Any:
    """The arm alone, compiled with the parameters of `ARM` in `values`. No constraints: nothing is touched. parts: the robot's,
    where they are known already."""
    spec = new_spec(timestep)
    add_robot(
        spec,
        robot,
        parts or mechanics(robot),
        WorldParams({k: v for k, v in values.items() if k in ("gain", "damping", "link_mass")}),
    )
    spec.option.disableflags |= mujoco.mjtDisableBit.mjDSBL_CONSTRAINT
    model = spec.compile()
    model.body_gravcomp[model.body_gravcomp > 0] = values.get(GRAVITY, 1.0)
    return model


def delayed(command: Array, delay: float) -> Array:
    """The commands [..., T, A] as they arrive `delay` ticks late; a part of a tick blends two neighbours.

    Before the first, the first was held.
    """
    whole = int(np.floor(delay))
    part = delay - whole
    later = np.concatenate([np.repeat(command[..., :1, :], whole + 1, axis=-2), command], axis=-2)
    T = command.shape[-2]
    return (1 - part) * later[..., 1 : T + 1, :] + part * later[..., :T, :]


def simulate_arm(
    robot: Embodiment,
    candidates: Sequence[Mapping[str, float]],
    command: Array,
    start: Array,
    noise: Array | None = None,
    unlimited: slice = NONE,
) -> tuple[Array, Array]:
    """Joint angles [K, R, T, J] [rad] and velocities [rad/s] one tick after each command, for K candidate parameter sets.

    command: [T, J+1]. start: [J] where the arm rests first. noise: [R, T, J], or [K, R, T, J], added to the commands as they
    arrive [rad] (R = 1 without): added before, a part of a tick of delay would blend it with its neighbour and make it weaker.
    unlimited: joints whose motors have no limit of torque here.
    """
    from mujoco import rollout

    J, T = len(start), len(command)
    noise = np.zeros((1, T, J)) if noise is None else noise
    noise = np.broadcast_to(noise, (len(candidates), *noise.shape[-3:]))
    parts = mechanics(robot)
    models = [arm_model(robot, c, parts=parts) for c in candidates]
    for m in models:
        m.actuator_forcerange[unlimited] *= 1e3
    m = models[0]
    substeps = round(1.0 / robot.control_rate / m.opt.timestep)
    ctrl = command.astype(float)
    ctrl[:, J] *= GRIPPER_WIDTH / 2
    late = np.stack([delayed(ctrl, c.get("action_delay", 0.0)) for c in candidates])
    arrived = np.repeat(late[:, None], noise.shape[1], axis=1)  # [K, R, T, J+1]
    arrived[..., :J] += noise
    arrived = arrived.reshape(-1, T, J + 1)
    data = mujoco.MjData(m)
    data.qpos[:J], data.qpos[J:] = start, GRIPPER_WIDTH / 2
    size = mujoco.mj_stateSize(m, mujoco.mjtState.mjSTATE_FULLPHYSICS)
    state = np.empty(size)
    mujoco.mj_getState(m, data, state, mujoco.mjtState.mjSTATE_FULLPHYSICS)
    states, _ = rollout.rollout(
        [m for m in models for _ in range(noise.shape[1])], data, np.tile(state, (len(arrived), 1)),
        np.repeat(arrived, substeps, axis=1),
    )  # fmt: skip
    ticks = states[:, substeps - 1 :: substeps].reshape(*noise.shape[:3], -1)
    nq = m.nq
    return ticks[..., 1 : 1 + J], ticks[..., 1 + nq : 1 + nq + J]


def simulate_slide(friction: Array, speed: Array, ticks: int, dt: float, timestep: float = 0.004) -> Array:
    """Way [K, ticks] [m] of the diagnostic cube that starts at 0 with `speed` [K] [m/s] at `friction` [K], once a tick."""
    from mujoco import rollout

    compiled = {float(mu): _slide_model(float(mu), timestep) for mu in set(friction)}
    kind = mujoco.mjtState.mjSTATE_FULLPHYSICS
    states = []
    for mu, v in zip(friction, speed, strict=True):
        m = compiled[float(mu)]
        data = mujoco.MjData(m)
        mujoco.mj_step(m, data, 20)  # settle
        data.qpos[0], data.qvel[:], data.qvel[0], data.qvel[5] = 0.0, 0.0, v, SPIN
        states.append(np.empty(mujoco.mj_stateSize(m, kind)))
        mujoco.mj_getState(m, data, states[-1], kind)
    substeps = round(dt / timestep)
    models = [compiled[float(mu)] for mu in friction]
    out, _ = rollout.rollout(models, mujoco.MjData(models[0]), np.array(states), nstep=(ticks - 1) * substeps)
    return np.concatenate([np.zeros((len(models), 1)), out[:, substeps - 1 :: substeps, 1]], axis=1)


def _slide_model(friction: float, timestep: float) -> Any:
    spec, params = new_spec(timestep), WorldParams({"friction": friction})
    add_room(spec, params)
    add_item(spec, "item0", Item("cube", "red", 0.0, 0.0), params)
    next(g for g in spec.geoms if g.name == "table").size = [3.0, 3.0, 0.02]  # a long table: only the way matters
    return spec.compile()
