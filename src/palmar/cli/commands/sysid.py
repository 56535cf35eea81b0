"""Identifying a robot's dynamics: from palmar's own motions, or from a log of positions, velocities and torques."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from rich.table import Table

from palmar.cli.shared import Answer, writable
from palmar.console import Screen, styled
from palmar.errors import BadValue
from palmar.files import write_text
from palmar.ranges import Range, Seed

Frames = Annotated[int, Range(0, 10**9)]
Cutoff = Annotated[float, Range(0.1, 1000, unit="Hz")]
FITTED = ("fit", "out", "plot", "torques", "cutoff")


@dataclass(frozen=True)
class SysId:
    """Identify dynamics, with intervals: of a reality twin from diagnostic motions; with --data, of a real arm from a log of its
    positions, velocities and torques."""

    twin: Seed = 0
    """Which twin."""
    robot: str = "arm7"
    """With --data: a robot that comes with palmar, a robot file, or a URDF or MJCF file, whose inertias are then read too."""
    data: Path | None = None
    """A log: CSV or Parquet (columns time, q1, dq1, tau1 … or joint1.pos, joint1.vel, joint1.effort), a LeRobot data
    set, a ROS 2 bag."""
    fit: str = ""
    """With --data: FROM:TO, the seconds that are fitted; all where not given."""
    test: str = ""
    """With --data: FROM:TO, the seconds that are predicted and were not fitted."""
    known: Path | None = None
    """With --data: fit nothing; how well does this file of an earlier --out predict the log, in the seconds of --test?"""
    units: Literal["rad", "deg"] = "rad"
    """With --data: of positions and velocities in the log."""
    torques: Literal["joint", "motor"] = "joint"
    """With --data, of a fit: measured behind the gear, or the motor's own, which hold what accelerates its rotor."""
    without_tool: bool = False
    """With --data: the robot's hand was not mounted."""
    frame: str = ""
    """With --data: the frame that the arm leads to, of a robot with several."""
    cutoff: Cutoff = 8.0
    """With --data, of a fit: torques and motions are compared below this frequency [Hz]."""
    episode: Frames = 0
    """With --data: which episode of a data set."""
    topic: str = "/joint_states"
    """With --data: joint states in a bag."""
    plot: Path | None = None
    """With --data: draw measured and predicted torques here (a .png file)."""
    out: Path | None = None
    """Write the identification here as JSON."""
    force: bool = False
    """Replace the files of --out and --plot when they are there."""
    json: bool = False
    """One JSON object with every figure on stdout."""
    only_with: ClassVar = {
        "robot": "data", "fit": "data", "test": "data", "known": "data", "units": "data", "torques": "data", "without_tool": "data",
        "frame": "data", "cutoff": "data", "episode": "data", "topic": "data", "plot": "data",
    }  # fmt: skip

    def run(self, console: Screen) -> Answer:
        self._check_mode()
        writable(self.out, self.force)
        writable(self.plot, self.force)
        return self._twin(console) if self.data is None else self._log(console, self.data)

    def _check_mode(self) -> None:
        """Raise `BadValue` for options that do not go together."""
        if self.data is not None and self.twin != type(self).twin:
            raise BadValue("--twin counts without --data, of a simulated twin. Next: leave --twin out")
        if self.known is not None and (stray := self._of_a_fit()):
            raise BadValue(f"--{stray[0]} goes with a fit, and --known fits nothing. Next: leave one of the two out")

    def _of_a_fit(self) -> list[str]:
        """Names of the options that were given and count in a fit alone."""
        return [f.name for f in fields(self) if f.name in FITTED and getattr(self, f.name) != f.default]

    def _twin(self, console: Screen) -> Answer:
        from palmar.sim.reality import twin as reality_twin
        from palmar.sim.world import World
        from palmar.transfer.diagnose import diagnose
        from palmar.transfer.diagnose import table as diagnostic_table
        from palmar.transfer.sysid import identify

        twin = World(images=False, reality=reality_twin(self.twin))
        twin.load(diagnostic_table())
        found = identify(diagnose(twin), progress=not self.json)
        console.print(_estimates(found.rows()))
        console.print(
            f"held-out motion: {found.residual_before:.2f} mrad with the simulator's own parameters, "
            f"{found.residual_after:.2f} mrad with the identified ones"
        )
        return self._kept(console, found.to_json(), found.notes)

    def _log(self, console: Screen, data: Path) -> Answer:
        from palmar.transfer.identify_log import TorqueFitConfig, identify_torques
        from palmar.transfer.log_files import read_log
        from palmar.transfer.serial_arm import serial_arm

        fit, test = _window("fit", self.fit), _window("test", self.test)
        config = TorqueFitConfig(self.cutoff, self.torques == "motor")
        arm = serial_arm(self.robot, self.frame, self.without_tool)
        log = read_log(data, arm.joints, self.units, self.episode, self.topic)
        if self.known is not None:
            from palmar.transfer.torque_errors import compared
            from palmar.transfer.torque_identification import TorqueIdentification

            found = TorqueIdentification.load(self.known)
            errors = compared(found, arm, log, test)
            rms, (start, stop) = errors.rms, errors.time[[0, -1]]
            console.print(_errors(arm.joints, {f"as identified in {self.known}": rms}))
            console.print(f"over {start:.2f} … {stop:.2f} s of the log")
            if found.source == log.source and start < found.fit[1] and found.fit[0] < stop:
                console.print(
                    styled("[yellow]{} … {} s of a log at this path were fitted: these errors are no prediction there. Next: "
                           "--test with other seconds", *found.fit)
                )  # fmt: skip
            return 0, {"robot": arm.robot, "test": test, "rms": dict(zip(arm.joints, rms, strict=True))}
        with Screen(stderr=True, quiet=self.json).status("identifying") as status:
            found = identify_torques(log, arm, fit, test, config, lambda what: status.update(f"identifying: {what}"))
        if self.plot is not None:
            from palmar.transfer.torque_plot import plot_torques

            plot_torques(found, arm, log, self.plot)
        console.print(_estimates(found.rows()))
        rows = {
            "described inertias, no friction": found.rms_described,
            "identified, fitted seconds": found.rms_fit,
            "identified, blocks left out of them": found.rms_held_out,
            "identified, test seconds": found.rms_test,
        }
        table = _errors(found.joints, rows)
        table.add_row("friction model", *(str(found.friction[j].form) for j in found.joints))
        console.print(table)
        for sentence in found.cannot_tell:
            console.print(sentence)
        return self._kept(console, found.to_json(), found.notes)

    def _kept(self, console: Screen, text: str, notes: tuple[str, ...]) -> Answer:
        for note in notes:
            console.print(styled("[yellow]{}", note))
        if self.out:
            write_text(self.out, text)
        return 0, json.loads(text)


def _estimates(rows: list[tuple[str, str, str, str, str, str]]) -> Table:
    table = Table("parameter", "estimate", "low", "high", "unit", "remark")
    for row in rows:
        table.add_row(*row)
    return table


def _errors(joints: tuple[str, ...], rows: Mapping[str, tuple[float, ...] | None]) -> Table:
    table = Table("RMS of the torque [N·m]", *joints)
    for name, values in rows.items():
        if values is not None:
            table.add_row(name, *(f"{v:.3f}" for v in values))
    return table


def _window(name: str, text: str) -> tuple[float, float] | None:
    """FROM:TO in seconds; None for no text. Raises `BadValue`."""
    if not text:
        return None
    start, colon, stop = text.partition(":")
    try:
        window = float(start), float(stop)
    except ValueError:
        window = (0.0, 0.0)
    if not colon or not -1e12 < window[0] < window[1] < 1e12:
        raise BadValue(f"--{name} is '{text}'; expected FROM:TO in seconds, FROM below TO. Next: --{name} 0.5:8")
    return window
