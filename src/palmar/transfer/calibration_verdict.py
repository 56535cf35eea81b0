"""What views of a board cannot tell, why, and which views would."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from palmar.embodiments import Embodiment
from palmar.robot_parts import Frame
from palmar.transfer.board_views import BoardViews, FreeFit
from palmar.transfer.identification import Estimate
from palmar.transfer.reprojection import JointFit
from palmar.types import Array

LIMITS = {"position": 0.005, "turn": 0.5, "zero": np.deg2rad(0.25), "focal": 0.02, "centre": 0.02, "term": 0.1}
"""Half an interval up to which a value is claimed: of the camera's position [m], turn [deg], of zero offsets [rad], as shares of
the focal length, and of distortion terms."""
ENOUGH = 15  # views
TURN = np.deg2rad(30.0)  # between two views, about two axes
LEAN = np.deg2rad(20.0)  # of the board away from facing the camera
RATIO = 1.4  # of the largest and the smallest distance
SPREAD = 0.5  # share of the picture that the corners of all views span, each way


def findings(
    free: FreeFit,
    views: BoardViews,
    fit: JointFit,
    estimates: Mapping[str, Estimate],
    robot: Embodiment,
    frame: Frame,
    in_hand: bool,
) -> tuple[str, ...]:
    """In words, each with the view that would help; empty where all is identified."""
    unsure = [n for n, e in estimates.items() if not e.identified and not n.endswith(".zero")]
    zeros = [n for n, e in estimates.items() if not e.identified and n.endswith(".zero")]
    out: list[str] = []
    if fit.gauge:
        joints = ", ".join(frame.joints[j] for j in fit.gauge)
        out.append(
            f"zero offsets of {joints} cannot be told: a turn of the camera or of the board about that axis looks the same. Next: "
            "hold the joint against a stop of known angle, or measure where the board is fixed"
        )
    carrier = "hand" if not in_hand else "hand with the camera"
    if unsure or [z for z in zeros if frame.joints.index(z.removesuffix(".zero")) not in fit.gauge]:
        assert views.positions is not None
        out += lens_reasons(free, views)
        turn, second = _turning(frame.chain.forward(views.positions)[1])
        if turn < TURN:
            out.append(
                f"the hand turns by {np.rad2deg(turn):.0f}° at most between views; 30° or more place the camera. Next: turn "
                f"the {carrier} by 30° about two different axes"
            )
        elif second < 0.3:
            out.append(
                f"the hand turns about one axis only: where the camera is along it cannot be told. Next: turn the {carrier} about "
                "another axis as well"
            )
        what = ", ".join([*unsure, *zeros])
        out.append(f"not identified: {what}. Next: more views, such as the next view that is named here")
    return tuple(out)


def lens_findings(free: FreeFit, views: BoardViews, estimates: Mapping[str, Estimate]) -> tuple[str, ...]:
    """Of a camera without a robot."""
    unsure = [n for n, e in estimates.items() if not e.identified]
    if not unsure:
        return ()
    return (*lens_reasons(free, views), f"not identified: {', '.join(unsure)}. Next: more views")


def lens_reasons(free: FreeFit, views: BoardViews) -> list[str]:
    """Why the lens is not told by these views."""
    out = []
    V = len(free.poses)
    if V < ENOUGH:
        out.append(f"{V} views; {ENOUGH} or more make intervals narrow. Next: {ENOUGH - V} more")
    lean = np.arccos(np.clip(np.abs(np.einsum("vi,vi->v", free.poses[:, :3, 2], _sights(free.poses))), 0, 1))
    if float(lean.max()) < LEAN:
        out.append(
            f"the board leans by {np.rad2deg(lean.max()):.0f}° at most: focal length and distance look the same face on. Next: "
            "lean the board by 30° to 45° about both axes"
        )
    distance = np.linalg.norm(free.poses[:, :3, 3], axis=1)
    if float(distance.max() / distance.min()) < RATIO:
        out.append(
            f"the board is seen from one distance ({distance.min():.2f} … {distance.max():.2f} m). Next: views from "
            f"{0.7 * distance.min():.2f} m and from {1.3 * distance.max():.2f} m as well"
        )
    seen = views.pixels[free.seen]
    share = (seen.max(0) - seen.min(0)) / [views.width, views.height]
    if float(share.min()) < SPREAD:
        out.append(
            f"the corners span {100 * share[0]:.0f} % of the picture's width and {100 * share[1]:.0f} % of its height: "
            "distortion shows at the edges. Next: views with the board at each edge of the picture"
        )
    return out


def _sights(poses: Array) -> Array:
    return np.asarray(poses[:, :3, 3] / np.linalg.norm(poses[:, :3, 3], axis=1, keepdims=True))


def _turning(rotations: Array) -> tuple[float, float]:
    """(largest turn between two views [rad], share of the second axis: 0 when all turns are about one)."""
    i, j = np.triu_indices(len(rotations), 1)
    R = np.swapaxes(rotations[i], 1, 2) @ rotations[j]
    angle = np.arccos(np.clip((np.trace(R, axis1=1, axis2=2) - 1) / 2, -1, 1))
    axis = np.stack(
        [R[:, 2, 1] - R[:, 1, 2], R[:, 0, 2] - R[:, 2, 0], R[:, 1, 0] - R[:, 0, 1]], 1
    )  # 2 sin(angle) · axis
    s = np.linalg.svd(axis, compute_uv=False)
    return float(angle.max()), float(s[1] / max(s[0], 1e-12))
