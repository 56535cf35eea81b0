"""Acting: one instruction, or the whole life once."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

from tyro.conf import Positional

from palmar.choices import FIT, Fit
from palmar.cli.shared import Answer, configured, one_thread, writable, writable_folder
from palmar.console import Screen, styled
from palmar.errors import BadValue
from palmar.ranges import SEED, Count, MetricsPort, Period, Seconds, Seed

if TYPE_CHECKING:
    from palmar.cli.runs import RunConfig, RunResult

FILM = Path("palmar-run.mp4")


@dataclass(frozen=True)
class Run:
    """Do what an instruction says, in real time, behind the safety layer; a film of it at the end.

    In the simulated world, or with --body on a robot of your own that has passed `palmar check-body`. With --replay no
    policy acts: recorded episodes go through the same path, and what the guards would change is told.
    """

    instruction: Positional[str] = ""
    """What to do, such as "pick up the red cube" or "push the green ball left"."""
    policy: str = "shipped"
    """Checkpoint folder, "shipped" for the one inside palmar, or openpi://HOST:PORT for a policy server."""
    world: str = "sim"
    """Where the robot stands: sim, or twin:SEED, near:SEED, far:SEED, other:SEED for a reality (docs/realities.md)."""
    robot: str = ""
    """Name of a robot that comes with palmar, or a robot file (.toml). When not given: arm7, the
    body's own, or with --replay the one that the set names."""
    body: str = ""
    """module:Class of a body of your own, from the current folder or an installed package; "lerobot:TYPE?NAME=VALUE&…" for a robot
    of lerobot; mock: for one that only tracks commands. The simulated world when not given."""
    names: tuple[str, ...] = ()
    """POLICY=ROBOT … for channels that the two call differently; with --replay ROBOT=RECORDING."""
    cameras: tuple[str, ...] = ()
    """POLICY=ROBOT … for cameras that the two call differently."""
    hold: tuple[str, ...] = ()
    """CHANNEL=VALUE … for channels of the robot that the policy does not command."""
    fit: Fit = FIT
    """How pictures of another size than the policy's are made to fit."""
    execute: Count = 4
    """Actions carried out of each chunk."""
    realtime: bool = False
    """Real-time chunking: a new chunk fits on to the one that runs while it is computed. For policies that take long."""
    slowing: bool = True
    """Follow the policy more slowly along its own path before a guard has to clip. --no-slowing for the guards alone."""
    seed: Seed = 0
    """Of the table, or of the body's reset: another seed, another layout."""
    timeout: Seconds = 20.0
    """Longest time to try [s]."""
    video: Path | None = FILM
    """Where the film goes (.mp4), with its last picture beside it (.jpg); None for no film. palmar-run.mp4 and palmar-run.jpg are
    always those of the last run."""
    blackbox: Path | None = None
    """Folder for the last seconds before each fault of the safety layer; palmar replay plays them again."""
    watchdog: Period = 0.2
    """With --body: longest time without a command before the watchdog, a process of its own, brakes the robot [s]. None for no
    watchdog."""
    deadman: str = ""
    """A switch that a person holds while the robot may move: keys (any key of this terminal), page (a button of --page), udp:PORT,
    or a file that something writes to."""
    detector: Path | None = None
    """File of a failure detector (docs/confidence.md): the robot slows down, rests, asks and is handed over by its confidence."""
    correct: str = ""
    """keys: a person at this terminal may take over (tab) and give back, for corrections."""
    record: Path | None = None
    """Add the episode to this data set, with who drove each frame (LeRobot's column intervention)."""
    ab: str = ""
    """A second policy: which of the two drives is drawn, and each run is an episode of a comparison that stops by itself."""
    ab_log: Path = Path("palmar-ab.jsonl")
    """With --ab: where the episodes are kept."""
    log: Path | None = None
    """Append what happens to this operations log (JSON lines), for palmar monitor."""
    mcap: Path | None = None
    """Record states, commands, reasons and pictures to this MCAP file, for Foxglove."""
    metrics: MetricsPort = None
    """Port of this computer at which Prometheus reads the run's metrics (/metrics), 0 for any that is free."""
    certified: Path | None = None
    """A certificate (palmar certify): nothing moves unless it holds for this policy and this robot."""
    replay: Path | None = None
    """Folder of a data set whose recorded actions are played through the safety layer. Nothing moves."""
    keys: tuple[str, ...] = ()
    """With --replay: which features are what where the set's rules do not find them: action=KEY state=KEY."""
    unit: tuple[str, ...] = ()
    """With --replay: NAME=UNIT of the recording's channels where the set states none; '*=deg' for all."""
    episode: Annotated[int | None, SEED] = None
    """With --replay: this episode alone."""
    plot: Path | None = None
    """With --replay: write a PNG of the episode that is changed most."""
    page: bool = False
    """Show the run in a browser, stop it there, drive it there; it then waits for the next instruction, until the page ends it or
    Ctrl-C. Browsers need a key where the environment variable PALMAR_API_KEY holds one. --deadman page: a button there."""
    page_address: str = "127.0.0.1:8080"
    """With --page: HOST:PORT where it listens; port 0 for any that is free. Other computers reach 0.0.0.0, which wants a key or
    --open."""
    certificate: Path | None = None
    """With --page: PEM file, for TLS (https://)."""
    private_key: Path | None = None
    """With --page: PEM file, not encrypted."""
    open: bool = False
    """With --page: other computers may open it without a key."""
    force: bool = False
    """Replace the files of --video, --mcap and --plot when they are there."""
    json: bool = False
    """One JSON object with every figure on stdout."""
    only_with: ClassVar = {
        "ab_log": "ab", "watchdog": "body", "page_address": "page", "certificate": "page", "private_key": "page", "open": "page",
        "keys": "replay", "unit": "replay", "episode": "replay", "plot": "replay",
    }  # fmt: skip

    def run(self, console: Screen) -> Answer:
        self._check_mode()
        if self.replay is not None:
            from palmar.cli.replaying import ReplayConfig, run_replay

            writable(self.plot, self.force)
            config = ReplayConfig(
                self.replay, self.robot, self.episode, self.names, self.plot, self.keys, self.unit
            )  # fmt: skip
            return run_replay(config, console, progress=not self.json)
        from palmar.cli import live
        from palmar.cli.runs import RunConfig

        one_thread(self.policy)
        settings = configured(RunConfig, self)
        for file in () if self.video is None else (self.video, self.video.with_suffix(".jpg")):
            writable(file, self.force or self.video == FILM)
        writable(self.mcap, self.force)
        if self.mcap is not None and self.mcap.suffix != ".mcap":
            raise BadValue(
                f"--mcap is '{self.mcap}'; expected a name that ends in .mcap. Next: --mcap {self.mcap}.mcap"
            )
        writable_folder(self.blackbox)
        writable_folder(self.record)
        if self.page:
            return self._on_page(settings, console)
        result = live.run(settings, console)
        print_result(result, console)
        return result.exit_code, result.to_dict()

    def _on_page(self, settings: RunConfig, console: Screen) -> Answer:
        import os

        from palmar.cli.certified import require_for_run
        from palmar.cli.operated import operated
        from palmar.runtime.supervision.handshake import KEY
        from palmar.serve.page.config import PageConfig, host_and_port

        require_for_run(settings, settings.policy)  # now, and again before each run
        host, port = host_and_port(self.page_address)
        config = configured(PageConfig, self, host=host, port=port, key=os.environ.get(KEY, ""))
        results = operated(settings, config, console, print_result)
        ended = results[-1].exit_code if results and results[-1].ended_by else 0
        return ended, {"runs": [r.to_dict() for r in results]}

    def _check_mode(self) -> None:
        """Raise `BadValue` for an option that does not count with --replay."""
        driven = (
            "policy",
            "world",
            "body",
            "cameras",
            "hold",
            "fit",
            "execute",
            "realtime",
            "slowing",
            "seed",
            "timeout",
            "video",
            "blackbox",
            "watchdog",
            "deadman",
            "detector",
            "correct",
            "record",
            "ab",
            "ab_log",
            "page",
            "log",
            "mcap",
            "metrics",
            "certified",
            "instruction",
        )
        usual = {f.name: f.default for f in fields(self)}
        for name in () if self.replay is None else driven:
            if getattr(self, name) != usual[name]:
                what = (
                    f"--{name.replace('_', '-')} {getattr(self, name)}"
                    if name != "instruction"
                    else f"“{self.instruction}”"
                )
                raise BadValue(
                    f"{what} counts not with --replay, where no policy acts. Next: leave it out, or see palmar run --help"
                )


def print_result(result: RunResult, console: Screen) -> None:
    t = result.timing
    said = "says it is done" if result.done else f"ended: {result.reason}"
    ended = f"{said} after {result.seconds:.1f} s"
    if result.success is None:
        console.print(styled("[bold]“{}”[/]: the policy {}.", result.instruction, ended))
    else:
        judged = styled("[green]success" if result.success else "[red]not fulfilled")
        console.print(
            styled("[bold]“{}”[/]: the policy {}; the {} says {}.", result.instruction, ended, result.by, judged)
        )
    period = f"period p50 {t['period_p50']:.2f}, p99 {t['period_p99']:.2f}, worst jitter {t['jitter_max']:.2f} ms"
    console.print(
        f"control {period} · {t['late_ticks']:.0f} of {t['ticks']:.0f} ticks late · "
        f"policy p50 {t['latency_p50']:.0f}, p99 {t['latency_p99']:.0f} ms"
    )
    changed = ", ".join(f"{k} {v}" for k, v in result.safety.items() if v) or "nothing"
    if t["slowed"]:
        console.print(
            f"slowed down in {100 * t['slowed']:.0f} % of ticks, to {100 * t['speed']:.0f} % of full speed on average"
        )
    console.print(f"safety changed: {changed}" + (f" · film: {result.film.path}" if result.film else ""))
    for off in result.off:
        console.print(styled("[yellow]not guarded: {}", off))
    for note in result.notes:
        console.print(styled("[yellow]{}", note))
    if result.busy:
        console.print(styled("[yellow]{}", result.busy))


@dataclass(frozen=True)
class Demo:
    """The whole life of a policy in under ten minutes on two cores, with a report at the end: what a reality takes, and which step
    wins it back."""

    out: Path = Path("demo")
    """Where everything goes. A demo that is there is replaced only with --force."""
    from_scratch: bool = False
    """Train from nothing (collect and train for 40 minutes each) instead of starting from the shipped weights."""
    instruction: tuple[str, ...] = ()
    """What to do at the end; asked for when this is a terminal."""
    force: bool = False
    """Replace what is in --out."""
    quick: bool = False
    """A tenth of everything: to see that it works, not to believe the figures."""
    json: bool = False
    """One JSON object with every figure on stdout."""

    def run(self, console: Screen) -> Answer:
        from palmar.cli.demo import DemoConfig, demo

        writable_folder(self.out)
        one_thread("shipped")  # training sets its own number and puts this one back
        return demo(configured(DemoConfig, self, instructions=self.instruction), console)
