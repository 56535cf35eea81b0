"""A real board in rendered pictures: drawn, found, driven to, read from a folder and from a data set."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from palmar.cli import main
from palmar.errors import BadFile, BadValue, UnknownName
from palmar.kinematics import matrix_to_rotvec
from palmar.robots.arm7 import arm7
from palmar.transfer.board_drive import BoardDrive
from palmar.transfer.board_pictures import read_joints, views_of_dataset, views_of_folder
from palmar.transfer.board_views import BoardViews
from palmar.transfer.board_world import BoardWorld
from palmar.transfer.calibrated import CameraCalibration
from palmar.transfer.calibration import CalibrationConfig, calibrate
from palmar.transfer.marker_board import MarkerBoard
from palmar.transfer.pinhole import PinholeLens, camera_pose
from palmar.transfer.starts import inverse, posed

BOARD = MarkerBoard()
SIDE = 360


@pytest.fixture(scope="module")
def driven() -> tuple[BoardWorld, BoardDrive, BoardViews, list[np.ndarray]]:
    """A simulated arm that has shown its board in ten views, and the pictures."""
    world = BoardWorld(size=SIDE)
    world.load_board()
    pictures: list[np.ndarray] = []
    drive = BoardDrive(world, BOARD, CalibrationConfig("front", lens="simulated"))
    kept = drive.look
    found = BOARD.find

    class Watched(MarkerBoard):
        def find(self, picture: np.ndarray) -> np.ndarray:
            pictures.append(picture)
            return found(picture)

    drive.board = Watched()
    assert kept.__self__ is drive
    return world, drive, drive.collect(10), pictures


def test_a_board_is_found_where_it_was_drawn() -> None:
    picture = np.pad(BOARD.draw(60), ((40, 40), (40, 40), (0, 0)), constant_values=255)
    truth = BOARD.corners[:, :2] / BOARD.square * 60 + [210, 150] + 40 - 0.5
    assert np.abs(BOARD.find(picture) - truth).max() < 0.05
    assert np.isnan(BOARD.find(np.zeros((50, 50, 3), np.uint8))).all()


@pytest.mark.parametrize(("place", "camera"), [("hand", "front"), ("table", "wrist")])
def test_the_simulators_pictures_show_it_where_the_lens_says(place, camera: str) -> None:
    """MuJoCo's camera looks along −z, its middle is the principal point, and its texture is not mirrored."""
    world = BoardWorld(place=place)
    world.load_board()
    seen = BOARD.find(world.picture(camera, 480, 480))
    hand = posed(*reversed(world.place("tcp")))
    pose = inverse(world.camera_in(camera)) @ (
        hand @ world.board_in if place == "hand" else inverse(hand) @ world.board_in
    )
    lens = PinholeLens.of(next(c for c in world.embodiment.cameras if c.name == camera))
    ought = lens.project(BOARD.corners @ pose[:3, :3].T + pose[:3, 3])
    assert np.isfinite(seen).all() and np.abs(seen - ought).max() < 0.5 and np.abs((seen - ought).mean(0)).max() < 0.1
    world.close()


def test_a_simulated_arm_drives_to_views_and_finds_its_camera(driven) -> None:
    world, drive, views, _ = driven
    found = calibrate(views, world.embodiment, CalibrationConfig("front", lens="simulated"))
    truth = world.camera_in("front")
    assert np.linalg.norm(np.array(found.position) - truth[:3, 3]) < 0.002
    assert np.linalg.norm(matrix_to_rotvec(camera_pose(found.rotation).T @ truth[:3, :3])) < np.deg2rad(0.2)
    assert found.pinhole.fov == pytest.approx(60.0, abs=0.3) and drive.seconds < 60
    home = world.embodiment.lower <= views.positions.min(), views.positions.shape == (10, 7)
    assert home[1]


def test_a_folder_of_pictures_with_joints_is_calibrated_by_the_command(driven, tmp_path: Path, capsys) -> None:
    world, _, views, pictures = driven
    robot = world.embodiment
    seen = [p for p in pictures if np.isfinite(BOARD.find(p)[:, 0]).sum() >= 6]
    rows = {}
    for i, (picture, q) in enumerate(zip(seen, views.positions, strict=True)):
        Image.fromarray(picture).save(tmp_path / f"{i:02}.png")
        rows[f"{i:02}.png"] = dict(zip(robot.frame().joints, robot.commands(robot.frame(), q).tolist(), strict=True))
    Image.fromarray(np.zeros((SIDE, SIDE, 3), np.uint8)).save(tmp_path / "dark.png")
    rows["dark.png"] = rows["00.png"]
    (tmp_path / "joints.json").write_text(json.dumps(rows))
    out = tmp_path / "out" / "camera.json"
    words = [
        "calibrate",
        "--robot",
        "arm7",
        "--images",
        str(tmp_path),
        "--lens",
        "simulated",
        "--out",
        str(out),
        "--json",
    ]
    assert main(words) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["dropped"] == {"dark.png": "0 corners of the board were found; 6 are needed"} and told["views"] == 10
    found = CameraCalibration.load(out)
    assert np.linalg.norm(np.array(found.position) - world.camera_in("front")[:3, 3]) < 0.002
    (tmp_path / "joints.json").unlink()
    assert main(["calibrate", "--images", str(tmp_path), "--lens", "simulated"]) == 0  # the lens alone
    assert "views" in capsys.readouterr().out
    assert main(["calibrate", "--robot", "arm7", "--images", str(tmp_path)]) == 2
    assert "joints.json'; expected" in capsys.readouterr().err


def test_a_data_set_in_which_the_arm_rests_is_read(driven) -> None:
    world, _, views, pictures = driven
    seen = [p for p in pictures if np.isfinite(BOARD.find(p)[:, 0]).sum() >= 6]

    class Recorded:
        cameras, state_names, fps = ("front",), world.embodiment.state_names, 10
        states = np.repeat(
            [world.embodiment.state_from(np.append(q, 1.0), np.zeros(8)) for q in views.positions], 5, axis=0
        )  # five frames at rest in each view
        episode_of = np.zeros(50, int)

        def picture(self, camera: str, i: int) -> np.ndarray:
            return seen[i // 5]

    got, _, _ = views_of_dataset(Recorded(), "front", BOARD, world.embodiment, count=10)
    assert np.allclose(got.positions, views.positions, atol=1e-5) and np.allclose(
        got.pixels, views.pixels, equal_nan=True
    )
    with pytest.raises(UnknownName, match="camera of the data set 'side'"):
        views_of_dataset(Recorded(), "side", BOARD, world.embodiment)
    Recorded.state_names = ("a",)
    with pytest.raises(BadValue, match=r"state is a; expected joint1\.pos among it"):
        views_of_dataset(Recorded(), "front", BOARD, world.embodiment)


def test_a_board_that_is_not_seen_is_told_before_anything_moves() -> None:
    world = BoardWorld(MarkerBoard(dictionary="6X6_250"), size=SIDE)
    world.load_board()
    with pytest.raises(BadValue, match=r"does not see the board from where the robot starts.* Next: start with"):
        BoardDrive(world, BOARD, CalibrationConfig("front")).collect(10)
    with pytest.raises(BadValue, match="camera is 'side'; arm7 has front, wrist"):
        BoardDrive(world, BOARD, CalibrationConfig("side"))
    world.close()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[", "is no JSON"),
        ("[]", "is a list"),
        ('{"a.png": 3}', "'a.png' is 3"),
        ('{"a.png": [1, 2]}', "has 2 numbers; expected 8"),
        ('{"a.png": {"elbow": 1}}', "has 'elbow'; arm7 has joint1"),
        ('{"a.png": {"joint1": "x"}}', "joint1 of 'a.png' is 'x'"),
        ('{"a.png": {"joint1": 0.1}}', "has no joint2"),
    ],
)
def test_joints_that_cannot_be_used_are_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "joints.json").write_text(text)
    with pytest.raises(BadFile, match=said):
        read_joints(tmp_path / "joints.json", arm7())


def test_folders_that_cannot_be_used_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match="there is no folder"):
        views_of_folder(tmp_path / "none", BOARD)
    with pytest.raises(BadFile, match="holds 0 pictures"):
        views_of_folder(tmp_path, BOARD)
    (tmp_path / "a.png").write_text("no picture")
    with pytest.raises(BadFile, match="is no picture"):
        views_of_folder(tmp_path, BOARD)
    for name, side in (("a.png", 40), ("b.png", 50)):
        Image.fromarray(np.zeros((side, side, 3), np.uint8)).save(tmp_path / name)
    with pytest.raises(BadValue, match=r"40×40, 50×50 px; expected one size"):
        views_of_folder(tmp_path, BOARD)
    (tmp_path / "b.png").unlink()
    with pytest.raises(BadValue, match="found in 0 of 1 pictures"):
        views_of_folder(tmp_path, BOARD)


def test_a_board_that_cannot_be_is_refused() -> None:
    with pytest.raises(UnknownName, match="dictionary of markers '9X9_5'"):
        MarkerBoard(dictionary="9X9_5")
    with pytest.raises(BadValue, match=r"expected smaller markers\. Next: --marker 0\.0146"):
        MarkerBoard(square=0.02, marker=0.03)
    with pytest.raises(BadValue, match="4X4_50 has 50"):
        MarkerBoard(20, 20)
    with pytest.raises(BadValue, match="columns is 2"):
        MarkerBoard(2, 5)
    with pytest.raises(BadValue, match="at most 10000 px"):
        MarkerBoard().draw(5000)


def test_the_command_draws_a_board_and_wants_one_source(tmp_path: Path, capsys) -> None:
    board = tmp_path / "board.png"
    assert main(["calibrate", "--board", str(board), "--square", "0.04", "--marker", "0.03", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["width"] == pytest.approx(0.28)
    with Image.open(board) as opened:
        assert opened.size == (700, 500) and opened.info["dpi"][0] == pytest.approx(63.5, abs=0.1)
    for words, said in (
        (["--board", str(board)], "is there already"), (["--world", "sim", "--robot", "so101"], "--world has arm7 alone"),
        ([], "nothing is given; expected one of --board"),
        (["--board", str(tmp_path / "b.jpg")], "expected a .png"),
        (["--world", "sim", "--body", "mock:"], "--body and --world are given"),
        (["--data", str(tmp_path)], "--data needs --robot"), (["--world", "mars"], "world is 'mars'"),
    ):  # fmt: skip
        assert main(["calibrate", *words]) == 2 and said in capsys.readouterr().err
