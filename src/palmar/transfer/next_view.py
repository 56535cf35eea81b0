"""Which view of the board would narrow the intervals most: chosen by the information that it adds, within the robot's limits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from palmar.embodiments import Embodiment
from palmar.robot_parts import Frame
from palmar.transfer.board_views import LEAST_CORNERS, BoardViews, FreeFit
from palmar.transfer.calibration_verdict import LIMITS
from palmar.transfer.pinhole import project
from palmar.transfer.reprojection import JointFit, JointProblem, Shared
from palmar.transfer.starts import inverse, posed
from palmar.types import Array

CANDIDATES = 300
REACH = 0.45  # standard deviation of a candidate's joints about a view that was had [rad]; a tenth of that where a joint slides [m]
MARGIN = 0.03  # share of the picture that stays free at its edges
FACING = np.cos(np.deg2rad(65.0))  # a board seen more flatly is not found
NEAR = 0.12  # nothing of the board nearer to the lens [m]
ROOM = 0.02  # of the board over the lowest point of the workspace [m]
INSIDE = 0.04  # share of a channel's range that stays free at its ends


def most_telling(
    fit: JointFit, points: Array, robot: Embodiment, frame: Frame, in_hand: bool, names: Sequence[str], had: Array, count: int = 1,
    seed: int = 0,
) -> Array:  # fmt: skip
    """float64[count', J], count' ≤ count: joint positions [rad], [m] of the views that tell most, the best first; fewer where
    too few candidates show the board.

    points: float64[N, 3] corners of the board [m]. had: float64[V, J] positions of the views that there are. One after another is
    added that makes the sum of squared half intervals, each in units of its limit (`LIMITS`), smallest.
    """
    rng = np.random.default_rng([43, seed, len(had)])
    tried = _candidates(fit, points, robot, frame, in_hand, had, rng)
    if not len(tried):
        return tried
    views = (
        BoardViews(points, _pixels(fit, points, frame, in_hand, tried), fit.lens.width, fit.lens.height, tried)
        if len(tried) > 2
        else None
    )
    if views is None:
        return tried[:count]
    information = _information(fit, views, frame, in_hand, tuple(names))
    scale = np.array([_limit(c, fit) for c in fit.columns])
    have = np.linalg.pinv(fit.covariance * scale[:, None] * scale, hermitian=True)
    each = information / scale[:, None] / scale
    chosen: list[int] = []
    weight = np.where([c.startswith("board.") for c in fit.columns], 0.0, 1.0)
    for _ in range(min(count, len(tried))):
        cost = [
            np.inf if i in chosen else float(weight @ np.diag(np.linalg.pinv(have + e, hermitian=True)))
            for i, e in enumerate(each)
        ]
        chosen.append(int(np.argmin(cost)))
        have = have + each[chosen[-1]]
    return tried[chosen]


def _limit(column: str, fit: JointFit) -> float:
    """1 / the half interval up to which an unknown is claimed."""
    name = column.rpartition(".")[2] if "." in column else column
    if column.startswith("offset."):
        return float(1 / LIMITS["zero"])
    if name in ("x", "y", "z"):
        return 1 / LIMITS["position"]
    if name.startswith("turn"):
        return float(1 / np.deg2rad(LIMITS["turn"]))
    if name in ("f", "fx", "fy", "cx", "cy"):
        return 1 / (LIMITS["focal"] * fit.lens.fx)
    return 1 / LIMITS["term"]


def _candidates(
    fit: JointFit, points: Array, robot: Embodiment, frame: Frame, in_hand: bool, had: Array, rng: np.random.Generator
) -> Array:
    """Joint positions float64[K, J] within the limits at which the whole board ought to be seen."""
    channels = [robot.channels[robot.index(j)] for j in frame.joints]
    ends = np.array([[c.lower, c.upper] for c in channels], float)
    ends = np.where(np.isfinite(ends), ends, np.array([-np.pi, np.pi]))
    scales = np.array([c.to_si for c in channels])
    si = np.sort(ends * scales[:, :1] + scales[:, 1:], axis=1)
    width = INSIDE * (si[:, 1] - si[:, 0])
    spread = np.where(frame.chain.slides, REACH / 10, REACH)
    q = had[rng.integers(len(had), size=CANDIDATES)] + rng.normal(size=(CANDIDATES, had.shape[1])) * spread
    q = np.clip(q, si[:, 0] + width, si[:, 1] - width)
    position, rotation = frame.chain.forward(q + fit.offsets)
    hand = posed(rotation, position)
    board = hand @ fit.board if not in_hand else np.broadcast_to(fit.board, hand.shape)
    camera = hand @ fit.camera if in_hand else np.broadcast_to(fit.camera, hand.shape)
    corners = points @ np.swapaxes(board[:, :3, :3], 1, 2) + board[:, None, :3, 3]
    before = inverse(camera) @ board
    seen = points @ np.swapaxes(before[:, :3, :3], 1, 2) + before[:, None, :3, 3]
    u = project(seen, fit.lens.numbers) / [fit.lens.width, fit.lens.height]
    sight = before[:, :3, 3] / np.linalg.norm(before[:, :3, 3], axis=1, keepdims=True)
    good = (u > MARGIN).all((1, 2)) & (u < 1 - MARGIN).all((1, 2)) & (seen[..., 2] > NEAR).all(1)
    good &= np.einsum("vi,vi->v", before[:, :3, 2], sight) > FACING
    if frame.workspace is not None:
        low, high = np.asarray(frame.workspace)
        good &= (position > low).all(1) & (position < high).all(1)
        if not in_hand:
            good &= corners[..., 2].min(1) > low[2] + ROOM
    return np.asarray(q[good])


def _pixels(fit: JointFit, points: Array, frame: Frame, in_hand: bool, q: Array) -> Array:
    """float64[K, N, 2]: where the corners ought to be seen."""
    position, rotation = frame.chain.forward(q + fit.offsets)
    hand = posed(rotation, position)
    pose = inverse(fit.camera) @ (inverse(hand) if in_hand else hand) @ fit.board
    return project(points @ np.swapaxes(pose[:, :3, :3], 1, 2) + pose[:, None, :3, 3], fit.lens.numbers)


def _information(fit: JointFit, views: BoardViews, frame: Frame, in_hand: bool, names: tuple[str, ...]) -> Array:
    """float64[K, P, P] that each candidate would add."""
    from palmar.transfer.board_views import lens_columns

    K, N = views.pixels.shape[:2]
    free = FreeFit(
        fit.lens, np.broadcast_to(np.eye(4), (K, 4, 4)), fit.noise, np.ones((K, N), bool), names, np.zeros((0, 0))
    )
    problem = object.__new__(JointProblem)
    joints = tuple(int(c.rpartition(".")[2]) for c in fit.columns if c.startswith("offset."))
    problem.__dict__ = {
        "views": views, "chain": frame.chain, "in_hand": in_hand, "free": free, "names": names, "J": len(frame.joints),
        "joints": joints, "slopes": lens_columns(names, fit.lens.numbers),
    }  # fmt: skip
    _, X, D = problem.linear((fit.lens.numbers, fit.camera, fit.board, fit.offsets))
    white = Shared.of(D).white(X, (fit.joints / fit.noise) ** 2)
    H = np.swapaxes(white, 1, 2) @ white
    assert N >= LEAST_CORNERS
    return np.asarray(H / fit.noise**2)
