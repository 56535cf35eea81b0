"""The live view shows any robot: with or without frames, a gripper, or speeds."""

import faulty_bodies as bodies
import numpy as np
import pytest

from palmar.cli.terminal import MOST, Terminal, bar, shown
from palmar.console import Screen
from palmar.embodiments import Embodiment
from palmar.robot_parts import Channel
from palmar.robots.arm7 import arm7
from palmar.runtime.loop import Tick
from palmar.runtime.mock import MockBody
from palmar.runtime.supervision.controller import Controller
from palmar.types import ActionChunk, Reason, Verdict

MANY = Embodiment("many", tuple(Channel(f"j{i}", "continuous", "rad", -np.inf, np.inf, 1.0) for i in range(MOST + 3)))


def text(robot, **changes):
    body, view = MockBody(robot), Terminal("do [/red] it", Controller())
    obs = body.reset()
    view.on_start(obs, body)
    verdict = Verdict(robot.home, (Reason("velocity", "j1", 2.0, 1.0, "rad/s"),))
    chunk = ActionChunk(np.zeros((2, 3), np.float32), 0.1, 0.0, **changes)
    view.on_tick(Tick(3, 0.06, obs, robot.home, verdict, chunk=chunk))
    console = Screen(width=120, record=True, file=open("/dev/null", "w"))  # noqa: PTH123, SIM115
    console.print(view)
    return console.export_text()


@pytest.mark.parametrize(
    ("robot", "said"),
    [
        (arm7(), ["tcp", "x +", "gripper", "+1 opening", "do [/red] it"]),
        (bodies.gadget(), ["shoulder", "+0 rad", "jaw", "+100 range_0_100", "wheel", "m/s"]),
        (MANY, ["j0", "and 3 more channels"]),
    ],
    ids=["arm7", "gadget", "many"],
)
def test_every_robot_has_a_view(robot, said):
    found = text(robot, confidence=0.5, done=0.25)
    assert all(s in found for s in [*said, "confidence ▄ 0.50", "done ▂ 0.25", "velocity j1 2 > 1 rad/s"])
    assert "confidence" not in text(robot)


def test_nothing_is_shown_where_no_terminal_is():
    with shown(Terminal("x", Controller()), None):
        pass


def test_a_bar_stays_within_its_ends():
    assert bar(-3.0) == "  0.00" and bar(7.0) == "█ 1.00" and bar(0.5, number=False) == "▄"
