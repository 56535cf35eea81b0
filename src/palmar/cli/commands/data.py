"""Data sets: record, look, import, mend."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

from tyro.conf import Positional

from palmar.cli.identified import identified
from palmar.cli.shared import Answer, configured, one_thread, writable, writable_folder
from palmar.console import Screen, styled
from palmar.errors import BadValue
from palmar.ranges import COLLECTED, SEED, Count, Period, Processes, Range, Seconds, Seed, Share, Strength

ROBOT = "arm7"
"""Whose demonstrations the scripted experts record where no robot is named."""

if TYPE_CHECKING:
    from palmar.sim.draws import Worlds


@dataclass(frozen=True)
class Collect:
    """Record demonstrations as a LeRobot v3 data set: of the scripted experts in randomised simulation, or with --teleop of a
    person on a body of your own.

    With --teleop, keys of the terminal: space begins an episode; y ends it as a success, n as a failure, x without keeping it,
    q ends the session. Each that is kept is on the disk before the next.
    """

    out: Path
    """Folder of the data set."""
    episodes: Count = 100
    """How many to save; failed demonstrations are not saved."""
    robot: str | None = None
    """A robot that comes with palmar (docs/robots.md); arm7 when not given. With --teleop also a robot file (.toml), or the body's
    own when not given."""
    tasks: tuple[str, ...] = ("all",)
    """Which tasks take turns; all: those that fit the robot, but slide, insert, stack, pour, open and close."""
    seed: Seed = 0
    """Of the first table; below 1 000 000, where the test seeds begin."""
    strength: Strength = COLLECTED
    """Domain randomisation, 0 (none) … 2."""
    vary: tuple[str, ...] = ()
    """Only these groups and parameters of the worlds differ (docs/realities.md), such as visual friction. None named: all."""
    driver: str = "expert"
    """"expert", or a checkpoint that drives while the expert labels (DAgger)."""
    beta: Share = 0.0
    """Share of DAgger episodes that the expert drives."""
    correct: str = ""
    """expert: takes over from the driver after --patience seconds; corrections for `palmar adapt`."""
    patience: Seconds = 5.0
    """With --correct: how long the driver may try alone [s]."""
    detector: str = ""
    """With --correct: a failure detector's file (`palmar detect`); it takes over on its alarms and gives back."""
    world: str = "sim"
    """Where the robot stands: sim, or twin:SEED, near:SEED, far:SEED, other:SEED for a reality (docs/realities.md)."""
    identified: tuple[Path, ...] = ()
    """Draw what `palmar sysid --out` and `palmar calibrate --out` identified from their posterior."""
    widen: Annotated[float, Range(1, 10)] = 1.0
    """With --identified: factor on the ranges of the parameters that were looked for and not identified."""
    stills: bool = False
    """Photograph that many tables instead, six arrangements each: cheap labels of where to look."""
    resume: bool = False
    """Go on with a data set that is there until it holds --episodes."""
    processes: Processes = None
    """One a core when not given."""
    teleop: str = ""
    """A person drives: keys, or "lerobot:TYPE?NAME=VALUE&…" for a teleoperator of lerobot, such as
    "lerobot:so101_leader?port=/dev/ttyACM1&id=left"."""
    body: str = ""
    """With --teleop: module:Class, "lerobot:TYPE?…", gym:ENV, tcp://HOST:PORT or mock:."""
    instruction: str = ""
    """With --teleop: what is done, such as "pick up the red cube"."""
    names: tuple[str, ...] = ()
    """With --teleop: LEADER=ROBOT … where the two call a channel differently."""
    longest: Seconds = 60.0
    """With --teleop: longest episode [s]. Its pictures are in memory until it ends."""
    watchdog: Period = 0.2
    """With --teleop: longest time without a command before the watchdog, a process of its own, brakes the robot [s]."""
    json: bool = False
    """One JSON object with every figure on stdout."""
    only_with: ClassVar = {
        "patience": "correct", "detector": "correct", "body": "teleop", "instruction": "teleop", "names": "teleop",
        "longest": "teleop", "watchdog": "teleop", "widen": "identified",
    }  # fmt: skip
    only_without: ClassVar = {
        "patience": ("detector",),
        **{n: ("stills",) for n in ("robot", "tasks", "driver", "beta", "correct", "world")},
    }

    def run(self, console: Screen) -> Answer:
        self._check_mode()
        if self.teleop:
            return self._by_hand(console)
        from palmar.lab.collect import CollectConfig, collect
        from palmar.lab.stills import StillsConfig, collect_stills
        from palmar.sim.params import randomized

        worlds: Worlds = randomized(self.strength, self.vary)
        if self.identified:
            if self.vary:
                raise BadValue(
                    f"--vary {' '.join(self.vary)} does not count with --identified, which says what moves. Next: leave one out"
                )
            worlds = identified(self.identified, self.strength, self.widen, self.robot or ROBOT)
        writable_folder(self.out)
        if self.stills:
            photographs = StillsConfig(self.episodes, seed=self.seed, randomization=worlds)
            done = collect_stills(self.out, photographs, self.processes, self.resume, progress=not self.json)
        else:
            config = configured(CollectConfig, self, randomization=worlds, robot=self.robot or ROBOT)
            one_thread(self.driver)
            done = collect(self.out, config, self.processes, self.resume, progress=not self.json)
        before = f", beside {done.there} that were there" if done.there else ""
        failed = f"{done.tried - done.saved} failed tries left out"
        made = f"episodes, {done.frames} frames in"
        console.print(styled("[bold]{}[/] {} [bold]{}[/]{} ({}).", done.saved, made, done.root, before, failed))
        if done.saved or done.there:
            console.print(f"Next: palmar inspect {done.root}")
        if done.short:
            of = ", ".join(f"{task} {good} of {n}" for task, (good, n) in done.tries.items() if good < n)
            more = f"fewer than asked for: too many tries failed{f' (saved: {of})' if of else ''}"
            other = "" if self.world == "sim" else ", or without the tasks that fail in this world (docs/robots.md)"
            console.print(styled("[yellow]{} {}. Next: --resume with another --seed{}", done.short, more, other))
        return int(done.short > 0), {"root": str(done.root)} | {
            n: getattr(done, n) for n in ("saved", "there", "tried", "frames", "short")
        }

    def _check_mode(self) -> None:
        """Raise `BadValue` for an option that does not count with --teleop, or with a reality."""
        scripted = (
            "tasks", "strength", "vary", "driver", "beta", "correct", "patience", "detector", "world", "identified", "widen",
            "stills",
            "processes",
        )  # fmt: skip
        usual = {f.name: f.default for f in fields(self)}
        for name in scripted if self.teleop else ():
            if getattr(self, name) != usual[name]:
                raise BadValue(
                    f"--{name} {getattr(self, name)} counts not with --teleop, where a person drives. Next: leave it out, or see "
                    "palmar collect --help"
                )
        for name in ("strength", "vary", "identified") if self.world != "sim" else ():
            if (value := getattr(self, name)) != usual[name]:
                said = " ".join(map(str, value)) if isinstance(value, tuple) else value
                raise BadValue(
                    f"--{name} {said} counts only in plain simulation; world '{self.world}' has parameters of its own. Next: leave "
                    "one of the two out"
                )
        if self.beta and self.driver == "expert":
            raise BadValue(
                f"--beta {self.beta:g} counts only with --driver, a policy that drives the other episodes. Next: --driver "
                "shipped, or no --beta"
            )
        if self.teleop and not self.body:
            raise BadValue(
                "--teleop drives no body; expected one. Next: --body module:Class, or --body mock: to try it"
            )

    def _by_hand(self, console: Screen) -> Answer:
        from palmar.cli.teleoperated import TeleopConfig, teleoperate

        config = configured(TeleopConfig, self, timeout=self.longest, robot=self.robot or "")
        writable_folder(self.out)
        done = teleoperate(config, console)
        before = f", beside {done.there} that were there" if done.there else ""
        console.print(
            styled("[bold]{}[/] episodes, {} frames in [bold]{}[/]{}; {} of them failures, {} not kept ({}).", done.saved,
                   done.frames, done.root, before, done.failures, done.discarded, done.reason)
        )  # fmt: skip
        if done.saved:
            console.print(f"Next: palmar inspect {done.root} --quality")
        return done.exit_code, asdict(done) | {"root": str(done.root)}


@dataclass(frozen=True)
class Questions:
    """Questions about pictures of simulated tables, beside robot data: for models that answer (palmar train --web)."""

    out: Path
    """Folder of the questions."""
    tables: Annotated[int, Range(2, 10**6)] = 500
    """How many pictures."""
    held_out: Annotated[float, Range(0, 1, above=True, below=True)] = 0.1
    """Share of the tables that is only asked about."""
    seed: Seed = 600_000
    processes: Processes = None
    """One a core when not given."""
    json: bool = False
    """One JSON object with every figure on stdout."""

    def run(self, console: Screen) -> Answer:
        from palmar.lab.questions import WebConfig, make

        config = configured(WebConfig, self)
        writable_folder(self.out)
        web = make(self.out, config, self.processes, progress=not self.json)
        counts = {
            "questions": len(web),
            "training": len(web.training),
            "held_out": len(web.held_out),
            "chance": web.chance,
        }
        asked = f"{len(web.held_out)} of them only asked; guessing answers {100 * web.chance:.0f} %."
        console.print(
            styled("[bold]{}[/] questions about {} tables in [bold]{}[/], {}", len(web), self.tables, self.out, asked)
        )
        console.print(f"Next: palmar train rt2-tiny --recipe co-train --web {self.out} --data FOLDER")
        return 0, {"root": str(self.out)} | counts


@dataclass(frozen=True)
class Inspect:
    """What is in a data set: a table here, and a page with pictures and plots."""

    data: Positional[Path]
    """Folder of a LeRobotDataset, v2.0 to v3."""
    keys: tuple[str, ...] = ()
    """Which features are what, where that is not clear: state=FEATURE action=FEATURE images.CAMERA=FEATURE."""
    html: Path | None = None
    """Write the page here."""
    force: bool = False
    """Replace the file of --html when it is there."""
    quality: bool = False
    """Also say which demonstrations are not worth learning from, and what is wrong with the set's values. Nothing is deleted."""
    json: bool = False
    """One JSON object with every figure on stdout."""

    def run(self, console: Screen) -> Answer:
        from palmar.data.findings import examine
        from palmar.data.inspect import print_summary, summary
        from palmar.data.page import write_html
        from palmar.data.quality import assess
        from palmar.data.reader import Dataset
        from palmar.data.roles import parse_keys

        writable(self.html, self.force)
        dataset = Dataset(self.data, cache=False, keys=parse_keys(self.keys))
        figures = summary(dataset)
        if not self.json:
            print_summary(dataset, console)
        if self.quality:
            quality = assess(dataset)
            if figures["stills"]:
                console.print(f"{figures['stills']} stills have no motion to judge, and are kept")
            console.print(str(quality))
            for dropped in quality.dropped:
                console.print(f"  {dropped}")
            if quality.dropped:
                console.print("Next: palmar train --good-only, which leaves them out")
            if quality.left_out:
                console.print(quality.left_out)
            found = examine(dataset)
            for finding in found:
                if self.json or str(finding) not in figures["warnings"]:  # which are said above
                    console.print(styled("[red]{}", finding))
            if not found:
                console.print("values: no fault found in states, actions, timestamps and pictures")
            figures |= {
                "quality": {
                    "kept": list(quality.kept), "dropped": [asdict(d) for d in quality.dropped],
                    "openings": dict(quality.openings), "findings": [asdict(f) for f in found],
                }
            }  # fmt: skip
        if self.html:
            write_html(dataset, self.html)
            console.print(f"page: {self.html}")
        return 0, figures


@dataclass(frozen=True)
class Import:
    """Write a LeRobotDataset of any version (v2.0 to v3), or a ROS 2 bag (MCAP), anew as v3.0; the source is only read.

    Videos are copied as they are, statistics counted. What is killed half-way leaves no set.
    """

    source: Positional[Path]
    """Folder of a LeRobotDataset, or of a ROS 2 bag (or its .mcap file)."""
    out: Path
    """Folder of the new set; it must not be there."""
    keys: tuple[str, ...] = ()
    """Which features are what, where that is not clear: state=FEATURE action=FEATURE images.CAMERA=FEATURE."""
    join: bool = False
    """Put the videos of many episodes into few files, without encoding them anew; else each keeps its own file."""
    robot: str = ""
    """Of a bag: whose joints, cameras and rate these are: a robot that comes with palmar, or a robot file (.toml)."""
    topics: str = "ros2:"
    """Of a bag: topics that are not the usual ones, as of --body ros2: (docs/ros2.md)."""
    instruction: str = ""
    """Of a bag without instructions on /task_instruction: what was done, in one episode."""
    json: bool = False
    """One JSON object with every figure on stdout."""

    def run(self, console: Screen) -> Answer:
        from palmar.data.bags import is_bag
        from palmar.data.importer import import_set
        from palmar.data.roles import parse_keys

        writable_folder(self.out)
        if is_bag(self.source):
            return self._bag(console)
        for name, usual in (("robot", ""), ("topics", "ros2:"), ("instruction", "")):
            if getattr(self, name) != usual:
                raise BadValue(f"--{name} counts only for a ROS 2 bag, and '{self.source}' is none. Next: leave it out")
        done = import_set(self.source, self.out, parse_keys(self.keys), self.join)
        for note in done.notes:
            console.print(note)
        console.print(
            f"{done.episodes} episodes, {done.frames} frames of a {done.version} set in '{done.root}'. "
            f"Next: palmar inspect {done.root}"
        )
        return 0, asdict(done) | {"root": str(done.root)}

    def _bag(self, console: Screen) -> Answer:
        from palmar.data.bags import import_bag
        from palmar.description.find import find_robot
        from palmar.runtime.ros2.topics import topics_of

        if not self.robot:
            raise BadValue(
                f"'{self.source}' is a ROS 2 bag, and no robot is named; expected whose joints and cameras these are. Next: "
                "--robot NAME or --robot FILE.toml"
            )
        if self.keys or self.join:
            raise BadValue(
                "--keys and --join count only for a LeRobotDataset. Next: leave them out; --topics for a bag"
            )
        done = import_bag(self.source, self.out, find_robot(self.robot), topics_of(self.topics), self.instruction)
        for note in done.notes:
            console.print(styled("[yellow]{}", note))
        found = f"{done.episodes} episodes, {done.frames} frames of a bag"
        console.print(styled("{} in '{}'. Next: palmar inspect {}", found, done.root, done.root))
        return 0, asdict(done) | {"root": str(done.root)}


@dataclass(frozen=True)
class Bag:
    """Write a data set as a ROS 2 bag (MCAP): joint states, commands, pictures and instructions, for ros2 bag and Foxglove.

    A run becomes one by palmar run --record SET and this. palmar import reads it back.
    """

    data: Positional[Path]
    """Folder of a LeRobotDataset."""
    out: Path
    """Folder of the bag; it must not be there."""
    robot: str
    """Whose set it is: a robot that comes with palmar, or a robot file (.toml)."""
    episode: Annotated[tuple[int, ...], SEED] = ()
    """Only these; all when not given."""
    topics: str = "ros2:"
    """Topics that are not the usual ones, as of --body ros2: (docs/ros2.md)."""
    json: bool = False
    """One JSON object with every figure on stdout."""

    def run(self, console: Screen) -> Answer:
        from palmar.data.bags import write_bag
        from palmar.description.find import find_robot
        from palmar.runtime.ros2.topics import topics_of

        writable_folder(self.out)
        robot = find_robot(self.robot).with_action_space("channels")
        done = write_bag(self.data, self.out, robot, topics_of(self.topics), self.episode, self.json)
        console.print(
            styled("{} episodes, {} frames, {} messages in '{}'", done.episodes, done.frames, done.messages, done.root)
        )
        console.print(styled("topics: {}", ", ".join(done.topics)))
        return 0, asdict(done) | {"root": str(done.root)}


@dataclass(frozen=True)
class Repair:
    """Mend a data set that a crash, a full disk or a damaged file left unreadable. Metadata are rebuilt from the data files and
    videos. No good file is deleted: what is replaced or spare goes to .palmar/removed-N/ in the set, and --undo puts it back."""

    data: Positional[Path]
    """Folder of a LeRobot v3 data set."""
    drop: bool = False
    """Also do without the episodes that cannot be read; later ones move up."""
    dry_run: bool = False
    """Only say what would be done."""
    undo: bool = False
    """Take back the last repair: every file as it was."""
    json: bool = False
    """One JSON object with every figure on stdout."""

    def run(self, console: Screen) -> Answer:
        from palmar.data import repair

        if self.undo and (self.drop or self.dry_run):
            raise BadValue("--undo takes no other option. Next: one of them at a time")
        if self.undo:
            names = repair.undo(self.data)
            console.print(f"put back: {', '.join(names[:6])}{_more(names)}")
            return 0, {"undone": names}
        done = repair.repair(self.data, self.drop, self.dry_run)
        for line in done.why[:20]:
            console.print(line)
        would = "would be " if self.dry_run else ""
        for what, names in (("rebuilt", done.rebuilt), ("moved aside", done.moved), ("dropped", done.dropped)):
            if names:
                console.print(f"{would}{what}: {', '.join(names[:6])}{_more(names)}")
        if done.kept:
            console.print(f"as it was: {done.kept} (palmar repair {self.data} --undo puts it back)")
        if done.left:
            console.print(f"it still cannot be read: {done.left}")
            return 1, asdict(done)
        sound = not (done.rebuilt or done.moved or done.dropped)
        for line in done.not_finite:
            console.print(styled("[yellow]{}; repair changes no recorded number", line))
        console.print(
            f"{'nothing to mend: ' if sound else ''}{done.episodes} episodes in '{self.data}'. "
            f"Next: palmar {'repair' if self.dry_run and not sound else 'inspect'} {self.data}",
        )
        return 0, asdict(done)


def _more(names: list[str]) -> str:
    return f" and {len(names) - 6} more" if len(names) > 6 else ""
