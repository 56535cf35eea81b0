"""check_body names each fault of a body, and passes one that has none."""

import faulty_bodies as bodies
import numpy as np
import pytest

from palmar.checks import failed
from palmar.errors import BadValue
from palmar.robots.arm7 import arm7
from palmar.runtime.bodies.check_body import check_body
from palmar.runtime.bodies.find import Attached
from palmar.runtime.clock import SimClock
from palmar.runtime.mock import MockBody


def checked(kind, **options):
    clock = SimClock()
    body = kind(bodies.gadget())
    body.clock = clock
    return check_body(body, clock=clock, **options)


@pytest.mark.parametrize(
    "body",
    [MockBody(arm7(), noise=True), bodies.Good(bodies.gadget()), bodies.Monotonic(bodies.gadget())],
    ids=["arm7", "gadget", "monotonic"],
)
def test_a_good_body_passes(body):
    seen = []
    found = check_body(body, clock=SimClock(), watch=seen.append)
    assert not failed(found) and seen == found
    names = [c.name for c in found]
    assert [n for n in names if n in body.embodiment.channel_names] == list(body.embodiment.channel_names)
    assert {"clock", "hold still", "stop", "rate", "commands sent", "close"} <= set(names)


@pytest.mark.parametrize(
    ("kind", "name", "found", "after"),
    [
        (bodies.Swapped, "shoulder", "elbow moved", "swapped?"),
        (bodies.Inverted, "shoulder", "ratio -1", "inverted sign"),
        (bodies.Degrees, "shoulder", "ratio 57", "degrees where the robot has rad"),
        (bodies.DegreesFromTheStart, "start", "'elbow' at 28.6", "look like degrees"),
        (bodies.TakesDegrees, "shoulder", "ratio 0.017", "radians where the robot has rad"),
        (bodies.Percent, "jaw", "ratio 0.01", "share where the robot has range_0_100"),
        (bodies.WheelBackwards, "wheel", "ratio -1", "inverted sign"),
        (bodies.Frozen, "camera top", "1 of", "frozen camera"),
        (bodies.ClockStands, "clock", "stands or goes back", "capture time"),
        (bodies.Milliseconds, "clock", "s of observations in", "milliseconds?"),
        (bodies.Wide, "state", "7 numbers for 6 names", "shoulder.pos"),
        (bodies.Large, "cameras", "'top' gives 48×64", "top 24×32"),
        (bodies.Raises, "observe and apply", "OSError: the bus does not answer (faulty_bodies.py, line", "mend"),
        (bodies.Sleeps, "rate", "p99 50.0 ms of 20.0 ms", "thread"),
        (bodies.Sags, "hold still", "shoulder went", "units, zero and order"),
        (bodies.RollsOn, "stop", "wheel 0.3 m/s", "speed 0"),
        (bodies.NoNumber, "numbers", "elbow.pos", "last good value"),
        (bodies.SpeedsInDegrees, "elbow.vel", "adds up to", "measure the speed of 'elbow' in rad/s"),
        (bodies.DoesNotClose, "close", "OSError: gone", "close must always work"),
        (bodies.NoApply, "observation", "NoneType", "return a palmar.types.Observation"),
    ],
)
def test_a_fault_is_named(kind, name, found, after):
    wrong = failed(checked(kind))
    assert name in [c.name for c in wrong], wrong
    check = next(c for c in wrong if c.name == name)
    assert found in check.found
    assert after in check.next


def test_only_the_faulty_channel_is_blamed():
    names = bodies.gadget().channel_names
    assert [c.name for c in failed(checked(bodies.Inverted)) if c.name in names] == ["shoulder"]
    assert [c.name for c in failed(checked(bodies.Swapped)) if c.name in names] == ["shoulder", "elbow"]


def test_what_is_observed_wrongly_is_not_moved():
    body = bodies.Wide(bodies.gadget())
    found = check_body(body, clock=SimClock())
    assert body.ticks == 0
    assert failed(found)[-1].name == "motion"


def test_commands_stay_within_limits_and_the_steps_are_small():
    body = MockBody(arm7(), noise=True)
    robot = body.embodiment
    start = robot.home
    sent = []
    body.apply = lambda command, apply=body.apply: (sent.append(command.copy()), apply(command))
    check_body(body, share=0.01, clock=SimClock())
    sent = np.array(sent)
    assert (sent >= robot.lower).all() and (sent <= robot.upper).all()
    joints = robot.moves_joint
    assert np.abs(sent - start)[:, joints].max() <= 0.0101 * (robot.upper - robot.lower)[joints].max()
    assert np.allclose(sent[-1], start)


def test_a_body_that_raises_is_braked_and_closed():
    body = bodies.Raises(bodies.gadget())
    closed = []
    body.close = lambda: closed.append(True)
    found = check_body(body, clock=SimClock())
    assert closed == [True] and found[-1].name == "close"


def test_a_channel_that_is_not_measured_is_said_to_be_so():
    robot = bodies.gadget()
    blind = type(robot)(
        "blind", robot.channels, cameras=robot.cameras, state=tuple(m for m in robot.state if m.of != "jaw")
    )
    found = check_body(MockBody(blind, noise=True), clock=SimClock())
    assert not failed(found)
    assert "not measured" in next(c.found for c in found if c.name == "jaw")


def test_a_share_has_a_range():
    with pytest.raises(BadValue, match=r"share is 0\.5; expected 0\.002 … 0\.2"):
        check_body(MockBody(arm7()), share=0.5)


def test_an_attached_body_is_checked_as_itself():
    robot = bodies.gadget()
    wide = Attached(bodies.Wide(robot), robot, "x:Wide", "0", strict=False)
    assert "state" in [c.name for c in failed(check_body(wide, clock=SimClock()))]
