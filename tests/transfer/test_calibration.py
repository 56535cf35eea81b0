"""A camera is calibrated from views of a board: within the intervals, with a verdict, and without what is wrong among the views."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_views import POINTS, ROBOT, SIDE, Made

from palmar.errors import BadFile, BadValue, UnknownName
from palmar.kinematics import matrix_to_rotvec
from palmar.robots import mechanics
from palmar.sim.params import WorldParams
from palmar.transfer.board_views import LENSES, BoardViews, fit_free
from palmar.transfer.calibrated import CameraCalibration
from palmar.transfer.calibration import CalibrationConfig, calibrate
from palmar.transfer.digital_twin import digital_twin, read_part
from palmar.transfer.identification import Estimate, Identification
from palmar.transfer.pinhole import camera_pose
from palmar.transfer.reprojection import JointProblem
from palmar.transfer.solver import t95


@pytest.fixture(scope="module")
def beside() -> tuple[Made, CameraCalibration]:
    made = Made(0)
    return made, calibrate(made.views, ROBOT, CalibrationConfig("front"))


def errors(made: Made, found: CameraCalibration) -> tuple[float, float, float]:
    """Of the camera [m], [deg], and of the worst zero offset that can be told [deg]."""
    turned = matrix_to_rotvec(camera_pose(found.rotation).T @ made.camera[:3, :3])
    zeros = [found.estimates[f"joint{j + 1}.zero"].value - made.zeros[j] for j in range(1, 6)]
    place = np.linalg.norm(np.array(found.position) - made.camera[:3, 3])
    return float(place), float(np.rad2deg(np.linalg.norm(turned))), float(np.rad2deg(np.abs(zeros).max()))


def test_camera_and_zero_offsets_are_found(beside: tuple[Made, CameraCalibration]) -> None:
    made, found = beside
    place, turned, zero = errors(made, found)
    assert place < 0.003 and turned < 0.2 and zero < 0.15
    assert found.pixel_noise == pytest.approx(0.2, rel=0.1) and 2e-4 < found.joint_noise < 1e-3
    assert found.residual < 1.0 and 0 < found.held_out < 1.5 and found.views == 25 and not found.dropped


def test_views_that_do_not_fit_together_are_no_calibration(beside: tuple[Made, CameraCalibration]) -> None:
    """A camera beside the robot that is said to be in its hand."""
    views = beside[0].views
    few = replace(views, pixels=views.pixels[:8], positions=views.positions[:8])
    with pytest.raises(
        BadValue, match=r"corners lie \d+ px \(RMS\) from .* the views do not fit together\. Next: no --in-hand"
    ):
        calibrate(few, ROBOT, CalibrationConfig("front", in_hand=True))


def test_what_no_view_can_tell_is_said(beside: tuple[Made, CameraCalibration]) -> None:
    """A turn of the first joint is a turn of the camera, one of the last joint a turn of the board."""
    _, found = beside
    assert not found.estimates["joint1.zero"].identified and not found.estimates["joint7.zero"].identified
    assert "zero offsets of joint1, joint7 cannot be told" in found.findings[0] and "Next: " in found.findings[0]


def test_in_the_hand() -> None:
    made = Made(3, in_hand=True)
    place, turned, zero = errors(made, calibrate(made.views, ROBOT, CalibrationConfig("wrist", in_hand=True)))
    assert place < 0.002 and turned < 0.2 and zero < 0.2


def test_intervals_cover_over_many_cases() -> None:
    """95 % intervals of every unknown, over random cameras, boards, lenses, zero offsets and noise of joint readings."""
    inside = []
    for seed in range(16):
        made = Made(100 + seed, 15, joint=0.001 if seed % 2 else 0.0, in_hand=seed % 4 == 0)
        fit = JointProblem(
            made.views, ROBOT.frame().chain, seed % 4 == 0, fit_free(made.views, LENSES["plain"])
        ).solve()
        off = [
            fit.lens.fx - made.lens.fx,
            *(getattr(fit.lens, n) - getattr(made.lens, n) for n in ("cx", "cy", "k1", "k2")),
        ]
        for found, true in ((fit.camera, made.camera), (fit.board, made.board)):
            off += [*-matrix_to_rotvec(found[:3, :3].T @ true[:3, :3]), *(found[:3, 3] - true[:3, 3])]
        off += [fit.offsets[j] - made.zeros[j] for j in range(7) if f"offset.{j}" in fit.columns]
        inside += list(np.abs(off) < t95(fit.freedom) * np.sqrt(np.diag(fit.covariance)))
    assert len(inside) > 300 and 0.90 <= np.mean(inside) <= 0.99


def test_wrong_corners_and_a_wrong_row_are_left_out() -> None:
    made = Made(5)
    pixels, positions = made.views.pixels.copy(), made.views.positions.copy()
    pixels[2, :3] += 15.0
    positions[[7, 8]] = positions[[8, 7]]
    found = calibrate(replace(made.views, pixels=pixels, positions=positions), ROBOT, names={7: "a.png", 8: "b.png"})
    assert (
        set(found.dropped) == {"a.png", "b.png"}
        and "px from where its joint positions put them" in found.dropped["a.png"]
    )
    place, turned, _ = errors(made, found)
    assert place < 0.004 and turned < 0.3


def test_views_that_do_not_turn_are_told_apart_and_the_next_one_is_named() -> None:
    made = Made(6, 8, turning=0.12)
    found = calibrate(made.views, ROBOT)
    said = " ".join(found.findings)
    assert "8 views; 15 or more" in said and "the hand turns by" in said and "from one distance" in said
    assert not found.estimates["x"].identified or not found.estimates["f"].identified
    assert set(found.next_view) == {f"joint{i}" for i in range(1, 8)}
    fit = JointProblem(made.views, ROBOT.frame().chain, False, fit_free(made.views, LENSES["plain"])).solve()
    assert np.sqrt(fit.covariance[5, 5]) > 0  # it is a fit, however wide


def test_the_lens_alone_needs_no_robot() -> None:
    made = Made(7)
    found = calibrate(replace(made.views, positions=None))
    f = found.estimates["f"]
    assert found.place == "alone" and f.low < made.lens.fx < f.high and f.identified


def test_the_world_has_the_camera_where_it_was_found(tmp_path: Path) -> None:
    """What is written is read back, and makes a world whose camera sees what the real one did."""
    made = Made(8)
    found = calibrate(made.views, ROBOT, CalibrationConfig("front", lens="simulated", zeros=True))
    file = tmp_path / "camera.json"
    file.write_text(found.to_json())
    assert CameraCalibration.load(file) == found
    mount = next(m for m in mechanics(ROBOT).mounts if m.camera == "front")
    params = found.world_params(mount, ROBOT.cameras[0])
    from palmar.sim import tasks
    from palmar.sim.world import World

    world = World(images=False)
    world.load(tasks.sample("reach", seed=1), params)
    i = world.model.camera("front").id
    assert np.allclose(world.data.cam_xpos[i], found.position, atol=1e-6)
    ahead = -world.data.cam_xmat[i].reshape(3, 3)[:, 2]
    assert ahead @ -found.rotation[:, 2] > np.cos(np.deg2rad(0.2))
    assert world.model.cam_fovy[i] == pytest.approx(found.pinhole.fov, abs=0.02)
    assert found.as_camera(96, 96).fov == pytest.approx(found.pinhole.fov, abs=1e-3)
    with pytest.raises(BadValue, match="other proportions"):
        found.as_camera(96, 128)


def test_a_digital_twin_is_dynamics_and_camera_together(tmp_path: Path) -> None:
    made = Made(9)
    camera = calibrate(made.views, ROBOT, CalibrationConfig("front", lens="simulated"))
    arm = Identification("arm7", {"gain": Estimate(0.85, 0.8, 0.9, "×", True)}, 1.0, 0.5)
    for name, part in (("camera.json", camera), ("arm.json", arm)):
        (tmp_path / name).write_text(part.to_json())
    worlds = digital_twin([read_part(tmp_path / n) for n in ("arm.json", "camera.json")])
    drawn = worlds.sample(np.random.default_rng(0))
    assert 0.7 < drawn["gain"] < 1.0 and drawn["gain"] != 0.85
    low, high = worlds.rest.ranges["fov"]
    assert low <= drawn["fov"] <= high
    assert drawn["friction"] == WorldParams()["friction"]
    mount = next(m for m in mechanics(ROBOT).mounts if m.camera == "front")
    assert worlds.centre["gain"] == 0.85
    with pytest.raises(BadValue, match=r"several of them a CameraCalibration"):
        digital_twin([camera, camera])
    assert worlds.centre["camera_x"] == pytest.approx(camera.world_params(mount, ROBOT.cameras[0])["camera_x"])
    told = [camera.estimates[f"joint{j}.zero"] for j in range(1, 8)]
    assert not (told[0].identified or told[2].identified or told[6].identified), (
        "the camera was found with the third, though"
    )
    assert worlds.centre["zero_3"] == pytest.approx(
        -np.rad2deg(told[2].value)
    )  # to be added to a reading that is too large
    assert worlds.rest.ranges["zero_3"] == pytest.approx((-np.rad2deg(told[2].high), -np.rad2deg(told[2].low)))
    assert worlds.rest.ranges["zero_1"] == (0, 0), "the camera was found with it at 0"
    assert "zero_7" not in worlds.rest.ranges and worlds.centre["zero_7"] == 0


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": "palmar camera calibration 1"}', "[" * 100_000])
def test_a_damaged_file_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "camera.json"
    file.write_text(text)
    with pytest.raises(BadFile, match=r"is not a camera calibration .* Next: palmar calibrate"):
        CameraCalibration.load(file)
    with pytest.raises(BadFile, match=r"Next: palmar (sysid|calibrate) "):
        read_part(file)


def test_nothing_held_out_is_none_in_the_file(tmp_path: Path) -> None:
    found = calibrate(Made(11, 6).views, ROBOT, CalibrationConfig(zeros=False, lens="simulated"))
    (tmp_path / "camera.json").write_text(found.to_json())
    assert np.isnan(found.held_out) and json.loads(found.to_json())["held_out"] is None
    assert np.isnan(CameraCalibration.load(tmp_path / "camera.json").held_out)


def test_a_calibration_with_a_number_that_is_none_is_refused(
    tmp_path: Path, beside: tuple[Made, CameraCalibration]
) -> None:
    told = json.loads(beside[1].to_json())
    for change in ({"quat": [0, 0, 0, 0]}, {"position": [float("nan"), 0, 0]}, {"lens": told["lens"] | {"fx": -1}}):
        file = tmp_path / "camera.json"
        file.write_text(json.dumps(told | change))
        with pytest.raises(BadFile, match="is not a camera calibration"):
            CameraCalibration.load(file)


@pytest.mark.parametrize(
    ("views", "said"),
    [
        (lambda p: (p[:2], None), "2 views of the board; expected 3 or more"),
        (lambda p: (np.where(np.arange(24)[None, :, None] < 4, p, np.nan), None), "a view has 4 corners; expected 6"),
        (lambda p: (p, np.full((len(p), 7), np.nan)), "joint positions are not finite"),
        (lambda p: (p, np.zeros((2, 7))), r"expected \[N, 3\], \[V, N, 2\], \[V, J\]"),
    ],
)
def test_views_that_cannot_be_used_are_refused(views, said: str) -> None:
    pixels, positions = views(Made(10, 4).views.pixels)
    with pytest.raises(BadValue, match=said):
        BoardViews(POINTS, pixels, SIDE, SIDE, positions)


def test_a_lens_that_is_none_and_joints_of_another_robot_are_refused() -> None:
    with pytest.raises(UnknownName, match="kind of lens 'fish'"):
        CalibrationConfig(lens="fish")  # type: ignore[arg-type]
    views = Made(11, 4).views
    with pytest.raises(BadValue, match="frame 'tcp' of arm7 has 7 joints"):
        calibrate(replace(views, positions=views.positions[:, :6]), ROBOT)
