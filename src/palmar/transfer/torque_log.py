"""A recording of joint positions, velocities and torques, as a value: checked against an arm, and sampled evenly."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from palmar.errors import BadValue
from palmar.transfer.serial_arm import SerialArm
from palmar.transfer.smoothing import derivative, evenly, lowpass
from palmar.types import Array

AngleUnit = Literal["rad", "deg"]
REPEATED = 0.05  # share of rows with the time of the row before that is still put down to a slow writer
BEYOND = 0.1  # [rad] or [m] past a position limit that calibration explains
SMALLEST = 0.05  # travel [rad] or [m] below which a joint counts as still
SHORTEST = 2.0  # of a stretch [s]
OVERLOADED = 1.5  # times the largest torque of the description


@dataclass(frozen=True)
class TorqueLog:
    """J joints, T samples in the order of time.

    time: float[T] [s]. q, dq, torque: float[T, J] in rad and N·m (m and N of joints that slide); dq None where none was recorded.
    source: where it is from. notes: what was mended. units: of the positions before they were converted.
    """

    time: Array
    q: Array
    torque: Array
    joints: tuple[str, ...]
    dq: Array | None = None
    source: str = ""
    notes: tuple[str, ...] = ()
    units: AngleUnit = "rad"

    def __post_init__(self) -> None:
        T, J = self.q.shape if self.q.ndim == 2 else (0, 0)
        arrays = {"q": self.q, "torque": self.torque} | ({} if self.dq is None else {"dq": self.dq})
        for name, array in arrays.items():
            if array.shape != (T, J) or self.time.shape != (T,) or len(self.joints) != J or T < 2:
                raise BadValue(
                    f"{self._where}{name} is {list(array.shape)} with {list(self.time.shape)} times and {len(self.joints)} joints; "
                    "expected [T, J], [T] and J, T of 2 or more. Next: one row a sample, one column a joint"
                )
            if len(bad := np.argwhere(~np.isfinite(array))):
                row, column = bad[0]
                raise BadValue(
                    f"{self._where}{name} of {self.joints[column]} is {array[row, column]} in row {row} "
                    f"({len(bad)} such values); expected numbers. Next: leave those rows out of the log"
                )
        if len(no := np.flatnonzero(~np.isfinite(self.time))):
            raise BadValue(
                f"{self._where}the time in row {no[0]} is {self.time[no[0]]}; expected seconds. Next: leave the row out"
            )

    @property
    def _where(self) -> str:
        return f"'{self.source}': " if self.source else ""

    @property
    def period(self) -> float:
        """Median time between samples [s]."""
        return float(np.median(np.diff(self.time)))

    def cut(self, start: float, stop: float) -> TorqueLog:
        """The samples from `start` on and before `stop` [s]."""
        keep = (self.time >= start) & (self.time < stop)
        dq = None if self.dq is None else self.dq[keep]
        if keep.sum() < 2:
            raise BadValue(
                f"{self._where}no samples in {start:g} … {stop:g} s; it lasts from {self.time[0]:.2f} to {self.time[-1]:.2f} s. "
                "Next: a stretch within it"
            )
        return replace(self, time=self.time[keep], q=self.q[keep], torque=self.torque[keep], dq=dq)

    def around(self, start: float, stop: float, margin: float, longest: float) -> TorqueLog:
        """As `cut`, with up to `margin` [s] on either side for filters to look at, but nothing beyond a gap above `longest` [s]."""
        self.cut(start, stop)  # there is something
        first, last = np.searchsorted(self.time, [start, stop]) - [0, 1]
        gaps = np.flatnonzero(np.diff(self.time) > longest)
        low = max([start - margin, *self.time[gaps[gaps < first] + 1]])
        high = min([stop + margin, *np.nextafter(self.time[gaps[gaps >= last]], np.inf)])
        return self.cut(low, high)

    def orderly(self) -> TorqueLog:
        """Without rows that repeat the time of the row before. Raises `BadValue` where time runs backwards, or many repeat."""
        step = np.diff(self.time)
        if len(back := np.flatnonzero(step < 0)):
            k = int(back[0])
            raise BadValue(
                f"{self._where}time runs backwards from {self.time[k]:.6g} to {self.time[k + 1]:.6g} s in row "
                f"{k + 1}; expected rows in "
                "the order they were sampled. Next: sort them, or give one recording alone"
            )
        again = np.concatenate([[False], step == 0])
        if not again.any():
            return self
        if again.mean() > REPEATED:
            raise BadValue(
                f"{self._where}{again.sum()} of {len(again)} rows repeat the time of the row before; expected at most "
                f"{REPEATED:.0%}. Next: write times with more digits, or seconds as float64"
            )
        note = f"{again.sum()} rows that repeat a time are left out"
        keep, dq = ~again, self.dq
        return replace(
            self, time=self.time[keep], q=self.q[keep], torque=self.torque[keep], dq=None if dq is None else dq[keep],
            notes=(*self.notes, note),
        )  # fmt: skip


def check_log(log: TorqueLog, arm: SerialArm, cutoff: float) -> TorqueLog:
    """The log in the joint order of the arm, orderly.

    Raises `BadValue` for other joints, positions outside the limits or velocities that are not the positions' (other units or
    another order), torques beyond the arm's, and a rate too low for the filter at `cutoff` [Hz].
    """
    where = f"'{log.source}'" if log.source else "the log"
    if set(log.joints) != set(arm.joints):
        raise BadValue(
            f"{where} is of joints {', '.join(log.joints)}; {arm.robot} has {', '.join(arm.joints)}. "
            "Next: the robot of the log, or its columns named after these joints"
        )
    order = [log.joints.index(n) for n in arm.joints]
    dq = None if log.dq is None else log.dq[:, order]
    log = replace(log, q=log.q[:, order], torque=log.torque[:, order], dq=dq, joints=arm.joints).orderly()
    rate, least = 1.0 / log.period, 5.0 * cutoff
    if rate < least:
        raise BadValue(
            f"{where} has {rate:.3g} samples a second; expected {least:.3g} or more for a filter at {cutoff:g} Hz. "
            f"Next: --cutoff {max(0.1, np.floor(10 * rate / 5 + 1e-6) / 10):g}, a faster log, or "
            "times in seconds where these are in another unit"
        )
    _check_positions(log, arm, where)
    _check_velocities(log, where)
    for j, name in enumerate(arm.joints):
        if (most := np.abs(log.torque[:, j]).max()) > OVERLOADED * arm.torque[j]:
            raise BadValue(
                f"{where}: the torque of {name} reaches {most:.4g}; {arm.robot} has at most {arm.torque[j]:g} N·m. "
                "Next: torques in N·m at the joint, not currents or motor torques"
            )
    return log


def _check_positions(log: TorqueLog, arm: SerialArm, where: str) -> None:
    turning = ~np.array(arm.chain.slides)
    low, high = arm.lower - BEYOND, arm.upper + BEYOND
    told = np.where(turning, np.rad2deg(log.q), log.q)
    if log.units == "deg" and turning.any() and ((told >= low) & (told <= high)).all():
        most = np.abs(told[:, turning]).max()
        raise BadValue(
            f"{where}: positions as degrees go to {most:.3g}° at most, and as radians they fit the limits of {arm.robot}; expected "
            "degrees. Next: --units rad, or a log with larger motions"
        )
    out = ((log.q < low) | (log.q > high)).any(0)
    if not out.any():
        return
    in_degrees = np.where(turning, np.deg2rad(log.q), log.q)
    j = int(np.flatnonzero(out)[0])
    reached = f"{log.q[:, j].min():.4g} … {log.q[:, j].max():.4g}"
    fits = np.abs(log.q).max() > 2 * np.pi and ((in_degrees >= low) & (in_degrees <= high)).all()
    hint = (
        "--units deg: as degrees they fit"
        if fits
        else "the robot of the log, and its columns in the order of its joints"
    )
    raise BadValue(
        f"{where}: {arm.joints[j]} goes {reached} rad; {arm.robot} allows {arm.lower[j]:.4g} … {arm.upper[j]:.4g} rad. Next: {hint}"
    )


def _check_velocities(log: TorqueLog, where: str) -> None:
    """Recorded velocities against the positions' own, both smoothed; a still joint says nothing."""
    if log.dq is None or len(log.time) < 20:
        return
    dt = log.period
    grid = np.arange(log.time[0], log.time[-1], dt)
    cutoff = min(5.0, 0.2 / dt)
    ends = np.flatnonzero(np.diff(log.time) > 5 * dt)  # of gaps: what is between, and smoothed across, says nothing
    near = np.ones(len(grid), bool)
    for k in ends:
        near &= (grid < log.time[k] - 1 / cutoff) | (grid > log.time[k + 1] + 1 / cutoff)
    recorded = lowpass(evenly(log.time, log.dq, grid), cutoff, dt)
    own = derivative(lowpass(evenly(log.time, log.q, grid), cutoff, dt), dt)
    for j, name in enumerate(log.joints):
        if np.ptp(log.q[:, j]) < SMALLEST:
            continue
        a, b = recorded[near, j], own[near, j]
        slope, match = float(a @ b / (b @ b)), float(a @ b / max(np.sqrt((a @ a) * (b @ b)), 1e-12))
        if match > 0.9 and 0.8 < slope < 1.25:
            continue
        looks = ""
        if match > 0.9 and abs(slope * np.pi / 180 - 1) < 0.2:
            looks = " (degrees a second?)"
        elif match > 0.9 and abs(slope * 180 / np.pi - 1) < 0.2:
            looks = " (positions in degrees?)"
        raise BadValue(
            f"{where}: the velocity of {name} is {slope:.3g} times the change of its position, correlation "
            f"{match:.2f}{looks}; expected "
            "1 and 1. Next: both in one unit and of one joint, or a log without velocities, which are then taken from the positions"
        )


@dataclass(frozen=True)
class Sampled:
    """A log at an even rate. dt [s]; time float[T]; q, dq, ddq (smoothed), torque (as recorded) float[T, J]."""

    time: Array
    dt: float
    q: Array
    dq: Array
    ddq: Array
    torque: Array

    def __len__(self) -> int:
        return len(self.time)


def sampled(log: TorqueLog, motion_cutoff: float, longest_gap: float) -> Sampled:
    """An orderly log at its own median rate, motions without what is faster than `motion_cutoff` [Hz].

    Raises `BadValue` for a gap between samples above `longest_gap` [s], and for less than `SHORTEST`.
    """
    where = f"'{log.source}'" if log.source else "the log"
    step = np.diff(log.time)
    if (widest := step.max()) > longest_gap:
        k = int(step.argmax())
        raise BadValue(
            f"{where} has a gap of {widest:.3f} s at {log.time[k]:.3f} s; expected at most {longest_gap:.3f} s. "
            f"Next: a stretch without it, such as {log.time[0]:.4g}:{log.time[k]:.4g} or {log.time[k + 1]:.4g}:{log.time[-1]:.4g}"
        )
    if (lasts := log.time[-1] - log.time[0]) < SHORTEST:
        raise BadValue(f"{where} lasts {lasts:.2f} s here; expected {SHORTEST:g} s or more. Next: a longer stretch")
    dt = log.period
    grid = np.arange(log.time[0], log.time[-1], dt)
    q = lowpass(evenly(log.time, log.q, grid), motion_cutoff, dt)
    dq = derivative(q, dt) if log.dq is None else lowpass(evenly(log.time, log.dq, grid), motion_cutoff, dt)
    return Sampled(grid, dt, q, dq, derivative(dq, dt), evenly(log.time, log.torque, grid))
