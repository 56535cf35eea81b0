"""Camera calibration from views of a ChArUco board: lens, hand-eye, joint zero offsets, with intervals and a verdict.

Beside the robot (eye to hand) the board is in the gripper and the camera stands still; in the hand (eye in hand) the board stands
still. Where on the hand or in the room the board is need not be known: it is found as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from palmar.embodiments import Embodiment
from palmar.errors import BadValue, UnknownName
from palmar.transfer.board_views import LEAST_VIEWS, LENSES, BoardViews, FreeFit, fit_free
from palmar.transfer.calibrated import CameraCalibration, posed_numbers
from palmar.transfer.calibration_verdict import LIMITS, findings
from palmar.transfer.identification import Estimate
from palmar.transfer.next_view import most_telling
from palmar.transfer.pinhole import NUMBERS
from palmar.transfer.reprojection import JointFit, JointProblem, without
from palmar.transfer.solver import t95
from palmar.types import Array

KEPT_ASIDE = 4  # every so-manieth view is predicted before it is used
LEAST_FOR_THAT = 12  # views: three are aside
MOST_DROPPED = 0.3  # share of the views
STRAY = 4.0  # a view whose error is so many times the median's does not fit its joint positions
LEAST_STRAY = 2.0  # and at least so large [px]
MOST_OFF = 0.05  # RMS error above which nothing was calibrated, of the picture's width
Lens = Literal["simulated", "plain", "full"]


@dataclass(frozen=True)
class CalibrationConfig:
    """camera: its name. in_hand: the robot carries the camera. frame: the robot's frame that carries camera or board, its first for
    "". lens: which numbers are fitted (`LENSES`): simulated (focal length alone), plain (with principal point and two radial
    terms), full. zeros: joint zero offsets are unknown too. fov: vertical field of view to begin with [deg], None: from the
    views."""

    camera: str = "front"
    in_hand: bool = False
    frame: str = ""
    lens: Lens = "plain"
    zeros: bool = True
    fov: float | None = None

    def __post_init__(self) -> None:
        if self.lens not in LENSES:
            raise UnknownName("kind of lens", self.lens, LENSES)


def calibrate(
    views: BoardViews, robot: Embodiment | None = None, config: CalibrationConfig | None = None,
    names: Mapping[int, str] | None = None, unread: Mapping[str, str] | None = None,
) -> CameraCalibration:  # fmt: skip
    """Calibrate a camera.

    views: with `positions` of the joints on the path of the frame, in its order, when a robot is given. names: of the views, for
    messages, by index. unread: {view: why} of those that were left out before. Raises `BadValue` for too few views, for a robot
    without frames, and where corners lie further than `MOST_OFF` of the picture's width from where the fit puts them.
    """
    config = config or CalibrationConfig()
    names = dict(names or {})
    label = lambda i: names.get(int(i), f"view {int(i)}")  # noqa: E731
    dropped = dict(unread or {})
    free = fit_free(views, LENSES[config.lens], config.fov)
    if robot is None:
        return _alone(views, free, config, dropped)
    frame = robot.frame(config.frame)
    if views.positions is None or views.positions.shape[1] != len(frame.joints):
        raise BadValue(
            f"views have joint positions {None if views.positions is None else list(views.positions.shape)}; frame "
            f"'{frame.name}' of {robot.name} has {len(frame.joints)} joints. Next: positions of {', '.join(frame.joints)}"
        )
    kept = np.arange(len(views.pixels))
    fit = _joint(views, frame.chain, free, config, kept)
    while True:  # one after the other: a view with a wrong row of positions bends the fit for all
        error = _rms(fit.error, axis=(1, 2))
        worst = int(np.argmax(error))
        if error[worst] < max(STRAY * float(np.median(error)), LEAST_STRAY):
            break
        if len(kept) - 1 < max(LEAST_VIEWS, (1 - MOST_DROPPED) * len(views.pixels)):
            break
        dropped[label(kept[worst])] = (
            f"its corners are {error[worst]:.1f} px from where its joint positions put them; the median is {np.median(error):.1f}"
        )
        kept = np.delete(kept, worst)
        fit = _joint(views, frame.chain, free, config, kept)
    off, most = float(_rms(fit.error)), MOST_OFF * views.width
    if not off <= most:
        raise BadValue(
            f"corners lie {off:.0f} px (RMS) from where the fitted camera, board and joint positions put them; expected {most:.0f} "
            f"px or less: the views do not fit together. Next: {'no ' if config.in_hand else ''}--in-hand, another --frame, or the "
            "joint positions of these very pictures"
        )
    held_out = float("nan")
    if len(kept) >= LEAST_FOR_THAT:
        aside = kept[KEPT_ASIDE - 1 :: KEPT_ASIDE]
        rest = np.setdiff1d(kept, aside)
        held_out = _predicted(_joint(views, frame.chain, free, config, rest), views, frame.chain, free, config, aside)
    used = without(free, kept)
    estimates = _estimates(fit, robot, frame.joints, config.lens)
    said = findings(used, views.of(kept), fit, estimates, robot, frame, config.in_hand)
    position, quat = posed_numbers(fit.camera, True)
    board_position, board_quat = posed_numbers(fit.board, False)
    telling: dict[str, float] = {}
    if len(said) > bool(fit.gauge):  # something is not identified that another view would tell
        had = views.positions[kept]
        best = most_telling(fit, views.points, robot, frame, config.in_hand, LENSES[config.lens], had)
        for values in robot.commands(frame, best[:1]):
            telling = {n: round(float(v), 4) for n, v in zip(frame.joints, values, strict=True)}
    return CameraCalibration(
        robot.name, config.camera, "hand" if config.in_hand else "beside", frame.name, _lens_dict(fit.lens), position, quat,
        board_position, board_quat, estimates, fit.noise, fit.joints, float(_rms(fit.error)), held_out, len(kept), dropped, said,
        telling,
    )  # fmt: skip


def _joint(views: BoardViews, chain: object, free: FreeFit, config: CalibrationConfig, kept: Array) -> JointFit:
    return JointProblem(views.of(kept), chain, config.in_hand, without(free, kept), config.zeros).solve()  # type: ignore[arg-type]


def _predicted(
    fit: JointFit, views: BoardViews, chain: object, free: FreeFit, config: CalibrationConfig, aside: Array
) -> float:
    """RMS error of views that a fit has not seen [px]."""
    part = views.of(aside)
    problem = JointProblem.__new__(JointProblem)
    problem.__dict__ = {"views": part, "chain": chain, "in_hand": config.in_hand}
    error = problem.at(fit.lens.numbers, fit.camera, fit.board, problem.hand(fit.offsets))
    return float(_rms(np.where(free.seen[aside][..., None], error, np.nan)))


def _rms(error: Array, axis: tuple[int, ...] | None = None) -> Array:
    """Of distances [px] over corners [..., N, 2]."""
    return np.asarray(np.sqrt(2 * np.nanmean(error**2, axis=axis)))


def _estimates(fit: JointFit, robot: Embodiment, joints: tuple[str, ...], lens: str) -> dict[str, Estimate]:
    """With t intervals from the covariance."""
    half = t95(fit.freedom) * np.sqrt(np.maximum(np.diag(fit.covariance), 0.0))
    at = {name: i for i, name in enumerate(fit.columns)}
    out = {
        n: _lens_estimate(n, fit.lens.fx if n == "f" else getattr(fit.lens, n), half[at[n]], fit.lens.fx)
        for n in LENSES[lens]
    }
    for i, n in enumerate("xyz"):
        out[n] = _judged(n, float(fit.camera[i, 3]), float(half[at[f"camera.{n}"]]), "m", LIMITS["position"])
    for n in ("turn_x", "turn_y", "turn_z"):
        out[n] = _judged(n, 0.0, float(np.rad2deg(half[at[f"camera.{n}"]])), "deg", LIMITS["turn"])
    for j, name in enumerate(joints):
        channel = robot.channels[robot.index(name)]
        scale = abs(channel.to_si[0])
        limit = LIMITS["zero"] / scale
        if j in fit.gauge:
            out[f"{name}.zero"] = Estimate(
                0.0,
                -limit,
                limit,
                channel.unit,
                False,
                "a turn of the camera or of the board looks the same from every view",
            )
        elif f"offset.{j}" in at:
            out[f"{name}.zero"] = _judged(
                f"{name}.zero", fit.offsets[j] / scale, float(half[at[f"offset.{j}"]]) / scale, channel.unit, limit
            )
    return out


def _lens_estimate(name: str, value: float, half: float, focal: float) -> Estimate:
    limit = (
        LIMITS["focal"] * focal
        if name in ("f", "fx", "fy")
        else LIMITS["centre"] * focal
        if name in ("cx", "cy")
        else LIMITS["term"]
    )
    return _judged(name, float(value), float(half), "px" if name[0] in "fc" else "", limit)


def _judged(name: str, value: float, half: float, unit: str, limit: float) -> Estimate:
    """Identified when the half interval is within its limit."""
    fits = bool(np.isfinite(half) and half <= limit)
    said = "" if fits else f"known to ± {half:.2g} {unit}; ± {limit:.2g} or less is claimed".replace("  ", " ")
    return Estimate(value, value - half, value + half, unit, fits, said)


def _lens_dict(lens: object) -> dict[str, float]:
    return {n: getattr(lens, n) for n in ("width", "height", *NUMBERS)}


def _alone(views: BoardViews, free: FreeFit, config: CalibrationConfig, dropped: dict[str, str]) -> CameraCalibration:
    """The lens by itself."""
    from palmar.transfer.calibration_verdict import lens_findings

    freedom = max(2 * int(free.seen.sum()) - 6 * len(free.poses) - len(free.names), 1)
    half = t95(freedom) * np.sqrt(np.maximum(np.diag(np.linalg.pinv(free.information)), 0.0))
    estimates = {
        n: _lens_estimate(n, free.lens.fx if n == "f" else getattr(free.lens, n), float(h), free.lens.fx)
        for n, h in zip(free.names, half, strict=True)
    }
    nowhere: tuple[float, float, float] = (0.0, 0.0, 0.0)
    still: tuple[float, float, float, float] = (1.0, 0.0, 0.0, 0.0)
    return CameraCalibration(
        "", config.camera, "alone", "", _lens_dict(free.lens), nowhere, still, nowhere, still, estimates, free.noise, 0.0,
        float(np.sqrt(2) * free.noise), float("nan"), len(free.poses), dropped, lens_findings(free, views, estimates),
    )  # fmt: skip
