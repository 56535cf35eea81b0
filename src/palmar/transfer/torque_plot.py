"""A picture of an identification from torques: measured and predicted torque of each joint, and what is left."""

from __future__ import annotations

from pathlib import Path

from palmar.errors import need
from palmar.files import replace_file
from palmar.transfer.serial_arm import SerialArm
from palmar.transfer.torque_errors import compared
from palmar.transfer.torque_identification import TorqueIdentification
from palmar.transfer.torque_log import TorqueLog


def plot_torques(found: TorqueIdentification, arm: SerialArm, log: TorqueLog, path: str | Path) -> None:
    """A row a joint: torques [N·m] on the left, measured less predicted on the right, after the filter of the fit; the test stretch
    is shaded. Writes a picture file. Raises `MissingPackage` without matplotlib."""
    need("matplotlib", "report")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    ends = (*found.fit, *(found.test or ()))
    torques = compared(found, arm, log, (min(ends), max(ends)))
    time, measured, predicted, J = torques.time, torques.measured, torques.predicted, len(found.joints)
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
    kind = Path(path).suffix.lstrip(".") or "png"
    replace_file(path, lambda aside: figure.savefig(aside, format=kind, dpi=110))
