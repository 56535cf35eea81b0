"""Every guard is needed: each is taken away in turn, and then something happens that it prevents."""

from dataclasses import replace

import numpy as np
import pytest

from palmar.robot_parts import Measurement
from palmar.robots.arm7 import arm7
from palmar.runtime.safety.filter import Safety
from palmar.runtime.safety.guards import EMERGENCIES, GUARDS
from palmar.shapes import Collision
from palmar.thresholds import Thresholds
from palmar.types import Observation

PLAIN = arm7("channels")
FEELS = replace(
    PLAIN,
    collision=Collision(),
    state=(
        *PLAIN.state,
        *(Measurement(f"{c.name}.effort", "", "effort", c.name) for c in PLAIN.channels[:7]),
        Measurement("wrist.force", ""),
    ),
    thresholds=Thresholds(forces={"wrist.force": 40.0}),
)
HOME = PLAIN.home


def seen(command, time, effort=0.0, force=0.0, robot=FEELS):
    state = robot.state_from(np.asarray(command, float), np.zeros(8), np.full(8, effort))
    state[robot.state_names.index("wrist.force")] = force
    return Observation({}, state.astype(np.float32), time=time)


def drive(guards, target_of, ticks, robot=FEELS, look=seen, start=HOME):
    """Verdicts of a robot that follows, asked for `target_of(tick)`."""
    safety, command, verdicts = Safety(robot, guards, zones=lambda *_: ()), start, []
    safety.reset(start)
    for k in range(ticks):
        now = k / robot.control_rate
        verdicts.append(safety.check(np.asarray(target_of(k), float), look(command, now), now))
        command = verdicts[-1].command
    return verdicts


def commands(verdicts):
    return np.array([v.command for v in verdicts])


def blind(guards):
    """Moves on a picture that is 1 s old."""
    return not np.array_equal(
        commands(drive(guards, lambda _: HOME + 0.1, 5, look=lambda c, t: seen(c, t - 1.0))), [HOME] * 5
    )


def presses(guards):
    """Moves on, away from where the arm was left behind."""
    behind = HOME - 0.5 * (np.arange(8) == 0)
    moved = commands(drive(guards, lambda _: HOME + 0.3 * (np.arange(8) == 0), 10, look=lambda c, t: seen(behind, t)))
    return moved[-1][0] > HOME[0]


def pushes(guards):
    """Moves on against 100 N·m."""
    verdicts = drive(guards, lambda _: HOME + 0.1, 5, look=lambda c, t: seen(c, t, effort=100.0))
    return not any(v.stop for v in verdicts)


def believes(guards):
    """Takes a reading that changed by 0.3 rad within 20 ms for true."""
    wild = 0.3 * (np.arange(8) == 2)
    verdicts = drive(guards, lambda _: HOME, 6, look=lambda c, t: seen(c + (wild if t > 0.05 else 0), t))
    return not any(v.stop for v in verdicts)


def runs_off(guards):
    """Moves towards an infinite target."""
    target = np.where(np.arange(8) == 2, np.inf, HOME)
    return not np.array_equal(commands(drive(guards, lambda _: target, 5)), [HOME] * 5)


def goes_on_in_degrees(guards):
    """Is commanded in degrees for 3 s and nobody stops."""
    return not any(v.stop for v in drive(guards, lambda k: np.rad2deg(HOME + 0.1 * np.sin(0.1 * k)), 150))


def never_arrives(guards):
    """A joint asked far beyond its limit keeps another of its group from arriving where it may be."""
    target = HOME + 60.0 * (np.arange(8) == 0) + 0.3 * (np.arange(8) == 2)
    return abs(commands(drive(guards, lambda _: target, 120))[-1][2] - target[2]) > 0.01


def leaves_the_line(guards):
    """Two joints that go 2 and 1 rad do not move in that proportion."""
    target = HOME + np.array([2.0, 0, 1.0, 0, 0, 0, 0, 0])
    way = commands(drive(guards, lambda _: target, 120)) - HOME
    return np.abs(way[:, 0] - 2 * way[:, 2]).max() > 0.25


def overshoots(guards):
    """A joint asked to go 0.5 rad goes further."""
    target = HOME + 0.5 * (np.arange(8) == 1)
    return commands(drive(guards, lambda _: target, 80))[:, 1].max() - target[1] > 0.01


def blames_another(guards):
    """At 1 000 Hz the jerk limit shapes a step of 0.5 rad, and the jerk is never named."""
    fast = replace(FEELS, control_rate=1000.0)
    verdicts = drive(guards, lambda _: HOME + 0.5 * (np.arange(8) == 1), 30, fast)
    return not any(r.guard == "jerk" for v in verdicts for r in v.reasons)


def brakes_silently(guards):
    """The target runs on at the joint's limit; braking before the limit is said."""
    start = HOME.copy()

    def target(k):
        out = start.copy()
        out[0] = min(0.04 * k, FEELS.upper[0] - 1e-5)
        return out

    verdicts = drive(guards, target, 120)
    return not any(r.guard == "braking" for v in verdicts for r in v.reasons)


CASES = {
    "stale": blind,
    "tracking": presses,
    "effort": pushes,
    "jump": believes,
    "nan": runs_off,
    "saturation": goes_on_in_degrees,
    "position": never_arrives,
    "velocity": leaves_the_line,
    "acceleration": overshoots,
    "jerk": blames_another,
    "braking": brakes_silently,
}


@pytest.mark.parametrize("guard", GUARDS, ids=lambda g: g.__name__)
def test_without_a_guard_happens_what_it_prevents(guard):
    assert guard.__name__ in CASES, f"no case shows what '{guard.__name__}' prevents: add one to CASES"
    harm = CASES[guard.__name__]
    assert not harm(GUARDS)
    assert harm(tuple(g for g in GUARDS if g is not guard))


def test_efforts_and_forces_over_their_limits_stop_the_robot():
    (verdict,) = drive(GUARDS, lambda _: HOME, 1, look=lambda c, t: seen(c, t, effort=-30.0))
    assert verdict.stop and [str(r) for r in verdict.reasons] == ["effort joint5 30 > 12 N·m"]
    (verdict,) = drive(GUARDS, lambda _: HOME, 1, look=lambda c, t: seen(c, t, force=-41.0))
    assert verdict.stop and [str(r) for r in verdict.reasons] == ["effort wrist.force 41 > 40"]
    assert drive(GUARDS, lambda _: HOME, 1, look=lambda c, t: seen(c, t, force=np.nan))[0].stop
    assert "effort" in EMERGENCIES
    gentle = replace(FEELS, thresholds=Thresholds(effort=0.5))
    assert drive(GUARDS, lambda _: HOME, 1, gentle, lambda c, t: seen(c, t, effort=7.0))[0].stop
    assert not drive(GUARDS, lambda _: HOME, 1, look=lambda c, t: seen(c, t, effort=7.0))[0].stop


def test_a_reading_that_jumps_says_by_how_much():
    wild = 0.3 * (np.arange(8) == 2)
    verdicts = drive(GUARDS, lambda _: HOME, 3, look=lambda c, t: seen(c + (wild if t > 0.03 else 0), t))
    assert [v.stop for v in verdicts] == [False, False, True]
    assert str(verdicts[2].reasons[0]).startswith("jump joint3 reading changed in 0.02 s by 0.3 > 0.18")


def test_saturation_asks_to_stop_and_leaves_the_command_alone():
    target = np.rad2deg(HOME)
    verdicts = drive(GUARDS, lambda _: target, 130)
    first = next(k for k, v in enumerate(verdicts) if v.stop)
    assert first == 100  # a window of 2 s at 50 Hz
    assert str(verdicts[first].reasons[0]).endswith("share 1 > 0.85")
    without = drive(tuple(g for g in GUARDS if g.__name__ != "saturation"), lambda _: target, 130)
    assert np.array_equal(commands(verdicts), commands(without))
    slightly = HOME.copy()
    slightly[7] = 1.05  # a gripper that is asked to open a little too far is no wrong unit
    assert not any(v.stop for v in drive(GUARDS, lambda _: slightly, 150))
