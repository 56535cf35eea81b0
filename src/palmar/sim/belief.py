"""What an expert takes a world for, where it is not told the truth: parameters it believes, joint angles as they are measured, and
things as a camera shows them whose pose is believed.
"""

from __future__ import annotations

import numpy as np

from palmar.kinematics import quat_to_matrix
from palmar.links import Mount
from palmar.robot_parts import Camera
from palmar.sim.derived import camera_pose, ground
from palmar.sim.params import WorldParams
from palmar.sim.space import ZEROS
from palmar.sim.tasks import task
from palmar.sim.world import World
from palmar.types import Array, Observation

AT_HAND = 0.03  # nearer than this to the gripper a thing is where the gripper is taken to be [m]


class Belief:
    """A `State` for plans. params: believed. measured: False leaves poses to simulator truth, so that only plans that read
    parameters (friction, sizes) can be wrong.

    measured: the gripper is where the robot's kinematics put it by the measured joint angles less their believed zero errors
    (`zero_1` … [deg], counted as `Actuators` does); things are where the first camera that stands beside the robot shows them,
    pixel and depth, if that stood where it is believed to stand (lens distortion left out; turns of things are true). A robot
    without such a camera sees them where they are.
    """

    def __init__(self, world: World, params: WorldParams, obs: Observation, measured: bool = False) -> None:
        self.world, self.params, self.scenario = world, params, world.scenario
        self._poses: dict[str, tuple[Array, Array]] = {}
        self._camera: tuple[tuple[Array, Array, float], tuple[Array, Array, float]] | None = None
        if not measured:
            return
        robot = world.embodiment
        command, zeros = robot.measured(obs.state), np.zeros(len(robot.channels))
        turning = [i for i in np.flatnonzero(robot.moves_joint) if robot.channels[i].kind != "prismatic"]
        for k, i in enumerate(turning[:ZEROS], 1):
            zeros[i] = np.deg2rad(params[f"zero_{k}"])
        for frame in robot.frames:
            q = robot.positions(frame, command)
            self._poses[frame.name] = frame.chain.forward(q - zeros[robot.path(frame)])
        mount = next((m for m in world.mechanics.mounts if not m.link), None)
        camera = next((c for c in robot.cameras if mount is not None and c.name == mount.camera), None)
        if mount is not None and camera is not None:
            self._camera = _pose(mount, camera, world.params), _pose(mount, camera, params)

    def _seen(self, p: Array) -> Array:
        """Where a point is taken to be [m]."""
        if self._camera is None:
            return p
        (eye, turn, fov), (believed_eye, believed_turn, believed_fov) = self._camera
        x, y, z = turn.T @ (p - eye)
        wider = np.tan(np.deg2rad(believed_fov) / 2) / np.tan(np.deg2rad(fov) / 2)
        seen: Array = believed_eye + believed_turn @ np.array([x * wider, y * wider, z])
        return seen

    @property
    def tcp(self) -> Array:
        point = self.world.point
        return self._poses[point][0] if point in self._poses else self.world.tcp

    @property
    def opening(self) -> float:
        return self.world.opening

    @property
    def grip_width(self) -> float:
        return self.world.grip_width

    @property
    def table(self) -> float:
        """As the believed parameters have it."""
        room = task(self.scenario.task).scene.room
        return ground(room, self.params)

    def item(self, i: int) -> Array:
        """As a wrist camera shows it from the gripper where it is at hand, else as the camera beside the robot does."""
        item = self.world.item(i)
        away = item - self.world.tcp if self._poses else np.full(3, np.inf)
        return self.tcp + away if np.linalg.norm(away) < AT_HAND else self._seen(item)

    def rotation(self, i: int) -> Array:
        return self.world.rotation(i)

    def speed(self, i: int) -> float:
        return self.world.speed(i)

    def contents(self, i: int) -> Array:
        return np.array([self._seen(p) for p in self.world.contents(i)]).reshape(-1, 3)

    def ajar(self, i: int) -> float:
        return self.world.ajar(i)

    def handle(self, i: int) -> tuple[Array, Array]:
        where, way = self.world.handle(i)
        return self._seen(where), way

    def place(self, point: str) -> tuple[Array, Array]:
        return self._poses[point] if point in self._poses else self.world.place(point)


def _pose(mount: Mount, camera: Camera, params: WorldParams) -> tuple[Array, Array, float]:
    """Where a camera beside the robot stands [m], how it is turned [3, 3], and its vertical field of view [deg]."""
    eye, quat, fov = camera_pose(mount, camera, params)
    return eye, quat_to_matrix(quat), fov
