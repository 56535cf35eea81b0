"""Write parameters into a model that is compiled already: what `scenes.build` would have compiled, in a third of the time.

Every value is the nominal model's own times or beside a number of the parameters, so that a thousand applications drift no
more than one. What a scene consists of must stay (`kind_of`); where things stand and their colours may change with the scenario.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np

from palmar.embodiments import Embodiment
from palmar.kinematics import matrix_to_quat
from palmar.links import Mechanics
from palmar.sim import tasks
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
from palmar.sim.params import NOMINAL, WorldParams
from palmar.sim.scenario import Scenario
from palmar.sim.scenes import build, mujoco
from palmar.sim.things import DESTINATIONS
from palmar.types import Array

EDITABLE = ("box", "cylinder", "sphere", "plate", "tray")
"""Kinds of things whose parameters are known here; a scene with another is compiled anew."""
COPIED = (
    "body_mass", "body_inertia", "body_pos", "body_quat", "qpos0", "qpos_spring", "dof_damping", "dof_frictionloss",
    "dof_length", "actuator_gainprm", "actuator_biasprm", "actuator_forcerange", "geom_pos", "geom_quat", "geom_size", "geom_aabb",
    "geom_rbound", "geom_friction", "geom_solref", "geom_rgba", "geom_sameframe", "cam_pos", "cam_quat", "cam_fovy",
    "light_pos", "light_dir", "light_diffuse", "bvh_aabb", "mat_texrepeat",
)  # fmt: skip
"""Fields that parameters change, beside the textures. All others follow from them (`mj_setConst`) or stay; but `stat.meansize`,
by which MuJoCo sizes arrows for people, is that of the nominal model."""


def kind_of(scenario: Scenario) -> Hashable | None:
    """What must be equal for a compiled model to be used again: its room and the kinds of its things in their order. None
    where a thing is of a kind whose parameters are not known here."""
    kinds = tuple(item.kind for item in scenario.items)
    if any(k.geom not in EDITABLE for k in kinds):
        return None
    return tasks.task(scenario.task).scene.room, kinds


class ModelEdits:
    """A nominal model and where its parameters are in it. model: `mujoco.MjModel`, changed by `apply`."""

    def __init__(self, robot: Embodiment, mechanics: Mechanics, scenario: Scenario, quality: bool = False) -> None:
        self.robot, self.mechanics = robot, mechanics
        self.room = tasks.task(scenario.task).scene.room
        self.model = m = build(robot, mechanics, scenario, NOMINAL, quality)
        self._data = mujoco.MjData(m)
        self._base = {name: getattr(m, name).copy() for name in COPIED}
        self._links(m)
        self._servos(m)
        self._touching = np.flatnonzero((m.geom_contype != 0) | (m.geom_conaffinity != 0))
        self._lines = [m.geom(f"line{i}").id for i in range(len(self.room.lines))]
        self._ground = [(m.geom("table").id, (*self.room.centre, -0.02))]
        self._ground += [(g, (x, y, 2e-4)) for g, ((x, y), _) in zip(self._lines, self.room.lines, strict=True)]
        self._table, self._wall = m.material("table").id, m.material("wall").id
        self._items = [m.body(f"item{i}").id for i in range(len(scenario.items))]
        cameras = {c.name: c for c in robot.cameras}
        self._cameras = [(m.camera(x.camera).id, x, cameras[x.camera]) for x in mechanics.mounts if x.camera in cameras]
        self._painted: tuple[Any, ...] = ()
        self._leaf = {int(g): i for i, g in enumerate(m.bvh_nodeid) if g >= 0}

    def _links(self, m: Any) -> None:
        """The bodies and degrees of freedom of the arm's own links."""
        own = [link for link in self.mechanics.links if not link.tool]
        self._arm = np.array([m.body(x.name).id for x in own if x.inertia], int)
        self._dofs = np.array([m.joint(j.name).dofadr[0] for x in own for j in x.joints], int)
        moves = {c.name for c in self.robot.channels if c.moves_joint}
        driven = [
            (m.joint(j).dofadr[0], s.force) for s in self.mechanics.servos if s.channel in moves for j in s.joints
        ]
        self._driven, self._force = np.array([d for d, _ in driven], int), np.array([f for _, f in driven])

    def _servos(self, m: Any) -> None:
        """Actuators whose stiffness, and whose force, a parameter scales."""
        moves = {c.name for c in self.robot.channels if c.moves_joint}
        named = [s.channel for s in self.mechanics.servos if s.channel in moves]
        self._strong = np.array([m.actuator(n).id for n in named], int)
        self._stiff = np.array([m.actuator(n).id for n in (*named, *(d.channel for d in self.mechanics.drives))], int)
        self._grippers = np.array([m.actuator(n).id for n in self.mechanics.grippers.values()], int)

    def apply(self, params: WorldParams, scenario: Scenario) -> bool:
        """Put the model under these parameters, with the things of a scenario of the same kind (`kind_of`). Returns whether
        its textures changed."""
        m = self.model
        for name, value in self._base.items():
            getattr(m, name)[...] = value
        self._apply_robot(m, params)
        self._apply_ground(m, params)
        for i, item in enumerate(scenario.items):
            self._apply_item(m, params, i, item)
        painted = self._apply_light(m, params)
        mujoco.mj_resetData(m, self._data)
        mujoco.mj_setConst(m, self._data)
        m.stat.meaninertia, m.stat.meanmass = m.dof_M0.mean(), m.body_mass[1:].mean()
        return painted

    def _apply_robot(self, m: Any, params: WorldParams) -> None:
        m.body_mass[self._arm] *= params["link_mass"]
        m.body_inertia[self._arm] *= params["link_mass"]
        m.dof_damping[self._dofs] *= params["damping"]
        m.dof_frictionloss[self._dofs] *= params["damping"]
        m.dof_frictionloss[self._driven] += params["joint_friction"] * self._force
        m.actuator_gainprm[self._stiff] *= params["gain"]
        m.actuator_biasprm[self._stiff] *= params["gain"]
        m.actuator_forcerange[self._strong] *= params["servo_strength"]
        m.actuator_forcerange[self._grippers] *= params["grip_strength"]
        for i, mount, camera in self._cameras:
            if not mount.link:
                m.cam_pos[i], m.cam_quat[i], m.cam_fovy[i] = camera_pose(mount, camera, params)
        m.geom_friction[self._touching, 0] *= params["friction"]
        m.geom_solref[self._touching] = contact(params)

    def _apply_ground(self, m: Any, params: WorldParams) -> None:
        for g, (x, y, height) in self._ground:
            pos, turn = surface(self.room, params, x, y, height)
            m.geom_pos[g], m.geom_quat[g] = pos, matrix_to_quat(turn)
            if turn[2, 2] != 1.0:
                m.geom_sameframe[g] = mujoco.mjtSameFrame.mjSAMEFRAME_NONE
            if g in self._leaf:
                half = np.abs(turn) @ m.geom_aabb[g, 3:]
                m.bvh_aabb[self._leaf[g]] = [*(pos + turn @ m.geom_aabb[g, :3]), *half]
        _refit(m.bvh_aabb, m.bvh_child, m.body_bvhadr[0], m.body_bvhnum[0])
        m.geom_rgba[self._lines] = line_colour(params)

    def _apply_item(self, m: Any, params: WorldParams, i: int, item: Any) -> None:
        body = self._items[i]
        pos, turn = item_pose(item, i, self.room, params)
        m.body_pos[body], m.body_quat[body] = pos, matrix_to_quat(turn)
        first, count = m.body_geomadr[body], m.body_geomnum[body]
        geoms = slice(first, first + count)
        m.geom_rgba[geoms] = paint(item.colour, params)
        if item.shape in DESTINATIONS:
            return
        scale = item_scale(i, params)
        m.geom_size[geoms] *= scale
        m.geom_aabb[geoms] *= scale
        m.geom_rbound[geoms] *= scale
        start = m.body_bvhadr[body]
        m.bvh_aabb[start : start + m.body_bvhnum[body]] *= scale
        m.geom_friction[geoms, 0] = item.kind.slip * sliding(params, i)
        if item.kind.firm:
            m.geom_solref[geoms] = self._base["geom_solref"][geoms]
        if not item.mass:  # stands fast: of a fixed density
            m.body_mass[body] *= scale**3
            m.body_inertia[body] *= scale**5
        else:
            m.body_mass[body] *= item_mass(i, params)
            m.body_inertia[body] *= item_mass(i, params) * scale**2
            joint = m.body_jntadr[body]
            at, dof = m.jnt_qposadr[joint], m.jnt_dofadr[joint]
            m.qpos0[at : at + 7] = m.qpos_spring[at : at + 7] = [*pos, *m.body_quat[body]]
            m.dof_length[dof + 3 : dof + 6] *= scale

    def _apply_light(self, m: Any, params: WorldParams) -> bool:
        ambient, around, direct, at, towards = lamp(params)
        m.vis.headlight.ambient, m.vis.headlight.diffuse = ambient, around
        m.light_pos[0], m.light_dir[0] = at, np.array(towards) / np.linalg.norm(towards)
        m.light_diffuse[0] = direct
        m.mat_texrepeat[self._table] = params["table_grain"]
        wall, other, repeat = wall_colours(params)
        m.mat_texrepeat[self._wall] = repeat
        colours = (table_colours(params), (wall, other))
        if colours == self._painted:
            return False
        for name, (one, two) in zip(("table", "wall"), colours, strict=True):
            _paint_checker(m, name, one, two)
        self._painted = colours
        return True


def _refit(aabb: Array, child: Array, start: int, count: int) -> None:
    """Boxes (centre, half sides) of the inner nodes of a body's tree around those of their children, in place."""
    for i in range(start + count - 1, start - 1, -1):  # children come after their parent
        left, right = child[i]
        if left >= 0 and right >= 0:
            boxes = aabb[[start + left, start + right]]
            low, high = (boxes[:, :3] - boxes[:, 3:]).min(0), (boxes[:, :3] + boxes[:, 3:]).max(0)
            aabb[i] = [*(low + high) / 2, *(high - low) / 2]


def _paint_checker(m: Any, name: str, one: Any, two: Any) -> None:
    """The texture as MuJoCo's compiler makes it: four squares, one and the other colour."""
    t = m.texture(name).id
    h, w, start = m.tex_height[t], m.tex_width[t], m.tex_adr[t]
    squares = m.tex_data[start : start + 3 * h * w].reshape(h, w, 3)
    colours = [(255 * np.clip(c, 0, 1)).astype(np.uint8) for c in (one, two)]
    squares[...] = colours[0]
    squares[: h // 2, w // 2 :] = squares[h // 2 :, : w // 2] = colours[1]
