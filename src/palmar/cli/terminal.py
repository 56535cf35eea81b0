"""A live view of a run in the terminal: a few lines that say what the robot does now, of any channels and frames."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numpy as np
from rich.live import Live
from rich.table import Table

from palmar.cli.attended import Telling
from palmar.console import Screen, styled
from palmar.robot_parts import Channel
from palmar.runtime.loop import Body, Subscriber, Tick
from palmar.runtime.supervision.controller import Controller, Mode
from palmar.types import Observation

BARS = " ▁▂▃▄▅▆▇█"
MOST = 8  # channels or frames shown


class Terminal(Subscriber):
    """Watches a rollout and draws itself as a table."""

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
        mode = styled("[green]{}" if self.controller.mode is Mode.RUN else "[red]{}", self.controller.mode.name)
        table.add_row(styled("[bold]state"), styled("{} {}", mode, self.controller.reason))
        table.add_row(
            styled("[bold]time"), f"{tick.time:5.1f} s   tick {tick.index}   worst lateness {1e3 * self.worst:.1f} ms"
        )
        robot, command = self.robot, tick.verdict.command
        for frame in robot.frames[:MOST]:
            x, y, z = robot.pose(frame, command)[0]
            table.add_row(styled("[bold]{}", frame.name), f"x {x:+.3f}  y {y:+.3f}  z {z:+.3f} m")
        shown = list(robot.free) if robot.frames else list(range(len(robot.channels)))
        for i in shown[:MOST]:
            table.add_row(styled("[bold]{}", robot.channels[i].name), value_of(robot.channels[i], command[i]))
        if len(shown) > MOST:
            table.add_row("", f"and {len(shown) - MOST} more channels")
        if (chunk := tick.chunk) is not None:
            sure = "" if chunk.confidence is None else f"confidence {bar(chunk.confidence)}   "
            done = "" if chunk.done is None else f"done {bar(chunk.done)}   "
            table.add_row(styled("[bold]policy"), f"{sure}{done}{1e3 * tick.latency:.0f} ms")
        share = 100 * self.changed / max(self.ticks, 1)
        why = tick.verdict.reasons[0] if tick.verdict.reasons else ""
        table.add_row(styled("[bold]safety"), f"{self.changed} of {self.ticks} commands changed ({share:.1f} %)  {why}")
        return table


@contextlib.contextmanager
def shown(view: Terminal, console: Screen | None) -> Iterator[None]:
    """The view while a run goes on, on a terminal; nothing elsewhere."""
    if console is None or not console.is_terminal:
        yield
        return
    with Live(view, console=console, refresh_per_second=5, transient=False):
        yield


@contextlib.contextmanager
def viewed(instruction: str, controller: Controller, console: Screen | None) -> Iterator[tuple[Subscriber, ...]]:
    """What watches a run for a person: the view on a terminal; elsewhere a word at once when the robot is held."""
    view = Terminal(instruction, controller)
    told = () if console is not None and console.is_terminal else (Telling(controller),)
    with shown(view, console):
        yield view, *told


def value_of(channel: Channel, value: float) -> str:
    """A channel's command with its unit, and where it is in its range."""
    width = channel.upper - channel.lower
    where = bar((value - channel.lower) / width, number=False) + " " if np.isfinite(width) else ""
    return f"{where}{value:+.3g} {channel.unit}"


def bar(share: float, number: bool = True) -> str:
    """Eight steps of a bar, and the number."""
    share = min(max(float(share), 0.0), 1.0)
    return f"{BARS[round(share * 8)]}" + (f" {share:.2f}" if number else "")
