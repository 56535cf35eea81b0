"""What a camera calibration found, as a value: estimates with intervals, and a file that keeps them."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from palmar.errors import BadFile, BadValue, regular_file
from palmar.kinematics import matrix_to_quat, quat_to_matrix, rotvec_to_matrix
from palmar.links import Mount
from palmar.robot_parts import Camera
from palmar.sim.params import SPACE, WorldParams
from palmar.transfer.identification import Estimate
from palmar.transfer.pinhole import NUMBERS, PinholeLens, camera_pose
from palmar.types import Array

FORMAT = "palmar camera calibration 1"
MOST_BYTES = 4 * 2**20


@dataclass(frozen=True)
class CameraCalibration:
    """A camera's lens, where it is, and how well that is known.

    robot, camera: names. place: "beside" the robot, in its base frame; "hand", in that of `frame`; "alone", no robot was in play.
    lens: width, height and the numbers of `PinholeLens`. position [m], quat (wxyz): of the camera in that frame, axes of a `Mount`
    (x right, y up, z backwards). board_position, board_quat: of the board in the other frame, its axes as of `MarkerBoard`.
    estimates: {name: `Estimate`} of the lens [px], x, y, z [m], turn_x, turn_y, turn_z [deg] about the camera's own axes from
    `quat` (axes of computer vision: the value is 0, the interval says how well it is known), and of the zero offsets
    CHANNEL.zero in the channel's unit, to be added to a reading. pixel_noise [px], joint_noise [rad]: standard deviations of
    what was read. residual, held_out: RMS reprojection error of the views that were fitted, and of those that a fit without them
    predicts [px]. views: used. dropped: {view: why}. findings: what these views cannot tell, and which would. next_view:
    {channel: value} of the view that would tell most, empty where none was looked for.
    """

    robot: str
    camera: str
    place: str
    frame: str
    lens: dict[str, float]
    position: tuple[float, float, float]
    quat: tuple[float, float, float, float]
    board_position: tuple[float, float, float]
    board_quat: tuple[float, float, float, float]
    estimates: dict[str, Estimate]
    pixel_noise: float
    joint_noise: float
    residual: float
    held_out: float
    views: int
    dropped: dict[str, str] = field(default_factory=dict)
    findings: tuple[str, ...] = ()
    next_view: dict[str, float] = field(default_factory=dict)

    @property
    def pinhole(self) -> PinholeLens:
        numbers = [float(self.lens[n]) for n in NUMBERS]
        return PinholeLens(int(self.lens["width"]), int(self.lens["height"]), *numbers)

    @property
    def rotation(self) -> Array:
        """float64[3, 3] of `quat`."""
        return quat_to_matrix(np.array(self.quat))

    def mount(self, link: str = "") -> Mount:
        """The camera where it was found, for a simulator. link: what carries it, "" for one beside the robot."""
        return Mount(self.camera, link, self.position, self.rotation)

    def as_camera(self, height: int, width: int) -> Camera:
        """The camera of a robot file, for its pictures in another size. Raises `BadValue` for a size with other proportions."""
        lens = self.pinhole
        if abs(width / height - lens.width / lens.height) > 0.01:
            raise BadValue(
                f"pictures of {width}×{height} px have other proportions than those of the calibration, "
                f"{lens.width}×{lens.height}. Next: a size with the same, or calibrate from pictures as the policy sees them"
            )
        return Camera(self.camera, height, width, round(lens.fov, 4))

    def world_params(self, mount: Mount, camera: Camera, params: WorldParams | None = None) -> WorldParams:
        """Where the simulated camera has to be: camera_x … camera_roll and fov, the others as in `params`.

        mount, camera: where the simulator has it by nominal parameters (`robots.mechanics(robot).mounts`, `Embodiment.cameras`).
        What the simulated camera cannot do is left out: distortion, and pixels that are not square. A principal point that is
        not in the middle counts as a turn. Raises `BadValue` for a camera that the robot carries.
        """
        if self.place != "beside" or mount.link:
            raise BadValue(
                f"camera '{self.camera}' is {'carried by the robot' if self.place == 'hand' else 'not placed on a robot'}; the "
                "world parameters place one beside it. Next: put its mount into the robot's description"
            )
        lens = self.pinhole
        ahead = lens.rays(np.array([(lens.width - 1) / 2, (lens.height - 1) / 2]))
        ahead = ahead / np.linalg.norm(ahead)
        axis = np.cross([0.0, 0.0, 1.0], ahead)
        turned = camera_pose(self.rotation) @ rotvec_to_matrix(
            axis * (np.arcsin(np.linalg.norm(axis)) / max(np.linalg.norm(axis), 1e-12))
        )
        R = mount.rotation.T @ camera_pose(turned)  # = Rx(pitch) · Ry(yaw) · Rz(roll)
        pitch, yaw = np.arctan2(-R[1, 2], R[2, 2]), np.arcsin(np.clip(R[0, 2], -1, 1))
        roll = np.arctan2(-R[0, 1], R[0, 0])
        moved = np.array(self.position) - np.array(mount.pos)
        edges = lens.rays(np.array([[(lens.width - 1) / 2, -0.5], [(lens.width - 1) / 2, lens.height - 0.5]]))
        fov = np.rad2deg(np.arctan(edges[1, 1]) - np.arctan(edges[0, 1]))
        values = {
            "camera_x": moved[0], "camera_y": moved[1], "camera_z": moved[2], "camera_pitch": np.rad2deg(pitch),
            "camera_yaw": np.rad2deg(yaw), "camera_roll": np.rad2deg(roll), "fov": fov - camera.fov + SPACE["fov"].nominal,
        }  # fmt: skip
        return (params or WorldParams()).replace(**{n: float(v) for n, v in values.items()})

    def rows(self) -> list[tuple[str, str, str, str, str, str]]:
        """(name, value, low, high, unit, remark) for a table."""
        return [
            (n, f"{e.value:.5g}", f"{e.low:.5g}", f"{e.high:.5g}", e.unit,
             e.note if e.identified else f"not identified. {e.note}".strip())
            for n, e in self.estimates.items()
        ]  # fmt: skip

    def to_json(self) -> str:
        held_out = self.held_out if np.isfinite(self.held_out) else None  # JSON has no NaN
        return json.dumps({"format": FORMAT, **asdict(self), "held_out": held_out}, indent=1)

    @classmethod
    def load(cls, path: str | Path) -> CameraCalibration:
        """Read a file that `palmar calibrate --out` wrote. Raises `BadFile`."""
        try:
            file = regular_file(path)
            if file.exists() and file.stat().st_size > MOST_BYTES:
                raise BadFile(
                    f"'{path}' has {file.stat().st_size} bytes; expected a calibration of at most {MOST_BYTES}. Next: palmar "
                    "calibrate"
                )
            row: dict[str, Any] = json.loads(file.read_text("utf-8"))
            if row.pop("format") != FORMAT:
                raise ValueError("another format")
            row["held_out"] = float("nan") if row["held_out"] is None else row["held_out"]
            row["estimates"] = {n: Estimate(**e) for n, e in row["estimates"].items()}
            for name in ("position", "quat", "board_position", "board_quat", "findings"):
                row[name] = tuple(row[name])
            found = cls(**row)
            numbers = np.array([*found.position, *found.quat], float)
            if numbers.shape != (7,) or not np.isfinite(numbers).all() or np.linalg.norm(numbers[3:]) < 0.5:
                raise ValueError(f"position and quat are {found.position}, {found.quat}")
            _ = found.pinhole
            return found
        except FileNotFoundError:
            raise BadFile(f"no calibration at '{path}'. Next: palmar calibrate --out {path}") from None
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise BadFile(
                f"'{path}' is not a camera calibration ({error}); expected the JSON that palmar calibrate --out writes. "
                "Next: palmar calibrate --out FILE.json"
            ) from None


def posed_numbers(pose: Array, mount: bool) -> tuple[tuple[float, float, float], tuple[float, float, float, float]]:
    """(position, quat) of a pose [4, 4]; mount: its axes are those of computer vision, and those of a `Mount` are wanted."""
    rotation = camera_pose(pose[:3, :3]) if mount else pose[:3, :3]
    position: Any = tuple(float(x) for x in pose[:3, 3])
    quat: Any = tuple(float(x) for x in matrix_to_quat(rotation))
    return position, quat
