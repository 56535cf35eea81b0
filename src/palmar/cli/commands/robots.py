"""Robots: look at one, and make a file of one."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from rich import box
from rich.table import Table
from rich.text import Text
from tyro.conf import Positional, arg, subcommand

from palmar.cli.shared import Answer, writable
from palmar.console import Screen, printable, styled
from palmar.errors import BadFile, BadValue
from palmar.ranges import Range, check_ranges

if TYPE_CHECKING:
    from palmar.data.reader import Dataset
    from palmar.embodiments import Embodiment
    from palmar.robot_parts import Channel

MARKS = {"description file": "f", "data sheet": "s", "data": "d", "user": "u", "guess": "?"}
Rate = Annotated[float | None, Range(0.1, 10_000, unit="Hz")]


@dataclass(frozen=True)
class Show:
    """Channels with their limits and where each comes from, frames, cameras and rates of a robot."""

    what: Positional[str]
    """Name of a robot that comes with palmar, a robot file (.toml), a description (.urdf, .xml), or a data set folder."""
    json: bool = False
    """One JSON object with every figure on stdout."""

    def run(self, console: Screen) -> Answer:
        robot, origin = _found(self.what)
        _print(console, robot)
        if origin != "file" and robot.guesses():
            console.print(f"Next: palmar robot make {self.what} --out robot.toml, which asks for what is missing")
        return 0, figures(robot)


@dataclass(frozen=True)
class Make:
    """A robot file (TOML) from a description, a data set, or both, to read and edit. Replaces no file."""

    source: Positional[str]
    """A URDF or MJCF file, a data set folder, a robot file to go on from, or "lerobot:TYPE?NAME=VALUE&…" for what a robot of
    lerobot says of itself. Meshes need not be there."""
    out: Path
    """The robot file to write."""
    data: Path | None = None
    """A data set of this robot: limits that nothing else states are taken from what was demonstrated, with a margin."""
    description: Path | None = None
    """A URDF or MJCF file, where SOURCE is a robot file or data set: its limits and frames for the channels whose names, or
    joint = "…" in the file, are its joints."""
    name: str = ""
    velocity: tuple[str, ...] = ()
    """JOINT=VALUE … [rad/s] or [m/s]; rad=VALUE and m=VALUE are for all joints that turn, or slide, without a stated velocity."""
    position: tuple[str, ...] = ()
    """JOINT=LOWER:UPPER … [rad] or [m]."""
    unit: tuple[str, ...] = ()
    """CHANNEL=UNIT … of a data set, in place of the guessed ones; a UNIT alone is for all."""
    guess: bool = False
    """Guess limits that nothing states. Guesses are marked; no policy moves the robot before a person has replaced them."""
    frames: tuple[str, ...] = ()
    """Links, bodies or sites that become frames; the ends of the limbs when none is given."""
    openings: tuple[str, ...] = ()
    """Joints that are grippers, beside those called so."""
    control_rate: Rate = None
    """Commands a second the body takes [Hz]; 50, or as the data set, when not given."""
    policy_rate: Rate = None
    """Actions a second a policy gives [Hz]; 10, or as the data set, when not given."""
    json: bool = False
    """One JSON object with every figure on stdout."""

    def run(self, console: Screen) -> Answer:
        from palmar.description.write import write_robot

        if self.out.exists():
            raise BadFile(f"'{self.out}' is there already; a robot file may hold a person's work. Next: another --out")
        writable(self.out)
        robot = self.made()
        given = (p for p in (self.source, self.description, self.data) if p)
        sources = [str(p).partition("?")[0] if str(p).startswith("lerobot:") else Path(p).name for p in given]
        write_robot(robot, self.out, " and ".join(sources))
        _print(console, robot)
        console.print(styled("Written to [bold]{}[/].", self.out))
        if guesses := robot.guesses():
            console.print(
                styled("[yellow]{} limits are guesses. Next: put the true ones into {}; until then no policy moves it.[/]",
                       len(guesses), self.out)
            )  # fmt: skip
        return 0, figures(robot) | {"out": str(self.out)}

    def made(self) -> Embodiment:
        """The robot that was asked for."""
        from dataclasses import replace

        from palmar.description.build import from_description
        from palmar.description.dataset import from_dataset
        from palmar.description.file import read_robot
        from palmar.description.join import joined, with_data
        from palmar.runtime.bodies.lerobot_device import LEROBOT
        from palmar.runtime.bodies.lerobot_robot import robot_of

        frames = self.frames or None
        source = Path(self.source)
        if self.source.startswith(LEROBOT):
            if self.data or self.description or self.frames:
                raise BadValue(
                    f"'{self.source}' is a robot of lerobot; expected no --data, --description or --frames. Next: make its file "
                    "first, then go on from that"
                )
            robot = robot_of(self.source)
        elif source.suffix == ".toml":
            robot = read_robot(source)
            if not self.description and not self.data:
                raise BadValue(
                    f"'{source}' is a robot file; expected --description or --data, to go on from it. Next: edit it"
                )
            if self.description:
                robot = joined(robot, self.description, frames)
            if self.data:
                with _data_set(self.data) as data:
                    robot = with_data(robot, from_dataset(data, units=_pairs(self.unit, "unit")))
        elif source.is_dir():
            if self.data:
                raise BadValue(f"'{source}' is a data set already; expected no --data. Next: leave --data out")
            with _data_set(source) as data:
                robot = from_dataset(data, units=_pairs(self.unit, "unit"))
            if self.description:
                robot = joined(robot, self.description, frames, every=True)
        elif self.data:
            with _data_set(self.data) as data:
                robot = joined(from_dataset(data, units=_pairs(self.unit, "unit")), source, frames, every=True)
        else:
            if self.description:
                raise BadValue("--description goes with a robot file or a data set. Next: leave it out")
            robot = from_description(
                source, limits=_limits(self.velocity, self.position), guess=self.guess, frames=frames, openings=self.openings
            )  # fmt: skip
        if (self.velocity or self.position or self.guess or self.openings) and (
            self.data or source.suffix == ".toml" or source.is_dir() or self.source.startswith(LEROBOT)
        ):
            raise BadValue(
                "--velocity, --position, --openings and --guess are for a description alone; with data or a robot file expected "
                "none of them. Next: write the limits into the file that is made"
            )
        if self.frames and not self.description and (source.is_dir() or source.suffix == ".toml"):
            raise BadValue("--frames needs a description, which knows the links. Next: --description FILE.urdf")
        control, policy = self.control_rate or robot.control_rate, self.policy_rate or robot.policy_rate
        return replace(robot, name=self.name or robot.name, control_rate=control, policy_rate=policy)


@dataclass(frozen=True)
class Robot:
    """Look at a robot, or make a file of one from its description (URDF, MJCF) or from a data set."""

    do: Annotated[Annotated[Show, subcommand("show")] | Annotated[Make, subcommand("make")], arg(name="")]

    @property
    def json(self) -> bool:
        return self.do.json

    def run(self, console: Screen) -> Answer:
        check_ranges(self.do, "--", "palmar robot make --help")
        return self.do.run(console)


# ------------------------------------------------------------------------------------------------ reading options


def _found(what: str) -> tuple[Embodiment, str]:
    """The robot, and whether it is a "file" of its own, or made of a description or data now."""
    from palmar.description.dataset import from_dataset
    from palmar.description.find import find_robot
    from palmar.robots import robots

    if what not in robots() and Path(what).is_dir():
        with _data_set(Path(what)) as data:
            return from_dataset(data), "data"
    robot = find_robot(what, guess=True)
    return robot, "file" if what in robots() or what.endswith(".toml") else "description"


def _data_set(folder: Path) -> Any:
    from contextlib import closing

    from palmar.data.reader import Dataset

    data: Dataset = Dataset(folder, cache=False)
    return closing(data)


def _pairs(words: tuple[str, ...], what: str, alone: bool = True) -> dict[str, str]:
    """{name: value} of NAME=VALUE; "*" for a value alone."""
    out: dict[str, str] = {}
    for word in words:
        name, equals, value = word.rpartition("=")
        if (equals and not name) or not value or not (equals or alone):
            raise BadValue(
                f"--{what} is '{word}'; expected NAME=VALUE{', or a value alone for all' if alone else ''}. "
                "Next: palmar robot make --help"
            )
        out[name if equals else "*"] = value
    return out


def _limits(velocity: tuple[str, ...], position: tuple[str, ...]) -> dict[str, dict[str, float]]:
    out: dict[str, dict[str, float]] = {}
    for name, value in _pairs(velocity, "velocity", alone=False).items():
        out.setdefault(name, {})["velocity"] = _number(value, f"--velocity {name}")
    for name, value in _pairs(position, "position", alone=False).items():
        low, colon, high = value.partition(":")
        if not colon:
            raise BadValue(
                f"--position {name} is '{value}'; expected LOWER:UPPER. "
                "Next: two numbers with a colon between, such as -1.5:1.5"
            )
        out.setdefault(name, {}).update(
            lower=_number(low, f"--position {name}"), upper=_number(high, f"--position {name}")
        )
    return out


def _number(text: str, what: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise BadValue(f"{what} is '{text}'; expected a finite number. Next: a plain number, such as 1.5")
    return value


# ------------------------------------------------------------------------------------------------ showing


def figures(robot: Embodiment) -> dict[str, Any]:
    """A robot as `--json` has it: every channel with its limits and sources, frames, cameras, rates, guesses."""
    channels = [asdict(c) | {"sources": dict(c.sources)} for c in robot.channels]
    frames = [{"name": f.name, "joints": list(f.joints), "rotates": f.rotates} for f in robot.frames]
    return {
        "name": robot.name, "channels": channels, "frames": frames, "cameras": [asdict(c) for c in robot.cameras],
        "state": list(robot.state_names), "control_rate": robot.control_rate, "policy_rate": robot.policy_rate,
        "action_space": robot.action_space, "guesses": robot.guesses(), "notes": robot.notes,
    }  # fmt: skip


def _print(console: Screen, robot: Embodiment) -> None:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), collapse_padding=True, pad_edge=False)
    table.add_column("channel", overflow="fold", min_width=8)
    table.add_column("kind", overflow="fold")
    table.add_column("unit", overflow="fold")
    for name in ("position", "velocity", "accel.", "jerk"):
        table.add_column(name, justify="right", no_wrap=True)
    for c in robot.channels:
        limits = [_limit(c, "position", f"{_digits(c.lower)}…{_digits(c.upper)}")]
        limits += [_limit(c, q, _digits(getattr(c, q))) for q in ("velocity", "acceleration", "jerk")]
        table.add_row(printable(c.name), c.kind, c.unit or "not stated", *limits)
    console.print(styled("[bold]{}[/], {} channels", robot.name, len(robot.channels)))
    console.print(table)
    console.print("Limits from: f description file · s data sheet · d data · u user · ? guess")
    for f in robot.frames:
        console.print(f"frame {f.name}: {len(f.joints)} joints, {', '.join(f.joints)}")
    if not robot.frames:
        console.print("frames: none")
    cameras = ", ".join(f"{c.name} {c.height}×{c.width} px" for c in robot.cameras) or "none"
    console.print(f"cameras: {cameras}")
    console.print(f"rates: {robot.control_rate:g} commands and {robot.policy_rate:g} actions a second")
    for line in robot.notes.split("\n") if robot.notes else ():
        console.print(f"note: {line}")


def _digits(value: float) -> str:
    return f"{value:.0f}" if 1000 <= abs(value) < 1e5 else f"{value:.3g}"


def _limit(c: Channel, quantity: str, text: str) -> Text:
    """A number with the letter of its source; none for a limit that there is not."""
    source = c.sources.get(quantity)
    if "inf" in text:
        return Text("none")
    return Text(f"{text} {MARKS.get(source or '', ' ')}", style="yellow" if source == "guess" else "")
