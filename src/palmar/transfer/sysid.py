"""System identification: which parameters make the simulator move as the body in the recordings did.

The arm's parameters from a free motion (`arm_fit.py`: whitened residuals, instrumental variables), friction from sliding cubes
(`slides.py`: least squares with `mujoco.sysid`). What may be claimed is decided in `search.py`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from palmar.console import Screen
from palmar.embodiments import Embodiment
from palmar.errors import BadValue, UnknownName
from palmar.robots.arm7 import arm7
from palmar.transfer.arm_fit import ArmFit
from palmar.transfer.diagnose import REST, Motion, Recordings
from palmar.transfer.identification import Estimate, Identification
from palmar.transfer.search import (
    ARM_PARAMETERS,
    GRAVITY,
    NOISES,
    PARAMETERS,
    Bounds,
    bounds_of,
    half_range,
    unknown,
)
from palmar.transfer.slides import fit_friction
from palmar.transfer.solver import load_sysid


def identify(
    recordings: Recordings,
    robot: Embodiment | None = None,
    *,
    parameters: Sequence[str] = PARAMETERS,
    progress: bool = True,
    seed: int = 0,
    bounds: Mapping[str, Bounds] | None = None,
) -> Identification:
    """Estimate `parameters` from diagnostic recordings; the others stay nominal. About 20 s on one core.

    bounds: {parameter: (low, high)} of the search where the ordinary ones of `bounds_of` are too narrow: an estimate at a
    bound is reported as not identified.
    Raises `MissingPackage` without `mujoco[sysid]`, `BadValue` on recordings too short or of another robot.
    """
    began = time.perf_counter()
    sysid = load_sysid()
    robot = robot or arm7()
    if recordings.robot != robot.name or recordings.free.position.shape[1] != len(robot.frame().joints):
        raise BadValue(
            f"the recordings are of '{recordings.robot}'; expected '{robot.name}'. Next: give its embodiment"
        )
    if abs(recordings.dt * robot.control_rate - 1) > 1e-6:
        raise BadValue(
            f"the recordings tick every {recordings.dt} s; {robot.name} every {1 / robot.control_rate} s. "
            "Next: record with this robot's control rate"
        )
    if len(recordings.free.position) * recordings.dt < 2.0:
        raise BadValue(
            f"the free motion lasts {len(recordings.free.position) * recordings.dt:.2f} s; expected at least 2 s. "
            "Next: record again with a longer free motion"
        )
    for name in parameters:
        if name not in PARAMETERS:
            raise UnknownName("identifiable parameter", name, PARAMETERS)
    searched = bounds_of(bounds)
    with _Progress(progress) as say:
        arm = ArmFit(robot, recordings.free, [p for p in ARM_PARAMETERS if p in parameters], seed, searched)
        arm.fit(say)
        estimates, sensitivity = arm.estimates(), arm.sensitivity()
        notes = list(recordings.notes)
        if "friction" in parameters:
            say("sliding cube")
            estimates["friction"], sensitivity["friction"] = fit_friction(sysid, recordings, searched["friction"])
        if "mass" in parameters:
            estimates["mass"] = _mass(robot)
        for name in NOISES:
            if name in parameters:
                estimates[name] = arm.noise(name)
        say("held-out motion")
        before = _held_out(robot, {}, recordings.held_out)
        after = _held_out(robot, arm.values, recordings.held_out)
    estimates = {n: estimates[n] for n in PARAMETERS if n in estimates}
    for name, e in estimates.items():
        if e.bound is not None:
            notes.append(f"{name} ended at {e.found:.3g}, the bound of its search is {e.bound:.3g}: not identified")
    if GRAVITY in (edges := arm.at_bounds()):
        notes.append(
            f"{GRAVITY} ended at {arm.values[GRAVITY]:.3g}, the bound of its search is {edges[GRAVITY]:.3g}: the arm's weight is "
            "not that of its description. Next: check the payload and the link masses"
        )
    if after > before:
        notes.append(f"the held-out motion fits worse than nominal ({after:.2f} > {before:.2f} mrad): do not use this")
    return Identification(
        recordings.robot, estimates, before, after, sensitivity, arm.correlation(), arm.condition(),
        {GRAVITY: arm.values[GRAVITY]}, time.perf_counter() - began, tuple(notes),
    )  # fmt: skip


def _mass(robot: Embodiment) -> Estimate:
    """The object's mass shows in none of the motions; say how little a held one would bend the arm."""
    from palmar.robots.arm7 import STIFFNESS
    from palmar.sim.things import Item

    change = half_range("mass") * Item("cube", "red", 0, 0).mass * 9.81 * 0.5 / STIFFNESS[1] * 1e3
    return unknown(
        "mass",
        f"a slide does not depend on it; held at 0.5 m, half its range bends {robot.frame().joints[1]} by {change:.3f} mrad",
    )


def _held_out(robot: Embodiment, values: Mapping[str, float], motion: Motion) -> float:
    """RMS error of the joint angles [mrad]."""
    from palmar.transfer.replay import simulate_arm

    q, _ = simulate_arm(robot, [values], motion.command, motion.start)
    skip = round(0.5 * REST * robot.control_rate)
    return float(np.sqrt(np.mean((q[0, 0] - motion.position)[skip:] ** 2)) * 1e3)


class _Progress:
    """What is being fitted, on standard error, from two seconds on."""

    def __init__(self, show: bool) -> None:
        self.show, self.began, self.status = show, time.perf_counter(), None

    def __enter__(self) -> Callable[[str], None]:
        return self.say

    def say(self, what: str) -> None:
        if not self.show or time.perf_counter() - self.began < 2.0:
            return
        if self.status is None:
            self.status = Screen(stderr=True).status(what)  # type: ignore[assignment]
            self.status.start()  # type: ignore[attr-defined]
        self.status.update(f"identifying: {what}")  # type: ignore[attr-defined]

    def __exit__(self, *_: object) -> None:
        if self.status is not None:
            self.status.stop()
