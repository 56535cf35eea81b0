"""Robots and scenes built with MjSpec from simple shapes: fast to render, nothing to download.

`add_robot` builds any robot from its `Mechanics`; nothing here knows one of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from palmar.description.gl import import_mujoco
from palmar.embodiments import Embodiment
from palmar.kinematics import matrix_to_quat
from palmar.links import Drive, Link, LinkJoint, Mechanics, Mount, Servo, Shape
from palmar.robot_parts import Camera
from palmar.sim import tasks
from palmar.sim.compounds import BUILDERS, FIRM, Material
from palmar.sim.derived import (
    camera_pose,
    contact,
    item_mass,
    item_pose,
    item_scale,
    lamp,
    line_colour,
    paint,
    sliding,
    surface,
    table_colours,
    wall_colours,
)  # fmt: skip
from palmar.sim.params import WorldParams
from palmar.sim.rooms import TABLE, Room
from palmar.sim.scenario import Scenario
from palmar.sim.things import DESTINATIONS, Item

mujoco = import_mujoco()


def build(
    robot: Embodiment, mechanics: Mechanics, scenario: Scenario, params: WorldParams, quality: bool = False,
    dress: Callable[[Any], None] | None = None,
) -> Any:  # fmt: skip
    """A compiled `mujoco.MjModel` of a robot in the room of the scenario's task with its things, under the given parameters.

    quality: render with MuJoCo's defaults instead of our fast settings. The physics are the same. dress: adds to the
    `mujoco.MjSpec` what no task knows of, before it is compiled.
    """
    room = tasks.task(scenario.task).scene.room
    spec = new_spec(mechanics.timestep, quality)
    add_room(spec, params, room, shadows=quality)
    add_robot(spec, robot, mechanics, params)
    for i, item in enumerate(scenario.items):
        add_item(spec, f"item{i}", item, params, i, room)
    if dress is not None:
        dress(spec)
    return spec.compile()


def new_spec(timestep: float = 0.004, quality: bool = False) -> Any:
    """An empty spec with our solver and fast rendering: no shadow map, no multisampling.

    quality: MuJoCo's defaults, a shadow map of 4096² and 4 samples a pixel.
    """
    spec = mujoco.MjSpec()
    spec.compiler.degree = False
    spec.option.timestep = timestep
    spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    spec.option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
    spec.option.impratio = 10.0  # stiff friction, and no slip: grasped objects do not creep
    spec.option.noslip_iterations = 3
    visual = spec.visual
    if not quality:
        visual.quality.shadowsize = visual.quality.offsamples = 0
    getattr(visual, "global").offwidth, getattr(visual, "global").offheight = 640, 480
    visual.map.znear, visual.map.zfar = 0.01, 10.0
    return spec


def add_room(spec: Any, params: WorldParams, room: Room = TABLE, shadows: bool = False) -> None:
    world = spec.worldbody
    ambient, around, direct, at, towards = lamp(params)
    spec.visual.headlight.ambient, spec.visual.headlight.diffuse = list(ambient), list(around)
    spec.visual.headlight.specular = [0, 0, 0]
    light = world.add_light(name="lamp", pos=at, dir=towards)
    light.type = mujoco.mjtLightType.mjLIGHT_DIRECTIONAL
    light.castshadow = shadows
    light.diffuse = list(direct)
    light.specular = [0.1, 0.1, 0.1]
    _checker(spec, "table", *table_colours(params), params["table_grain"])
    _checker(spec, "wall", *wall_colours(params))
    pos, turn = surface(room, params, *room.centre, -0.02)
    world.add_geom(
        name="table", type=mujoco.mjtGeom.mjGEOM_BOX, size=[*room.size, 0.02], pos=pos, quat=matrix_to_quat(turn),
        material="table", friction=_friction(params), solref=contact(params), condim=4,
    )  # fmt: skip
    for name, size, middle in room.walls:
        world.add_geom(name=name, type=mujoco.mjtGeom.mjGEOM_BOX, size=size, pos=middle, material="wall", **_ghost())
    for i, ((x, y), (half_x, half_y)) in enumerate(room.lines):
        pos, turn = surface(room, params, x, y, 2e-4)
        world.add_geom(
            name=f"line{i}", type=_BOX, size=[half_x, half_y, 2e-4], pos=pos, quat=matrix_to_quat(turn),
            rgba=line_colour(params), **_ghost(),
        )  # fmt: skip


def add_robot(spec: Any, robot: Embodiment, mechanics: Mechanics, params: WorldParams) -> None:
    """Links, joints, servos and cameras of a robot; every joint, servo, site and camera keeps the name it has there."""
    bodies: dict[str, Any] = {"": spec.worldbody}
    moves = {c.name for c in robot.channels if c.moves_joint}
    dry = {j: params["joint_friction"] * s.force for s in mechanics.servos if s.channel in moves for j in s.joints}
    for link in mechanics.links:
        bodies[link.name] = _add_link(bodies[link.parent], link, params, dry)
    for point in mechanics.points:
        bodies[point.link].add_site(name=point.name, pos=point.pos, quat=point.quat, group=5)
    cameras = {c.name: c for c in robot.cameras}
    for mount in mechanics.mounts:
        if mount.camera in cameras:
            _add_camera(bodies[mount.link], mount, cameras[mount.camera], params)
    grippers = set(mechanics.grippers.values())
    for servo in mechanics.servos:
        moving = servo.channel in moves
        strength = params["servo_strength"] if moving else params["grip_strength"] if servo.channel in grippers else 1.0
        _add_servo(spec, servo, params["gain"] if moving else 1.0, strength)
    for drive in mechanics.drives:
        _add_drive(spec, drive, params["gain"])


def _add_link(parent: Any, link: Link, params: WorldParams, dry: Mapping[str, float]) -> Any:
    body = parent.add_body(name=link.name, pos=link.pos, quat=link.quat, gravcomp=1.0 if link.floats else 0.0)
    if link.inertia:
        scale = 1.0 if link.tool else params["link_mass"]
        body.mass, body.ipos, body.explicitinertial = link.mass * scale, link.com, True
        inertia = np.array(link.inertia) * scale
        if len(inertia) == 3:
            body.inertia = inertia
        else:
            body.fullinertia = inertia
    for joint in link.joints:
        _add_joint(body, joint, 1.0 if link.tool else params["damping"], dry.get(joint.name, 0.0))
    for shape in link.shapes:
        _add_shape(body, shape, params)
    return body


def _add_joint(body: Any, joint: LinkJoint, damping: float, dry: float) -> None:
    kind = mujoco.mjtJoint.mjJNT_SLIDE if joint.slides else mujoco.mjtJoint.mjJNT_HINGE
    j = body.add_joint(name=joint.name, type=kind, axis=joint.axis)
    if joint.lower is not None and joint.upper is not None:
        j.range = [joint.lower, joint.upper]
    j.damping, j.armature = [joint.damping * damping, 0, 0], joint.armature
    if joint.friction or dry:
        j.frictionloss = joint.friction * damping + dry


def _add_shape(body: Any, shape: Shape, params: WorldParams) -> None:
    more: dict[str, Any] = _ghost()
    if shape.solid:
        friction = [shape.grip * f for f in _friction(params)]
        more = {"friction": friction, "solref": contact(params), "condim": 4, "contype": 2, "conaffinity": 1}
    size = [*shape.size, 0, 0][:3]
    if shape.end is not None:
        where: dict[str, Any] = {"fromto": [*shape.at, *shape.end]}
    else:
        where = {"pos": shape.at, "quat": shape.quat}
    body.add_geom(type=_GEOMS[shape.kind], size=size, rgba=shape.colour, **where, **more)


def _add_camera(body: Any, mount: Mount, camera: Camera, params: WorldParams) -> None:
    pos, quat, fov = camera_pose(mount, camera, params)
    body.add_camera(name=camera.name, pos=pos, quat=quat, fovy=fov)


def _add_servo(spec: Any, servo: Servo, gain: float, strength: float = 1.0) -> None:
    """A servo is named after its channel. Joints that move alike are tied together, and it drives their mean."""
    if len(servo.joints) == 1:
        a = spec.add_actuator(name=servo.channel, target=servo.joints[0], trntype=mujoco.mjtTrn.mjTRN_JOINT)
    else:
        tendon = spec.add_tendon(name=servo.channel)
        for joint in servo.joints:
            tendon.wrap_joint(joint, 1.0 / len(servo.joints))
        for joint in servo.joints[1:]:
            spec.add_equality(
                type=mujoco.mjtEq.mjEQ_JOINT, name1=servo.joints[0], name2=joint,
                objtype=mujoco.mjtObj.mjOBJ_JOINT, data=[0, 1, *[0] * 10], solref=[0.01, 1.0],
            )  # fmt: skip
        a = spec.add_actuator(name=servo.channel, target=servo.channel, trntype=mujoco.mjtTrn.mjTRN_TENDON)
    a.gaintype, a.biastype = mujoco.mjtGain.mjGAIN_FIXED, mujoco.mjtBias.mjBIAS_AFFINE
    kp, kd = servo.kp * gain, servo.kd * gain
    a.gainprm[0], a.biasprm[1], a.biasprm[2] = kp, -kp, -kd
    a.forcelimited, a.forcerange = True, [-servo.force * strength, servo.force * strength]
    if servo.travel is not None:
        a.ctrllimited, a.ctrlrange = True, sorted(servo.travel)


def _add_drive(spec: Any, drive: Drive, gain: float) -> None:
    a = spec.add_actuator(name=drive.channel, target=drive.point, trntype=mujoco.mjtTrn.mjTRN_SITE)
    a.gear = [0, 0, 0, *drive.axis] if drive.turns else [*drive.axis, 0, 0, 0]
    a.gaintype, a.biastype = mujoco.mjtGain.mjGAIN_FIXED, mujoco.mjtBias.mjBIAS_AFFINE
    a.gainprm[0], a.biasprm[2] = drive.kd * gain, -drive.kd * gain
    a.forcelimited, a.forcerange = True, [-drive.force, drive.force]


def add_item(spec: Any, name: str, item: Item, params: WorldParams, index: int = 0, room: Room = TABLE) -> None:
    """A thing on the ground: a free body, or a fixed one where it has no mass of its own. index: its place in the scene."""
    rgba = paint(item.colour, params)
    pos, turn = item_pose(item, index, room, params)
    body = spec.worldbody.add_body(name=name, pos=pos, quat=matrix_to_quat(turn))
    if item.shape in DESTINATIONS:
        _add_destination(body, item.shape, rgba, params)
        return
    if item.mass:
        body.add_freejoint(name=name)
    scale = item_scale(index, params)
    friction = [sliding(params, index), *_friction(params)[1:]]
    if item.kind.geom in BUILDERS:
        look = Material(rgba, friction, contact(params), params["friction"], scale, item_mass(index, params))
        BUILDERS[item.kind.geom](spec, body, name, item, look)
        return
    geom = body.add_geom(
        name=name,
        type=_GEOMS[item.kind.geom],
        size=np.array(item.size) * scale,
        rgba=rgba,
        friction=[item.kind.slip * f for f in friction],
        solref=FIRM if item.kind.firm else contact(params),
        condim=4,
    )
    if item.mass:
        geom.mass = item.mass * item_mass(index, params)
    if item.kind.firm:
        geom.priority = 1
    if item.kind.slip != 1.0:
        geom.condim, geom.priority = 3, 1  # its own friction counts, whatever it touches
    elif item.kind.geom != "box":
        geom.condim, geom.friction = 6, [friction[0], friction[1], 0.003]  # round things come to rest


def _add_destination(body: Any, shape: str, rgba: tuple[float, ...], params: WorldParams) -> None:
    solid = {"friction": _friction(params), "solref": contact(params), "condim": 4, "rgba": rgba}
    if shape == "plate":
        body.add_geom(type=mujoco.mjtGeom.mjGEOM_CYLINDER, size=[0.065, 0.004, 0], pos=[0, 0, 0.004], **solid)
        return
    w, h, t = 0.062, 0.012, 0.004  # a tray: a floor and four low walls
    body.add_geom(type=_BOX, size=[w, w, 0.003], pos=[0, 0, 0.003], **solid)
    for x, y in ((w, 0), (-w, 0), (0, w), (0, -w)):
        size = [t, w + t, h] if x else [w + t, t, h]
        body.add_geom(type=_BOX, size=size, pos=[x, y, h], **solid)


def _friction(params: WorldParams) -> list[float]:
    return [sliding(params), 0.01, 0.0002]


def _ghost() -> dict[str, Any]:
    """A geom that is only seen."""
    return {"contype": 0, "conaffinity": 0, "mass": 0.0}


def _checker(spec: Any, name: str, one: Any, two: Any, repeat: float) -> None:
    spec.add_texture(
        name=name, type=mujoco.mjtTexture.mjTEXTURE_2D, builtin=mujoco.mjtBuiltin.mjBUILTIN_CHECKER,
        rgb1=np.clip(one, 0, 1), rgb2=np.clip(two, 0, 1), width=64, height=64,  # MuJoCo wraps what is over 1 to dark
    )  # fmt: skip
    material = spec.add_material(name=name)
    material.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = name
    material.texrepeat = [repeat, repeat]
    material.specular, material.reflectance = 0.0, 0.0


_BOX, _CAPSULE = mujoco.mjtGeom.mjGEOM_BOX, mujoco.mjtGeom.mjGEOM_CAPSULE
_GEOMS = {
    "box": _BOX, "capsule": _CAPSULE, "cylinder": mujoco.mjtGeom.mjGEOM_CYLINDER, "sphere": mujoco.mjtGeom.mjGEOM_SPHERE,
}  # fmt: skip
