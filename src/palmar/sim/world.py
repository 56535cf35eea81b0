"""A simulated table as a `Body`: the same four verbs as a robot."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np

from palmar.embodiments import Camera, Embodiment
from palmar.errors import BadValue
from palmar.kinematics import steady_quat
from palmar.robots.arm7 import GRIPPER_WIDTH, arm7
from palmar.sim import camera as cameras
from palmar.sim import tasks
from palmar.sim.bodies import build, mujoco
from palmar.sim.params import NOMINAL, WorldParams
from palmar.sim.tasks import Scenario
from palmar.types import Array, Observation

START = np.array([0.44, 0.0, 0.24])  # where the TCP waits at reset [m]
CORNERS = np.array(list(itertools.product((-1.0, 1.0), repeat=3)))  # of a cuboid of half sides 1


class World:
    """The arm at its table. Load a scenario, then `observe` and `apply` until `success`.

    Deterministic from scenario, parameters and seed. `tcp`, `opening`, `table` and `item` are simulator truth for experts and
    success tests; a policy sees `observe` only.

    images: False leaves the cameras off. quality: MuJoCo's own visual defaults (shadows, 4 samples a pixel, reflections)
    instead of fast ones: several times slower, and not what the shipped policy was trained on.
    extents: whether the privileged truth holds boxes and turns too (half a millisecond a look).
    """

    extents = False

    def __init__(self, robot: Embodiment | None = None, images: bool = True, quality: bool = False) -> None:
        self.embodiment = robot or arm7()
        self._images, self._quality = images, quality
        self._renderers: dict[tuple[int, int], cameras.Renderer] = {}
        self._frame = self.embodiment.frame()
        self._joints = len(self._frame.joints)
        self._home = self.embodiment.positions(self._frame, self.embodiment.home)

    def load(self, scenario: Scenario, params: WorldParams = NOMINAL, seed: int | None = None) -> Observation:
        """Lay the table, put the arm near its start pose and look."""
        robot = self.embodiment
        self.scenario, self.params = scenario, params
        self._seed = scenario.seed if seed is None else seed
        self.model = build(robot, scenario, params, quality=self._quality)
        self.modify(self.model)
        self.data = mujoco.MjData(self.model)
        self._close_renderers()
        self._substeps = round(1.0 / robot.control_rate / self.model.opt.timestep)
        self._bodies = [self.model.body(f"item{i}").id for i in range(len(scenario.items))]
        self._tcp_site = self.model.site("tcp").id
        self._finger = self.model.joint("finger_left").qposadr[0]
        return self.reset()

    def reset(self, seed: int | None = None) -> Observation:
        """Start the loaded scenario again; a seed changes the noise and the arm's start pose, not the table."""
        if not hasattr(self, "model"):
            raise BadValue("no table is laid yet. Next: world.load(tasks.sample('pick')) before reset")
        self._seed = self._seed if seed is None else seed
        self._rng = np.random.default_rng([11, self._seed])
        mujoco.mj_resetData(self.model, self.data)
        start = START + self._rng.uniform([-0.05, -0.08, -0.04], [0.05, 0.08, 0.06])
        down = np.diag([1.0, -1.0, -1.0])
        q = self._frame.chain.solve(self._home, start, down, self._home)
        half = GRIPPER_WIDTH / 2
        self.data.qpos[: self._joints] = q
        self.data.qpos[self._finger : self._finger + 2] = half
        self.data.ctrl[: self._joints], self.data.ctrl[self._joints] = q, half
        delay = round(self.params["action_delay"])
        self._pending: deque[Array] = deque([np.append(q, 1.0)] * delay)
        self._poses: deque[Array] = deque(maxlen=round(self.params["image_latency"]) + 1)
        self._ticks = self._held = 0
        mujoco.mj_forward(self.model, self.data)
        for _ in range(10):  # let the objects settle
            mujoco.mj_step(self.model, self.data)
        self.data.time = 0.0
        self._poses.append(self.data.qpos.copy())
        return self.observe()

    def observe(self, images: bool = True) -> Observation:
        q = self.data.qpos[: self._joints] + self._rng.normal(0, self.params["proprio_noise"] + 1e-12, self._joints)
        position, rotation = self._frame.chain.forward(q)
        state = np.concatenate(
            [q, self.data.qvel[: self._joints], [self.opening], position, steady_quat(rotation)]
        ).astype(np.float32)
        seen: dict[str, Array] = {}
        if images and self._images:
            seen = {c.name: self.photograph(c) for c in self.embodiment.cameras}
        time = self._ticks / self.embodiment.control_rate
        return Observation(seen, state, self.scenario.instruction, time, self.privileged() if images else None)

    def apply(self, command: Array) -> None:
        command = np.array(command, float)
        if noise := self.params["action_noise"]:
            command[: self._joints] += self._rng.normal(0, noise, self._joints)
        self._pending.append(command)
        command = self._pending.popleft()
        self.data.ctrl[: self._joints] = command[: self._joints]
        self.data.ctrl[self._joints] = command[-1] * GRIPPER_WIDTH / 2
        mujoco.mj_step(self.model, self.data, self._substeps)
        self._poses.append(self.data.qpos.copy())
        self._ticks += 1
        self._held = self._held + 1 if tasks.SUCCESS[self.scenario.task](self) else 0

    def pose(self, joints: Array, opening: float, items: Mapping[int, Array]) -> None:
        """Put the arm and some objects somewhere at once, without physics. items: {index: centre [m]} of free objects."""
        half = GRIPPER_WIDTH / 2
        self.data.qpos[: self._joints], self.data.qpos[self._finger : self._finger + 2] = joints, opening * half
        for i, centre in items.items():
            start = self.model.joint(f"item{i}").qposadr[0]
            self.data.qpos[start : start + 3] = centre
        self.data.qvel[:] = 0.0
        mujoco.mj_forward(self.model, self.data)
        self._poses.clear()
        self._poses.append(self.data.qpos.copy())

    def close(self) -> None:
        self._close_renderers()

    def success(self, hold: float = 0.3) -> bool:
        """The task's test has held for the last `hold` seconds."""
        return self._held >= hold * self.embodiment.control_rate

    @property
    def tcp(self) -> Array:
        return np.array(self.data.site_xpos[self._tcp_site])

    @property
    def opening(self) -> float:
        """Measured gripper opening, 0 closed … 1 open."""
        return float(self.data.qpos[self._finger : self._finger + 2].mean() / (GRIPPER_WIDTH / 2))

    @property
    def table(self) -> float:
        return self.params["table_height"]

    def item(self, i: int) -> Array:
        """Centre of an object, or foot of a destination, base frame [m]."""
        return np.array(self.data.xpos[self._bodies[i]])

    def rotation(self, i: int) -> Array:
        """float64[3, 3], from the thing's frame to the base frame."""
        return np.array(self.data.xmat[self._bodies[i]]).reshape(3, 3)

    def privileged(self) -> Array:
        """float32[P] in the order of `tasks.PRIVILEGED`, and of `tasks.EXTENTS` where these are asked for."""
        s = self.scenario
        target, goal = self.item(s.target), tasks.goal_point(self)
        row = [*target, *goal]
        for c in self.embodiment.cameras:
            row += self._pixel(c, s.target) + (self._pixel(c, s.goal) if s.goal is not None else [0.5, 0.5, 0.0])
        if self.extents:
            things = (s.target, s.goal)
            row += [x for i in things for x in self._turn(i)]
            row += [x for c in self.embodiment.cameras for i in things for x in self._seen_box(c, i)]
        return np.array(row, np.float32)

    def box(self, camera: Camera, i: int) -> tuple[float, float, float, float]:
        """(left, top, right, bottom) in 0 … 1 of the image, and beyond it: around a thing's projected corners."""
        return self._boxed(camera, i)[0]

    def picture(self, camera: str = "front", height: int = 240, width: int = 320) -> Array:
        """A picture for people, without camera noise: uint8[height, width, 3]."""
        return self._renderer(height, width)(self.data, camera)

    def modify(self, model: Any) -> None:
        """Hook for worlds that differ in more than parameters (`sim.twin`)."""

    def photograph(self, camera: Camera) -> Array:
        """What one camera of the robot sees: uint8[H, W, 3]."""
        picture = self._renderer(camera.height, camera.width)(self._past(), camera.name)
        return cameras.develop(picture, self.params, self._rng)

    def _past(self) -> Any:
        """The data as the cameras see it: `image_latency` ticks ago."""
        if len(self._poses) < 2:
            return self.data
        past = mujoco.MjData(self.model)
        past.qpos[:] = self._poses[0]
        mujoco.mj_kinematics(self.model, past)
        mujoco.mj_camlight(self.model, past)
        return past

    def _pixel(self, c: Camera, i: int) -> list[float]:
        """u, v, visible of an item: inside the picture and the first thing on the line of sight."""
        body = self._bodies[i]
        point = self.data.xpos[body]
        u, v, depth = cameras.project(self.data, self.model, c, point)
        inside = depth > 0 and 0 <= u <= 1 and 0 <= v <= 1
        if inside:
            eye = self.data.cam_xpos[self.model.camera(c.name).id]
            hit = np.zeros(1, np.int32)
            mujoco.mj_ray(self.model, self.data, eye, point - eye, None, 1, -1, hit)
            inside = hit[0] >= 0 and self.model.geom_bodyid[hit[0]] == body
        return [float(np.clip(u, 0, 1)), float(np.clip(v, 0, 1)), float(inside)]

    def _corners(self, i: int) -> Array:
        """float64[8, 3] of the cuboid around a thing, base frame [m]. A destination's origin is its foot."""
        item = self.scenario.items[i]
        half = tasks.half_extent(item) * (self.params["object_scale"] if item.shape in tasks.SHAPES else 1.0)
        lift = np.array([0, 0, half[2]]) if item.shape in tasks.DESTINATIONS else np.zeros(3)
        return self.item(i) + (CORNERS * half + lift) @ self.rotation(i).T

    def _boxed(self, camera: Camera, i: int) -> tuple[tuple[float, float, float, float], float]:
        """The box around a thing, and how far before the lens its nearest corner is [m]."""
        u, v, depth = cameras.project(self.data, self.model, camera, self._corners(i))
        return (float(u.min()), float(v.min()), float(u.max()), float(v.max())), float(depth.min())

    def _seen_box(self, camera: Camera, i: int | None) -> list[float]:
        """u, v, w, h of the part that lies in the picture; zeros when there is none, or the thing is at the lens."""
        if i is None:
            return [0.0] * 4
        around, depth = self._boxed(camera, i)
        left, top, right, bottom = (min(max(x, 0.0), 1.0) for x in around)
        if depth < 0.01 or right <= left or bottom <= top:
            return [0.0] * 4
        return [(left + right) / 2, (top + bottom) / 2, right - left, bottom - top]

    def _turn(self, i: int | None) -> list[float]:
        """cos 4ψ, sin 4ψ of the yaw ψ of whichever axis of the thing lies flattest; zeros for nothing and for round things."""
        if i is None or self.scenario.items[i].shape not in tasks.SQUARE:
            return [0.0, 0.0]
        axes = self.rotation(i)
        x, y = axes[:2, np.abs(axes[2]).argmin()]
        yaw = np.arctan2(y, x)
        return [np.cos(4 * yaw), np.sin(4 * yaw)]

    def _renderer(self, height: int, width: int) -> cameras.Renderer:
        size = (height, width)
        if size not in self._renderers:
            self._renderers[size] = cameras.Renderer(self.model, height, width, self._quality)
        return self._renderers[size]

    def _close_renderers(self) -> None:
        for r in self._renderers.values():
            r.close()
        self._renderers = {}
