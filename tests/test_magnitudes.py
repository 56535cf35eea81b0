"""Numbers of a robot that double precision, or a braking path, cannot hold are refused where the robot is made."""

from dataclasses import replace

import numpy as np
import pytest

from palmar.description.file import parse_robot
from palmar.errors import BadFile, BadValue
from palmar.robots.arm7 import arm7
from palmar.runtime.bodies.outside import outside
from palmar.runtime.safety.filter import Safety

ROBOT = arm7()


def changed(**changes):
    return replace(ROBOT, channels=(replace(ROBOT.channels[0], **changes), *ROBOT.channels[1:]))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"velocity": 1e300}, "velocity is 1e.300; expected -1e.09 … 1e.09"),
        ({"velocity": 5e-324}, "expected 1e-09 or more"),
        ({"upper": 1e200}, "upper is 1e.200"),
        ({"span": (0.0, 1e200)}, "an end of its span is 1e.200"),
        (
            {"jerk": 1e-6},
            "jerk is 1e-06, at positions up to .* and 50 commands a second; expected .* which double precision",
        ),
    ],
)
def test_a_channel_is_held_to_what_can_be_computed(changes, message):
    with pytest.raises(BadValue, match=message):
        changed(**changes)


def test_geometry_is_finite_and_of_a_robots_size():
    frame = ROBOT.frames[0]
    for chain in (
        replace(frame.chain, offsets=frame.chain.offsets * 1e12),
        replace(frame.chain, tool_offset=np.full(3, np.nan)),
    ):
        with pytest.raises(BadValue, match=r"chain has .* m; expected -1e.06 … 1e.06"):
            replace(frame, chain=chain)


def test_a_braking_path_without_end_is_refused_and_not_computed():
    """With zones each tick of the path is looked at: of an acceleration that is given in another unit there are millions."""
    with pytest.raises(BadValue, match=r"takes .* s to brake .* expected at most 200 s"):
        Safety(changed(acceleration=1e-3, jerk=np.inf))


def test_a_name_of_many_parts_is_refused_before_it_is_read():
    for text in (".".join("a" * 50_000) + " = 1", "[" + '"a" . ' * 1000 + "b]", "x = {" + "a." * 40 + "b = 1}"):
        with pytest.raises(BadFile, match="a name of more than 32 parts in line 1"):
            parse_robot(text)


def test_what_is_no_number_is_outside():
    commands = np.tile(ROBOT.home, (3, 1))
    commands[1, 0] = np.nan
    assert outside(ROBOT, ROBOT.home, commands) == {"position": 1, "velocity": 2, "acceleration": 2, "jerk": 2}
