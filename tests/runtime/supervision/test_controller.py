"""Deployment: states latch, however it ends the arm is braked to rest within its limits, and time is accounted for."""

import os
import signal
import sys
import time
from dataclasses import replace

import numpy as np
import pytest

from palmar.certify.hostile import excess
from palmar.errors import BadValue
from palmar.robot_parts import Measurement
from palmar.robots.arm7 import arm7
from palmar.runtime.chunks import ChunkBuffer
from palmar.runtime.clock import SimClock
from palmar.runtime.control.path import Control
from palmar.runtime.deploy import deploy
from palmar.runtime.loop import Subscriber, rollout
from palmar.runtime.mock import MockBody
from palmar.runtime.safety.filter import Safety
from palmar.runtime.safety.guards import GUARDS
from palmar.runtime.supervision.controller import Controller, Mode
from palmar.runtime.timing import Timing
from palmar.runtime.worker import Inline
from palmar.types import ActionChunk, Observation, Reason

ROBOT = arm7()
HOME = ROBOT.home


class Away:
    """Drives the TCP sideways at 0.3 m/s, there and back; says what instruction it was given."""

    interface = ROBOT.interface(8)

    def __init__(self, fails_at=None):
        self.calls, self.fails_at, self.heard = 0, fails_at, set()

    def act(self, obs, prefix=None):
        self.calls += 1
        self.heard.add(obs.instruction)
        if self.calls == self.fails_at:
            raise RuntimeError("the policy broke")
        side = 0.03 if self.calls % 4 < 2 else -0.03
        return ActionChunk(np.tile(np.array([0, side, 0, 0, 0, 0, 1], np.float32), (8, 1)), 0.1, obs.time)

    def reset(self):
        pass


def simulated(controller, timeout=3.0, body=None, policy=None, **options):
    """A rollout on simulated time under a controller: commands and outcome."""
    body, safety = body or MockBody(ROBOT), Safety(ROBOT, guards=(*GUARDS, controller))
    outcome = rollout(
        body, Inline(policy or Away()), body.reset(), clock=SimClock(), control=Control(ROBOT, safety), subscribers=(controller,),
        stop=controller.over, timeout=timeout, **options,
    )  # fmt: skip
    return np.array(body.commands), outcome


def test_states_only_get_graver_and_emergency_stop_is_latched():
    c = Controller()
    c.hold("look")
    c.emergency_stop("button")
    c.hold("again")
    c.handoff("again")
    assert (c.mode, c.reason) == (Mode.ESTOP, "button")
    assert not c.resume()
    assert c.mode is Mode.ESTOP
    c.reset()
    assert c.mode is Mode.RUN
    c.handoff("too hard")
    assert c.resume() and c.mode is Mode.RUN
    assert [mode.name for _, mode, _ in c.history] == ["HOLD", "ESTOP", "RUN", "HANDOFF", "RUN"]


def test_hold_rests_until_it_is_resumed():
    c, pressed = Controller(), []

    def person(obs, _):
        if obs.time == pytest.approx(0.6):
            c.hold("person")
        if obs.time == pytest.approx(1.4):
            pressed.append(c.resume())
        return False

    commands, outcome = simulated(c, until=person)
    speed = np.abs(np.diff(commands[:, :7], axis=0)).max(axis=1)
    assert pressed == [True]
    assert outcome.reason == "timeout"
    assert speed[20:29].max() > 0
    assert speed[45:68].max() == 0.0
    assert speed[75:].max() > 0
    assert max(excess(ROBOT, HOME, commands).values()) <= 0


@pytest.mark.parametrize("how", ["handoff", "emergency_stop"])
def test_handing_over_brakes_and_ends(how):
    c = Controller()
    commands, outcome = simulated(c, until=lambda obs, _: bool(obs.time > 1.0 and getattr(c, how)("enough")))
    assert outcome.reason == "stopped"
    assert 1.0 < outcome.duration < 1.4
    assert np.array_equal(commands[-1], commands[-2])
    assert max(excess(ROBOT, HOME, commands).values()) <= 0
    _, outcome = simulated(c)  # latched: nothing moves in the next rollout either
    assert outcome.ticks == 0


def test_the_watchdog_holds_and_patience_hands_over():
    class Mute(Away):
        def act(self, obs, prefix=None):
            chunk = super().act(obs)
            return ActionChunk(chunk.actions, 0.1, obs.time + (99.0 if self.calls > 2 else 0.0))

    c = Controller(watchdog=0.5, patience=1.0)
    body, safety = MockBody(ROBOT), Safety(ROBOT, guards=(*GUARDS, c))

    class Once(Inline):
        def request(self, obs, now, prefix=None):
            if now == 0.0:
                super().request(obs, now, prefix)

    outcome = rollout(
        body, Once(Away()), body.reset(), control=Control(ROBOT, safety), subscribers=(c,), stop=c.over, timeout=9.0
    )
    held, handed = c.history
    assert held[1] is Mode.HOLD and held[2] == "watchdog no fresh chunk for 0.52 > 0.50 s"
    assert handed[1] is Mode.HANDOFF and handed[2].startswith("held for 1 s: watchdog")
    assert outcome.reason == "stopped"
    assert outcome.duration == pytest.approx(1.6, abs=0.06)


def test_a_released_deadman_holds():
    c = Controller(deadman=lambda: c._now < 0.5)
    commands, _ = simulated(c, timeout=1.5)
    assert c.mode is Mode.HOLD and c.reason == "deadman released"
    assert np.array_equal(commands[-1], commands[-10])


def test_an_old_observation_holds_and_a_jam_is_an_emergency():
    class Frozen(MockBody):
        def observe(self, images=True):
            o = super().observe(images)
            return Observation(o.images, o.state, o.instruction, min(o.time, 0.5))

    class Jammed(MockBody):
        def observe(self, images=True):
            o = super().observe(images)
            state = o.state.copy()
            state[0] = np.float32(0.0)  # joint1 does not move any more
            return Observation(o.images, state, o.instruction, o.time)

    class Turning(Away):
        def act(self, obs, prefix=None):
            return ActionChunk(np.tile(np.array([0, 0.04, 0, 0, 0, 0, 1], np.float32), (8, 1)), 0.1, obs.time)

    c = Controller()
    simulated(c, body=Frozen(ROBOT), timeout=1.2)
    assert c.mode is Mode.HOLD and c.reason.startswith("stale observation 0.32 > 0.3 s")
    c = Controller()
    _, outcome = simulated(c, body=Jammed(ROBOT), policy=Turning(), timeout=5.0)
    assert c.mode is Mode.ESTOP and c.reason.startswith("tracking joint1 0.3")
    assert outcome.reason == "stopped"


def test_deploy_runs_in_real_time_and_puts_everything_back():
    body, policy, interval = MockBody(ROBOT, instruction="something else"), Away(), sys.getswitchinterval()
    before = signal.getsignal(signal.SIGINT)
    report = deploy(body, policy, "pick up the cube", body.reset(), timeout=1.0)
    assert policy.heard == {"pick up the cube"}
    assert report.outcome.reason == "timeout"
    assert report.mode is Mode.RUN
    assert 40 <= report.timing["ticks"] <= 50
    assert report.timing["chunks"] >= 2
    assert 15 < report.timing["period_p50"] < 30
    assert sys.getswitchinterval() == interval
    assert signal.getsignal(signal.SIGINT) is before
    commands = np.array(body.commands)
    assert np.array_equal(commands[-1][:7], commands[-1][:7])
    assert max(excess(ROBOT, HOME, commands).values()) <= 0
    assert len(commands) > 50  # it was moving at the timeout and was braked


def at_rest(commands):
    """Braking kept the limits and left the arm still: the last step is at most one tick of braking."""
    assert max(excess(ROBOT, HOME, commands).values()) <= 0
    steps = np.diff(commands[:, :7], axis=0)
    return np.all(np.abs(steps[-1]) <= ROBOT.array("acceleration")[:7] * 0.02**2)


class PressesCtrlC(Subscriber):
    """At a tick, not at a time: a busy machine may need a while to get there."""

    def __init__(self, at: int) -> None:
        self.at = at

    def on_tick(self, tick):
        if tick.index == self.at:
            self.pressed = time.perf_counter()
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("at", [17, 30])
def test_ctrl_c_brakes_to_rest_before_it_returns(at):
    body, person = MockBody(ROBOT), PressesCtrlC(at)
    report = deploy(body, Away(), "go", body.reset(), timeout=20.0, subscribers=(person,))
    assert report.outcome.reason == "stopped"
    assert time.perf_counter() - person.pressed < 3.0
    commands = np.array(body.commands)
    assert np.abs(commands[-1] - HOME).max() > 0.01  # it had been somewhere
    assert np.array_equal(commands[-1], commands[-2])
    assert at_rest(commands)


def test_an_error_brakes_before_it_goes_on(tmp_path):
    body, one = MockBody(ROBOT), Ends()
    with pytest.raises(RuntimeError, match="the policy broke"):
        deploy(body, Away(fails_at=1), "go", body.reset(), timeout=20.0, subscribers=(one,))
    assert at_rest(np.array(body.commands))
    assert one.ends == ["stopped"]


class Fails(Away):
    """Raises from its third call on."""

    def act(self, obs, prefix=None):
        self.fails_at = self.calls + 1 if self.calls >= 2 else None
        return super().act(obs, prefix)


def test_a_policy_that_fails_goes_stale_and_the_watchdog_says_why():
    c = Controller(watchdog=0.5)
    commands, outcome = simulated(c, policy=Fails(), timeout=3.0)
    assert c.mode is Mode.HOLD
    assert c.reason.startswith("watchdog the policy fails (RuntimeError: the policy broke), no fresh chunk for 0.5")
    assert outcome.reason == "timeout" and outcome.failures >= 2
    assert at_rest(commands)
    with pytest.raises(RuntimeError, match="the policy broke"):
        outcome.check()


def test_chunks_that_come_later_than_they_are_long_do_not_feed_the_watchdog():
    c, body = Controller(watchdog=1.0), MockBody(ROBOT)

    class Far(Away):  # answers for a time that is over
        def act(self, obs, prefix=None):
            return replace(super().act(obs, prefix), t0=obs.time - 5.0)

    safety = Safety(ROBOT, guards=(*GUARDS, c))
    rollout(body, Inline(Far()), body.reset(), control=Control(ROBOT, safety), subscribers=(c,), timeout=3.0)
    assert c.mode is Mode.HOLD and c.reason.startswith("watchdog")


@pytest.mark.parametrize("share", [0.9, 0.5])
def test_a_joint_that_pushes_and_does_not_move_holds(share):
    """Blocked where no tolerance of its position says so, with its effort measured."""
    loose = tuple(replace(x, tolerance=None) for x in ROBOT.channels)
    feels = Measurement("joint1.effort", "", "effort", "joint1")
    robot = replace(ROBOT, channels=loose, state=(*ROBOT.state, feels))

    class Blocked(MockBody):
        def observe(self, images=True):
            seen = super().observe(images)
            where = [i for i, m in enumerate(robot.state) if m.of == "joint1" and m.quantity == "position"]
            seen.state[where] = robot.home[0]
            seen.state[-1] = share * robot.channels[0].effort
            return seen

    c, body = Controller(stalled=0.4, watchdog=9.0), Blocked(robot)
    safety = Safety(robot, guards=(*GUARDS, c))
    rollout(body, Inline(Away()), body.reset(), control=Control(robot, safety), subscribers=(c,), timeout=2.0)
    if share < robot.thresholds.stall_effort:
        assert c.mode is Mode.RUN
        return
    assert c.mode is Mode.HOLD
    assert c.reason.startswith("stalled joint1 pushes with over 69.6 of its effort and does not move, for 0.4")
    assert c.stalled_by() == c.reason


@pytest.mark.parametrize("kept", [True, False])
def test_asked_to_move_and_not_moving_holds_and_says_why(kept):
    """A guard refuses every step for good: without an alarm the mode stayed RUN, and nothing moved."""
    c = Controller(stalled=0.4, watchdog=9.0)

    def refuses(move):
        if move.now > 0.5 and kept:
            move.halt = True
            return Reason("face", "tcp.x", 0.79, 0.78, "m")
        return None

    safety = Safety(ROBOT, guards=(refuses, *GUARDS, c))
    body = MockBody(ROBOT)
    rollout(body, Inline(Away()), body.reset(), control=Control(ROBOT, safety), subscribers=(c,), timeout=2.0)
    if not kept:
        assert c.mode is Mode.RUN
        return
    assert c.mode is Mode.HOLD
    assert c.reason.startswith("stalled asked to move, does not, for 0.4") and c.reason.endswith(
        "s: face tcp.x 0.79 > 0.78 m"
    )
    assert c.history[0][0] < 1.2


def test_a_policy_that_asks_to_stand_still_is_not_stalled():
    class Rests(Away):
        def act(self, obs, prefix=None):
            return ActionChunk(np.tile(np.array([0, 0, 0, 0, 0, 0, 1], np.float32), (8, 1)), 0.1, obs.time)

    c = Controller(stalled=0.4)
    simulated(c, policy=Rests(), timeout=3.0)
    assert c.mode is Mode.RUN


def test_timing_counts_what_was_late_and_dropped():
    body, timing = MockBody(ROBOT), Timing()
    rollout(body, Inline(Away(), delay=0.23), body.reset(), subscribers=(timing,), timeout=2.0)
    report = timing.report()
    assert report["ticks"] == 100
    assert report["late_ticks"] == 0
    assert report["chunks"] >= 3
    assert report["late_steps"] == 2 * (
        report["chunks"] - 1
    )  # before the first the robot rested: none of its steps is late


class Pushes(Away):
    """Turns the first joint as fast as it is let."""

    def act(self, obs, prefix=None):
        return ActionChunk(np.tile(np.array([0, 0.04, 0, 0, 0, 0, 1], np.float32), (8, 1)), 0.1, obs.time)


class Blocked(MockBody):
    """Its first joint cannot turn beyond `wall` [rad]."""

    wall = 0.0

    def observe(self, images=True):
        o = super().observe(images)
        state = o.state.copy()
        state[0] = min(state[0], self.wall)
        return Observation(o.images, state, o.instruction, o.time)


@pytest.mark.parametrize("wall", [0.0, 0.05])
def test_after_a_collision_the_arm_stops_pressing(wall):
    c, body = Controller(), Blocked(ROBOT)
    body.wall = wall
    commands, outcome = simulated(c, body=body, policy=Pushes(), timeout=9.0)
    assert c.mode is Mode.ESTOP and c.reason.startswith("tracking joint1")
    assert outcome.reason == "stopped"
    assert np.abs(commands[:, 0]).max() > wall + 0.34
    assert np.abs(commands[-1, :7] - body.observe(images=False).state[:7]).max() < 0.02
    assert np.array_equal(commands[-1], commands[-2])
    assert max(excess(ROBOT, HOME, commands).values()) <= 0


def test_an_arm_that_sags_is_not_followed_for_ever():
    class Sags(Blocked):
        def observe(self, images=True):
            o = super().observe(images)
            return Observation(o.images, o.state - np.float32(0.05) * (np.arange(len(o.state)) == 0), "", o.time)

    c = Controller()
    commands, outcome = simulated(c, body=Sags(ROBOT), policy=Pushes(), timeout=9.0)
    assert (c.mode, outcome.reason) == (Mode.ESTOP, "stopped")
    assert outcome.duration - c.history[-1][0] < 2.6
    assert np.array_equal(commands[-1], commands[-2])


def test_answers_that_are_not_numbers_do_not_feed_the_watchdog():
    class Broken(Away):
        def act(self, obs, prefix=None):
            return ActionChunk(np.full((8, 7), np.nan, np.float32), 0.1, obs.time)

    c = Controller(watchdog=0.5)
    simulated(c, policy=Broken(), timeout=2.0)
    assert c.mode is Mode.HOLD and c.reason.startswith("watchdog no fresh chunk for 0.5")


class Ends(Subscriber):
    def __init__(self, fails=False):
        self.ends, self.fails = [], fails

    def on_end(self, reason):
        self.ends.append(reason)
        if self.fails:
            raise OSError("disk full")


class Unplugged(MockBody):
    """Nothing arrives any more after `lives` commands."""

    lives = 12

    def apply(self, command):
        if len(self.commands) >= self.lives:
            raise ConnectionError("the robot is gone")
        super().apply(command)


def test_a_body_that_raises_keeps_nobody_from_hearing_the_end(tmp_path):
    body, one, two = Unplugged(ROBOT), Ends(fails=True), Ends()
    with pytest.raises(ConnectionError, match="the robot is gone") as caught:
        deploy(
            body, Away(), "go", body.reset(), timeout=20.0, subscribers=(one, two), blackbox=tmp_path, clock=SimClock()
        )
    assert (one.ends, two.ends) == (["fault"], ["fault"])
    assert any("disk full" in note for note in caught.value.__notes__)
    assert [p.name for p in tmp_path.iterdir()] == ["fault-000.jsonl"]


def test_an_error_while_parking_tells_everyone_once():
    class Late(Unplugged):
        lives = 25

    body, one = Late(ROBOT), Ends()
    with pytest.raises(ConnectionError):  # done after 25 commands, in full swing
        deploy(body, Pushes(), "go", body.reset(), subscribers=(one,), until=lambda obs, _: obs.time >= 0.499)
    assert one.ends == ["fault"]


def test_ctrl_c_twice_raises_at_once():
    class Twice(Ends):
        def on_tick(self, tick):
            if tick.index == 17:
                os.kill(os.getpid(), signal.SIGINT)
                os.kill(os.getpid(), signal.SIGINT)

    body, person = MockBody(ROBOT), Twice()
    with pytest.raises(KeyboardInterrupt):
        deploy(body, Away(), "go", body.reset(), timeout=20.0, subscribers=(person,))
    assert person.ends == ["fault"]
    assert at_rest(np.array(body.commands))


@pytest.mark.parametrize(("what", "names"), [("action_names", ("a", "b")), ("state_names", ("x.pos",))])
def test_a_policy_for_another_robot_is_refused_before_anything_moves(what, names):
    units = {what.replace("names", "units"): ()}
    body, policy = MockBody(ROBOT), Away()
    policy.interface = replace(ROBOT.interface(), **{what: names}, **units)
    with pytest.raises(BadValue, match=rf"the policy's {what} are {', '.join(names)}; arm7 has .*Next: "):
        deploy(body, policy, "go", body.reset(), timeout=1.0)
    assert body.commands == [] and policy.calls == 0


@pytest.mark.parametrize(("execute", "waits"), [(4, 1.0), (12, 1.8), (16, 2.2)])
def test_a_policy_that_is_asked_seldom_is_not_silent(execute, waits):
    """The watchdog waits at least as long as the actions take that are carried out of a chunk."""

    class Long(Away):
        interface = ROBOT.interface(16)

        def act(self, obs, prefix=None):
            return ActionChunk(np.tile(np.array([0, 0, 0, 0, 0, 0, 1], np.float32), (16, 1)), 0.1, obs.time)

    body, controller = MockBody(ROBOT), Controller()
    deploy(body, Long(), "reach", body.reset(), controller=controller, execute=execute, timeout=0.1)
    assert controller.watchdog == pytest.approx(waits)
    simulated(controller, 6.0, policy=Long(), chunks=ChunkBuffer(execute))
    assert controller.mode is Mode.RUN and not controller.history
