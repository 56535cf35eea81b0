"""Torques that an identification predicts for a log, the one it was made from or a later one, beside those measured."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from palmar.transfer.identify_log import BEFORE, MOTION, Window
from palmar.transfer.serial_arm import SerialArm
from palmar.transfer.smoothing import lowpass
from palmar.transfer.torque_identification import TorqueIdentification
from palmar.transfer.torque_log import TorqueLog, check_log, sampled
from palmar.types import Array


@dataclass(frozen=True)
class ComparedTorques:
    """time: float[T] [s]; measured, predicted: float[T, J] [N·m], both filtered as in the fit."""

    time: Array
    measured: Array
    predicted: Array

    @property
    def rms(self) -> tuple[float, ...]:
        """RMS error of each joint [N·m]."""
        return tuple(map(float, np.sqrt(np.mean((self.measured - self.predicted) ** 2, axis=0))))


def compared(
    found: TorqueIdentification, arm: SerialArm, log: TorqueLog, window: Window | None = None
) -> ComparedTorques:
    """Over a stretch of a log [s], or all of it. Raises `BadValue` as `identify_torques` does for a log that is not the arm's."""
    log = check_log(log, arm, found.cutoff)
    start, stop = window or (float(log.time[0]), float(np.nextafter(log.time[-1], np.inf)))
    longest = 0.5 / found.cutoff
    motion = sampled(log.around(start, stop, BEFORE, longest), MOTION * found.cutoff, longest)
    shown = (motion.time >= start) & (motion.time < stop)
    predicted = found.predict(arm, motion.q, motion.dq, motion.ddq)
    measured, predicted = (lowpass(x, found.cutoff, motion.dt)[shown] for x in (motion.torque, predicted))
    return ComparedTorques(motion.time[shown], measured, predicted)
