"""A robot's collision shapes as a MuJoCo model without masses and motors, for distances; and what touches where it stands."""

from __future__ import annotations

from typing import Any

import numpy as np

from palmar.description.gl import import_mujoco
from palmar.embodiments import Embodiment

DRAWS = 200
ALWAYS = 0.95


def shape_model(robot: Embodiment) -> Any:
    """A compiled `mujoco.MjModel` of the joints on the frames' paths and the shapes; joints are named after channels, geoms after
    shapes. Raises `MissingPackage`."""
    mujoco = import_mujoco()
    spec = mujoco.MjSpec()
    bodies: dict[str, Any] = {"": spec.worldbody}
    for name, place in robot.joint_places.items():
        body = bodies[place.before].add_body(name=name, pos=place.offset, quat=place.quat)
        body.mass, body.inertia, body.explicitinertial = 1.0, [1.0, 1.0, 1.0], True
        kind = mujoco.mjtJoint.mjJNT_SLIDE if place.slides else mujoco.mjtJoint.mjJNT_HINGE
        body.add_joint(name=name, type=kind, axis=[0, 0, 1])
        bodies[name] = body
    for s in robot.collision.shapes:
        kind = getattr(mujoco.mjtGeom, f"mjGEOM_{s.kind.upper()}")
        bodies[s.channel].add_geom(name=s.name, type=kind, size=[*s.size, 0.0, 0.0][:3], pos=s.pos, quat=s.quat)
    return spec.compile()


def touching(robot: Embodiment) -> list[tuple[str, str]]:
    """Pairs of shapes that are within the margin at the robot's home, or at nearly all positions (200 drawn): they are drawn so,
    and cannot be kept apart."""
    pairs = robot.collision.pairs({name: place.before for name, place in robot.joint_places.items()})
    if not pairs:
        return []
    mujoco, model = import_mujoco(), shape_model(robot)
    data = mujoco.MjData(model)
    names = [(robot.collision.shapes[i].name, robot.collision.shapes[j].name) for i, j in pairs]
    ids = [(model.geom(a).id, model.geom(b).id) for a, b in names]
    channels = [robot.index(model.joint(k).name) for k in range(model.njnt)]
    scales = np.array([robot.channels[i].to_si for i in channels])
    lower, upper = (np.where(np.isfinite(x), x, s * 3.2) for x, s in ((robot.lower, -1.0), (robot.upper, 1.0)))
    rng = np.random.default_rng(0)
    commands = [robot.home, *(rng.uniform(lower, upper) for _ in range(DRAWS))]
    near = np.zeros((len(commands), len(pairs)), bool)
    for k, command in enumerate(commands):
        data.qpos[:] = command[channels] * scales[:, 0] + scales[:, 1]
        mujoco.mj_kinematics(model, data)
        for p, (a, b) in enumerate(ids):
            near[k, p] = mujoco.mj_geomDistance(model, data, a, b, 1.0, None) < robot.collision.margin
    found = near[0] | (near.mean(axis=0) >= ALWAYS)
    return [names[p] for p in np.flatnonzero(found)]
