"""The loop: nothing waits for the policy, late steps are dropped, time is an argument, errors come out."""

import threading
import time
from dataclasses import replace

import numpy as np
import pytest

from palmar.errors import BadValue
from palmar.robots.arm7 import arm7
from palmar.runtime.chunks import ChunkBuffer
from palmar.runtime.clock import SimClock, WallClock
from palmar.runtime.loop import Body, Subscriber, brake_to_rest, rollout
from palmar.runtime.mock import MockBody
from palmar.runtime.safety.filter import Safety
from palmar.runtime.worker import Inline, Threaded
from palmar.transfer.diagnose import _Drive
from palmar.types import ActionChunk

ROBOT = arm7()
DOWN = np.diag([1.0, -1.0, -1.0])


class Constant:
    """The same action over and over; numbers its chunks in the last column when asked."""

    interface = ROBOT.interface(16)

    def __init__(self, action=(0, 0, 0, 0, 0, 0, 1), sleep=0.0, steps=16):
        self.action, self.sleep, self.steps, self.calls = np.array(action, np.float32), sleep, steps, 0

    def act(self, obs, prefix=None):
        self.calls += 1
        time.sleep(self.sleep)
        return ActionChunk(np.tile(self.action, (self.steps, 1)), 1 / ROBOT.policy_rate, obs.time)

    def reset(self):
        pass


class Between(Inline):
    """Answers between two ticks: it is busy in the tick it is asked in, and not in the next. Asked again, it forgets the answer."""

    def __init__(self, policy, clock):
        super().__init__(policy)
        self.clock, self.asked_at = clock, -1.0

    def request(self, obs, now, prefix=None):
        super().request(obs, now, prefix)
        self.asked_at = self.clock.now()

    @property
    def busy(self):
        return self.asked_at == self.clock.now()

    def poll(self, now):
        return None if self.busy else super().poll(now)


class Recorder(Subscriber):
    def __init__(self):
        self.ticks, self.frames, self.ends = [], [], []

    def on_tick(self, tick):
        self.ticks.append(tick)

    def on_frame(self, obs, action):
        self.frames.append((obs.time, action))

    def on_end(self, reason):
        self.ends.append(reason)


def run(policy, timeout=2.0, delay=0.0, **options):
    body, seen = MockBody(ROBOT), Recorder()
    outcome = rollout(body, Inline(policy, delay), body.reset(), subscribers=(seen,), timeout=timeout, **options)
    return body, seen, outcome


def test_the_mock_is_a_body():
    body = MockBody(ROBOT, noise=True)
    assert isinstance(body, Body)
    obs = body.reset(3)
    assert set(obs.images) == {"front", "wrist"}
    assert len(obs.state) == len(ROBOT.state_names)
    assert np.array_equal(obs.images["front"], body.reset(3).images["front"])
    assert body.observe(images=False).images == {}


def test_a_slow_policy_never_blocks_a_tick():
    body, seen, worker = MockBody(ROBOT), Recorder(), Threaded(Constant((0.01, 0, 0, 0, 0, 0, 1), sleep=0.5))
    outcome = rollout(body, worker, body.reset(), clock=WallClock(), subscribers=(seen,), timeout=1.2)
    worker.close()
    assert 45 <= outcome.ticks <= 60  # a busy machine may begin a tick late, and time is what counts
    assert max(t.took for t in seen.ticks) < 0.25  # half of the policy's time; a wide margin for a busy machine
    assert 1 <= sum(t.new_chunk for t in seen.ticks) <= 3
    late = next(t for t in seen.ticks if t.new_chunk)
    assert late.latency >= 0.5
    assert not np.array_equal(body.commands[-1], body.commands[0])  # the late chunk's remaining steps ran


@pytest.mark.parametrize("kind", ["inline", "threaded"])
def test_what_the_policy_raises_is_in_the_outcome(kind):
    class Broken(Constant):
        def act(self, obs, prefix=None):
            raise ZeroDivisionError("inside the policy")

    body = MockBody(ROBOT)
    worker = Inline(Broken()) if kind == "inline" else Threaded(Broken())
    outcome = rollout(body, worker, body.reset(), clock=WallClock(), timeout=0.5)
    worker.close()
    assert outcome.reason == "timeout" and outcome.failures >= 1
    with pytest.raises(ZeroDivisionError, match="inside the policy"):
        outcome.check()
    assert not any(t.name == "palmar-policy" and t.is_alive() for t in threading.enumerate() if kind == "threaded")


def test_steps_that_are_late_are_dropped():
    class Counting(Constant):  # step i of a chunk carries i as its gripper column
        def act(self, obs, prefix=None):
            actions = np.zeros((16, 7), np.float32)
            actions[:, 6] = np.arange(16) / 16
            return ActionChunk(actions, 0.1, obs.time)

    _, seen, _ = run(Counting(), delay=0.25)
    first = next(i for i, t in enumerate(seen.ticks) if t.new_chunk)
    assert seen.ticks[first].time == pytest.approx(0.26)  # the first tick after 0.25 s
    assert all(t.chunk is None for t in seen.ticks[:first])
    shown = next(a for time, a in seen.frames if time >= 0.26)
    assert shown[6] == 0  # the robot had rested since it was observed: the chunk begins where it is
    second = next(i for i, t in enumerate(seen.ticks) if t.new_chunk and i > first)
    asked = seen.ticks[second].chunk.t0
    shown = next((time, a) for time, a in seen.frames if time >= seen.ticks[second].time)
    assert shown[1][6] == int((shown[0] - asked) / 0.1 + 1e-6) / 16 > 1 / 16  # later ones lose the steps that are over


def test_a_buffer_that_runs_dry_holds_still():
    body, seen, _ = run(Constant((0.02, 0, 0, 0, 0, 0, 1), steps=3), chunks=ChunkBuffer(execute=100), timeout=1.5)
    assert np.abs(body.commands[-1] - body.commands[-2]).max() == 0.0
    assert not np.any([np.any(t.verdict.stop) for t in seen.ticks])


def test_a_simulated_clock_makes_runs_equal():
    one, two = (run(Constant((0.01, 0.01, -0.01, 0, 0, 0.1, 0)), delay=0.07)[0].commands for _ in range(2))
    assert np.array_equal(one, two)
    assert run(Constant(), timeout=20.0)[2].ticks == 1000


def test_why_a_rollout_ends():
    assert run(Constant(), timeout=0.5)[2] == run(Constant(), timeout=0.5)[2]
    _, seen, outcome = run(Constant(), timeout=0.5)
    assert (outcome.reason, outcome.ticks, seen.ends) == ("timeout", 25, ["timeout"])
    assert run(Constant(), until=lambda obs, _: obs.time > 0.35)[2].reason == "done"
    calls = iter([False] * 7 + [True])
    outcome = run(Constant(), stop=lambda: next(calls))[2]
    assert (outcome.reason, outcome.ticks) == ("stopped", 7)


def test_after_a_stall_commands_are_not_sent_in_a_burst():
    class Stalling(MockBody):
        def apply(self, command):
            super().apply(command)
            stamps.append(time.perf_counter())
            if len(stamps) == 10:
                time.sleep(0.2)

    stamps: list[float] = []
    body, worker = Stalling(ROBOT), Threaded(Constant())
    rollout(body, worker, body.reset(), clock=WallClock(), timeout=0.6)
    worker.close()
    after = np.diff(stamps[10:])
    assert 15 <= len(stamps) <= 22  # 0.6 s of which 0.2 s were lost
    assert np.mean(after) > 0.018


def test_time_is_the_body_s_own():
    """A robot whose time starts anywhere and goes on by itself: chunks stay aligned, staleness is still seen."""

    class Real(MockBody):
        offset = 1e6

        def observe(self, images=True):
            obs = super().observe(images)
            stopped = min(len(self.commands), self.dies) / ROBOT.control_rate
            return type(obs)(obs.images, obs.state, obs.instruction, self.offset + stopped)

        dies = 10**9

    body, seen = Real(ROBOT), Recorder()
    rollout(body, Inline(Constant((0.01, 0, 0, 0, 0, 0, 1))), body.reset(), subscribers=(seen,), timeout=1.0)
    assert np.ptp([c[1] for c in body.commands]) > 0.01
    assert not any(t.verdict.stop for t in seen.ticks)
    body, seen = Real(ROBOT), Recorder()
    body.dies = 20
    rollout(body, Inline(Constant()), body.reset(), subscribers=(seen,), timeout=1.0)
    first = next(t for t in seen.ticks if t.verdict.stop)
    assert first.index == 36  # 20 ticks and 0.3 s
    assert first.verdict.reasons[0].guard == "stale"


def chunk(value, t0, steps=8):
    return ActionChunk(np.full((steps, 2), value, np.float32), 0.1, t0)


def test_a_seam_is_measured_and_blended():
    buffer = ChunkBuffer(execute=4)
    assert buffer.sample(0.0) is None
    assert buffer.due(0.0, 0.1)
    buffer.asked(0.0)
    assert [buffer.due(t, 0.1) for t in (0.1, 0.3, 0.4)] == [False, False, True]
    buffer.push(chunk(0.0, 0.0), 0.0)
    buffer.push(chunk(3.0, 0.3), 0.4)
    assert buffer.seam == pytest.approx(3 * np.sqrt(2))
    assert buffer.sample(0.4)[0][0] == 3.0
    faded = ChunkBuffer(blend=0.2)
    faded.push(chunk(0.0, 0.0), 0.0)
    faded.push(chunk(1.0, 0.4), 0.4)
    assert [round(float(faded.sample(t)[0][0]), 3) for t in (0.4, 0.5, 0.6)] == [0.0, 0.5, 1.0]
    assert buffer.sample(1.11) is None  # run dry


def test_clocks():
    clock = SimClock()
    assert clock.wait_until(3.0) == 0.0
    assert clock.now() == 3.0
    assert clock.wait_until(1.0) == 0.0
    assert clock.now() == 3.0
    wall = WallClock()
    late = wall.wait_until(0.03)
    assert wall.now() >= 0.03
    assert 0 <= late < 0.2


@pytest.mark.parametrize("opening", [0.0, 0.4, 1.0])
def test_a_rollout_begins_with_the_gripper_as_it_is(opening):
    class Holding(MockBody):
        def reset(self, seed=None):
            super().reset(seed)
            self._now[-1] = opening
            return self.observe()

    class Silent(Inline):
        def request(self, obs, now, prefix=None):
            pass

    body = Holding(ROBOT)
    rollout(body, Silent(Constant()), body.reset(), timeout=0.2)
    assert [c[-1] for c in body.commands] == pytest.approx([opening] * 10)
    assert _Drive(Holding(ROBOT)).command[-1] == pytest.approx(opening)


@pytest.mark.parametrize("dt", [0.04, 0.1, 0.2])
def test_an_action_lasts_as_long_as_its_chunk_says(dt):
    class Slow(Constant):
        def act(self, obs, prefix=None):
            actions = np.zeros((round(4.0 / dt), 7), np.float32)
            actions[:5, 0] = 0.01
            return ActionChunk(actions, dt, obs.time)

    body, _, _ = run(Slow(), chunks=ChunkBuffer(execute=1000), timeout=2.5)
    tcp = ROBOT.frame().chain.forward(np.array(body.commands)[:, :7])[0]
    assert tcp[-1, 0] - ROBOT.frame().chain.forward(ROBOT.home[:7])[0][0] == pytest.approx(0.05, abs=2e-3)


def test_a_policy_of_another_action_space_is_refused():
    outcome = run(Constant(np.zeros(8)))[2]
    with pytest.raises(BadValue, match=r"answers 8 numbers an action; arm7 takes 7: dx, dy.*Next: "):
        outcome.check()


def test_time_is_the_clock_s():
    class Stalls(MockBody):
        def apply(self, command):
            super().apply(command)
            clock.wait_until(clock.now() + (0.3 if len(self.commands) == 5 else 0.0))

    class Late(SimClock):
        def wait_until(self, when):
            late = max(self.now() - when, 0.0)
            super().wait_until(when)
            return late

    clock = Late()
    clock.wait_until(7.0)
    body = Stalls(ROBOT)
    outcome = rollout(body, Inline(Constant()), body.reset(), clock=clock, timeout=1.0)
    assert outcome.reason == "timeout"
    assert outcome.duration == pytest.approx(1.0, abs=0.021)
    assert clock.now() == pytest.approx(7.0 + outcome.duration)


def test_polling_a_busy_worker_leaves_its_answer_alone():
    """Read and put back would wipe an answer that comes in between."""
    writes = []

    class Watched(Threaded):
        def __setattr__(self, name, value):
            if name == "_result" and hasattr(self, "_thread") and threading.current_thread() is not self._thread:
                writes.append(self.busy)
            super().__setattr__(name, value)

    worker = Watched(Constant(sleep=0.1))
    worker.request(MockBody(ROBOT).reset(), 0.0)
    assert worker.poll(0.0) is None
    assert writes == []
    while worker.busy:
        time.sleep(0.01)
    assert worker.poll(0.0) is not None
    assert worker.poll(0.0) is None
    worker.close()


def _at(command):
    return ROBOT.state_from(command, 0 * command).astype(np.float32)


class Refuses(MockBody):
    """Raises at some commands."""

    refused = (2, 3)

    def apply(self, command):
        self.count = getattr(self, "count", 0) + 1
        if self.count in self.refused:
            raise OSError(f"no answer to {self.count}")
        super().apply(command)


@pytest.mark.parametrize(("refused", "rests"), [((2, 3), True), (range(2, 10_000), False)])
def test_a_body_that_refuses_a_command_is_braked_by_the_next(refused, rests):
    safety, body, clock = Safety(ROBOT), Refuses(ROBOT), SimClock()
    body.refused = refused
    seen = body.reset()
    for i in range(20):
        safety.check(ROBOT.home + [0.03 * i, 0, 0, 0, 0, 0, 0, 0], replace(seen, state=_at(safety.command)), 0.0)
    with pytest.raises(OSError, match="no answer to 2"):
        brake_to_rest(body, safety, clock)
    assert not safety.moving
    assert np.array_equal(body.commands[-1], safety.command) == rests


@pytest.mark.parametrize(("rate", "execute"), [(50.0, 1), (10.0, 1), (50.0, 3)])
def test_an_answer_is_heard_before_the_policy_is_asked_again(rate, execute):
    """Also where it is asked at every tick."""
    robot, clock, seen = replace(ROBOT, policy_rate=rate), SimClock(), Recorder()
    body, policy = MockBody(robot), Constant()
    policy.act = lambda obs, prefix=None: ActionChunk(np.tile(policy.action, (16, 1)), 1 / rate, obs.time)
    rollout(
        body,
        Between(policy, clock),
        body.reset(),
        clock=clock,
        chunks=ChunkBuffer(execute),
        subscribers=(seen,),
        timeout=1.0,
    )
    assert not seen.ticks[0].acting and all(t.acting for t in seen.ticks[1:])
    assert sum(t.new_chunk for t in seen.ticks) == pytest.approx(rate / execute, abs=1)
