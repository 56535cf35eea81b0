"""`palmar run`: what was typed, done in real time by the robot, with a live view in the terminal and a video at the end."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.live import Live
from rich.table import Table

from palmar.console import Screen, styled
from palmar.errors import BadValue
from palmar.policy import load_policy
from palmar.ranges import Seconds, Seed, Share, check_ranges
from palmar.runtime.controller import Controller, Mode, Report, deploy
from palmar.runtime.loop import Body, Subscriber, Tick
from palmar.runtime.monitor import SURE, Finished
from palmar.types import Observation

if TYPE_CHECKING:
    from palmar.eval.results import Film

BARS = " ▁▂▃▄▅▆▇█"
BUSY = 0.1  # share of late ticks from which a run may have failed for want of time


@dataclass(frozen=True)
class RunConfig:
    """What to do, where, and with which policy.

    policy: as `load_policy` takes it. world: sim, twin or twin:SEED. seed: of the table. timeout: [s]. done: probability at
    which the policy's own "fulfilled" is believed. video: where the film goes (.mp4), None for no film. blackbox: folder
    for the last seconds before each fault.
    """

    instruction: str
    policy: str = "shipped"
    world: str = "sim"
    seed: Seed = 0
    timeout: Seconds = 20.0
    done: Share = SURE
    video: Path | None = Path("palmar-run.mp4")
    blackbox: Path | None = None

    def __post_init__(self) -> None:
        from palmar.sim.twin import check_world

        check_world(self.world)
        check_ranges(self)
        if self.video is not None and self.video.suffix != ".mp4":
            raise BadValue(f"video is '{self.video}'; expected a file name that ends in .mp4")


@dataclass(frozen=True)
class RunResult:
    """done: the policy said the instruction is fulfilled. success: so says the simulator."""

    instruction: str
    done: bool
    success: bool
    seconds: float
    mode: str
    reason: str
    timing: dict[str, float]
    safety: dict[str, int]
    film: Film | None = None

    @property
    def exit_code(self) -> int:
        """0 done · 1 not done in time · 3 the controller stopped the robot · 130 Ctrl-C."""
        if self.reason == "stopped":
            return 130
        if self.mode != Mode.RUN.name:
            return 3
        return 0 if self.done and self.success else 1

    @property
    def busy(self) -> str | None:
        """What to say when the machine, rather than the policy, may be why it took so long; None when it kept time."""
        share = self.timing["late_ticks"] / max(self.timing["ticks"], 1)
        if share <= BUSY:
            return None
        return f"the machine was busy: {100 * share:.0f} % of ticks late. Next: end other work, or a longer --timeout"

    def to_dict(self) -> dict[str, Any]:
        """For `--json` and the demo's figures."""
        rest = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "film"}
        return rest | {
            "video": str(self.film.path) if self.film else None,
            "busy": self.busy,
            "exit_code": self.exit_code,
        }


class Terminal(Subscriber):
    """A few lines that say what the robot does now."""

    def __init__(self, instruction: str, controller: Controller) -> None:
        self.instruction, self.controller = instruction, controller
        self.tick: Tick | None = None
        self.changed = self.ticks = 0
        self.worst = 0.0

    def on_start(self, obs: Observation, body: Body) -> None:
        self.robot = body.embodiment

    def on_tick(self, tick: Tick) -> None:
        self.tick, self.ticks = tick, self.ticks + 1
        self.changed += bool(tick.verdict.reasons)
        self.worst = max(self.worst, tick.late)

    def __rich__(self) -> Table:
        table = Table.grid(padding=(0, 2))
        table.add_row(styled("[bold]instruction"), self.instruction)
        tick = self.tick
        if tick is None:
            table.add_row(styled("[bold]state"), "starting")
            return table
        x, y, z = self.robot.pose(self.robot.frame(), tick.verdict.command)[0]
        mode = styled("[green]{}" if self.controller.mode is Mode.RUN else "[red]{}", self.controller.mode.name)
        table.add_row(styled("[bold]state"), styled("{} {}", mode, self.controller.reason))
        table.add_row(
            styled("[bold]time"), f"{tick.time:5.1f} s   tick {tick.index}   worst lateness {1e3 * self.worst:.1f} ms"
        )
        table.add_row(
            styled("[bold]gripper"), f"x {x:+.3f}  y {y:+.3f}  z {z:+.3f} m   opening {_bar(tick.verdict.command[-1])}"
        )
        if (chunk := tick.chunk) is not None:
            sure = "" if chunk.confidence is None else f"sure of the target {_bar(chunk.confidence)}"
            done = "" if chunk.done is None else f"   done {_bar(chunk.done)}"
            table.add_row(styled("[bold]policy"), f"{sure}{done}   {1e3 * tick.latency:.0f} ms")
        share = 100 * self.changed / max(self.ticks, 1)
        why = tick.verdict.reasons[0] if tick.verdict.reasons else ""
        table.add_row(styled("[bold]safety"), f"{self.changed} of {self.ticks} commands changed ({share:.1f} %)  {why}")
        return table


def run(config: RunConfig, console: Screen | None = None, watch: Callable[[Any], None] | None = None) -> RunResult:
    """Lay a table for the instruction, then deploy on it in real time.

    Raises `UserError` for an instruction about things that do not exist, or a checkpoint that is not there.
    """
    from palmar.lab.film import Filmmaker
    from palmar.robots.arm7 import arm7
    from palmar.sim import instructions
    from palmar.sim.twin import world_named

    table = instructions.scenario_for(instructions.parse(config.instruction), config.seed)
    policy, kind = load_policy(config.policy), config.world.partition(":")[0]
    world = world_named(
        config.world, robot=arm7().fitting(None if policy.interface is None else policy.interface.action_names)
    )
    scenario = replace(table, instruction=config.instruction)
    obs = world.load(scenario, seed=config.seed)
    policy.act(obs)  # the first call reads the sentence and warms the caches: not on the robot's time
    controller, finished = Controller(), Finished(config.done)
    view = Terminal(config.instruction, controller)
    watchers: list[Subscriber] = [view]
    camera = (
        Filmmaker(world, config.instruction, {"sim": "simulation", "twin": "reality twin"}[kind])
        if config.video
        else None
    )
    if camera:
        watchers.append(camera)
    try:
        with _shown(view, console):
            report = deploy(
                world, policy, config.instruction, obs, timeout=config.timeout, controller=controller, until=finished,
                subscribers=watchers, blackbox=config.blackbox,
            )  # fmt: skip
        success = world.success()
        film = camera.save(config.video, success, kind, task=scenario.task) if camera and config.video else None
    finally:
        world.close()
    return _result(config, report, success, film)


def _result(config: RunConfig, report: Report, success: bool, film: Film | None) -> RunResult:
    reason = report.reason or report.outcome.reason
    return RunResult(
        config.instruction, report.outcome.reason == "done", success, report.outcome.duration, report.mode.name, reason,
        report.timing, report.counts, film,
    )  # fmt: skip


@contextlib.contextmanager
def _shown(view: Terminal, console: Screen | None) -> Iterator[None]:
    if console is None or not console.is_terminal:
        yield
        return
    with Live(view, console=console, refresh_per_second=5, transient=False):
        yield


def _bar(share: float) -> str:
    """Eight steps of a bar, and the number."""
    share = min(max(float(share), 0.0), 1.0)
    return f"{BARS[round(share * 8)]} {share:.2f}"
