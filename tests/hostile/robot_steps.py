"""What is done with a robot file: shown, compared with a checkpoint, written back; and who loads moves within its limits."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from robot_files import NAME

from palmar.console import Screen
from palmar.description.file import parse_robot, read_robot
from palmar.description.write import robot_text, write_robot
from palmar.embodiments import Embodiment
from palmar.runtime.bodies.outside import outside
from palmar.types import Array, Observation

COMMANDS = 50


def make_robot(folder: Path, name: str, checkpoint: Path) -> Path:
    """A folder with the file of a robot that comes with palmar, and the configuration of a checkpoint to compare it with."""
    from palmar.robots import robot

    root = folder / "robot"
    write_robot(robot(name), root / NAME)
    (root / "checkpoint").mkdir()
    for path in checkpoint.glob("*.*"):
        (root / "checkpoint" / path.name).write_bytes(path.read_bytes())
    return root


def show(root: Path) -> None:
    """`palmar robot show`, both ways of printing."""
    import json

    from palmar.cli.commands.robots import Show

    code, figures = Show(str(root / NAME)).run(Screen(file=io.StringIO()))
    assert code == 0 and json.dumps(figures, default=list)


def compare(root: Path) -> None:
    """`palmar preflight --policy … --robot FILE`."""
    from palmar.train.preflight import preflight

    preflight(checkpoint=root / "checkpoint", robot=str(root / NAME))


def round_trip(root: Path) -> None:
    """What was read is written as a file of the same robot."""
    robot = read_robot(root / NAME)
    text = robot_text(robot)
    assert robot_text(parse_robot(text)) == text, "what is written is read back as another robot"


def move(root: Path) -> None:
    """Hostile targets through the safety layer of the robot: what comes out is within the limits that the file states."""
    from palmar.runtime.safety.filter import Safety

    robot = read_robot(root / NAME)
    safety = Safety(robot)
    dice = np.random.default_rng(len(robot.channels))
    at, before, commands = robot.home.copy(), robot.home.copy(), []
    for tick in range(COMMANDS):
        time = tick / robot.control_rate
        with np.errstate(over="ignore", invalid="ignore"):  # a pose may be out of float32's range
            state = robot.state_from(at, (at - before) * robot.control_rate).astype(np.float32)
        target = hostile(robot, at, dice, tick)
        with np.errstate(over="raise", divide="raise", invalid="raise"):
            verdict = safety.check(target, Observation({}, state, "", time), time)
        before, at = at, verdict.command
        commands.append(at)
    found = outside(robot, robot.home, np.array(commands))
    assert not any(found.values()), f"of {COMMANDS} commands out of limits: {found}"


def hostile(robot: Embodiment, at: Array, dice: np.random.Generator, tick: int) -> Array:
    """float64[N]: at, near, beyond or far beyond the limits, or no number."""
    low, high = (np.clip(x, -1e3, 1e3) if tick % 2 else x for x in (robot.lower, robot.upper))
    with np.errstate(over="ignore", invalid="ignore"):
        ways = [
            low, high, high + (high - low), low - 0.1 * (high - low), dice.uniform(0, 1, len(at)) * (high - low) + low, at,
            np.full(len(at), dice.choice([np.nan, np.inf, -np.inf])), np.full(len(at), dice.choice([-1e308, 1e308, 1e30, -1e12])),
            np.where(dice.random(len(at)) < 0.3, np.nan, at), robot.home, at + dice.normal(0, 1e-3, len(at)),
        ]  # fmt: skip
    return np.array(ways[tick // 3 % len(ways)] if tick < 33 else ways[dice.integers(len(ways))], float)
