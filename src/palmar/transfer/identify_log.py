"""From a log of positions, velocities and torques to an arm's inertias and friction, with what the log cannot tell."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import numpy as np

from palmar.errors import BadValue
from palmar.eval.stats import Z95
from palmar.ranges import Range, check_ranges
from palmar.transfer.excitation import Excitation, design
from palmar.transfer.friction import MODELS, FrictionModel
from palmar.transfer.identification import Estimate
from palmar.transfer.inertia import consistent
from palmar.transfer.rigid_body import structural_base
from palmar.transfer.serial_arm import SerialArm
from palmar.transfer.torque_choice import Chosen, choose
from palmar.transfer.torque_fit import Choice, Stretch, normal, parameter_names, prior_of, solve
from palmar.transfer.torque_identification import BaseEstimate, JointFriction, NextMotion, TorqueIdentification
from palmar.transfer.torque_intervals import Uncertainty, in_words, separable, uncertainty
from palmar.transfer.torque_log import SMALLEST, TorqueLog, check_log, sampled
from palmar.types import Array

Window = tuple[float, float]
"""From … to [s] of the log's own time."""
EXPLAINED = 0.5  # share of the torques' variance below which a fit is no fit
MOTION = 0.75  # cutoff of positions and velocities over that of torques: accelerations are mostly noise above it
BEFORE = 1.0  # of the log before and after a test stretch that filters may look at [s]


@dataclass(frozen=True)
class TorqueFitConfig:
    """How a log is fitted."""

    cutoff: Annotated[float, Range(0.1, 1000, unit="Hz")] = 8.0
    """Torques and motions are compared below this frequency [Hz]."""
    rotors: bool = False
    """The torques are those of motors, and hold what accelerates the rotors; else of sensors behind the gears."""
    models: tuple[FrictionModel, ...] = MODELS
    """Friction models to choose from, the plainest first."""
    next_motion: bool = True
    """Design the motion that would tell what is told least."""

    def __post_init__(self) -> None:
        check_ranges(self)


def identify_torques(
    log: TorqueLog,
    arm: SerialArm,
    fit: Window | None = None,
    test: Window | None = None,
    config: TorqueFitConfig | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> TorqueIdentification:
    """Fit a stretch of a log (all of it), and predict another one that the fit has not seen.

    say: is told what is being done. Raises `BadValue` for a log of another arm, in other units, too short, with gaps, of an arm
    that
    stands still, or whose torques do not follow from its motion.
    """
    began, config = time.perf_counter(), config or TorqueFitConfig()
    log = check_log(log, arm, config.cutoff)
    fit = fit or (float(log.time[0]), float(np.nextafter(log.time[-1], np.inf)))
    if test is not None and max(fit[0], test[0]) < min(fit[1], test[1]):
        raise BadValue(
            f"the test stretch {test[0]:g}:{test[1]:g} s overlaps the fitted one {fit[0]:g}:{fit[1]:g} s; expected "
            "another part of the "
            "log. Next: --test after --fit"
        )
    cut = log.cut(*fit)
    notes = [*arm.notes, *log.notes, *_still(cut)]
    stretch = _stretch(cut, arm, config)
    _check_sign(stretch)
    say("friction models and trust in the description, on blocks left out")
    chosen = choose(stretch, config.models)
    choice = chosen.models
    X, prior = stretch.design(choice), prior_of(stretch, choice, chosen.spread)
    theta = solve(*normal(X, stretch.torque, chosen.weights), prior)
    residual = stretch.torque - X @ theta
    _check_explained(stretch, residual)
    say("intervals")
    rms_fit = np.sqrt(np.mean(residual**2, axis=0))
    held = np.array(chosen.held_out["chosen"])
    sure = uncertainty(X, residual, chosen.weights, prior, (held / rms_fit) ** 2)
    say("what the motion cannot tell")
    names, units = parameter_names(arm, choice, config.rotors)
    alone = separable(structural_base(arm.chain))
    motion = _next(arm, choice, config, sure, chosen, stretch, alone)
    rms_test = described = None
    if test is not None:
        say("the test stretch")
        rms_test, described = _errors(log, test, arm, config, choice, theta)
    else:
        described = np.sqrt(np.mean((stretch.torque - stretch.rigid @ arm.inertia.ravel()) ** 2, axis=0))
    J = len(arm.joints)
    inertia, after = theta[: 10 * J].reshape(J, 10), 10 * J
    assert consistent(inertia).all()
    rotor = dict(zip(arm.joints, map(float, theta[after : after + J]), strict=True)) if config.rotors else {}
    friction, at = {}, after + J * config.rotors
    for joint, model in zip(arm.joints, choice, strict=True):
        values = map(float, theta[at : at + len(model.terms)])
        friction[joint] = JointFriction(model.name, model.shape, dict(zip(model.terms, values, strict=True)))
        at += len(model.terms)
    return TorqueIdentification(
        arm.robot, log.source, arm.joints, config.cutoff, fit, test,
        {j: tuple(map(float, row)) for j, row in zip(arm.joints, inertia, strict=True)}, rotor, friction,
        _estimates(names, units, theta, sure, alone, J), _base(arm, theta, sure, names), _numbers(rms_fit), _numbers(held),
        None if rms_test is None else _numbers(rms_test), _numbers(described), chosen.held_out, chosen.spread,
        _cannot_tell(names, sure, alone, motion, J), _told(motion, names), tuple(notes), time.perf_counter() - began,
    )  # fmt: skip


def _numbers(values: Array) -> tuple[float, ...]:
    return tuple(map(float, values))


def _stretch(log: TorqueLog, arm: SerialArm, config: TorqueFitConfig, trimmed: bool = True) -> Stretch:
    motion = sampled(log, MOTION * config.cutoff, 0.5 / config.cutoff)
    return Stretch.of(arm, motion, config.cutoff, config.rotors, trimmed)


def _still(log: TorqueLog) -> list[str]:
    """Notes on joints that hardly move. Raises `BadValue` where none moves."""
    still = [n for n, way in zip(log.joints, np.ptp(log.q, axis=0), strict=True) if way < SMALLEST]
    if len(still) == len(log.joints):
        raise BadValue(
            f"no joint moves by {SMALLEST:g} or more between {log.time[0]:.2f} and {log.time[-1]:.2f} s; a log at "
            "rest tells no inertia "
            "and no friction. Next: record a motion of all joints (docs/identification.md)"
        )
    return [f"{', '.join(still)} hardly move: their friction is a guess"] if still else []


def _check_explained(stretch: Stretch, residual: Array) -> None:
    """Raise `BadValue` where the fit follows the torques no better than their mean."""
    spread = stretch.torque - stretch.torque.mean(0)
    share = 1 - float((residual**2).sum() / max((spread**2).sum(), 1e-30))
    if share < EXPLAINED:
        raise BadValue(
            f"the fit explains {100 * share:.0f} % of the torques' variance; expected {100 * EXPLAINED:.0f} % or "
            "more, so they do not "
            f"follow from this motion of {stretch.arm.robot}. Next: check the robot, --units, the order of joints, and "
            "what the torque columns are"
        )


def _check_sign(stretch: Stretch) -> None:
    """Raise `BadValue` where the torques are those of the described links with the sign turned."""
    load = stretch.rigid @ stretch.arm.inertia.ravel()
    load, torque = load - load.mean(0), stretch.torque - stretch.torque.mean(0)
    match = float((load * torque).sum() / max(np.sqrt((load**2).sum() * (torque**2).sum()), 1e-30))
    if match < -0.5:
        raise BadValue(
            f"the torques go against those of {stretch.arm.robot}'s links (correlation {match:.2f}); expected the "
            "torques that the motors "
            "exert, with the sign of the positions. Next: torques with the opposite sign"
        )


def _errors(
    log: TorqueLog, test: Window, arm: SerialArm, config: TorqueFitConfig, choice: Choice, theta: Array
) -> tuple[Array, Array]:
    """RMS error [J] of a stretch with the fitted parameters, and with the description's inertias alone."""
    whole = _stretch(log.around(*test, BEFORE, 0.5 / config.cutoff), arm, config, trimmed=False)
    inside = (whole.time >= test[0]) & (whole.time < test[1])
    errors = (whole.torque - whole.design(choice) @ theta, whole.torque - whole.rigid @ arm.inertia.ravel())
    one, two = (np.sqrt(np.mean(e[inside] ** 2, axis=0)) for e in errors)
    return one, two


def _estimates(
    names: list[str], units: list[str], theta: Array, sure: Uncertainty, alone: Array, J: int
) -> dict[str, Estimate]:
    out, half, told = {}, Z95 * sure.deviation, sure.told
    for k, (name, unit) in enumerate(zip(names, units, strict=True)):
        low, high = float(theta[k] - half[k]), float(theta[k] + half[k])
        if k < 10 * J and k % 10 in (0, 4, 5, 6):  # a mass or a moment of inertia
            low = max(low, 0.0)
        note = ""
        if not told[k]:
            note = "no motion tells it by itself" if k < 10 * J and not alone[k] else "this motion cannot tell it"
        out[name] = Estimate(float(theta[k]), low, high, unit, bool(told[k]), note)
    return out


def _base(arm: SerialArm, theta: Array, sure: Uncertainty, names: list[str]) -> tuple[BaseEstimate, ...]:
    base = structural_base(arm.chain)
    R = 10 * len(arm.joints)
    wide = np.zeros((len(base.columns), len(theta)))
    wide[:, :R] = base.matrix
    values, half = wide @ theta, Z95 * sure.of(wide)
    return tuple(
        BaseEstimate(base.formula(b, names), float(v), float(v - h), float(v + h))
        for b, (v, h) in enumerate(zip(values, half, strict=True))
    )


def _next(
    arm: SerialArm,
    choice: Choice,
    config: TorqueFitConfig,
    sure: Uncertainty,
    chosen: Chosen,
    stretch: Stretch,
    alone: Array,
) -> Excitation | None:
    """The motion for that parameter not told, of those that some motion could tell, which gains most; None where all are told."""
    open_ = ~sure.told[: len(alone)] & alone
    if not open_.any() or not config.next_motion:
        return None
    return design(
        arm, choice, config.rotors, sure.hessian, chosen.weights, 1 / stretch.dt, np.flatnonzero(open_), sure.size
    )


def _told(motion: Excitation | None, names: list[str]) -> NextMotion | None:
    if motion is None:
        return None
    m = motion.motion
    curves = (tuple(tuple(map(float, row)) for row in c) for c in (m.sine, m.cosine))
    return NextMotion(names[motion.parameter], motion.before, motion.after, m.seconds, _numbers(m.middle), *curves)


def _cannot_tell(
    names: list[str], sure: Uncertainty, alone: Array, motion: Excitation | None, J: int
) -> tuple[str, ...]:
    """Sentences: what this motion cannot tell, what none can, and what another would."""
    told = sure.told
    R = 10 * J
    out = []
    if open_ := [names[k] for k in range(len(names)) if not told[k] and (k >= R or alone[k])]:
        out.append(f"This motion cannot tell {len(open_)} parameters that another could: {', '.join(open_)}.")
    if never := [names[k] for k in range(R) if not told[k] and not alone[k]]:
        out.append(
            f"No motion of this arm tells these by themselves, only in combinations ('base'): {', '.join(never)}."
        )
    if motion is not None:
        out.append(
            f"A designed motion of {motion.motion.seconds:g} s ('next_motion') would tell "
            f"{in_words(names[motion.parameter])} better, from "
            f"± {motion.before:.3g} to ± {motion.after:.3g}: of what is not told, that one gains most."
        )
    return tuple(out)
