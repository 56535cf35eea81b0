"""Where a camera is and how it sees."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from rich.table import Table

from palmar.cli.shared import Answer, as_given, writable
from palmar.console import Screen, styled
from palmar.errors import BadValue
from palmar.files import replace_file, write_text
from palmar.ranges import SEED, Range

if TYPE_CHECKING:
    from palmar.embodiments import Embodiment
    from palmar.transfer.board_views import BoardViews
    from palmar.transfer.calibrated import CameraCalibration
    from palmar.transfer.calibration import CalibrationConfig
    from palmar.transfer.marker_board import MarkerBoard

Squares = Annotated[int, Range(3, 40)]
Metres = Annotated[float, Range(0.002, 1, unit="m")]
Views = Annotated[int, Range(3, 500)]


@dataclass(frozen=True)
class Calibrate:
    """Calibrate a camera from pictures of a printed board: lens, where it is on or beside the robot, and joint zero offsets.

    Print a board first (--board), measure a square, and fix it to the gripper (camera beside the robot) or lay it on the table
    (camera on the robot, --in-hand). Then give pictures with joint positions (--images), a recorded data set (--data), or let
    palmar move the robot (--body).
    """

    board: Path | None = None
    """Draw the board here (.png) for printing, and do nothing else."""
    images: Path | None = None
    """Folder of pictures of the board, with joints.json: {"NAME.png": {"CHANNEL": value}} in the robot's units. Without --robot the
    lens alone is calibrated and joints.json is not needed."""
    data: Path | None = None
    """Folder of a LeRobot data set whose frames show the board: those in which the arm is at rest are used."""
    body: str = ""
    """module:Class or another body of palmar run: the robot moves to --views views within its limits. It begins where its reset
    leaves it: the board has to be in the picture there. Stay beside it with a hand on its switch."""
    world: str = ""
    """A simulated arm7 with a board, to try it: sim, or a reality such as twin:0."""
    robot: str = ""
    """Name of a robot that comes with palmar, or a robot file (.toml)."""
    camera: str = "front"
    """Which camera."""
    in_hand: bool = False
    """The robot carries the camera, and the board stands still."""
    frame: str = ""
    """Of the robot: what carries the board, or the camera. Its first when not given."""
    lens: Literal["simulated", "plain", "full"] = "plain"
    """What of the lens is unknown: simulated: the focal length; plain: principal point and two radial terms too; full:
    everything."""
    zeros: bool = True
    """Find joint zero offsets as well."""
    columns: Squares = 7
    """Squares of the board along its longer side."""
    rows: Squares = 5
    square: Metres = 0.03
    """Side of a square as measured on the print [m]."""
    marker: Metres = 0.022
    """Side of a marker [m]."""
    dictionary: str = "4X4_50"
    """Of the markers."""
    views: Views = 25
    """With --body and --world how many views, with --data how many frames at most."""
    seed: Annotated[int, SEED] = 0
    out: Path | None = None
    """Write the calibration here as JSON, for `palmar collect --identified`."""
    force: bool = False
    """Replace the file of --out or --board when it is there."""
    json: bool = False
    """One JSON object with every figure on stdout."""
    only_without: ClassVar = {
        **{n: ("board",) for n in ("robot", "camera", "in_hand", "frame", "lens", "zeros", "out")},
        "views": ("board", "images"), "seed": ("board", "images", "data"),
    }  # fmt: skip

    def run(self, console: Screen) -> Answer:
        from palmar.transfer.marker_board import MarkerBoard

        writable(self.out, self.force)
        writable(self.board, self.force)
        board = MarkerBoard(self.columns, self.rows, self.square, self.marker, self.dictionary)
        sources = [n for n in ("board", "images", "data", "body", "world") if getattr(self, n)]
        if len(sources) != 1:
            given = f"{' and '.join(f'--{s}' for s in sources)} are" if sources else "nothing is"
            raise BadValue(
                f"{given} given; expected one of --board, --images, --data, --body and --world. Next: palmar calibrate --board "
                "board.png, to print one"
            )
        if self.world and self.robot not in ("", "arm7"):
            raise BadValue(f"--robot is '{self.robot}'; --world has arm7 alone. Next: leave --robot out")
        if self.images and not self.robot:
            for name in ("in_hand", "frame"):
                if getattr(self, name):
                    raise BadValue(
                        f"{as_given(self, name)} counts only with --robot: without one the lens alone is calibrated. "
                        "Next: --robot, or leave it out"
                    )
        if self.board:
            return self._draw(console, board)
        from palmar.transfer.calibration import CalibrationConfig, calibrate
        from palmar.transfer.marker_board import load_cv2

        load_cv2()  # before anything moves
        config = CalibrationConfig(self.camera, self.in_hand, self.frame, self.lens, self.zeros)
        views, robot, names, left = self._views(console, board, config)
        found = calibrate(views, robot, config, names, left)
        self._show(console, found, robot)
        if self.out:
            write_text(self.out, found.to_json())
        return 0, json.loads(found.to_json())

    def _draw(self, console: Screen, board: MarkerBoard) -> Answer:
        from palmar.errors import need

        need("PIL", "data")
        from PIL import Image

        path = self.board
        assert path is not None
        if path.suffix.lower() != ".png":
            raise BadValue(f"--board is '{path}'; expected a .png. Next: --board {path.with_suffix('.png')}")
        pixels = 100
        picture = board.draw(pixels)
        dpi = (pixels / board.square * 0.0254,) * 2
        replace_file(path, lambda aside: Image.fromarray(picture).save(aside, format="PNG", dpi=dpi))
        width, height = board.size
        console.print(
            styled("{}: print it at {} × {} mm, with a white margin, on something flat. Measure a square: --square {}",
                   path, f"{width * 1e3:.0f}", f"{height * 1e3:.0f}", board.square)
        )  # fmt: skip
        return 0, {"board": str(path), "width": width, "height": height, **board.to_dict()}

    def _views(
        self, console: Screen, board: MarkerBoard, config: CalibrationConfig
    ) -> tuple[BoardViews, Embodiment | None, dict[int, str], dict[str, str]]:
        from palmar.description.find import find_robot
        from palmar.transfer.board_drive import BoardDrive
        from palmar.transfer.board_pictures import views_of_dataset, views_of_folder

        robot = find_robot(self.robot) if self.robot else None
        if self.images:
            views, names, left = views_of_folder(self.images, board, robot, self.frame)
            return views, robot, names, left
        if self.data:
            from palmar.data.reader import Dataset

            if robot is None:
                raise BadValue(
                    f"--data needs --robot. Next: palmar robot make {self.data} --out robot.toml, then --robot robot.toml"
                )
            views, names, left = views_of_dataset(
                Dataset(self.data, cache=False), self.camera, board, robot, self.frame, self.views
            )
            return views, robot, names, left
        say = console.print
        if self.world:
            from palmar.sim.reality import reality
            from palmar.transfer.board_world import BoardWorld

            world = BoardWorld(board, "table" if self.in_hand else "hand", reality=reality(self.world))
            try:
                world.load_board(seed=self.seed)
                drive = BoardDrive(world, board, config, say)
                return drive.collect(self.views, self.seed), world.embodiment, {}, {}
            finally:
                world.close()
        from palmar.runtime.bodies.find import find_body
        from palmar.runtime.undisturbed import ended_by_signals

        with ended_by_signals():
            body: Any = find_body(self.body).connect(robot)
            try:
                drive = BoardDrive(body, board, config, say)
                return drive.collect(self.views, self.seed), body.embodiment, {}, {}
            finally:
                body.close()

    def _show(self, console: Screen, found: CameraCalibration, robot: Embodiment | None) -> None:
        table = Table("parameter", "estimate", "low", "high", "unit", "remark")
        for row in found.rows():
            table.add_row(*row)
        console.print(table)
        joints = f", joint readings to {1e3 * found.joint_noise:.2f} mrad" if robot else ""
        held_out = (
            f"of views held out {found.held_out:.2f} px"
            if found.held_out == found.held_out
            else "too few to hold any out"
        )
        console.print(
            f"{found.views} views, {len(found.dropped)} left out · corners to {found.pixel_noise:.2f} px{joints} · RMS of what was "
            f"fitted {found.residual:.2f} px, {held_out}"
        )
        for name, why in found.dropped.items():
            console.print(styled("[yellow]left out: {}: {}", name, why))
        for finding in found.findings:
            console.print(styled("[yellow]{}", finding))
        if found.next_view:
            told = ", ".join(f"{n} {v:.2f}" for n, v in found.next_view.items())
            console.print(styled("the next view that would tell most: {}", told))
