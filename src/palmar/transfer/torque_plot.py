"""A picture of an identification from torques: measured and predicted torque of each joint, and what is left."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from palmar.errors import need
from palmar.transfer.identify_log import BEFORE, MOTION
from palmar.transfer.serial_arm import SerialArm
from palmar.transfer.smoothing import lowpass
from palmar.transfer.torque_identification import TorqueIdentification
from palmar.transfer.torque_log import TorqueLog, check_log, sampled


def plot_torques(found: TorqueIdentification, arm: SerialArm, log: TorqueLog, path: str | Path) -> None:
    """A row a joint: torques [N·m] on the left, measured less predicted on the right, after the filter of the fit; the test stretch
    is shaded. Writes a picture file. Raises `MissingPackage` without matplotlib."""
    need("matplotlib", "report")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    log = check_log(log, arm, found.cutoff)
    first, last = (min, max) if found.test else (lambda x: x[0], lambda x: x[1])
    ends = (*found.fit, *(found.test or ()))
    start, stop = first(ends), last(ends)
    motion = sampled(log.cut(start - BEFORE, stop + BEFORE), MOTION * found.cutoff, np.inf)
    predicted = lowpass(found.predict(arm, motion.q, motion.dq, motion.ddq), found.cutoff, motion.dt)
    measured = lowpass(motion.torque, found.cutoff, motion.dt)
    shown, J = (motion.time >= start) & (motion.time < stop), len(found.joints)
    time, measured, predicted = motion.time[shown], measured[shown], predicted[shown]
    figure = Figure(figsize=(11, 1.7 * J), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(J, 2, sharex=True, squeeze=False)
    for j, name in enumerate(found.joints):
        left, right = axes[j]
        left.plot(time, measured[:, j], color="0.4", lw=1.6, label="measured")
        left.plot(time, predicted[:, j], color="tab:blue", lw=1, label="predicted")
        right.plot(time, (measured - predicted)[:, j], color="tab:orange", lw=0.8)
        errors = [f"fit {found.rms_fit[j]:.3f}"] + ([f"test {found.rms_test[j]:.3f}"] if found.rms_test else [])
        right.set_title("RMS " + ", ".join(errors) + " N·m", fontsize=8, loc="right")
        left.set_ylabel(f"{name} [N·m]", fontsize=8)
        for ax in (left, right):
            ax.tick_params(labelsize=7)
            if found.test:
                ax.axvspan(*found.test, color="0.92", lw=0)
    axes[0, 0].legend(loc="upper right", fontsize=7)
    for ax in axes[-1]:
        ax.set_xlabel("time [s]", fontsize=8)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
