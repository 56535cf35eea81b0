"""The lens, the closed forms a calibration begins with, and MuJoCo's camera axes."""

import numpy as np
import pytest

from palmar.errors import BadValue
from palmar.robot_parts import Camera
from palmar.transfer.pinhole import PinholeLens, camera_pose
from palmar.transfer.starts import board_pose, focal_length, hand_eye, homography, inverse, mirrored, posed, turns

LENS = PinholeLens(640, 480, 500.0, 500.0, 319.5, 239.5)
GRID = np.stack(np.meshgrid(np.arange(6), np.arange(4)), -1).reshape(-1, 2) * 0.03


def poses(count: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return posed(
        turns(rng.normal(size=(count, 3)) * 0.5), rng.uniform([-0.1, -0.1, 0.4], [0.05, 0.05, 0.6], (count, 3))
    )


def test_a_pixel_and_its_ray_are_the_same_under_distortion() -> None:
    lens = PinholeLens(640, 480, 500, 510, 322, 236, -0.2, 0.05, 0.001, 0.002, 0.01)
    pixels = np.random.default_rng(0).uniform([0, 0], [639, 479], (50, 2))
    assert np.abs(lens.project(lens.rays(pixels)) - pixels).max() < 0.05


def test_a_lens_in_another_size_sees_the_same_rays() -> None:
    lens = PinholeLens(640, 480, 500, 510, 322, 236, -0.2)
    corner = lens.rays(np.array([[-0.5, -0.5], [639.5, 479.5]]))
    half = lens.scaled(240, 320)
    assert np.allclose(half.rays(np.array([[-0.5, -0.5], [319.5, 239.5]])), corner, atol=1e-6)
    assert half.fov == pytest.approx(lens.fov)


def test_the_simulators_camera_has_its_field_of_view_and_axes() -> None:
    lens = PinholeLens.of(Camera("front", 96, 128, 60.0))
    assert lens.fov == pytest.approx(60.0) and (lens.cx, lens.cy) == (63.5, 47.5)
    assert np.allclose(camera_pose(np.eye(3)) @ [0, 0, 1], [0, 0, -1])  # ahead is −z there
    assert np.allclose(camera_pose(camera_pose(np.eye(3))), np.eye(3))


def test_a_lens_of_no_numbers_is_refused() -> None:
    with pytest.raises(BadValue, match=r"focal lengths above 0\. Next: calibrate again"):
        PinholeLens(640, 480, 0.0, 500, 320, 240)


def test_focal_length_and_pose_come_from_homographies() -> None:
    truth = poses(6)
    points = np.c_[GRID, 0 * GRID[:, :1]]
    H = [homography(GRID, LENS.project(points @ P[:3, :3].T + P[:3, 3])) for P in truth]
    assert focal_length(np.array(H), np.array([319.5, 239.5])) == pytest.approx(500, rel=1e-6)
    assert max(np.abs(board_pose(h, LENS.matrix()) - P).max() for h, P in zip(H, truth, strict=True)) < 1e-8


def test_a_board_seen_face_on_tells_no_focal_length() -> None:
    flat = [homography(GRID, 500 * GRID / z + [320, 240]) for z in (0.4, 0.5, 0.6)]
    found = focal_length(np.array(flat), np.array([320.0, 240.0]))
    assert found is None or found > 1e4


def test_the_mirrored_pose_has_the_mirrored_normal_and_mirrors_back() -> None:
    for P in poses(5, 1):
        other = mirrored(P)
        assert np.allclose(mirrored(other), P, atol=1e-9) and np.allclose(other[:3, 3], P[:3, 3])
        sight = P[:3, 3] / np.linalg.norm(P[:3, 3])
        assert sight @ other[:3, 2] == pytest.approx(sight @ P[:3, 2])


def test_camera_and_board_come_from_poses_of_the_hand_though_two_are_wrong() -> None:
    hand, camera, board = poses(20, 3), *poses(2, 4)
    seen = inverse(camera) @ hand @ board
    seen[[4, 9]] = poses(2, 5)
    found = hand_eye(hand, seen)
    assert np.allclose(found[0], camera, atol=1e-8) and np.allclose(found[1], board, atol=1e-8)
