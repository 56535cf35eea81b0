"""Gaussian splats: a single one lies where and how it should, nearer ones cover others, and the simulator's things stay as they
are."""

from pathlib import Path

import numpy as np
import pytest

from palmar.errors import BadFile, BadValue
from palmar.kinematics import matrix_to_quat, rotvec_to_matrix
from palmar.sim import tasks
from palmar.sim.world import World
from palmar.transfer.backdrop import SCENERY, Backdrop, composite, foreground
from palmar.transfer.pinhole import PinholeLens, camera_pose
from palmar.transfer.splat_render import draw, project_splats
from palmar.transfer.splats import FIRST, Splats, aligned, harmonics, read_splats, write_splats
from palmar.transfer.starts import posed

LENS = PinholeLens(96, 96, 80.0, 80.0, 47.5, 47.5)
HERE = np.eye(4)
RED, GREEN = [1.0, 0, 0], [0, 1.0, 0]


def moments(cover: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean [2] and covariance [2, 2] of a picture's weights [px]."""
    y, x = np.mgrid[: cover.shape[0], : cover.shape[1]]
    weight = cover / cover.sum()
    mean = np.array([(weight * x).sum(), (weight * y).sum()])
    d = np.stack([x - mean[0], y - mean[1]], -1)
    return mean, np.einsum("hw,hwi,hwj->ij", weight, d, d)


def test_one_splat_projects_where_the_lens_says_and_as_wide_as_it_is() -> None:
    turned = matrix_to_quat(rotvec_to_matrix(np.array([0, 0, 0.5])))
    s = Splats.coloured([[0.1, 0.05, 1.0]], [0.07, 0.03, 0.02], [RED], 0.3, turned[None])
    p = project_splats(s, LENS, HERE)
    assert np.allclose(p.at[0], [47.5 + 8, 47.5 + 4]) and p.depth[0] == 1.0
    J = np.array([[80, 0, -8.0], [0, 80, -4.0]])
    assert np.allclose(p.covariance[0], J @ s.covariances()[0] @ J.T + 0.3 * np.eye(2))
    picture = draw(s, LENS, HERE)
    mean, spread = moments(1 - picture.through)
    assert np.allclose(mean, p.at[0], atol=0.05) and np.allclose(spread, p.covariance[0], rtol=0.06, atol=0.6)
    assert np.allclose(picture.colour[..., 1:], 0) and picture.colour.max() == pytest.approx(0.3, abs=0.02)


def test_the_nearer_one_covers_the_other_whatever_their_order() -> None:
    for order in ([0, 1], [1, 0]):
        places = np.array([[0, 0, 1.0], [0, 0, 2.0]])[order]
        picture = draw(Splats.coloured(places, [0.2] * 3, np.array([RED, GREEN])[order], 0.99), LENS, HERE)
        assert picture.colour[48, 48, 0] > 0.9 and picture.colour[48, 48, 1] < 0.05
        assert picture.depth[48, 48] == pytest.approx(1.0, abs=0.05) and np.isinf(picture.depth[0, 0])
    hidden = draw(Splats.coloured(places, [0.2] * 3, [RED, GREEN], 0.99), LENS, HERE, np.full((96, 96), 0.5))
    assert (hidden.through == 1).all()


def test_a_camera_that_moves_and_a_scene_that_moves_back_see_the_same() -> None:
    rng = np.random.default_rng(0)
    s = Splats(
        rng.uniform([-0.5, -0.5, 1], [0.5, 0.5, 2], (40, 3)), rng.uniform(0.02, 0.1, (40, 3)), rng.normal(size=(40, 4)),
        rng.uniform(0.2, 1, 40), rng.normal(0, 0.3, (40, 9, 3)),
    )  # fmt: skip
    R, t = rotvec_to_matrix(np.array([0.2, -0.4, 0.9])), np.array([0.3, -0.2, 0.5])
    there = draw(s.moved(R, t, 1.0), LENS, posed(R, t))
    assert np.abs(there.colour - draw(s, LENS, HERE).colour).max() < 1e-5
    twice = draw(s.moved(np.eye(3), np.zeros(3), 2.0), LENS, HERE)
    assert np.abs(twice.colour - draw(s, LENS, HERE).colour).max() < 1e-5


def test_harmonics_are_orthonormal() -> None:
    v = np.random.default_rng(0).normal(size=(200_000, 3))
    Y = harmonics(v / np.linalg.norm(v, axis=1, keepdims=True), 16)
    assert np.abs(4 * np.pi * Y.T @ Y / len(Y) - np.eye(16)).max() < 0.03
    assert Y[0, 0] == FIRST


def test_points_of_a_scan_are_put_where_they_are() -> None:
    rng = np.random.default_rng(1)
    scan = rng.normal(size=(5, 3))
    R, t = rotvec_to_matrix(rng.normal(size=3)), rng.normal(size=3)
    found = aligned(scan, 0.4 * scan @ R.T + t)
    assert np.allclose(found[0], R) and np.allclose(found[1], t) and found[2] == pytest.approx(0.4)
    with pytest.raises(BadValue, match="lie on a line"):
        aligned(np.outer(np.arange(4), [1, 2, 3]), np.outer(np.arange(4), [1, 0, 0]))
    with pytest.raises(BadValue, match=r"expected two of \[n, 3\]"):
        aligned(scan[:2], scan[:2])


@pytest.mark.parametrize("degree", [1, 4, 9, 16])
def test_a_file_comes_back_as_it_was(tmp_path: Path, degree: int) -> None:
    rng = np.random.default_rng(degree)
    s = Splats(
        rng.normal(size=(30, 3)), rng.uniform(0.01, 1, (30, 3)), rng.normal(size=(30, 4)), rng.uniform(0.05, 0.95, 30),
        rng.normal(size=(30, degree, 3)),
    )  # fmt: skip
    write_splats(tmp_path / "room.ply", s)
    back = read_splats(tmp_path / "room.ply")
    for name in ("positions", "sizes", "quats", "opacity", "harmonics"):
        assert np.allclose(getattr(back, name), getattr(s, name), atol=1e-5)
    if degree > 1:
        with pytest.raises(BadValue, match="their colours depend on the direction"):
            write_splats(tmp_path / "turned.ply", s.moved(rotvec_to_matrix(np.array([0, 0, 1.0])), np.zeros(3)))


GOOD = (
    "x",
    "y",
    "z",
    "f_dc_0",
    "f_dc_1",
    "f_dc_2",
    "opacity",
    "scale_0",
    "scale_1",
    "scale_2",
    "rot_0",
    "rot_1",
    "rot_2",
    "rot_3",
)


def ply(
    names: tuple[str, ...] = GOOD, count: int = 1, kind: str = "binary_little_endian", body: bytes | None = None
) -> bytes:
    lines = [
        "ply",
        f"format {kind} 1.0",
        f"element vertex {count}",
        *(f"property float {n}" for n in names),
        "end_header\n",
    ]
    return "\n".join(lines).encode() + (np.ones(len(names), "<f4").tobytes() if body is None else body)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no PLY header"), (b"ply\n" + b"a" * 100_000, "no PLY header"), (ply()[:-1], "its header promises"),
        (ply(kind="ascii"), "not binary_little_endian"), (ply(GOOD[:-1]), "no property rot_3"),
        (ply(count=10**11), "at most 20000000"),
        (ply((*GOOD, "f_rest_0")), "1 properties f_rest"), (ply((*GOOD, "x")), "property 'float x'"),
        (ply(body=np.full(14, np.nan, "<f4").tobytes()), "a scale is no logarithm"),
        (ply(body=np.array([np.nan] + [0.0] * 13, "<f4").tobytes()), "positions of splats are not all finite"),
        (ply(body=np.zeros(14, "<f4").tobytes()), "no orientation"),
        (ply().replace(b"vertex", b"face"), "its first element is not 'vertex'"), (b"ply\n\xff\nend_header\n", "no ASCII"),
    ],
)  # fmt: skip
def test_a_damaged_file_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "room.ply").write_bytes(content)
    with pytest.raises(BadFile, match=f"is no file of Gaussian splats .*{said}.*Next: export the scan"):
        read_splats(tmp_path / "room.ply")


def test_a_file_that_is_not_there_and_splats_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match=r"there is no .*room\.ply"):
        read_splats(tmp_path / "room.ply")
    with pytest.raises(BadValue, match="expected \\[G, 3\\]"):
        Splats(np.zeros((2, 3)), np.ones((1, 3)), np.ones((2, 4)), np.ones(2), np.zeros((2, 1, 3)))
    with pytest.raises(BadValue, match="scale is -1"):
        Splats.coloured([[0, 0, 1.0]], [1, 1, 1], [RED]).moved(np.eye(3), np.zeros(3), -1)
    with pytest.raises(BadValue, match="there are no splats"):
        Backdrop(Splats.coloured(np.zeros((0, 3)), [1, 1, 1], np.zeros((0, 3))))


def test_a_scan_stands_behind_the_simulators_foreground() -> None:
    """Robot, table and things keep their pixels; walls and floor are the scan's; a splat before the robot covers it if it may."""
    world = World()
    plain = world.load(tasks.sample("pick", seed=3)).images["front"]
    rng = np.random.default_rng(0)
    wall = np.c_[np.full(4000, -0.55), rng.uniform([-1.5, -0.5], [1.5, 1.2], (4000, 2))]
    world.backdrop = Backdrop(Splats.coloured(wall, [0.05] * 3, [GREEN], 0.95))
    seen = world.observe().images["front"]
    geom, depth = world.backdrop._renderer(world.model, (96, 96)).look(world.data, "front")
    keep = foreground(world.model, geom, SCENERY)
    assert 0.5 < keep.mean() < 0.99 and np.array_equal(seen[keep], plain[keep])
    assert np.abs(seen[~keep].mean(0) - [0, 255, 0]).max() < 40
    # the depth is the simulator's: a pixel on the table lies at its height
    camera = world.model.camera("front").id
    pose = posed(camera_pose(world.data.cam_xmat[camera].reshape(3, 3)), world.data.cam_xpos[camera])
    lens = PinholeLens.of(world.embodiment.cameras[0])
    point = pose[:3, :3] @ (lens.rays(np.array([48, 80])) * depth[80, 48]) + pose[:3, 3]
    assert world.model.geom(geom[80, 48]).name == "table" and point[2] == pytest.approx(0, abs=1e-3)
    post = pose[:3, 3] + pose[:3, 2] * 0.3
    for occludes in (False, True):
        world.backdrop = Backdrop(Splats.coloured([post], [0.02] * 3, [RED], 0.95), occludes=occludes)
        middle = world.observe().images["front"][48, 48]
        assert np.array_equal(middle, plain[48, 48]) is not occludes
    assert world.backdrop._segments
    world.close()
    assert not world.backdrop._segments  # what it held on the graphics side goes with the world's


def test_compositing_keeps_what_it_is_told_to_keep() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (96, 96, 3), np.uint8)
    keep = np.zeros((96, 96), bool)
    keep[:48] = True
    behind = draw(Splats.coloured([[0, 0, 1.0]], [0.3] * 3, [RED], 0.99), LENS, HERE)
    out = composite(picture, keep, behind)
    assert (
        np.array_equal(out[:48], picture[:48]) and out[60, 48, 0] > 200 and not np.array_equal(out[48:], picture[48:])
    )
