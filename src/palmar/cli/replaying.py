"""`palmar run --replay`: recorded episodes through the control path, and what the guards would have changed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Column, Table

from palmar.cli.shared import Answer, pairs
from palmar.console import Screen, styled
from palmar.description.find import find_robot
from palmar.embodiments import Embodiment
from palmar.errors import BadValue
from palmar.robots import robots
from palmar.runtime.records.recording import check_units, columns_of, with_stated_units
from palmar.runtime.records.replay import Replayed, replay, summary


@dataclass(frozen=True)
class ReplayConfig:
    """data: folder of the set. robot: a name, or a robot file; "" for the one that the set names. episode: None
    for all. names: ROBOT=RECORDING where the two are called differently. plot: a PNG of the episode that is changed most.
    keys: as `data.roles.parse_keys`. units: NAME=UNIT of the recording's channels, "*" for all that are not named, where the
    set does not state them."""

    data: Path
    robot: str = ""
    episode: int | None = None
    names: tuple[str, ...] = ()
    plot: Path | None = None
    keys: tuple[str, ...] = ()
    units: tuple[str, ...] = ()


@dataclass(frozen=True)
class Replays:
    """robot: as it was replayed. episodes: {index: what happened}. notes: what a person should know."""

    robot: Embodiment
    episodes: dict[int, Replayed]
    notes: tuple[str, ...]


def replay_set(config: ReplayConfig, progress: bool = False) -> Replays:
    """Play the episodes of a data set. Raises `BadValue` for names, numbers or an episode that do not fit, `BadFile`."""
    from palmar.data.mapped import interface_of
    from palmar.data.reader import Dataset
    from palmar.data.roles import parse_keys

    robot = find_robot(config.robot) if config.robot else None
    data = Dataset(config.data, cache=False, keys=parse_keys(config.keys))
    robot = robot or _named(data.robot_type, config.data)
    recording = with_stated_units(interface_of(data), pairs("--unit", config.units))
    columns = columns_of(robot, recording, pairs("--names", config.names))
    check_units(columns, data.actions, data.robot_type)
    indices = [e.index for e in data.episodes]
    if config.episode is not None and config.episode not in indices:
        found = f"{len(indices)} episodes, {indices[0]} … {indices[-1]}" if indices else "none"
        raise BadValue(f"--episode is {config.episode}; the set has {found}. Next: one of them")
    wanted = [e for e in data.episodes if config.episode in (None, e.index)]
    if not wanted:
        raise BadValue(f"'{config.data}' has no episodes; expected at least one. Next: another set, or record some")
    actions, states = columns.actions(data.actions), columns.states(data.states)
    notes = []
    if data.robot_type and data.robot_type != robot.name:
        notes.append(f"the set was recorded on '{data.robot_type}', and the limits here are those of '{robot.name}'")
    if columns.unchecked:
        notes.append(
            f"the set states no unit of {', '.join(columns.unchecked)}: taken to be the robot's. "
            "Next: --unit NAME=UNIT where it is another"
        )
    if states is None:
        notes.append("the set has no positions of this robot's channels: taken to follow its commands perfectly")
    if abs(data.fps / robot.policy_rate - 1) > 0.01:
        notes.append(
            f"recorded at {data.fps:g} Hz; {robot.name} is given {robot.policy_rate:g} actions a second by a policy"
        )
    shown: Any = wanted
    if progress and len(wanted) > 1:
        from rich.progress import track

        shown = track(wanted, "replay")
    done = {}
    for e in shown:
        rows = slice(e.start, e.stop)
        try:
            done[e.index] = replay(
                columns.robot, actions[rows], None if states is None else states[rows], 1.0 / data.fps
            )
        except BadValue as error:
            raise BadValue(f"episode {e.index}: {error}") from error
    return Replays(columns.robot, done, tuple(notes))


def _named(robot_type: str, data: Path) -> Embodiment:
    """The robot that a set names, where it comes with palmar. Raises `BadValue` else: another's limits would judge it."""
    if robot_type in robots():
        return find_robot(robot_type)
    names = f"robot '{robot_type}', which does not come with palmar" if robot_type else "no robot"
    raise BadValue(
        f"'{data}' names {names}, and no --robot is given; expected one to replay on. Next: palmar robot make {data} --out "
        f"robot.toml, then --robot robot.toml; or --robot {', '.join(robots())}"
    )


def run_replay(config: ReplayConfig, console: Screen, progress: bool = True) -> Answer:
    """Play, draw, print. The exit code is 1 when a command would be outside limits, or the robot be stopped."""
    found = replay_set(config, progress)
    figures = summary(found.robot, found.episodes)
    changed, commands = figures["changed"], figures["commands"]
    console.print(
        styled("[bold]{} episodes[/] as {} ({}): {} of {} commands changed ({}), {} outside limits.", len(found.episodes),
               found.robot.name, found.robot.action_space, changed, commands, f"{100 * changed / commands:.1f} %",
               figures["outside"])
    )  # fmt: skip
    if figures["guards"]:
        table = Table("guard", "looked at", "commands")
        for guard, counts in figures["guards"].items():
            for quantity, n in list(counts.items())[:6]:
                table.add_row(guard, quantity, str(n))
        console.print(table)
    table = Table(Column("channel", overflow="fold"), "unit", "commands changed", "largest change", "where")
    for name, row in figures["channels"].items():
        where = f"episode {row['episode']}, {row['time']:.2f} s" if row["largest"] > 0 else ""
        table.add_row(name, row["unit"], str(row["changed"]), f"{row['largest']:.3g}", where)
    console.print(table)
    for episode, (time, reason) in list(figures["stopped"].items())[:5]:
        console.print(styled("[red]episode {} would be stopped[/] after {} s: {}", episode, f"{time:.2f}", reason))
    if (more := len(figures["stopped"]) - 5) > 0:
        console.print(f"and {more} more episodes")
    for note in found.notes:
        console.print(styled("[yellow]{}", note))
    if config.plot is not None:
        from palmar.eval.replay_plot import plot_replay

        worst = max(found.episodes, key=lambda e: _share(found.robot, found.episodes[e]))
        plot_replay(found.robot, found.episodes[worst], config.plot, f"{config.data}, episode {worst}")
        console.print(f"plot of episode {worst}: {config.plot}")
        figures["plot"] = str(config.plot)
    figures["notes"] = list(found.notes)
    return int(figures["outside"] > 0 or bool(figures["stopped"])), figures


def _share(robot: Embodiment, replayed: Replayed) -> float:
    """Largest change as a share of a channel's range."""
    return float((replayed.largest / robot.widths).max())
