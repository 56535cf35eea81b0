"""Robots and scenes built with MjSpec from simple shapes: fast to render, nothing to download."""

from __future__ import annotations

import colorsys
from typing import Any

import numpy as np

from palmar.description.gl import import_mujoco
from palmar.embodiments import Embodiment
from palmar.kinematics import matrix_to_quat, quat_to_matrix, rotvec_to_matrix
from palmar.robots.arm7 import GRIPPER_WIDTH
from palmar.sim.params import WorldParams
from palmar.sim.tasks import COLOURS, DESTINATIONS, Item, Scenario

mujoco = import_mujoco()

# Identified mass [kg], centre of mass [m] and inertia about it [kg·m²] (xx, yy, zz, xy, xz, yz) of each Panda link.
# Source: Gaz, Cognetti, Oliva, Robuffo Giordano, De Luca 2019, "Dynamic Identification of the Franka Emika Panda Robot".
LINK_INERTIA = (
    (4.970684, (0.003875, 0.002081, -0.04762), (0.70337, 0.70661, 0.0091170, -0.000139, 0.006772, 0.019169)),
    (0.646926, (-0.003141, -0.02872, 0.003495), (0.007962, 0.02811, 0.025995, -0.003925, 0.010254, 0.000704)),
    (3.228604, (0.027518, 0.039252, -0.066502), (0.037242, 0.036155, 0.01083, -0.004761, -0.011396, -0.012805)),
    (3.587895, (-0.05317, 0.104419, 0.027454), (0.025853, 0.019552, 0.028323, 0.007796, -0.001332, 0.008641)),
    (1.225946, (-0.011953, 0.041065, -0.038437), (0.035549, 0.029474, 0.008627, -0.002117, -0.004037, 0.000229)),
    (1.666555, (0.060149, -0.014117, -0.010517), (0.001964, 0.004354, 0.005433, 0.000109, -0.001158, 0.000341)),
    (0.735522, (0.010517, -0.004252, 0.061597), (0.012516, 0.010027, 0.004815, -0.000428, -0.001196, -0.000741)),
)
STIFFNESS = (4500.0, 4500.0, 3500.0, 3500.0, 2000.0, 2000.0, 2000.0)  # joint servos [N·m/rad]
SERVO_DAMPING = (180.0, 180.0, 140.0, 140.0, 80.0, 80.0, 80.0)  # [N·m·s/rad]
JOINT_DAMPING = 20.0  # of the joint itself [N·m·s/rad]; scaled by `damping`
ARMATURE = 0.1  # rotor inertia seen at the joint [kg·m²]
WHITE, GREY, DARK = (0.92, 0.92, 0.93, 1.0), (0.55, 0.57, 0.60, 1.0), (0.16, 0.17, 0.18, 1.0)

# Capsules that draw a link: (from, to, radius) in the link's frame [m].
LINK_SHAPES = (
    ((0, 0, -0.19), (0, 0, 0.0), 0.060),
    ((0, 0, -0.05), (0, -0.12, 0.0), 0.058),
    ((0, 0, -0.19), (0.05, 0, 0.0), 0.056),
    ((0, 0, 0.0), (-0.05, 0.12, 0.0), 0.052),
    ((0, 0.02, -0.24), (0, 0.0, 0.0), 0.050),
    ((0, 0, 0.0), (0.06, 0, 0.0), 0.048),
    ((0, 0, -0.02), (0, 0, 0.07), 0.042),
)
EYE_AT = np.array([0.88, 0.0, 0.40])  # front camera [m]
LOOK_AT = np.array([0.51, 0.0, 0.02])

# The lines a push must cross: (centre), (half length along x, y) [m].
PAINTED_LINES = (((0.50, 0.14), (0.14, 0.003)), ((0.50, -0.14), (0.14, 0.003)), ((0.60, 0.0), (0.003, 0.14)))


def build(
    robot: Embodiment, scenario: Scenario, params: WorldParams, timestep: float = 0.004, quality: bool = False
) -> Any:
    """A compiled `mujoco.MjModel` of the arm at its table with the scenario's objects, under the given parameters.

    quality: render with MuJoCo's defaults instead of our fast settings. The physics are the same.
    """
    spec = new_spec(timestep, quality)
    add_room(spec, params, shadows=quality)
    add_arm(spec, robot, params)
    for i, item in enumerate(scenario.items):
        add_item(spec, f"item{i}", item, params)
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


def add_room(spec: Any, params: WorldParams, shadows: bool = False) -> None:
    world = spec.worldbody
    warm = np.array(_kelvin(params["temperature"]))
    level = params["light"]
    spec.visual.headlight.ambient = list(0.28 * warm * level**0.5)
    spec.visual.headlight.diffuse = list(0.22 * warm * level**0.5)
    spec.visual.headlight.specular = [0, 0, 0]
    lamp = world.add_light(pos=[0.6, params["light_x"], 1.6], dir=[-0.1, -params["light_x"] * 0.5, -1.0])
    lamp.type = mujoco.mjtLightType.mjLIGHT_DIRECTIONAL
    lamp.castshadow = shadows
    lamp.diffuse = list(0.5 * warm * level**0.5)
    lamp.specular = [0.1, 0.1, 0.1]
    table = colorsys.hsv_to_rgb(params["table_hue"] % 1.0, params["table_saturation"], params["table_value"])
    dim = 1.0 - 0.35 * params["table_pattern"]
    _checker(spec, "table", table, [c * dim for c in table], 6)
    wall = colorsys.hsv_to_rgb((0.58 + 3.1 * params["background"]) % 1.0, 0.12 + 0.4 * params["background"], 0.72)
    other = colorsys.hsv_to_rgb((0.3 + 7.7 * params["background"]) % 1.0, 0.3, 0.72 - 0.5 * params["background"])
    _checker(spec, "wall", wall, other, 2 + int(6 * params["background"]))
    top = params["table_height"]
    world.add_geom(
        name="table", type=mujoco.mjtGeom.mjGEOM_BOX, size=[0.45, 0.6, 0.02], pos=[0.45, 0, top - 0.02],
        material="table", friction=_friction(params), condim=4,
    )  # fmt: skip
    for name, size, pos in (
        ("wall_back", [0.02, 1.5, 1.0], [-0.6, 0, 0.4]),
        ("floor", [1.6, 1.6, 0.02], [0.4, 0, -0.6]),
    ):
        world.add_geom(name=name, type=mujoco.mjtGeom.mjGEOM_BOX, size=size, pos=pos, material="wall", **_ghost())
    for (x, y), (half_x, half_y) in PAINTED_LINES:
        line = [c * 0.45 for c in table]
        world.add_geom(type=_BOX, size=[half_x, half_y, 2e-4], pos=[x, y, top + 2e-4], rgba=[*line, 1.0], **_ghost())
    _front_camera(world, params)


def add_arm(spec: Any, robot: Embodiment, params: WorldParams) -> None:
    """The 7-joint arm, hand and two fingers; servos named after the joints, `gripper` drives both fingers."""
    frame = robot.frame()
    chain = frame.chain
    base = spec.worldbody.add_body(name="link0")
    base.add_geom(type=_CAPSULE, fromto=[-0.06, 0, 0.06, 0.0, 0, 0.1], size=[0.075, 0, 0], rgba=WHITE, **_ghost())
    body = base
    for i, joint in enumerate(frame.joints):
        body = body.add_body(name=f"link{i + 1}", pos=chain.offsets[i], quat=chain.quats[i], gravcomp=1.0)
        _link_inertia(body, i, params["link_mass"])
        j = body.add_joint(name=joint, type=mujoco.mjtJoint.mjJNT_HINGE, axis=[0, 0, 1])
        j.range = [robot.lower[i], robot.upper[i]]
        j.damping, j.armature = [JOINT_DAMPING * params["damping"], 0, 0], ARMATURE
        start, end, radius = LINK_SHAPES[i]
        rgba = GREY if i in (1, 3, 5) else WHITE
        body.add_geom(type=_CAPSULE, fromto=[*start, *end], size=[radius, 0, 0], rgba=rgba, **_ghost())
        _servo(spec, joint, STIFFNESS[i] * params["gain"], SERVO_DAMPING[i] * params["gain"], robot.array("effort")[i])
    _add_hand(spec, body, robot, params)


def _add_hand(spec: Any, link7: Any, robot: Embodiment, params: WorldParams) -> None:
    chain = robot.frame().chain
    tool = chain.tool_offset - np.array([0, 0, 0.1034])
    hand = link7.add_body(name="hand", pos=tool, quat=chain.tool_quat, gravcomp=1.0)
    hand.mass, hand.ipos, hand.inertia = 0.73, [-0.01, 0, 0.03], [0.001, 0.0025, 0.0017]
    hand.explicitinertial = True
    solid = {"friction": _friction(params), "condim": 4, "contype": 2, "conaffinity": 1}
    hand.add_geom(type=_BOX, size=[0.02, 0.1, 0.03], pos=[0, 0, 0.03], rgba=WHITE, **solid)
    hand.add_site(name="tcp", pos=[0, 0, 0.1034], group=5)
    # The wrist camera sits in front of the hand and looks along the fingers, tipped towards the TCP.
    tip = rotvec_to_matrix(np.array([0.0, np.deg2rad(22.0), 0.0])) @ quat_to_matrix(np.array([0.0, 1.0, 0.0, 0.0]))
    turned = tip @ rotvec_to_matrix(np.array([0.0, 0.0, np.pi / 2]))
    hand.add_camera(name="wrist", pos=[-0.07, 0, 0.01], quat=matrix_to_quat(turned), fovy=_camera_fov(robot, "wrist"))
    half = GRIPPER_WIDTH / 2
    for side, sign in (("left", 1.0), ("right", -1.0)):
        finger = hand.add_body(name=f"finger_{side}", pos=[0, 0, 0.0584], gravcomp=1.0)
        finger.mass, finger.inertia, finger.explicitinertial = 0.1, [1e-4, 1e-4, 5e-5], True
        finger.ipos = [0, sign * 0.01, 0.02]
        j = finger.add_joint(name=f"finger_{side}", type=mujoco.mjtJoint.mjJNT_SLIDE, axis=[0, sign, 0])
        j.range, j.damping, j.armature = [0.0, half], [10.0, 0, 0], 0.05
        pad = {"friction": [1.2 * f for f in _friction(params)], "condim": 4, "contype": 2, "conaffinity": 1}
        finger.add_geom(type=_BOX, size=[0.012, 0.006, 0.027], pos=[0, sign * 0.006, 0.027], rgba=DARK, **pad)
    tendon = spec.add_tendon(name="gripper")
    tendon.wrap_joint("finger_left", 0.5)
    tendon.wrap_joint("finger_right", 0.5)
    spec.add_equality(
        type=mujoco.mjtEq.mjEQ_JOINT, name1="finger_left", name2="finger_right",
        objtype=mujoco.mjtObj.mjOBJ_JOINT, data=[0, 1, *[0] * 10], solref=[0.01, 1.0],
    )  # fmt: skip
    a = spec.add_actuator(name="gripper", target="gripper", trntype=mujoco.mjtTrn.mjTRN_TENDON)
    kp, kd = 1500.0, 60.0
    a.gaintype, a.biastype = mujoco.mjtGain.mjGAIN_FIXED, mujoco.mjtBias.mjBIAS_AFFINE
    a.gainprm[0], a.biasprm[1], a.biasprm[2] = kp, -kp, -kd
    a.forcelimited, a.forcerange = True, [-30.0, 30.0]
    a.ctrllimited, a.ctrlrange = True, [0.0, half]


def add_item(spec: Any, name: str, item: Item, params: WorldParams) -> None:
    """An object (a free body) or a destination (fixed on the table)."""
    rgba = paint(item.colour, params)
    top = params["table_height"]
    if item.shape in DESTINATIONS:
        body = spec.worldbody.add_body(name=name, pos=[item.x, item.y, top])
        _add_destination(body, item.shape, rgba, params)
        return
    scale = params["object_scale"]
    size = np.array(item.size) * scale
    body = spec.worldbody.add_body(name=name, pos=[item.x, item.y, top + item.rest_height * scale + 0.0005])
    body.quat = matrix_to_quat(rotvec_to_matrix(np.array([0, 0, item.yaw])))
    body.add_freejoint(name=name)
    kinds = {"cube": _BOX, "cylinder": mujoco.mjtGeom.mjGEOM_CYLINDER, "ball": mujoco.mjtGeom.mjGEOM_SPHERE}
    friction = _friction(params)
    geom = body.add_geom(name=name, type=kinds[item.shape], size=size, rgba=rgba, friction=friction, condim=4)
    geom.mass = item.mass * params["mass"]
    if item.shape != "cube":
        geom.condim, geom.friction = 6, [friction[0], friction[1], 0.003]  # round things come to rest


def paint(colour: str, params: WorldParams) -> tuple[float, float, float, float]:
    h, s, v = COLOURS[colour]
    return (*colorsys.hsv_to_rgb((h + params["object_hue"]) % 1.0, s, min(1.0, v * params["object_value"])), 1.0)


def _add_destination(body: Any, shape: str, rgba: tuple[float, ...], params: WorldParams) -> None:
    solid = {"friction": _friction(params), "condim": 4, "rgba": rgba}
    if shape == "plate":
        body.add_geom(type=mujoco.mjtGeom.mjGEOM_CYLINDER, size=[0.065, 0.004, 0], pos=[0, 0, 0.004], **solid)
        return
    w, h, t = 0.062, 0.012, 0.004  # a tray: a floor and four low walls
    body.add_geom(type=_BOX, size=[w, w, 0.003], pos=[0, 0, 0.003], **solid)
    for x, y in ((w, 0), (-w, 0), (0, w), (0, -w)):
        size = [t, w + t, h] if x else [w + t, t, h]
        body.add_geom(type=_BOX, size=size, pos=[x, y, h], **solid)


def _front_camera(world: Any, params: WorldParams) -> None:
    eye = EYE_AT + [params["camera_x"], params["camera_y"], params["camera_z"]]
    forward = LOOK_AT - EYE_AT
    forward /= np.linalg.norm(forward)
    right = np.cross(forward, [0, 0, 1])
    right /= np.linalg.norm(right)
    R = np.stack([right, np.cross(right, forward), -forward], axis=1)  # OpenGL: x right, y up, z backwards
    pitch, yaw = np.deg2rad(params["camera_pitch"]), np.deg2rad(params["camera_yaw"])
    R = R @ rotvec_to_matrix(np.array([pitch, 0, 0])) @ rotvec_to_matrix(np.array([0, yaw, 0]))
    world.add_camera(name="front", pos=eye, quat=matrix_to_quat(R), fovy=params["fov"])


def _servo(spec: Any, joint: str, kp: float, kd: float, torque: float) -> None:
    a = spec.add_actuator(name=joint, target=joint, trntype=mujoco.mjtTrn.mjTRN_JOINT)
    a.gaintype, a.biastype = mujoco.mjtGain.mjGAIN_FIXED, mujoco.mjtBias.mjBIAS_AFFINE
    a.gainprm[0], a.biasprm[1], a.biasprm[2] = kp, -kp, -kd
    a.forcelimited, a.forcerange = True, [-torque, torque]


def _link_inertia(body: Any, i: int, scale: float) -> None:
    mass, com, inertia = LINK_INERTIA[i]
    body.mass, body.ipos, body.fullinertia = mass * scale, com, np.array(inertia) * scale
    body.explicitinertial = True


def _friction(params: WorldParams) -> list[float]:
    return [0.8 * params["friction"], 0.01, 0.0002]


def _ghost() -> dict[str, Any]:
    """A geom that is only seen."""
    return {"contype": 0, "conaffinity": 0, "mass": 0.0}


def _checker(spec: Any, name: str, one: Any, two: Any, repeat: int) -> None:
    spec.add_texture(
        name=name, type=mujoco.mjtTexture.mjTEXTURE_2D, builtin=mujoco.mjtBuiltin.mjBUILTIN_CHECKER,
        rgb1=np.clip(one, 0, 1), rgb2=np.clip(two, 0, 1), width=64, height=64,  # MuJoCo wraps what is over 1 to dark
    )  # fmt: skip
    material = spec.add_material(name=name)
    material.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = name
    material.texrepeat = [repeat, repeat]
    material.specular, material.reflectance = 0.0, 0.0


def _camera_fov(robot: Embodiment, name: str) -> float:
    return next(c.fov for c in robot.cameras if c.name == name)


def _kelvin(temperature: float) -> tuple[float, float, float]:
    """RGB of a black body, green = 1 at daylight. Piecewise-linear through tabulated points of the Planckian locus."""
    t = [3000, 4000, 5500, 6500, 8000]
    r, g, b = [1.12, 1.08, 1.0, 0.97, 0.92], [0.9, 0.97, 1.0, 1.0, 0.99], [0.6, 0.8, 1.0, 1.06, 1.14]
    return tuple(float(np.interp(temperature, t, c)) for c in (r, g, b))  # type: ignore[return-value]


_BOX, _CAPSULE = mujoco.mjtGeom.mjGEOM_BOX, mujoco.mjtGeom.mjGEOM_CAPSULE
