"""What belongs to a robot's safety beside a run: its emergency stop, and the black box of a fault."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from rich.table import Table
from tyro.conf import Positional

from palmar.cli.shared import Answer, writable
from palmar.console import Screen, styled
from palmar.errors import BadValue, check_names
from palmar.ranges import Range

if TYPE_CHECKING:
    from palmar.embodiments import Embodiment
    from palmar.runtime.records.blackbox import Dump
    from palmar.runtime.records.rerun import Rerun

Last = Annotated[int, Range(0, 10**6)]


@dataclass(frozen=True)
class EStop:
    """Press the emergency stop of a robot from this terminal, or release it.

    A run that goes on brakes within one period of its watchdog, and no run starts before a person has released it. It holds
    for runs of this user on this machine: a switch on the robot's power is still needed.
    """

    robot: Positional[str] = ""
    """Name of the robot, or its robot file. Without one: every robot that is driven now."""
    release: bool = False
    """Let it be driven again. Look at the robot first."""
    list: bool = False
    """Show what is latched and what is driven now; change nothing."""
    reason: str = "pressed in a terminal"
    """Why, for whoever finds it."""
    json: bool = False
    """One JSON object with every figure on stdout."""

    def run(self, console: Screen) -> Answer:
        from palmar.runtime.supervision.estop import Latch, all_latched, running

        if self.list or (self.release and not self.robot):
            latched, driven = all_latched(), running()
            for one in latched:
                console.print(styled("[red]{}[/]: {}. Next: palmar estop --release {}", one.robot, str(one), one.robot))
            console.print(f"driven now: {', '.join(driven) or 'none'}; latched: {len(latched)}")
            if self.release and not self.list:
                raise BadValue("--release needs the name of a robot. Next: one of those that are latched")
            return int(bool(latched)), {"latched": [asdict(p) for p in latched], "driven": driven}
        if self.release:
            latch = Latch(_name(self.robot))
            before = latch.release()
            said = f"released; it was latched for: {before}" if before else "was not latched"
            console.print(styled("[bold]{}[/]: {}", latch.robot, said))
            return 0, {"robot": latch.robot, "released": before is not None}
        driven = running()
        names = [_name(self.robot)] if self.robot else driven
        if not names:
            raise BadValue("no robot is driven from this machine now, and none is named. Next: palmar estop ROBOT")
        pressed = [Latch(name).press(self.reason) for name in names]
        for one in pressed:
            going = "its run is stopping" if one.robot in driven else "no run of it goes on here now"
            console.print(styled("[bold red]E-STOP[/] of [bold]{}[/] is latched: {}; {}", one.robot, str(one), going))
            console.print(styled("release it with: palmar estop --release {}", one.robot))
        if goes_on := [r for r in driven if r not in names and not set(names) <= set(driven)]:
            moving = ", ".join(goes_on)
            console.print(
                styled(
                    "[bold red]{} is driven now, and goes on.[/] Next: palmar estop {}, or palmar estop for all",
                    moving,
                    moving,
                )
            )
        return int(bool(goes_on)), {"pressed": [asdict(p) for p in pressed], "driven": driven}


@dataclass(frozen=True)
class Replay:
    """Play a black box (`palmar run --blackbox`) again, tick for tick: the commands come out bit for bit the same.

    With --robot, --guards or --without: what other limits or guards would have done with what was asked for and measured.
    Exit code 1: a command differs.
    """

    dump: Positional[Path]
    """A fault-NNN.jsonl."""
    robot: str = ""
    """Name or file (.toml) of a robot with the same channels and other limits, zones or tolerances."""
    guards: str = ""
    """module:NAME or FILE.py:NAME of other guards."""
    without: tuple[str, ...] = ()
    """Names of guards to leave out."""
    last: Last = 12
    """How many ticks before the end are shown."""
    plot: Path | None = None
    """Write a PNG: recorded and now, with what differs."""
    force: bool = False
    """Replace the file of --plot when it is there."""
    json: bool = False
    """One JSON object with every figure on stdout."""

    def run(self, console: Screen) -> Answer:
        from palmar.description.find import find_robot
        from palmar.runtime.records.blackbox import read_dump
        from palmar.runtime.records.rerun import find_guards, rerun, summary
        from palmar.runtime.safety.filter import guard_name
        from palmar.runtime.safety.guards import GUARDS

        writable(self.plot, self.force)
        dump = read_dump(self.dump)
        robot = find_robot(self.robot) if self.robot else None
        guards = find_guards(self.guards) if self.guards else None
        if self.without:
            kept = GUARDS if guards is None else guards
            check_names("guard", self.without, [guard_name(g) for g in kept])
            guards = tuple(g for g in kept if guard_name(g) not in self.without)
        done = rerun(dump, robot, guards)
        figures: dict[str, Any] = summary(dump, done, robot or dump.robot)
        _print(console, dump, done, figures, self.last)
        if self.plot is not None:
            _plot(dump.robot, done, self.plot, f"{self.dump}")
            console.print(f"plot: {self.plot}")
            figures["plot"] = str(self.plot)
        return int(not figures["identical"]), figures


def _name(what: str) -> str:
    """A robot's name: of a robot file, what the file says. Any other word is the name itself, known or not."""
    if what.endswith(".toml"):
        from palmar.description.file import read_robot

        return read_robot(what).name
    return what


def _print(console: Screen, dump: Dump, done: Rerun, figures: dict[str, Any], last: int) -> None:
    if last:
        table = Table("tick", "time [s]", "recorded", "now", "same")
        for t, now, differs in list(zip(dump.ticks, done.reasons, done.different, strict=True))[-last:]:
            words = "; ".join(str(r) for r in now)
            before = "; ".join(t.words)
            table.add_row(
                str(t.index), f"{t.time:.3f}", before, "" if words == before else words, "no" if differs else "yes"
            )
        console.print(table)
    table = Table("guard", "commands recorded", "now")
    for guard, n in figures["guards"].items():
        table.add_row(guard, str(n["recorded"]), str(n["now"]))
    if figures["guards"]:
        console.print(table)
    if not figures["identical"]:
        table = Table("channel", "unit", "largest difference")
        for name, row in figures["channels"].items():
            if row["largest"] > 0:
                table.add_row(name, row["unit"], f"{row['largest']:.4g}")
        console.print(table)
    for what, when in figures["stopped"].items():
        said = "never" if when is None else f"at {when:.3f} s"
        console.print(styled("stopped, {}: {}", what, said))
    same = "every command bit for bit the same" if figures["identical"] else (
        f"{figures['different']} commands differ, the first at {figures['first']:.3f} s"
    )  # fmt: skip
    console.print(
        styled(
            "[bold]{} ticks[/] ({} s) of {}: {}.", figures["ticks"], f"{figures['seconds']:.2f}", figures["robot"], same
        )
    )


def _plot(robot: Embodiment, done: Rerun, path: Path, title: str) -> None:
    from palmar.eval.replay_plot import plot_replay
    from palmar.runtime.records.replay import Replayed

    now = done.stopped_now
    stopped = None if now is None else (float(done.time[now]), "")
    changed = done.sent != done.recorded
    shown = Replayed(done.time, done.recorded, done.sent, done.recorded[0], {}, changed, stopped, {})
    plot_replay(robot, shown, path, title, ("recorded", "now", "different"))
