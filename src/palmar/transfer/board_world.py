"""A simulated robot with a ChArUco board in its hand or on its table, to try a calibration where the truth is known."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import numpy as np

from palmar.embodiments import Embodiment
from palmar.kinematics import matrix_to_quat
from palmar.robots.arm7 import arm7
from palmar.sim import tasks
from palmar.sim.params import NOMINAL, WorldParams
from palmar.sim.reality import SIMULATION, Reality
from palmar.sim.scenes import mujoco
from palmar.sim.world import World
from palmar.transfer.marker_board import MarkerBoard
from palmar.transfer.pinhole import FLIP, camera_pose
from palmar.transfer.starts import inverse, posed
from palmar.types import Array, Observation

Place = Literal["hand", "table"]
PIXELS = 32  # of the texture, a square
LEANS = np.deg2rad(35.0)  # how far a board in the hand leans towards a camera in front of it


class BoardWorld(World):
    """The 7-joint arm with a board that is only seen: fixed below the fingers for a camera beside the robot, or flat on the
    table for one on the wrist. Pictures are of `size` × `size` px with 4 samples a pixel. `load_board` in place of `load`.

    Two copies of one view differ in noise only: the board moves with the hand, and hits nothing.
    """

    def __init__(
        self, board: MarkerBoard | None = None, place: Place = "hand", size: int = 480, robot: Embodiment | None = None,
        reality: Reality = SIMULATION,
    ) -> None:  # fmt: skip
        robot = robot or arm7()
        large = tuple(replace(c, height=size, width=size) for c in robot.cameras)
        super().__init__(replace(robot, cameras=large), quality=True, reality=reality)
        self.board, self.on = board or MarkerBoard(), place
        self.dress = self._put_up

    def load_board(self, params: WorldParams = NOMINAL, seed: int = 0) -> Observation:
        """An empty table and the board, the robot near its start pose."""
        scenario = tasks.sample("reach", seed=0)
        away = tuple(replace(item, x=0.85, y=0.5) for item in scenario.items[:1])
        return self.load(replace(scenario, items=away, target=0, goal=None), params, seed)

    @property
    def board_in(self) -> Array:
        """float64[4, 4]: the board's pose in the frame `tcp`, or on the table in the base frame."""
        if self.on == "table":
            return posed(FLIP, np.array([0.5, 0.0, self.params["table_height"] + 0.0032]))
        down = (
            self.board.size[1] / 2 + 0.02
        )  # in the hand's frame at the start pose, z down, x ahead and y to the right of the base
        c, s = np.cos(LEANS), np.sin(LEANS)
        # seen from ahead: x of the board along +y of the base, y of the board down, z of the board back towards the robot
        rotation = np.stack([[0.0, -1.0, 0.0], [s, 0.0, c], [-c, 0.0, s]], 1)
        return posed(rotation, np.array([0.0, 0.0, down]))

    def camera_in(self, camera: str) -> Array:
        """float64[4, 4]: the true pose of a camera, axes of computer vision, in the base frame, or in that of `tcp` where the robot
        carries it."""
        i = self.model.camera(camera).id
        pose = posed(camera_pose(self.data.cam_xmat[i].reshape(3, 3)), self.data.cam_xpos[i])
        if self.model.cam_bodyid[i] == 0:
            return pose
        position, rotation = self.place("tcp")
        return np.asarray(inverse(posed(rotation, position)) @ pose)

    def _put_up(self, spec: Any) -> None:
        texture = np.ascontiguousarray(self.board.draw(PIXELS))
        height, width = texture.shape[:2]
        made = spec.add_texture(
            name="board", type=mujoco.mjtTexture.mjTEXTURE_2D, width=width, height=height, nchannel=3
        )
        made.data = texture.tobytes()
        material = spec.add_material(name="board")
        material.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = "board"
        material.specular = material.reflectance = 0.0
        pose = self.board_in
        body, position = spec.worldbody, pose[:3, 3]
        if self.on == "hand":
            body = spec.body(self.mechanics.points[0].link)
            position = position + np.array(self.mechanics.points[0].pos)  # the frame's axes are those of its link
        x, y = self.board.size
        thin = 0.001
        body.add_geom(
            name="board", type=mujoco.mjtGeom.mjGEOM_BOX, size=[x / 2, y / 2, thin], material="board",
            pos=position + pose[:3, :3] @ [0, 0, thin], quat=matrix_to_quat(pose[:3, :3] @ FLIP), contype=0,
            conaffinity=0, mass=0.0,
        )  # fmt: skip
        margin = self.board.square / 3
        body.add_geom(
            name="board_edge", type=mujoco.mjtGeom.mjGEOM_BOX, size=[x / 2 + margin, y / 2 + margin, thin / 2],
            pos=position + pose[:3, :3] @ [0, 0, 2 * thin], quat=matrix_to_quat(pose[:3, :3]), rgba=[1, 1, 1, 1], contype=0,
            conaffinity=0, mass=0.0,
        )  # fmt: skip
