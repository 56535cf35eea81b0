"""Acting: one instruction, or the whole life once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from palmar.cli.shared import Answer, configured, writable, writable_folder
from palmar.console import Screen, styled
from palmar.ranges import Seconds, Seed

FILM = Path("palmar-run.mp4")


@dataclass(frozen=True)
class Run:
    """Do what an instruction says, in real time, behind the safety layer; a film of it at the end."""

    instruction: Positional[str]
    """What to do, such as "pick up the red cube" or "push the green ball left"."""
    policy: str = "shipped"
    """Checkpoint folder, "shipped" for the one inside palmar, or openpi://HOST:PORT for a policy server."""
    world: str = "sim"
    """sim, twin or twin:SEED: where the robot stands."""
    seed: Seed = 0
    """Of the table: another seed, another layout."""
    timeout: Seconds = 20.0
    """Longest time to try [s]."""
    video: Path = FILM
    """Where the film goes, with its last picture beside it. palmar-run.mp4 is always that of the last run."""
    blackbox: Path | None = None
    """Folder for the last seconds before each fault of the safety layer."""
    force: bool = False
    """Replace the file of --video when it is there."""
    json: bool = False
    """One JSON object with every figure on stdout."""

    def run(self, console: Screen) -> Answer:
        from palmar.cli import live

        config = configured(live.RunConfig, self)
        for file in (self.video, self.video.with_suffix(".jpg")):
            writable(file, self.force or self.video == FILM)
        writable_folder(self.blackbox)
        result = live.run(config, console)
        t = result.timing
        said = "says it is done" if result.done else f"ended: {result.reason}"
        judged = styled("[green]success" if result.success else "[red]not fulfilled")
        ended = f"{said} after {result.seconds:.1f} s"
        console.print(styled("[bold]“{}”[/]: the policy {}; the simulator says {}.", result.instruction, ended, judged))
        period = f"period p50 {t['period_p50']:.2f}, p99 {t['period_p99']:.2f}, worst jitter {t['jitter_max']:.2f} ms"
        console.print(
            f"control {period} · {t['late_ticks']:.0f} of {t['ticks']:.0f} ticks late · "
            f"policy p50 {t['latency_p50']:.0f}, p99 {t['latency_p99']:.0f} ms"
        )
        changed = ", ".join(f"{k} {v}" for k, v in result.safety.items() if v) or "nothing"
        console.print(f"safety changed: {changed} · film: {self.video}")
        if result.busy:
            console.print(styled("[yellow]{}", result.busy))
        return result.exit_code, result.to_dict()


@dataclass(frozen=True)
class Demo:
    """The whole life of a policy in about ten minutes on two cores, with a report at the end."""

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
        return demo(configured(DemoConfig, self, instructions=self.instruction), console)
