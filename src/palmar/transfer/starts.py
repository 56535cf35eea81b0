"""Where a camera calibration begins: closed forms for focal length, board poses, and camera and board on a robot.

Poses are float64[..., 4, 4] that take points of one frame into another: `board_in_camera`, axes of computer vision.
"""

from __future__ import annotations

import numpy as np

from palmar.types import Array


def posed(rotation: Array, position: Array) -> Array:
    """float64[..., 4, 4] of rotations [..., 3, 3] and positions [..., 3]."""
    rotation, position = np.asarray(rotation, float), np.asarray(position, float)
    out = np.zeros((*position.shape[:-1], 4, 4))
    out[..., :3, :3], out[..., :3, 3], out[..., 3, 3] = rotation, position, 1.0
    return out


def inverse(pose: Array) -> Array:
    """The other way round, [..., 4, 4]."""
    turned = np.swapaxes(pose[..., :3, :3], -1, -2)
    return posed(turned, -(turned @ pose[..., :3, 3:])[..., 0])


def turns(vectors: Array) -> Array:
    """Rotation matrices [..., 3, 3] of rotation vectors [..., 3] (Rodrigues)."""
    v = np.asarray(vectors, float)
    angle = np.linalg.norm(v, axis=-1)[..., None, None]
    K = np.zeros((*v.shape[:-1], 3, 3))
    K[..., 0, 1], K[..., 0, 2], K[..., 1, 2] = -v[..., 2], v[..., 1], -v[..., 0]
    K[..., 1, 0], K[..., 2, 0], K[..., 2, 1] = v[..., 2], -v[..., 1], v[..., 0]
    small = angle < 1e-9
    safe = np.where(small, 1.0, angle)
    return (
        np.eye(3)
        + np.where(small, 1.0, np.sin(safe) / safe) * K
        + np.where(small, 0.5, (1 - np.cos(safe)) / safe**2) * K @ K
    )


def nearest_rotation(matrix: Array) -> Array:
    """float64[..., 3, 3]: the rotation nearest to a matrix, by singular values."""
    U, _, V = np.linalg.svd(matrix)
    sign = np.sign(np.linalg.det(U @ V))
    U = U.copy()
    U[..., :, 2] *= sign[..., None]
    return np.asarray(U @ V)


def homography(plane: Array, pixels: Array) -> Array:
    """float64[3, 3] from points of a plane [n, 2] to pixels [n, 2], n ≥ 4 (direct linear transform, both sides normalised).
    Source: Hartley and Zisserman 2004, "Multiple View Geometry", algorithm 4.2."""
    (a, A), (b, B) = _normalised(plane), _normalised(pixels)
    one = np.ones(len(a))
    x, y, u, v = a[:, 0], a[:, 1], b[:, 0], b[:, 1]
    nil = np.zeros(len(a))
    rows = np.concatenate(
        [
            np.stack([x, y, one, nil, nil, nil, -u * x, -u * y, -u], 1),
            np.stack([nil, nil, nil, x, y, one, -v * x, -v * y, -v], 1),
        ]
    )
    H = np.linalg.svd(rows)[2][-1].reshape(3, 3)
    return np.asarray(np.linalg.inv(B) @ H @ A)


def _normalised(points: Array) -> tuple[Array, Array]:
    """Points [n, 2] about 0 with a spread of 1, and the map [3, 3] that made them so."""
    middle = points.mean(0)
    scale = 1.0 / max(float(np.abs(points - middle).mean()), 1e-12)
    return (points - middle) * scale, np.array(
        [[scale, 0, -scale * middle[0]], [0, scale, -scale * middle[1]], [0, 0, 1]]
    )


def focal_length(homographies: Array, centre: Array) -> float | None:
    """Focal length [px] of a camera with square pixels and the principal point `centre` [2] [px] that sees a plane by
    `homographies` [V, 3, 3]; None where the plane is seen face on in every view, which tells none.

    Source: Zhang 2000, "A flexible new technique for camera calibration", with all but the focal length known.
    """
    shift = np.array([[1.0, 0, -centre[0]], [0, 1, -centre[1]], [0, 0, 1]])
    H = shift @ homographies
    H = H / np.linalg.norm(H[:, 2:, :], axis=-1, keepdims=True)
    a, b = H[:, :, 0], H[:, :, 1]
    rows = np.concatenate([(a[:, :2] * b[:, :2]).sum(1), (a[:, :2] ** 2 - b[:, :2] ** 2).sum(1)])
    right = -np.concatenate([a[:, 2] * b[:, 2], a[:, 2] ** 2 - b[:, 2] ** 2])
    value = float(rows @ right) / max(float(rows @ rows), 1e-300)
    return float(value**-0.5) if value > 0 and np.isfinite(value) else None


def board_pose(H: Array, matrix: Array) -> Array:
    """float64[4, 4] of a board before a camera, from its homography [3, 3] and the camera matrix [3, 3]."""
    M = np.linalg.solve(matrix, H)
    M = M / (0.5 * (np.linalg.norm(M[:, 0]) + np.linalg.norm(M[:, 1])))
    if M[2, 2] < 0:
        M = -M
    return posed(nearest_rotation(np.stack([M[:, 0], M[:, 1], np.cross(M[:, 0], M[:, 1])], 1)), M[:, 2])


def mirrored(pose: Array) -> Array:
    """The other pose [4, 4] at which a small flat board looks almost the same: its normal mirrored at the line of sight."""
    sight = pose[:3, 3] / np.linalg.norm(pose[:3, 3])
    normal = pose[:3, 2]
    other = 2 * (normal @ sight) * sight - normal
    axis, c = np.cross(normal, other), float(np.clip(normal @ other, -1, 1))
    length = float(np.linalg.norm(axis))
    turn = turns(axis / length * np.arctan2(length, c)) if length > 1e-9 else np.eye(3)
    return posed(turn @ pose[:3, :3], pose[:3, 3])


def hand_eye(hand: Array, board_in_camera: Array) -> tuple[Array, Array]:
    """(camera [4, 4], board [4, 4]) with board_in_camera = camera⁻¹ · hand · board for poses [V, 4, 4] of a hand.

    Eye to hand: `hand` is that of the gripper in the base, the camera is found in the base, the board in the gripper. Eye in
    hand: `hand` is that of the base in the gripper, the camera is found in the gripper, the board in the base. Closed form,
    then once more without the views that fit worst. Source: Shah 2013, "Solving the robot-world / hand-eye calibration problem
    using the Kronecker product".
    """
    kept = np.ones(len(hand), bool)
    for _ in range(4):
        camera, board = _shah(hand[kept], board_in_camera[kept])
        off = inverse(camera) @ hand @ board @ inverse(board_in_camera)
        angle = np.arccos(np.clip((np.trace(off[:, :3, :3], axis1=1, axis2=2) - 1) / 2, -1, 1))
        fits = angle <= max(4 * float(np.median(angle)), 0.03)
        if (fits == kept).all() or fits.sum() < 4:
            break
        kept = fits
    return camera, board


def _shah(A: Array, B: Array) -> tuple[Array, Array]:
    RA, RB = A[:, :3, :3], B[:, :3, :3]
    K = np.einsum("vij,vkl->ikjl", RA, RB).reshape(9, 9)
    U, _, V = np.linalg.svd(K)
    left, right = U[:, 0].reshape(3, 3), V[0].reshape(3, 3)
    if np.linalg.det(left) < 0:
        left = -left
    camera, board = nearest_rotation(left), nearest_rotation(right if np.linalg.det(right) > 0 else -right)
    # camera · t_B + t_camera = RA · t_board + t_A
    rows = np.concatenate([np.broadcast_to(np.eye(3), (len(A), 3, 3)), -RA], 2).reshape(-1, 6)
    found = np.linalg.lstsq(rows, (A[:, :3, 3] - B[:, :3, 3] @ camera.T).reshape(-1), rcond=None)[0]
    return posed(camera, found[:3]), posed(board, found[3:])
