"""Commands and pictures on their way: late, uneven, lost, blunted, and always the same for a seed."""

import numpy as np
import pytest

from palmar.robots.arm7 import arm7
from palmar.sim.delays import BANDS, Commands, Frames
from palmar.sim.params import NOMINAL

ROBOT = arm7()
SCALE = np.array([1.0] * 7 + [0.04])
START = ROBOT.home.copy()


def sent(params, targets, seed=0):
    """What the servos are asked for at each tick, when the first joint is asked for its start plus each of the targets."""
    commands = Commands(ROBOT, params, SCALE, START, np.random.default_rng(seed))
    out = []
    for t in targets:
        command = START.copy()
        command[0] += t
        out.append(commands(command)[0] - START[0])
    return np.array(out)


def test_in_plain_simulation_a_command_is_itself():
    commands = Commands(ROBOT, NOMINAL, SCALE, START, np.random.default_rng(0))
    command = START + 0.1
    assert commands(command) is command


def test_commands_are_later_by_the_jitter_and_never_out_of_order():
    targets = np.arange(200.0)
    out = sent(NOMINAL.replace(action_delay=4, action_jitter=4), targets)
    late = targets - out
    assert late[10:].min() == 4 and 6 <= late[10:].max() <= 8
    assert np.all(np.diff(out) >= 0)
    assert np.array_equal(out, sent(NOMINAL.replace(action_delay=4, action_jitter=4), targets))
    assert not np.array_equal(out, sent(NOMINAL.replace(action_delay=4, action_jitter=4), targets, 1))


def test_a_slow_servo_follows_no_faster_than_its_rate():
    out = sent(NOMINAL.replace(rate_limit=0.5), [0.5] * 40)
    step = 0.5 * ROBOT.channels[0].velocity / ROBOT.control_rate
    assert np.diff(out)[:10] == pytest.approx(step)
    assert out[-1] == pytest.approx(0.5)


def test_a_lag_is_an_exponential():
    out = sent(NOMINAL.replace(servo_lag=0.06), [1.0] * 50)
    time = (np.arange(50) + 1) / ROBOT.control_rate
    assert out == pytest.approx(1 - np.exp(-time / 0.06))


def test_backlash_is_a_play_of_its_width():
    there, back = np.linspace(0, 0.2, 50), np.linspace(0.2, 0, 50)
    out = sent(NOMINAL.replace(backlash=2.0), [*there, *back])
    play = np.deg2rad(2.0) / 2
    assert out[49] == pytest.approx(0.2 - play)
    assert out[-1] == pytest.approx(play)
    assert np.all(out[50:54] == out[49])  # turning about, it stays until the play is used up
    commands = Commands(ROBOT, NOMINAL.replace(backlash=2.0), SCALE, START, np.random.default_rng(0))
    assert commands(START + 0.5)[7] == START[7] + 0.5  # a gripper has none


def frames(ticks=40, seed=0, **values):
    """What is shown at each tick, of joint positions that count the ticks."""
    kept = Frames(NOMINAL.replace(**values), 50.0, np.zeros(1), np.random.default_rng(seed))
    shown = []
    for k in range(1, ticks + 1):
        kept.push(np.array([float(k)]))
        shown.append([float(q[0]) for q in kept.shown()])
    return kept, shown


def test_pictures_are_live_in_plain_simulation_and_late_by_jitter():
    kept, shown = frames()
    assert kept.live and shown == [[float(k)] for k in range(1, 41)]
    kept, shown = frames(200, image_latency=2, image_jitter=3)
    late = np.arange(1, 201) - np.array(shown)[:, 0]
    assert not kept.live
    assert (late[10:].min(), late[10:].max()) == (2, 5)


def test_a_lost_picture_shows_the_one_before():
    _, shown = frames(2000, frame_drop=0.3)
    late = np.arange(1, 2001) - np.array(shown)[:, 0]
    assert np.mean(late > 0) == pytest.approx(0.3, abs=0.03)
    assert np.all(np.diff(np.array(shown)[:, 0]) >= 0)


def test_a_rolling_shutter_reads_the_top_first():
    _, shown = frames(10, rolling_shutter=0.02)
    assert len(shown[-1]) == BANDS
    assert shown[-1] == pytest.approx([10 - 0.75, 10 - 0.25])
    still = Frames(NOMINAL.replace(rolling_shutter=0.02), 50.0, np.zeros(1), np.random.default_rng(0))
    still.push(np.zeros(1))
    assert len(still.shown()) == 1
