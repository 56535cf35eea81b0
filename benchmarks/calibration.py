"""How near camera calibration comes to the truth, and whether its 95 % intervals cover it, over random cameras, boards, lenses and
zero offsets (projections with noise, `tests/transfer/made_views.py`); then one from pictures that MuJoCo draws.

    python benchmarks/calibration.py [CASES]
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "transfer"))

from made_views import ROBOT, Made

from palmar.eval.stats import Rate
from palmar.kinematics import matrix_to_rotvec
from palmar.transfer.board_drive import BoardDrive
from palmar.transfer.board_views import LENSES, fit_free
from palmar.transfer.board_world import BoardWorld
from palmar.transfer.calibration import CalibrationConfig, calibrate
from palmar.transfer.pinhole import camera_pose
from palmar.transfer.reprojection import JointProblem
from palmar.transfer.solver import t95


def case(seed: int, in_hand: bool, joint: float) -> tuple[list[float], list[bool]]:
    """Errors [mm], [deg], worst zero offset [deg], focal length [px]; and whether each unknown is in its interval."""
    made = Made(seed, in_hand=in_hand, joint=joint)
    fit = JointProblem(made.views, ROBOT.frame().chain, in_hand, fit_free(made.views, LENSES["plain"])).solve()
    off = [
        fit.lens.fx - made.lens.fx,
        *(getattr(fit.lens, n) - getattr(made.lens, n) for n in ("cx", "cy", "k1", "k2")),
    ]
    for found, true in ((fit.camera, made.camera), (fit.board, made.board)):
        off += [*-matrix_to_rotvec(found[:3, :3].T @ true[:3, :3]), *(found[:3, 3] - true[:3, 3])]
    zeros = [fit.offsets[j] - made.zeros[j] for j in range(7) if f"offset.{j}" in fit.columns]
    off += zeros
    inside = np.abs(off) < t95(fit.freedom) * np.sqrt(np.diag(fit.covariance))
    turned, moved = off[5:8], off[8:11]
    errors = [
        1e3 * np.linalg.norm(moved),
        np.rad2deg(np.linalg.norm(turned)),
        np.rad2deg(np.abs(zeros).max()),
        abs(off[0]),
    ]
    return [float(e) for e in errors], inside.tolist()


def main(cases: int = 40) -> None:
    print(f"{cases} cases of 25 views each, corners to 0.2 px, zero offsets of 1.5 deg: median (90 % quantile)")
    print(
        f"{'':34} {'camera mm':>14} {'camera deg':>14} {'worst zero deg':>16} {'focal px':>14}   intervals that cover"
    )
    for in_hand in (False, True):
        for joint in (1e-4, 5e-4, 2e-3):
            rows, inside = zip(*(case(s, in_hand, joint) for s in range(cases)), strict=True)
            middle, most = np.median(rows, 0), np.quantile(rows, 0.9, axis=0)
            every = np.concatenate(inside)
            told = [f"{m:.2f} ({h:.2f})" for m, h in zip(middle, most, strict=True)]
            place = "in the hand" if in_hand else "beside the robot"
            name = f"{place}, joints to {1e3 * joint:.1f} mrad"
            print(
                f"{name:34} {told[0]:>14} {told[1]:>14} {told[2]:>16} {told[3]:>14}   {Rate(int(every.sum()), len(every))}"
            )
    for where, camera in (("hand", "front"), ("table", "wrist")):
        world = BoardWorld(place=where)  # type: ignore[arg-type]
        world.load_board()
        config = CalibrationConfig(camera, where == "table", lens="simulated")
        drive = BoardDrive(world, world.board, config)
        found = calibrate(drive.collect(25), world.embodiment, config)
        truth = world.camera_in(camera)
        place = 1e3 * np.linalg.norm(np.array(found.position) - truth[:3, 3])
        turn = np.rad2deg(np.linalg.norm(matrix_to_rotvec(camera_pose(found.rotation).T @ truth[:3, :3])))
        print(
            f"rendered, {camera}: {place:.2f} mm, {turn:.3f} deg, corners to {found.pixel_noise:.2f} px, held out "
            f"{found.held_out:.2f} px, {drive.seconds:.0f} s of motion"
        )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
